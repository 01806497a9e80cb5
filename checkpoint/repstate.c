/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state file beside a replica. It is mapped: what is stored into it survives this process
 * whatever kills it, and costs no system call an epoch. What it does not survive is the host's own
 * crash; so it names the boot it was written in, and "live" counts only in that boot. Only "whole"
 * (settled: images first, then this file, both durable) counts in any.
 */
#include "checkpoint/repstate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAGIC UINT64_C(0x3165746174735674) /* "tVstate1" */

enum phase { SYNCING = 1, LIVE = 2, APPLYING = 3, WHOLE = 4 };
struct page {
	uint64_t magic;
	_Atomic uint32_t phase;
	uint32_t reserved;
	_Atomic uint64_t epoch;
	char session[40], boot[40];
};
struct ckpt_repstate {
	struct page *page;
	char path[512];
};

static int path_of(const char *dir, const char *vm_id, char *path, size_t room)
{
	return snprintf(path, room, "%s/%s.state", dir, vm_id) >= (int)room ? -ENAMETOOLONG : 0;
}

static void boot_id(char out[40])
{
	TV_FREE char *text = NULL;

	out[0] = 0;
	if (!tv_read_file("/proc/sys/kernel/random/boot_id", 64, &text, NULL))
		snprintf(out, 40, "%.36s", text);
}

int ckpt_repstate_begin(const char *dir, const char *vm_id, const char *session,
			struct ckpt_repstate **out, struct tv_err *e)
{
	struct ckpt_repstate *s = calloc(1, sizeof(*s));
	struct page first = {.magic = MAGIC, .phase = SYNCING};
	TV_CLOSE int fd = -1;
	void *p = MAP_FAILED;
	int rc = s ? path_of(dir, vm_id, s->path, sizeof(s->path)) : -ENOMEM;

	*out = NULL;
	tv_copy(first.session, sizeof(first.session), session);
	boot_id(first.boot);
	if (!rc)
		rc = tv_write_file(s->path, &first, sizeof(first));
	if (!rc) {
		fd = open(s->path, O_RDWR | O_CLOEXEC);
		/* Its block is allocated from now on: a store into the mapping cannot fail for want
		 * of room. */
		if (fd < 0 || posix_fallocate(fd, 0, TV_PAGE_BYTES))
			rc = fd < 0 ? -errno : -ENOSPC;
		else
			p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	if (rc || p == MAP_FAILED) {
		rc = rc ? rc : -errno;
		free(s);
		return tv_fail(e, rc, "cannot make the replica's state file in %s: %s", dir,
			       tv_strerror(rc));
	}
	s->page = p;
	*out = s;
	return 0;
}

void ckpt_repstate_applying(struct ckpt_repstate *s)
{
	atomic_store(&s->page->phase, APPLYING);
}

void ckpt_repstate_applied(struct ckpt_repstate *s, uint64_t epoch)
{
	atomic_store(&s->page->epoch, epoch);
	atomic_store(&s->page->phase, LIVE);
}

int ckpt_repstate_settle(struct ckpt_repstate *s)
{
	atomic_store(&s->page->phase, WHOLE);
	return msync(s->page, TV_PAGE_BYTES, MS_SYNC) ? -errno : 0;
}

void ckpt_repstate_remove(struct ckpt_repstate *s)
{
	unlink(s->path);
}

void ckpt_repstate_free(struct ckpt_repstate *s)
{
	if (!s)
		return;
	munmap(s->page, TV_PAGE_BYTES);
	free(s);
}

void ckpt_rep_state(const char *dir, const char *vm_id, struct ckpt_rep_state *out)
{
	TV_FREE char *text = NULL;
	char path[4096], boot[40];
	struct page p;
	size_t n = 0;

	*out = (struct ckpt_rep_state){.phase = CKPT_REP_NONE};
	if (path_of(dir, vm_id, path, sizeof(path)) || tv_read_file(path, 1u << 16, &text, &n))
		return;
	out->phase = CKPT_REP_MIXED;
	if (n < sizeof(p))
		return;
	memcpy(&p, text, sizeof(p));
	if (p.magic != MAGIC)
		return;
	p.session[sizeof(p.session) - 1] = p.boot[sizeof(p.boot) - 1] = 0;
	boot_id(boot);
	out->epoch = p.epoch;
	snprintf(out->session, sizeof(out->session), "%.32s", p.session);
	if (p.phase == WHOLE || (p.phase == LIVE && boot[0] && !strcmp(boot, p.boot)))
		out->phase = CKPT_REP_WHOLE;
}
