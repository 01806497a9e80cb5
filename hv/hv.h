/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv: the hypervisor as twinvm sees it. Hides QMP, ptrace injection, userfaultfd, pagemap,
 * command-line rewriting and QEMU's stream format. This door is for the primary: finding a VM and
 * working on it while it is attached. The backup's door is hv_standby.h.
 *
 * Call order:
 *   hv_find, hv_attach, [hv_net_hold],
 *   first copy, while the VM runs, repeated at will:
 *     hv_round_begin, hv_harvest + hv_copy until the cursor is done
 *   one epoch, repeated at will:
 *     hv_epoch_begin, hv_round_begin, hv_harvest + hv_copy, hv_epoch_end, hv_resume
 *   hv_detach: after a failure of any of them too; it leaves no trace in the VM.
 *
 * Threads: one thread at a time per struct. Nothing here uses libevent; calls block, each bounded
 * by the time-out in its description. Calls marked HOT allocate nothing, log nothing, take no lock.
 * Ownership: what a function returns by const pointer lives as long as the struct it came from.
 * Return codes: see common.h.
 */
#ifndef HV_H
#define HV_H

#include "common/common.h"
#include "hv/hv_runstate.h"
#include <jansson.h>

/* ---- addresses: one-field structs, so that the compiler catches a mix-up ---- */
struct hv_hva { /* address in the QEMU process */
	uint64_t v;
};

/* ---- finding a VM ---- */
struct hv_vm_id {
	pid_t pid;
	uint64_t start_ticks; /* of the process: pid and start together are never reused */
	char name[128];	      /* from -name, "" when it has none */
	char qmp_path[108];   /* "" when it has no QMP UNIX socket, and is not libvirt's */
	int number;	      /* of Proxmox VE, or libvirt's id of the domain; 0: none */
	char uuid[37];	      /* from -uuid, in lower case; "" when it has none */
};
/* A qmp_path of this and a UUID: libvirt has the VM's only monitor, and commands go through it. */
#define HV_LIBVIRT_PATH "libvirt:"

/*
 * Finds a running QEMU by name (-name), pid, number of Proxmox VE, libvirt's id, UUID, or QMP socket
 * path among the processes of /proc.
 * skip(pid, arg), may be NULL, leaves processes out (this host's standbys). A process counts when it
 * runs as root, as this process, as libvirt's user, or as one of users ("a:b", may be NULL): any
 * local user can start a program of QEMU's name, and its command line is run on the backup.
 * -ENOENT none of that name; TV_E_REFUSED only another user's (the sentence names the user);
 * TV_E_AMBIGUOUS several (the sentence lists their pids); -ENOTSUP it has no QMP UNIX socket (the
 * sentence says which option to start it with).
 */
int hv_find(const char *what, const char *users, bool (*skip)(pid_t pid, void *arg), void *arg,
	    struct hv_vm_id *out, struct tv_err *e) TV_MUST_CHECK;
/* The UUID that a QEMU was started with (-uuid), in small letters; "": none. */
void hv_vm_uuid(pid_t pid, char out[37]);
/* All QEMU processes of this host, at most max; returns how many there are in *n. */
int hv_list(struct hv_vm_id *out, unsigned max, unsigned *n) TV_MUST_CHECK;

/* ---- kernel and QEMU features, probed once ---- */
struct hv_features {
	bool uffd_wp_async;	/* userfaultfd with UFFD_FEATURE_WP_ASYNC */
	bool pagemap_scan;	/* PAGEMAP_SCAN ioctl with PM_SCAN_WP_MATCHING, self-tested */
	bool soft_dirty;	/* soft-dirty bits, self-tested: used where the two above are not
			     * there */
	bool soft_dirty_shared; /* the same on memory files mapped shared */
	bool discard_reported;	/* a MADV_DONTNEED page is reported as written (needed for
				 * balloon) */
	bool kvm_usable;	/* /dev/kvm and vmx or svm in /proc/cpuinfo */
	char why[256];		/* what is missing and how to mend it, "" when all is there */
};
/* Runs the kernel self-test in this process (maps some pages, protects, writes, scans). */
int hv_kernel_probe(struct hv_features *out);

