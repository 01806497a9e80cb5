/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One QMP socket for many clients. A QEMU serves one client at each of its sockets; Proxmox VE's
 * tools connect to the only one for each command. While such a VM is protected, a process of its own
 * listens in that socket's place, and is QEMU's one client. How: proxy.c, place.c.
 *
 * Call order: hv_proxy_wants, then hv_proxy_run in a process of its own; whoever needs the VM's
 * monitor waits with hv_proxy_await. hv_proxy_put_back whenever that process has ended.
 */
#ifndef HV_PROXY_PROXY_H
#define HV_PROXY_PROXY_H

#include "hv/hv.h"

#define HV_PROXY_PATH 300
/* run_dir/ID.proxy: the note that shows what is to be put back, locked by the process that serves. */
void hv_proxy_note(const char *run_dir, const char *vm_id, char out[HV_PROXY_PATH]);
/*
 * Is the VM's socket one to be shared: its only one, in one of these folders ("a:b"), where nobody
 * but root can put something else in its place?
 */
bool hv_proxy_wants(const struct hv_vm_id *vm, const char *folders);
/*
 * Takes the socket's place, serves, and puts it back: until SIGTERM, or QEMU ends the connection.
 * Reports to ready_fd, which it closes, when it serves, or why not. The process's exit status.
 */
int hv_proxy_run(const struct hv_vm_id *vm, const char *note, int ready_fd);
/* Waits for that report at the pipe's other end. -ETIMEDOUT; TV_E_MONITOR: the process died; or why
 * it does not serve: -EBUSY another client holds the socket, and others of hv_qmp_open. */
int hv_proxy_await(int fd, int timeout_ms, struct tv_err *e) TV_MUST_CHECK;
/* The process that serves by this note; 0: none does. */
pid_t hv_proxy_serves(const char *note);
/*
 * Puts QEMU's socket back in its place and removes the note. If QEMU has ended nothing is left in
 * the folder. Idempotent, from any process; 0 also when there is nothing to do. Does not block.
 */
int hv_proxy_put_back(const char *note, struct tv_err *e) TV_MUST_CHECK;

#endif
