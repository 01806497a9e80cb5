/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asking a backup session's sink for a still (still/still.h): one committed epoch that stands still.
 * One at a time for each VM. The daemon only passes a socket on: whoever has it holds the still.
 */
#ifndef DAEMON_FREEZE_H
#define DAEMON_FREEZE_H

#include "daemon/daemon.h"

struct freeze_want {
	uint64_t extra_bytes; /* memory that the holder will take beside the copy; 0: none */
	uint64_t disk_bytes;  /* at most kept of what the VM overwrites; 0: spool_mib */
	int for_s;	      /* it ends after that; 0: FREEZE_FOR_S; FREEZE_MAX_S at most */
};
#define FREEZE_FOR_S 300
#define FREEZE_MAX_S 3600
/*
 * rc 0: fd is the callee's, to be given to the holder (still_receive) or closed; memory is only
 * about to be copied then, and whether there is room for it the holder learns. Else why: a sentence.
 */
typedef void freeze_cb(void *arg, int rc, const char *why, int fd);
/*
 * Asks. cb comes once, later, never from inside. Not 0: it does not come. TV_E_REFUSED: this host is not the VM's
 * backup (the sentence has the right one), or the VM is not protected now; -EBUSY: there is one.
 */
int freeze_ask(struct vm *vm, const struct freeze_want *want, freeze_cb *cb, void *arg,
	       struct tv_err *e) TV_MUST_CHECK;
/* (supervise.c) The sink's answer; fd, -1 without one, is taken over. */
void freeze_answered(struct vm *vm, const struct session_frozen *answer, int fd);
/* The session has ended. */
void freeze_lost(struct vm *vm);
/* The one who asked is gone: cb does not come any more. */
void freeze_forget(struct daemon *d, void *arg);

#endif
