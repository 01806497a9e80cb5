/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standby: a paused QEMU on the backup that has the primary's devices, takes its memory epoch
 * by epoch, and at promotion loads the device state and runs. The door of hv/standby.
 *
 * Call order: hv_standby_start (desc is what hv_describe returned on the primary),
 *   hv_standby_write or writes through hv_standby_map, for each epoch,
 *   then hv_standby_promote and hv_standby_release, or hv_standby_kill.
 *   hv_standby_reap when the owner died: by pid, from any process.
 *
 * The QEMU is a child of init: it outlives its owner, and must then be reaped or attached.
 * Threads, ownership and return codes as in hv.h. No call is HOT.
 */
#ifndef HV_STANDBY_H
#define HV_STANDBY_H

#include "hv/hv.h"

/* Names of a standby's memory file in /proc/PID/maps: twinvm's own, that of a domain of libvirt. */
#define HV_STANDBY_RAM_FILES                                       \
	{                                                          \
		"/memfd:twinvm-ram", "/memfd:memory-backend-memfd" \
	}

struct hv_standby;
struct hv_host_ops; /* hv/host/host.h */

struct hv_standby_conf {
	/* All that needs rights on this host; both must outlive the standby. */
	const struct hv_host_ops *host;
	void *host_arg;
	const char *dir;    /* run directory of this VM on this host; exists, private to us */
	const char *bridge; /* that tap NICs join at promotion; NULL: none. Only checked here */
	const char *vm_id;
	/* Raw images for desc["disks"], in that order; a VM with writable disks needs as many. */
	const char *const *replicas;
	unsigned n_replicas;
	/* Copies of desc["copies"] on this host, in that order, for which it has no such file itself;
	 * NULL: it has. */
	const char *const *copies;
	unsigned n_copies;
	const char *peer;      /* the host that asks for it, for sentences; may be NULL */
	const char *media;     /* folders ("/a:/b") of the files that a standby may read */
	const char *qemu_path; /* folders in which its QEMU is looked for */
	/* For a test, not to take over: the host has its main RAM, full, and its disks' bases
	 * (struct hv_host_clone); the replicas are qcow2 images over these. */
	bool clone;
};
/*
 * Checks this host (files, machine type, QEMU version, free memory), makes main RAM's memfd, starts
 * the standby as a process of its own (own session, output to dir/standby.log; it outlives us),
 * connects QMP, finds its RAM blocks and maps main RAM. -ENOMEM no room; -ENOTSUP machine type,
 * version or a file is missing; TV_E_REFUSED the VM's command line asks for what is not allowed on
 * this host; each sentence says what.
 */
int hv_standby_start(json_t *desc, const struct hv_standby_conf *conf, struct hv_standby **out,
		     struct tv_err *e) TV_MUST_CHECK;
/* Has this host a file of that name and these contents, which a standby may read? Reads all of it.
 * Of conf only media and host count. */
bool hv_standby_has_file(const struct hv_standby_conf *conf, const char *path, uint64_t bytes,
			 const char *sha256);
/* Direct pointer to a block's memory when it is mapped here (main RAM), else NULL. */
uint8_t *hv_standby_map(struct hv_standby *sb, uint32_t block);
/* The memory file that is mapped there; stays the standby's. */
int hv_standby_ram_fd(const struct hv_standby *sb);
/* Access to any block; block numbers are those of desc["blocks"]. -ERANGE outside the block;
 * TV_E_POISON: this host has lost a page of it (hv_standby_lost). */
int hv_standby_write(struct hv_standby *sb, uint32_t block, uint64_t offset, const void *p,
		     size_t n) TV_MUST_CHECK;
int hv_standby_read(struct hv_standby *sb, uint32_t block, uint64_t offset, void *p,
		    size_t n) TV_MUST_CHECK;
/*
 * Runs work(arg), which touches a standby's memory, and returns what it returns; TV_E_POISON: it has met
 * a page that this host has lost. What work was about is then half done, and must not be continued.
 */
int hv_standby_guard(int (*work)(void *arg), void *arg) TV_MUST_CHECK;
/* Has this process's standby lost a page? e (may be NULL): the sentence. From any thread. */
bool hv_standby_lost(struct tv_err *e);
unsigned hv_standby_blocks(const struct hv_standby *sb);
uint64_t hv_standby_block_bytes(const struct hv_standby *sb, uint32_t block);
pid_t hv_standby_pid(const struct hv_standby *sb);
int hv_standby_pidfd(const struct hv_standby *sb);
/* Name, pid and QMP socket of the standby, with which hv_attach takes it after promotion. */
void hv_standby_id(const struct hv_standby *sb, struct hv_vm_id *out);
/* Would this device state load? TV_E_REFUSED names a device that the standby does not have. */
int hv_standby_check_state(struct hv_standby *sb, const uint8_t *state, size_t bytes,
			   struct tv_err *e) TV_MUST_CHECK;
/*
 * Attaches the NICs' taps to the bridge, loads the device state and lets the VM run; QEMU
 * announces itself (RARP, guest announce). Returns when it runs, after about timeout_ms at most.
 * What goes wrong with taps and bridge is a warning (hv_standby_taps_why): the VM runs. After a
 * failure it may be called again: the memory is kept, and a QEMU that has begun to load is replaced
 * by a fresh one first. TV_E_POISON: this host has lost a page of it. -ESTALE: the VM ran for a moment, its memory is no epoch any more.
 */
int hv_standby_promote(struct hv_standby *sb, const void *state, size_t bytes, int timeout_ms,
		       struct tv_err *e) TV_MUST_CHECK;
/* The next promotion leaves the VM stopped (`paused`), as it was when its last epoch was taken. */
void hv_standby_stay(struct hv_standby *sb, bool stopped);
/* After a promotion: why the VM has no network; "": it has. */
const char *hv_standby_taps_why(const struct hv_standby *sb);
/* Asks its QEMU: a QMP command and its arguments (stolen, NULL: none); *ret is the caller's, NULL after a
 * failure. For a VM that is nobody else's: a clone. */
int hv_standby_ask(struct hv_standby *sb, const char *command, json_t *args, json_t **ret,
		   int timeout_ms, struct tv_err *e) TV_MUST_CHECK;
/* After promotion: frees sb; the VM keeps running. NULL is allowed. */
void hv_standby_release(struct hv_standby *sb);
/* Ends the standby QEMU and removes its files and taps. NULL is allowed. */
void hv_standby_kill(struct hv_standby *sb);
/* The same for one whose owner died: by pid and start time, and what lies in dir. */
void hv_standby_reap(pid_t pid, uint64_t start_ticks, const char *dir);

#endif