/* ---- refusals: everything that stands in the way, reported at once ---- */
#define HV_MAX_REFUSALS 16
struct hv_refusals {
	unsigned n;
	char text[HV_MAX_REFUSALS][256]; /* each names the device or setting and the remedy */
};

/* ---- what files hold (hashes.c), for one thread at a time ---- */
/* path: where that is kept between sessions, of all VMs. NULL: no memory. */
struct hv_hashes *hv_hashes_open(const char *path);
void hv_hashes_free(struct hv_hashes *h);
/*
 * Reads the files that a VM reads and that are not known yet, which may take minutes, so that
 * hv_describe does not. Nobody is to be attached to the VM. more is called after each piece with how
 * much of all is read; false ends it with -ECANCELED. -ESTALE: a file changes again and again. A VM
 * that cannot be asked is no error here: hv_attach will say why.
 */
typedef bool hv_hash_more(void *arg, uint64_t done_bytes, uint64_t all_bytes);
int hv_hash_files(const struct hv_vm_id *id, struct hv_hashes *h, hv_hash_more *more, void *arg,
		  struct tv_err *e) TV_MUST_CHECK;

/* ---- an attached VM ---- */
struct hv_vm;

#define HV_MAX_BLOCKS 256
struct hv_block {
	char name[256]; /* RAMBlock idstr */
	uint64_t bytes; /* used length, a multiple of the page size (rounded up) */
	struct hv_hva host;
	bool main_ram; /* the machine's main memory, "pc.ram" for short */
};

struct hv_opts {
	bool two_step; /* scan first, protect only dirty clusters: forced on; else chosen by KVM */
	/* Set while hv_pause, hv_detach or hv_disks_unmirror has the VM stopped: hv_cleanup wants to
	 * know it after our death. May be NULL; outlives the attachment. */
	volatile uint32_t *stopped;
	bool three_commands; /* an epoch is stop, save, cont, also where one command could do */
	bool plaintext;	     /* the replica of a disk that QEMU encrypts may be plain text */
	bool net_below; /* output can be held below QEMU: vhost and several queues do not matter */
	/* What files hold; may be NULL. Outlives the attachment. */
	struct hv_hashes *hashes;
};

/*
 * Attaches to a running VM: connects QMP (one client at a time: -EBUSY when another uses the
 * socket), checks that it can be protected (TV_E_REFUSED, refusals filled with all reasons), finds
 * its RAM blocks, injects one userfaultfd and registers all blocks for asynchronous write
 * protection. Nothing is write-protected yet: the first harvest reports every populated page (and
 * none in stretches that were never touched and read as zero: the copy must start as zeroes). On
 * failure everything is undone and *out stays NULL. At most a few seconds.
 */
int hv_attach(const struct hv_vm_id *id, const struct hv_opts *opts, struct hv_vm **out,
	      struct hv_refusals *refusals, struct tv_err *e) TV_MUST_CHECK;
/*
 * Detaches from the VM: resumes it if hv_pause had paused it, removes mirrors (the VM is stopped
 * for some milliseconds), filters, chardevs, fd sets and the userfaultfd, closes QMP, frees vm.
 * NULL is allowed. The mirrors' servers must be answering until it returns. If the monitor's
 * connection has ended and QEMU has not, it connects once more. Negative: something of twinvm may be
 * left in the VM, or the VM still be paused; hv_cleanup, or the next hv_attach, sees to it.
 */
int hv_detach(struct hv_vm *vm);
/*
 * Cleans up after a process that died while attached, from another process: removes every mirror,
 * filter, chardev and fd set named "twinvm-..." from the VM, and resumes it if *stopped is set,
 * which it clears then. Removing mirrors stops the VM for some milliseconds, with *stopped set.
 * Idempotent. TV_E_GONE when the VM is gone.
 */
int hv_cleanup(const struct hv_vm_id *id, volatile uint32_t *stopped,
	       struct tv_err *e) TV_MUST_CHECK;

