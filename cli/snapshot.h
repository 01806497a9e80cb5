/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm snapshot: what its two files share. */
#ifndef CLI_SNAPSHOT_H
#define CLI_SNAPSHOT_H

#include "cli/cli.h"
#include "still/still.h"

struct snapshot {
	struct still s;
	int dir; /* into which it is written */
	bool elf;
	json_t *files; /* of the manifest */
	/* Called now and then; part: what is written now. May be NULL. */
	void (*show)(void *arg, const char *part, uint64_t done, uint64_t all);
	void *arg;
	volatile const int *stop; /* not 0: it is to end */
};
/* Writes all files, the manifest last, and fills files. */
int snapshot_write(struct snapshot *n, struct tv_err *e) TV_MUST_CHECK;
/* Removes what snapshot_write makes. */
void snapshot_remove_files(int dir);
/* Is a qemu-img there? */
bool snapshot_has_qemu_img(void);

#endif
