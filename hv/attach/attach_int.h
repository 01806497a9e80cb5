/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hv/attach share. Private to hv/attach; the door is hv/hv.h. */
#ifndef HV_ATTACH_ATTACH_INT_H
#define HV_ATTACH_ATTACH_INT_H

#include "hv/vm.h"

/* ---- tap.c ---- */
/* Fills in the names of taps that came to QEMU as descriptors, as far as they can be seen. */
void hv_tap_names(pid_t pid, struct hv_nic *nics, unsigned n);

/* ---- state.c ---- */
/* three_commands: see hv_opts. */
int hv_state_setup(struct hv_vm *vm, bool three_commands, struct tv_err *e) TV_MUST_CHECK;
void hv_state_teardown(struct hv_vm *vm);
/* Does a saved state begin as a standby expects it? */
bool hv_state_is_loadable(const uint8_t *state, size_t bytes);

/* ---- pipe.c: an epoch in one command ---- */
/* A VM with which that cannot be done is no failure: pipe.why says why not. */
int hv_pipe_setup(struct hv_vm *vm, bool forbidden, struct tv_err *e) TV_MUST_CHECK;
void hv_pipe_teardown(struct hv_vm *vm);
bool hv_pipe_usable(const struct hv_vm *vm);
/* HOT. 0: the VM stands in the command until hv_pipe_end. -EALREADY, -EAGAIN, and others as
 * hv_epoch_begin; -ENOTSUP: QEMU cannot use the pipe, the VM runs. */
int hv_pipe_begin(struct hv_vm *vm, int timeout_ms) TV_MUST_CHECK;
/* HOT. Reads the rest; the VM runs again, unless somebody else had stopped it. */
int hv_pipe_end(struct hv_vm *vm, int timeout_ms, size_t *bytes) TV_MUST_CHECK;
/* HOT. Whatever QEMU is in: its write fails, and the VM runs again. The pipe is not used any more. */
void hv_pipe_give_up(struct hv_vm *vm, const char *why);
/* The state that was read last. */
void hv_pipe_state(struct hv_vm *vm, void *dst, size_t bytes);

/* ---- mirror.c ---- */
/* Does an element of query-block stand for a medium that the guest can write? */
bool hv_disk_is_writable(json_t *dev);
/* Lists the disks. block: query-block. */
int hv_disks_setup(struct hv_vm *vm, json_t *block, struct tv_err *e) TV_MUST_CHECK;
/* Sees every event that hv_events reads. */
void hv_disks_event(struct hv_vm *vm, const char *name, json_t *ev);

/* ---- watch.c ---- */
/* The devices that it has now are those that it is to keep: before it is described. slots: memory
 * may be plugged in. */
int hv_watch_begin(struct hv_vm *vm, bool slots, struct tv_err *e) TV_MUST_CHECK;
void hv_watch_end(struct hv_vm *vm);

/* ---- events.c ---- */
/* name: of the event ev. */
enum hv_event hv_event_of(const char *name, json_t *ev);

/* ---- stop.c ---- */
/* Connects to the monitor of a VM that nobody is attached to. TV_E_GONE when it has ended. */
int hv_open_vm(const struct hv_vm_id *id, struct hv_qmp **out, struct tv_err *e) TV_MUST_CHECK;

/* ---- clean.c ---- */
/* Ends our mirror jobs and removes their targets; a failure goes to *rc unless one is there.
 * *stopped (may be NULL) is set while the VM is stopped for that; still set at the end: it may be
 * stopped. */
/* Read-only exports of disks, and QEMU's NBD server if it has any of them. */
void hv_remove_exports(struct hv_qmp *q, int *rc, struct tv_err *e);
void hv_remove_mirrors(struct hv_qmp *q, volatile uint32_t *stopped, int *rc, struct tv_err *e);
/* The same for every object, chardev and fd set that carries HV_PREFIX, too; continues after a
 * failure. */
int hv_remove_traces(struct hv_qmp *q, volatile uint32_t *stopped, struct tv_err *e) TV_MUST_CHECK;

#endif
