/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture thread's first copy: memory in rounds while the VM runs, its disks meanwhile. It ends
 * early with encoder_stop.
 */
#include "replicator/source/capture_int.h"

#include <errno.h>
#include <poll.h>

#define MAX_SYNC_ROUNDS 24
#define DISK_POLL_MS 50
#define MIRROR_BEGINS_MS 2000 /* the guest stands still */

static uint64_t total_bytes(struct cap *c, const struct hv_block **blocks, unsigned *n)
{
	uint64_t sum = 0;

	*blocks = hv_blocks(c->vm, n);
	for (unsigned i = 0; i < *n; i++)
		sum += (*blocks)[i].bytes;
	return sum;
}

static double position(struct cap *c, const struct hv_cursor *cur)
{
	const struct hv_block *blocks;
	unsigned n;
	uint64_t all = total_bytes(c, &blocks, &n), at = cur->offset;

	for (unsigned i = 0; i < cur->block && i < n; i++)
		at += blocks[i].bytes;
	return all ? (double)at / (double)all : 1;
}

/*
 * A pause of the first copy. It is no epoch: nothing is held or released by it. The disks know of
 * it, as of an epoch's: `stop` drains them. To be given to end_pause, also when it has failed.
 */
static int begin_pause(struct cap *c)
{
	c->conf.page->in_pause = 1;
	cap_pausing(c, true);
	return hv_pause(c->vm, QMP_TIMEOUT_MS);
}

static int end_pause(struct cap *c, int pause_rc)
{
	int rc = cap_end_pause(c, pause_rc, false);

	cap_pausing(c, false);
	c->conf.page->in_pause = c->stopped;
	return rc;
}

static int begin_all(struct cap *c, unsigned n, struct tv_err *e)
{
	struct tv_err ignored = {0};
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++)
		rc = hv_disk_mirror(c->vm, i, e);
	if (!rc && (rc = c->conf.disks_begun(c->conf.arg, MIRROR_BEGINS_MS)))
		tv_fail(e, rc, "a disk's mirror job does not begin: %s", tv_strerror(rc));
	if (rc)
		(void)!hv_disks_unmirror(c->vm, &ignored);
	return rc;
}

/*
 * All jobs in one pause, which ends when each has come to its first request (hv_disk_mirror says
 * why). A job that does not is ended before the VM runs again: better no protection than no VM.
 * Where no I/O thread can come between there is no pause: another monitor's `stop` in it would be
 * answered, and undone by its end.
 */
static int begin_mirrors(struct cap *c, unsigned n, struct tv_err *e)
{
	int paused, rc, r;

	if (!hv_disks_need_pause(c->vm))
		return begin_all(c, n, e);
	paused = begin_pause(c);
	rc = !paused || paused == -EALREADY ? begin_all(c, n, e) : paused;
	r = end_pause(c, paused);
	return rc ? rc : r;
}

static bool start_mirrors(struct cap *c)
{
	struct tv_err e = {0};
	unsigned n;
	const struct hv_disk *disks = hv_disks(c->vm, &n);
	int rc = 0;

	for (unsigned i = 0; i < n && !rc; i++) {
		int fd;

		rc = c->conf.disk(c->conf.arg, disks[i].bytes, &fd);
		if (!rc)
			rc = hv_disk_connect(c->vm, i, fd, &e);
		tv_close_fd(&fd);
	}
	if (!rc && n)
		rc = begin_mirrors(c, n, &e);
	if (rc)
		cap_fail(c, rc, &e, "copying the VM's disks");
	return !rc;
}

static void report_copied(struct cap *c, struct cap_event *ev)
{
	const struct hv_disk *disks = hv_disks(c->vm, &ev->ndisks);

	for (unsigned i = 0; i < ev->ndisks; i++)
		ev->copied[i] = (float)disks[i].copied;
}

/* Waits until every disk is copied, and every write since then mirrored. */
static bool await_mirrors(struct cap *c)
{
	uint64_t done, all;
	struct tv_err e = {0};
	int rc;

	for (;;) {
		struct cap_event ev = {.kind = CAP_EV_PROGRESS};
		struct pollfd p[2] = {{hv_fd(c->vm), POLLIN, 0}, {hv_pidfd(c->vm), POLLIN, 0}};

		rc = hv_disks_ready(c->vm, &done, &all, &e);
		if (rc || encoder_stopped(c->en))
			break;
		cap_obey_operator(c);
		ev.progress = all ? 0.5 + 0.45 * (double)done / (double)all : 0.5;
		report_copied(c, &ev);
		cap_emit(c, &ev);
		/* QEMU reports when a job is ready or has failed; the time is for progress. */
		if (poll(p, 2, DISK_POLL_MS) > 0)
			rc = hv_events(c->vm, cap_on_vm_event, c);
		if (rc)
			break;
	}
	if (rc == 1)
		return true;
	cap_fail(c, rc ? rc : -ECANCELED, &e, "copying the VM's disks");
	return false;
}

