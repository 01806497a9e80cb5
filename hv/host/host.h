/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv/host: everything for a standby that needs rights on this host. It starts the QEMU of one
 * standby, opens its memory for others, signals it, attaches its taps, and removes what it leaves
 * behind. Plain structs and descriptors go in and come out; nothing that a peer sent is parsed
 * here, but for the command line that QEMU gets, which is passed on as it is.
 *
 * hv/standby calls it through struct hv_host_ops, so that each call can become one message to a
 * process with more rights than the caller's. In one process: hv_host_new, then hv_host_ops with
 * the struct hv_host as arg.
 *
 * Call order: hv_host_new; start, then qmp, signal and taps in any order; start again after the
 * first QEMU has ended; clean after the last has; hv_host_free. hv_host_reap by pid, from any
 * process with rights, when the owner died.
 *
 * Ownership: descriptors that come out belong to the caller; those that go in stay the caller's.
 * The QEMU is a child of init and outlives everybody here. One thread at a time per struct hv_host.
 */
#ifndef HV_HOST_HOST_H
#define HV_HOST_HOST_H

#include "hv/qemu/qemu.h"

#include <net/if.h>

#define HV_HOST_OOM_MIN (-900) /* a peer's VM can always be ended */
#define HV_HOST_OOM_MAX 1000
#define HV_HOST_NICE_MIN 0 /* a peer's VM never gets ahead of this host's own programs */
#define HV_HOST_NICE_MAX 19
#define HV_HOST_MAX_TAPS HV_MAX_NICS
#define HV_HOST_MAX_QUEUES 48 /* of all taps together */
/* What QEMU has open when it starts, besides 0 to 2. */
#define HV_HOST_FD_QMP 3  /* its monitor's socket, listened on */
#define HV_HOST_FD_RAM 4  /* the file of its main memory */
#define HV_HOST_FD_TAPS 5 /* its taps' queues, in order */
/* its TPM's control channel */
#define HV_HOST_FD_TPM (HV_HOST_FD_TAPS + HV_HOST_MAX_QUEUES)

/* its disks' bases, of a clone: one for each, in the description's order */
#define HV_HOST_FD_BASES (HV_HOST_FD_TPM + 1)

/*
 * What is started is no standby but a clone of one epoch, for a test: its main memory is there and full,
 * and its images (NAME-0.qcow2) are its user's own, over bases that it can only read. It has the user of
 * standbys without that user's groups: the modes of replicas keep it out.
 */
struct hv_host_clone {
	int ram_fd;		 /* of as many bytes as its main memory has */
	int bases[HV_MAX_DISKS]; /* connected sockets with an NBD server behind each */
	unsigned n_bases;
	const char *closed;  /* a folder of which it opens nothing, where there is Landlock */
	uint64_t file_bytes; /* no file that it writes gets larger */
};

/* Chosen on this host, by its configuration and its own names: never by a peer. */
struct hv_host_conf {
	const char *dir;    /* the standby's run directory; exists */
	const char *bridge; /* that taps join at promotion; NULL: none, an operator attaches them */
	/* More of them, with blanks between: a tap joins the one of the name that its like has on the
	 * primary. May be NULL. */
	const char *bridges;
	const char *tap_prefix; /* taps' names, but for their number; at most 12 letters */
	const char *user;	/* that QEMU runs as; never root */
	/* The images' folder: those of this VM are NAME-0.raw and so on, where NAME is the run
	 * directory's last part. */
	const char *replica_dir;
	const char *state_dir; /* where also other VMs' files are; NULL: none */
	const char *media;     /* folders ("/a:/b") of files that a standby may read; may be NULL */
	const char *vm_id;     /* may be NULL without libvirt */
	const struct hv_host_clone *clone; /* NULL: a standby; must outlive the host */
	bool libvirt; /* a standby of a domain is a domain of this host's libvirt */
};
struct hv_host;
int hv_host_new(const struct hv_host_conf *conf, struct hv_host **out,
		struct tv_err *e) TV_MUST_CHECK;
/* QEMU is left as it is. NULL is allowed. */
void hv_host_free(struct hv_host *h);