/* Stops a VM for good from outside an attachment (it was fenced). TV_E_GONE when it has ended. */
int hv_stop_vm(const struct hv_vm_id *id, struct tv_err *e) TV_MUST_CHECK;
/* query-status of a VM that nobody is attached to: 1 it runs, 0 not. */
int hv_vm_runs(const struct hv_vm_id *id, struct tv_err *e) TV_MUST_CHECK;
/*
 * An operator's suspend and resume, between epochs. The VM is stopped by him then: hv_resume, hv_detach
 * and hv_cleanup leave it so, also where hv_pause had stopped it before. TV_E_REFUSED: it stands
 * still for another reason, or must not run; or what QEMU says, with a sentence.
 */
int hv_suspend(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
int hv_unsuspend(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* It is to stay stopped, whoever has stopped it, and hv_resume is due. */
int hv_keep_stopped(struct hv_vm *vm, int timeout_ms) TV_MUST_CHECK;
/* The same of a VM that nobody is attached to: stop it, or let it run. TV_E_GONE when it has ended. */
int hv_suspend_vm(const struct hv_vm_id *id, bool stop, struct tv_err *e) TV_MUST_CHECK;
/* Asks QEMU to quit and waits for the end of its process. -ETIMEDOUT: it still runs. */
int hv_quit(struct hv_vm *vm, int timeout_ms, struct tv_err *e) TV_MUST_CHECK;

const struct hv_block *hv_blocks(const struct hv_vm *vm, unsigned *n);
/* Is it running under KVM? (chooses the harvest; for status) */
bool hv_is_kvm(const struct hv_vm *vm);
/* Everything the backup's side needs to start a standby, as JSON; the caller owns the reference.
 * {"argv":[...], "machine":"pc-q35-7.2", "version":"7.2.22", "name":..., "ram_bytes":N,
 *  "blocks":[{"name":..,"bytes":..,"main":bool}], "files":["/path/kernel",...],
 *  "nics":[{"netdev":"n0","type":"tap","mac":"..","driver":"e1000","hub":bool,
 *          "bridge":"br0","mtu":1500,"vlans":[{"id":2,"pvid":bool,"untagged":bool}]}],
 *  "disks":[{"name":..,"device":..,"node":..,"file":..,"bytes":N}], "cwd":"/folder/of/qemu",
 * "kvm":bool, "oom_score_adj":N, "nice":N}. nics[].hub: the backend is reached through a hub; from
 * bridge on only of a tap that is a port of one.
 * "copies":[{"path":..,"bytes":N,"sha256":..}]: files that the VM reads, of which the backup may want
 * copies; "drives":[{"device":..,"qdev":..,"node":..,"format":..,"file":..}]: what is in the drives
 * whose medium can be changed (the last three are missing of an empty one). Reads those of the files that
 * are not known (hv_hash_files).
 * "libvirt":{"name":..,"uuid":..,"xml":..,"inactive_xml":..}: of a domain of libvirt's, unless libvirt
 * does not answer within seconds: what it is now, migratable; as it is stored, null if it is not. */
json_t *hv_describe(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
#define HV_MAX_FILES 32
/* A part of a file in "copies", by its place there: how many bytes, n or up to its end. -ERANGE: past
 * that; errors of the file. */
int hv_file_read(struct hv_vm *vm, unsigned file, uint64_t offset, void *p, size_t n,
		 struct tv_err *e) TV_MUST_CHECK;
/* Is another medium in a drive, or another size of a disk, than when the VM was described? The
 * sentence says what has changed. 1, 0 or negative. */
int hv_media_changed(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;

/* ---- dirty pages ---- */
struct hv_run { /* a stretch of dirty pages inside one block */
	uint32_t block;
	uint32_t pages;
	uint64_t offset; /* bytes from the start of the block, page aligned */
};
struct hv_cursor { /* where a harvest continues; zero-initialise to start a round */
	uint32_t block;
	uint64_t offset;
	bool done;
};
/*
 * Each round of hv_harvest begins with hv_round_begin. Where dirty pages come from soft-dirty bits
 * (hv_round_needs_pause) that must be between hv_pause and hv_resume, or hv_epoch_begin and
 * hv_epoch_end, else -EBUSY; the harvest
 * itself may follow while the VM runs. Elsewhere it does nothing, at any time. HOT. After a failure
 * nothing may be assumed and the VM needs a full copy; TV_E_UNTRACKED: what shared RAM's soft-dirty
 * bits depend on has changed on this host.
 */
bool hv_round_needs_pause(const struct hv_vm *vm);
int hv_round_begin(struct hv_vm *vm) TV_MUST_CHECK;
/*
 * HOT. Finds written pages from the cursor on, in ascending (block, offset) order, and protects
 * exactly those again, until max_pages or max_runs is reached or everything was scanned
 * (cursor->done). A page written after it was reported is reported by a later round. Returns the
 * number of runs or a negative errno (then nothing may be assumed and the VM needs a full copy).
 */
int hv_harvest(struct hv_vm *vm, struct hv_cursor *cursor, struct hv_run *runs, unsigned max_runs,
	       uint64_t max_pages) TV_MUST_CHECK;
/* HOT. Copies the runs' pages one behind the other into dst. TV_E_POISON: there is a page that the
 * kernel does not read, for us or for anybody; hv_unreadable says which. */
int hv_copy(struct hv_vm *vm, const struct hv_run *runs, unsigned n, void *dst) TV_MUST_CHECK;
/* The sentence of hv_copy's TV_E_POISON, not to be asked for in a pause. Returns that, or -EFAULT when
 * QEMU itself has taken the memory away. */
int hv_unreadable(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;

/*
 * Between two rounds, while the VM runs: a run of at most HV_PEEK_PAGES pages as they are now. Of
 * what the next round does not report it is what the last one had left. Populates nothing. As
 * hv_copy for what cannot be read. peek.c has the argument.
 */
#define HV_PEEK_PAGES 64u
int hv_peek(struct hv_vm *vm, const struct hv_run *run, void *dst) TV_MUST_CHECK;
/* The next round reports this page (and perhaps others near it), as if it had been written. */
int hv_report(struct hv_vm *vm, uint32_t block, uint64_t offset) TV_MUST_CHECK;

/* A part of a saved device state: "0000:00:02.0/e1000e#0". */
struct hv_state_part {
	char name[128];
	size_t offset, bytes;
};
/* Cuts a device state into such parts, which leave no gap; the rest behind the last one that can be read is
 * one without a name. How many; at most max (at least 1). */
unsigned hv_state_parts(const void *state, size_t bytes, struct hv_state_part *out, unsigned max);

/* ---- one epoch; time-outs: timeout_ms each, -ETIMEDOUT ---- */
/*
 * HOT. Stops the VM and begins to save its state: when it returns 0 no vCPU runs, no further frame
 * comes, and the disks are drained. One command, in which the VM stands until hv_epoch_end; or,
 * where QEMU cannot do that (hv_epoch_way) or the VM is to stay stopped (stay), hv_pause and
 * hv_state_begin. -EALREADY as hv_pause; -EAGAIN: the same, and it does run. After any other failure
 * hv_resume is due.
 */
int hv_epoch_begin(struct hv_vm *vm, bool stay, int timeout_ms) TV_MUST_CHECK;
/*
 * The same for a VM that somebody else has stopped: one epoch of it as it stands; hv_epoch_end
 * leaves it stopped. -EAGAIN: it runs, nothing was changed. Not HOT: no guest waits.
 */
int hv_still_begin(struct hv_vm *vm, int timeout_ms) TV_MUST_CHECK;
/*
 * HOT. After hv_epoch_begin has returned 0, always. *bytes: the size of the state. The VM runs
 * again, if it ran by one command and nobody else has stopped it; else hv_is_paused, and hv_resume
 * is due. -ESTALE: somebody else let it run or reset it meanwhile, the epoch is torn and must not
 * count.
 */
int hv_epoch_end(struct hv_vm *vm, int timeout_ms, size_t *bytes) TV_MUST_CHECK;
/* HOT. Is the VM stopped by hv_pause or hv_epoch_begin, and hv_resume due? */
bool hv_is_paused(const struct hv_vm *vm);
/* Why an epoch takes three commands; NULL: it takes one. It may change with an epoch. */
const char *hv_epoch_way(const struct hv_vm *vm);
/*
 * HOT. QMP stop; when it returns 0 no vCPU runs and no further frame comes. -EALREADY when it did
 * not run (an operator paused it, or it ended): nothing was changed and hv_resume must not be
 * called. After any other failure it may be paused: hv_resume or hv_detach lets it run again.
 */
int hv_pause(struct hv_vm *vm, int timeout_ms) TV_MUST_CHECK;
/* HOT. Starts xen-save-devices-state (live: false) into the VM's memfd and does not wait. */
int hv_state_begin(struct hv_vm *vm) TV_MUST_CHECK;
/* HOT. Waits for its end; *bytes is the size of the state. */
int hv_state_end(struct hv_vm *vm, int timeout_ms, size_t *bytes) TV_MUST_CHECK;
/* HOT. QMP cont, if hv_pause or hv_epoch_begin has paused it and nobody else has resumed it. */
int hv_resume(struct hv_vm *vm, int timeout_ms) TV_MUST_CHECK;
/* Reads the state saved last, from its start; TV_E_PROTOCOL when a standby could not load it (valid
 * until the next hv_state_begin); the VM may run meanwhile. */
int hv_state_read(struct hv_vm *vm, void *dst, size_t bytes) TV_MUST_CHECK;

/*
 * Has the VM still the devices that it was described with? To be asked with each state that was
 * saved, before its epoch counts; the VM may run meanwhile. TV_E_CHANGED names the device that was
 * plugged in or unplugged: what was captured is of a VM that the standby is not.
 */
int hv_devices_check(struct hv_vm *vm, const void *state, size_t bytes,
		     struct tv_err *e) TV_MUST_CHECK;
/* The same, asked of QEMU at once: when something that belongs to a device has ended by itself. */
int hv_devices_look(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;

/* ---- events, and the VM's end ---- */
/* Reads what QMP has sent meanwhile, without waiting, and calls back for each event (those that our
 * own stop and cont made are left out). Never between hv_pause and hv_resume. TV_E_MONITOR when the
 * connection has ended: whether QEMU has, hv_ended finds out. */
int hv_events(struct hv_vm *vm, void (*cb)(enum hv_event ev, const char *name, void *arg),
	      void *arg) TV_MUST_CHECK;
/* The QMP socket, to wait on for hv_events; owned by vm. */
int hv_fd(const struct hv_vm *vm);
/* A pidfd of the QEMU process: readable when it has ended; owned by vm. */
int hv_pidfd(const struct hv_vm *vm);
/*
 * Has QEMU's process ended, or is it ending? Only that is the VM's end: a monitor's connection may
 * also end by itself (a proxy, a `chardev-remove`). ending: QEMU has reported that it shuts down,
 * which may take it seconds. Waits a moment for an end that has begun.
 */
bool hv_ended(const struct hv_vm *vm, bool ending);
/* The run state that the VM is in. HV_GOES_ON: it runs. */
int hv_look(struct hv_vm *vm, const struct hv_run_state **state) TV_MUST_CHECK;
/* Resumes a VM in a state of HV_RUNS_ON, if it is twinvm that had the command refused: 1. 0: it is
 * not ours to resume. */
int hv_run_on(struct hv_vm *vm) TV_MUST_CHECK;
/* Since when QEMU owes the answer to a command; 0: it does not. Any thread. */
int64_t hv_asked_ns(const struct hv_vm *vm);
/* What its process waits for, if the kernel can tell: a sentence, or "". Any thread. */
const char *hv_stuck(const struct hv_vm *vm);
/* SIGKILL to QEMU: for one that hangs, and is to run elsewhere. Any thread. */
int hv_kill(const struct hv_vm *vm) TV_MUST_CHECK;

/* ---- network output ---- */
#define HV_MAX_NICS 32
struct hv_net_port {
	char netdev[64];
	char ifname[16]; /* of its tap; "" when it is something else or not known */
	int capture_fd;	 /* frames the guest sends come out here; non-blocking UNIX stream socket */
	int inject_fd;	 /* frames written here reach the network */
	bool vnet_hdr; /* each frame: be32 length, be32 vnet header length, bytes; else be32 length,
			  bytes */
};
/*
 * Hot-adds the filters on every NIC: two filter-redirector objects and two socket chardevs each,
 * named twinvm-*, in the order that does not loop frames. The caller owns the fds in ports.
 * -ENOTSUP with the device's name for vhost or multiqueue.
 */
int hv_net_hold(struct hv_vm *vm, struct hv_net_port ports[HV_MAX_NICS], unsigned *n,
		struct tv_err *e) TV_MUST_CHECK;
/* Removes them again; frames flow directly. The caller still reads capture_fd until this
 * returns. */
int hv_net_unhold(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;

struct hv_tap {
	char netdev[64];
	char ifname[16];
	unsigned ifindex; /* in this process's network namespace */
};
/*
 * The taps that the VM's NICs send to, for holding output below QEMU instead of hv_net_hold; vhost
 * and several queues make no difference. 0 also for a VM without NICs. -ENOTSUP with the reason
 * when one of them is no tap, or not one that can be held (elsewhere, NAPI, zero copy).
 */
int hv_net_taps(struct hv_vm *vm, struct hv_tap taps[HV_MAX_NICS], unsigned *n,
		struct tv_err *e) TV_MUST_CHECK;

/* ---- disks ---- */
#define HV_MAX_DISKS 64
struct hv_disk {
	char name[160];	 /* for people */
	char device[64]; /* QEMU's name of the drive, "" with -blockdev */
	char node[64];	 /* of its topmost node */
	char file[1024]; /* image, as QEMU names it */
	uint64_t bytes;	 /* as the guest sees it */
	double copied;	 /* of its first copy, 0 to 1, at the last hv_disks_ready */
};
/* The writable disks; their places in the list are their numbers everywhere. */
const struct hv_disk *hv_disks(const struct hv_vm *vm, unsigned *n);
/*
 * Connects a disk's mirror to the NBD server behind fd (QEMU's end of a socket pair, which stays
 * the caller's to close), which must be serving already. The guest never notices when that server
 * dies.
 */
int hv_disk_connect(struct hv_vm *vm, unsigned disk, int fd, struct tv_err *e) TV_MUST_CHECK;
/*
 * Starts mirroring a disk that was connected. The VM must be stopped, and stay so until the server
 * has received the mirror's first request: QEMU dies of a guest's write that comes between the two
 * (mirror.c).
 */
int hv_disk_mirror(struct hv_vm *vm, unsigned disk, struct tv_err *e) TV_MUST_CHECK;
/* Must the VM be stopped for that? Only where a request of the guest may meet a mirror in its first
 * moment: with I/O threads, or in some versions of QEMU. Also when QEMU does not answer. */
bool hv_disks_need_pause(struct hv_vm *vm);
/* Are all mirrors ready, that is, is every disk copied and every write since then mirrored? 1, 0,
 * or negative when one has failed. */
int hv_disks_ready(struct hv_vm *vm, uint64_t *done_bytes, uint64_t *all_bytes,
		   struct tv_err *e) TV_MUST_CHECK;
/*
 * Asks QEMU, where it can report it (8.2 and later), whether every mirror has every write; to be
 * called between a pause and the moment at which that epoch counts, paused or not. 0 also where
 * QEMU cannot report it; -EIO when one lacks something, or has ended.
 */
int hv_disks_synced(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* No mirror has failed, as far as hv_events has read: what QEMU sent before its answer to hv_pause
 * is known after the next hv_events. */
bool hv_disks_ok(const struct hv_vm *vm);
/*
 * All of them as read-only NBD exports of QEMU's (hv_export_name) on a listening UNIX socket, which stays
 * the caller's to close: to be read while the VM runs. A failure undoes it; -EIO also where somebody else
 * uses QEMU's NBD server.
 */
#define HV_EXPORT_BYTES 32
int hv_disks_export(struct hv_vm *vm, int listen_fd, struct tv_err *e) TV_MUST_CHECK;
void hv_disks_unexport(struct hv_vm *vm);
void hv_export_name(unsigned disk, char out[HV_EXPORT_BYTES]);
/* Stops mirroring, as in hv_detach; the disks keep working. */
int hv_disks_unmirror(struct hv_vm *vm, struct tv_err *e) TV_MUST_CHECK;

#endif
