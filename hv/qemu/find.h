/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hv_find and hv_list over a folder other than /proc, for tests. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_FIND_H
#define HV_QEMU_FIND_H

#include "hv/hv.h"

int hv_find_at(const char *root, const char *what, const char *users,
	       bool (*skip)(pid_t pid, void *arg), void *arg, struct hv_vm_id *out,
	       struct tv_err *e) TV_MUST_CHECK;
#define HV_MAX_QMP 8
/* The nth QMP UNIX socket of a QEMU's command line, as a path that this process can connect to. */
bool hv_find_qmp(const char *root, pid_t pid, unsigned nth, char *out, size_t room);
int hv_list_at(const char *root, struct hv_vm_id *out, unsigned max, unsigned *n) TV_MUST_CHECK;

#endif