struct hv_host_tap {
	unsigned char queues;
	bool no_vnet_hdr; /* frames without virtio's header */
	/* As the primary has it; what a peer says, checked here. */
	char bridge[IFNAMSIZ]; /* that it is a port of; "": none, or not known */
	unsigned mtu;	       /* 0: not known */
	struct hv_link_vlan vlans[HV_LINK_MAX_VLANS]; /* of that port; none: the bridge's default */
	unsigned n_vlans;
};
/* What to start. */
struct hv_host_start {
	const char *binary;
	char *const *argv;
	/* What a domain of libvirt is made of here: a text of the peer's, which lv/ reads. NULL: the
	 * VM is none. */
	const char *domain;
	const char *own_uuid; /* of a VM that has run on this host, by its notes: a domain that is
			       * defined here may have it; "": none */
	bool again;	      /* after an earlier one: its log is kept until then */
	bool kvm;
	int oom_score_adj;     /* of the VM from its promotion on; a standby dies first */
	int nice;	       /* of the VM, likewise */
	bool tpm;	       /* it has a TPM (2), emulated by a swtpm that is started with it */
	uint64_t ram_bytes;    /* of main memory; again: the same memory as before */
	uint64_t memory_bytes; /* of the guest, all of it */
	struct hv_host_tap taps[HV_HOST_MAX_TAPS];
	unsigned n_taps;
	char images[HV_MAX_DISKS][64]; /* names in replica_dir */
	unsigned n_images;
};
/* A file that QEMU is to open. */
struct hv_host_file {
	enum { HV_HOST_FILE, HV_HOST_FOLDER, HV_HOST_COPY, HV_HOST_KVM } what;
	char path[1024]; /* "": /dev/kvm; of a copy its name in replica_dir */
};
/* What came of it. */
struct hv_host_qemu {
	pid_t pid;
	uint64_t start_ticks;
	int pidfd;		/* readable when QEMU has ended */
	struct hv_proc_fds fds; /* its memory, its map, its program */
	int ram_fd;		/* the file of its main memory */
	int log_fd;		/* what it prints, to be read */
	bool domain;		/* of libvirt: it was started with -S, and with what a state has by
				 * default (configuration section, vmdesc) */
	char qmp_path[108];	/* of a domain; "": HV_HOST_QMP in the run directory */
};
void hv_host_qemu_init(struct hv_host_qemu *q);
/* Closes the descriptors. */
void hv_host_qemu_dispose(struct hv_host_qemu *q);

struct hv_host_ops {
	/* Runs that QEMU without a machine, and asks it what it can do: as hv_qemu_run. */
	int (*qemu)(void *arg, const char *binary, struct hv_qemu *out, json_t **machines,
		    struct tv_err *e) TV_MUST_CHECK;
	/* Can QEMU's user open it? The sentence names the user, the host and the remedy. A copy
	 * (NAME-file-SHA256, NAME as for images) is given to that user, for reading, by the QEMUs
	 * that are started from now on. */
	int (*check)(void *arg, const struct hv_host_file *f, struct tv_err *e) TV_MUST_CHECK;
	/* Starts QEMU; what an earlier one left in the run directory is removed before. When it
	 * fails, nothing runs. */
	int (*start)(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		     struct tv_err *e) TV_MUST_CHECK;
	/* A new connection to QEMU's monitor. -ENOENT, -ECONNREFUSED: not yet. */
	int (*qmp)(void *arg, int *fd, struct tv_err *e) TV_MUST_CHECK;
	/* SIGKILL, SIGSTOP or SIGCONT for the QEMU started last; one that has ended is no error. */
	int (*signal)(void *arg, int sig) TV_MUST_CHECK;
	/* The taps of the QEMU started last go up and join the bridge; may be called again.
	 * TV_E_GONE: QEMU has ended. */
	int (*taps)(void *arg, struct tv_err *e) TV_MUST_CHECK;
	/* Removes what QEMU, which has ended, left in the run directory; with_log: its log too. */
	void (*clean)(void *arg, bool with_log);
};
/* In this process; arg is a struct hv_host. */
extern const struct hv_host_ops hv_host_ops;

/* Ends the QEMU with that pid, if it is that one by its start time, and removes what lies in dir. */
void hv_host_reap(pid_t pid, uint64_t start_ticks, const char *dir);

/* Has the QEMU of that run directory a control group still? An ended one's goes with hv_host_reap. */
bool hv_host_has_group(const char *dir);

/* ---- a host that is short of memory ---- */
/* From now on the kernel ends that process before others, until it is spared. */
void hv_host_first_victim(pid_t pid);
/* This process's oom_score_adj. */
int hv_host_score(void);
/* The process gets that oom_score_adj; 0 where we may not set that. What fails is logged. */
void hv_host_spare(pid_t pid, int adj);
/* The QEMU started last becomes the VM: it gets the score that the primary's had. */
void hv_host_promoted(const struct hv_host *h);

/* ---- programs ---- */
/* The path without its folders. */
const char *hv_host_base_name(const char *path);
/*
 * The QEMU with the base name of that name in one of the folders ("/a:/b"); *out is the caller's to
 * free. -EINVAL: it is no QEMU's name; -ENOENT: none of them has it.
 */
int hv_host_find_emulator(const char *folders, const char *name, char **out) TV_MUST_CHECK;

/* This host's swtpm; NULL: it has none. */
const char *hv_host_swtpm(void);

/* ---- names in the run directory ---- */
#define HV_HOST_LOG "standby.log"
#define HV_HOST_FOLDER_NAME "vm" /* QEMU's own: what it makes itself */
#define HV_HOST_QMP "standby.qmp"
#define HV_HOST_TPM_LOG "tpm.log"
#define HV_HOST_DOMAIN "domain" /* the note by which libvirt's domain is removed */
#define HV_HOST_TPM_NAME "tpm"	/* its swtpm's folder */

#endif
