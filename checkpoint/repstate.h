/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state file beside a replica's images: whether they are one epoch, after any death. */
#ifndef CHECKPOINT_REPSTATE_H
#define CHECKPOINT_REPSTATE_H

#include "checkpoint/checkpoint.h"

struct ckpt_repstate;
/* Makes it anew: MIXED from now on, durably. */
int ckpt_repstate_begin(const char *dir, const char *vm_id, const char *session,
			struct ckpt_repstate **out, struct tv_err *e) TV_MUST_CHECK;
/* Around every apply. Cheap: memory that the kernel writes, whoever is killed. */
void ckpt_repstate_applying(struct ckpt_repstate *s);
void ckpt_repstate_applied(struct ckpt_repstate *s, uint64_t epoch);
/* The images are durable at the applied epoch. */
int ckpt_repstate_settle(struct ckpt_repstate *s) TV_MUST_CHECK;
/* Deletes the file. */
void ckpt_repstate_remove(struct ckpt_repstate *s);
void ckpt_repstate_free(struct ckpt_repstate *s);

#endif