/* Where the kernel's way of tracking asks for it, a round begins with the VM paused for a moment. */
static int begin_round(struct cap *c)
{
	int paused, rc, r;

	if (!hv_round_needs_pause(c->vm))
		return hv_round_begin(c->vm);
	paused = begin_pause(c);
	rc = paused ? paused : hv_round_begin(c->vm);
	r = end_pause(c, paused);
	return rc ? rc : r;
}

static bool operator_waits(void *arg)
{
	return cap_operator_waits(arg);
}

/* A first copy may take hours: an operator's suspend does not wait for its end. */
static struct slot *get_slot(struct cap *c)
{
	struct slot *s;

	do {
		cap_obey_operator(c);
		s = encoder_slot_get(c->en, operator_waits, c);
	} while (!s && !encoder_stopped(c->en));
	return s;
}

/* One pass over the VM; pages written meanwhile are the next round's. */
static int sync_round(struct cap *c, int round, uint64_t *pages, bool *first)
{
	struct hv_cursor cur = {0};
	int begun = begin_round(c);

	*pages = 0;
	if (begun)
		return begun;
	while (!cur.done) {
		struct cap_event ev = {.kind = CAP_EV_PROGRESS};
		struct slot *s = get_slot(c);
		int rc;

		if (!s)
			return -ECANCELED;
		s->epoch = 0;
		s->first = *first;
		*first = false;
		rc = cap_fill(c, s, &cur, NULL);
		if (rc) {
			s->nruns = 0;
			encoder_slot_put(c->en, s);
			return rc;
		}
		*pages += s->npages;
		encoder_slot_put(c->en, s);
		if (c->disks_copied)
			ev.progress = round ? 0.95 + 0.04 * round / MAX_SYNC_ROUNDS
					    : 0.95 * position(c, &cur);
		else /* half for memory, half for disks */
			ev.progress = round ? 0.5 : 0.5 * position(c, &cur);
		cap_emit(c, &ev);
	}
	return 0;
}

/* Until little is dirty, or copying does not gain on the writer any more: the rest is epoch 1's. */
static bool sync_memory(struct cap *c, int *round, bool *first)
{
	uint64_t pages = 0, before = UINT64_MAX;
	int worse = 0, rc;
	struct tv_err e = {0};

	for (int end = *round + MAX_SYNC_ROUNDS / (cap_has_disks(c) ? 2 : 1);
	     *round < end && worse < 2; ++*round) {
		rc = sync_round(c, *round, &pages, first);
		if (rc) {
			if (rc == TV_E_POISON)
				rc = hv_unreadable(c->vm, &e);
			cap_fail(c, rc, &e, "copying the VM");
			return false;
		}
		if (pages <= 1024)
			break;
		worse += pages > before - before / 8;
		before = pages;
	}
	++*round;
	return true;
}

/* Disks are copied while memory is (after it, if the backup has to read its images first); what was
 * dirtied until they are done is copied once more. */
void cap_sync(struct cap *c)
{
	struct cap_event ev = {.kind = CAP_EV_SYNCED};
	bool first = true, later;
	struct slot *s;
	int round = 0;

	c->disks_copied = !cap_has_disks(c);
	later = !c->disks_copied && c->conf.disks_wait(c->conf.arg);
	if (!later && !start_mirrors(c))
		return;
	if (!sync_memory(c, &round, &first))
		return;
	if (later && !start_mirrors(c))
		return;
	if (!c->disks_copied) {
		if (!await_mirrors(c))
			return;
		c->disks_copied = true;
		if (!sync_memory(c, &round, &first))
			return;
	}
	s = encoder_slot_get(c->en, NULL, NULL);
	if (!s) {
		cap_fail(c, -ECANCELED, NULL, "copying the VM");
		return;
	}
	c->conf.disks_copied(c->conf.arg);
	s->epoch = 0;
	s->last = true;
	encoder_slot_put(c->en, s);
	cap_emit(c, &ev);
}
