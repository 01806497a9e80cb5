/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: what is done to the standby
 *
 * Rule 2, whole epochs, is kept here: an epoch touches the replica only after all of it, memory and
 * disks, was received and checked, and a promotion is done by the same thread, so it never sees an
 * epoch half applied. The answer that an epoch is whole (the commit) is given before it is applied:
 * from then on this process can always finish it, and only this thread promotes the standby.
 *
 * Failure. After the first one nothing is applied any more: what the replica holds is the last
 * epoch that was applied whole, or nothing that can be run. It is answered once; all later work but
 * APPLY_KILL is passed over, and APPLY_PROMOTE fails. A promotion that fails is no such failure: it
 * leaves the replica as it is, and may be asked for again.
 *
 * Memory that this host loses (hv/standby/lost.c) is such a failure: nothing here has that page's
 * contents any more, so the session ends, and the next one has a new QEMU and a new memory file. What if the
 * promotion is decided already? Before the record is asked it is looked for once more (sink.c). After
 * that the promotion fails: in a planned switch the VM is offered back to the primary, which has
 * a whole copy. If the primary is dead, two hosts have failed within one promotion; a guest that continues
 * with a page of zeroes would damage its disks, so nobody runs it: its images stay, and an operator decides.
 */
#include "replicator/sink/apply_int.h"
#include "checkpoint/checkpoint.h"
#include "replicator/sink/open_disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define HASHES 1024 /* blocks of one APPLY_HASH: 64 MiB, some 50 ms */
#define EPOCH_MEMORY_BYTES (32u << 20)
#define WEIGH_NS TV_NS_PER_S

/* ---- start ---- */

static int start_disks(struct apply *a, json_t *desc, struct apply_answer *ans)
{
	struct open_disks_conf conf = {.dir = a->conf.replica_dir,
				       .vm_id = a->conf.standby.vm_id,
				       .session = a->conf.session,
				       .room = a->room,
				       .hash_key = a->conf.hash_key};
	struct ckpt_rep_state old;
	int rc;

	ckpt_rep_state(conf.dir, conf.vm_id, &old);
	if (old.phase != CKPT_REP_NONE)
		tv_log(TV_INFO,
		       "a replica of an earlier session (%.8s) is %s; what differs is copied",
		       old.session, old.phase == CKPT_REP_WHOLE ? "whole" : "not one epoch's");
	a->conf.standby.replicas = a->replicas;
	rc = sink_open_disks(desc, &conf, &a->rep, a->replicas, &a->conf.standby.n_replicas,
			     &ans->e);
	ans->has_old = a->rep && ckpt_rep_has_old(a->rep);
	if (a->rep)
		ckpt_rep_watch(a->rep, apply_disk_before, a);
	return rc;
}

static int new_decoder(struct apply *a, struct tv_err *e)
{
	int rc;

	apply_mem_init(a);
	rc = ckpt_dec_new(&a->mem, EPOCH_MEMORY_BYTES, a->room, &a->dec);

	return rc ? tv_fail(e, rc, "decoder: %s", tv_strerror(rc)) : 0;
}

/* With all files at hand. */
static int start_standby(struct apply *a, struct apply_answer *ans)
{
	int rc = start_disks(a, a->desc, ans);

	if (!rc)
		rc = hv_standby_start(a->desc, &a->conf.standby, &a->sb, &ans->e);
	json_decref(a->desc);
	a->desc = NULL;
	if (rc)
		return rc;
	a->started = true;
	hv_standby_id(a->sb, &ans->vm);
	rc = new_decoder(a, &ans->e);
	if (rc)
		return rc;
	/* A descriptor of its own: the loop watches it while this thread may end the standby. */
	a->pidfd = fcntl(hv_standby_pidfd(a->sb), F_DUPFD_CLOEXEC, 3);
	if (a->pidfd < 0)
		return tv_fail(&ans->e, -errno, "no descriptor for the standby: %s",
			       strerror(errno));
	ans->pidfd = a->pidfd;
	return 0;
}

/* The standby's QEMU reads files as it starts: they come first. */
static int next_file(struct apply *a, struct apply_answer *ans)
{
	int rc = copies_next(a->copies, &ans->want, &ans->e);

	ans->kind = rc > 0 ? APPLY_WANT : APPLY_START;
	if (rc)
		return rc > 0 ? 0 : rc;
	return start_standby(a, ans);
}

static int start(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	struct copies_conf conf = {.dir = a->conf.replica_dir,
				   .vm_id = a->conf.standby.vm_id,
				   .limit_bytes = a->conf.files_bytes,
				   .standby = &a->conf.standby};
	json_error_t je;
	int rc;

	a->desc = json_loadb((const char *)w->data, w->n, 0, &je);
	if (!a->desc)
		return tv_fail(&ans->e, TV_E_PROTOCOL, "the VM's description is not JSON: %s",
			       je.text);
	rc = sink_make_room(a->conf.spool_dir, a->conf.spool_bytes, a->conf.reserve_bytes, &a->room,
			    &ans->e);
	conf.room = a->room;
	if (!rc)
		rc = copies_open(a->desc, &conf, &a->copies, &ans->e);
	return rc ? rc : next_file(a, ans);
}

static int file_data(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	int rc = a->copies && a->desc
			 ? copies_add(a->copies, w->data, w->n, &ans->e)
			 : tv_fail(&ans->e, TV_E_PROTOCOL, "a file came that was not asked for");

	return rc == 1 ? next_file(a, ans) : rc;
}

/* As much as one message holds. One at a time, so that neither memory nor heartbeats wait long. */
static int hash_some(struct apply *a, struct apply_answer *ans)
{
	int n = 0;

	ans->hashes = malloc((size_t)HASHES * CKPT_HASH_BYTES);
	if (!ans->hashes)
		return tv_fail(&ans->e, -ENOMEM, "no memory for hashes");
	while (a->hash_disk < CKPT_MAX_DISKS && !n) {
		n = ckpt_rep_hash(a->rep, a->hash_disk, a->hash_next, HASHES, ans->hashes, &ans->e);
		if (n < 0)
			return n;
		if (!n) {
			a->hash_disk++;
			a->hash_next = 0;
		}
	}
	ans->disk = n ? a->hash_disk : 0;
	ans->first = a->hash_next;
	ans->last = !n;
	ans->hashes_bytes = (size_t)n * CKPT_HASH_BYTES;
	a->hash_next += (unsigned)n;
	return 0;
}

/* ---- first copy and epochs ---- */

static int sync_end(struct apply *a, const struct apply_work *w, struct tv_err *e)
{
	if (ckpt_dec_stream_pending(a->dec))
		return tv_fail(e, TV_E_PROTOCOL, "the first copy ends inside a record");
	if (a->rep)
		return ckpt_rep_stream_end(a->rep, w->sums.disk_records, w->sums.disk_checksum, e);
	return 0;
}

static int epoch_data(struct apply *a, const struct apply_work *w, struct tv_err *e)
{
	int rc = ckpt_dec_add(a->dec, w->data, w->n);

	return rc ? tv_fail(e, rc, "storing epoch data: %s", ckpt_room_why(a->room, rc)) : 0;
}

static int disk_data(struct apply *a, const struct apply_work *w, struct tv_err *e)
{
	if (!a->rep)
		return tv_fail(e, TV_E_PROTOCOL, "disk data for a VM without writable disks");
	if (!w->epoch)
		return ckpt_rep_stream(a->rep, w->data, w->n, e);
	return ckpt_rep_add(a->rep, w->epoch, w->data, w->n, e);
}

/* What would fail to load at a promotion is no backup. */
static int check_devices(struct apply *a, struct tv_err *e)
{
	size_t n;
	const uint8_t *state = ckpt_dec_next_state(a->dec, &n);

	return state ? hv_standby_check_state(a->sb, state, n, e) : 0;
}

/* Memory and disks of an epoch: both are checked before it is acknowledged, and before either is
 * touched. */
static int verify(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	int rc;

	ans->verified.from_ns = tv_now_ns();
	rc = ckpt_dec_verify(a->dec, w->sums.records, w->sums.checksum, &ans->e);
	if (!rc && a->rep)
		rc = ckpt_rep_verify(a->rep, w->epoch, w->sums.disk_records, w->sums.disk_checksum,
				     &ans->e);
	if (!rc)
		rc = check_devices(a, &ans->e);
	ans->verified.epoch = w->epoch;
	ans->verified.until_ns = tv_now_ns();
	return rc;
}

/* Memory of this host's that lies: whoever looks after the host reads it now, the primary when it compares. */
static void note_mended(struct apply *a)
{
	struct ckpt_mended m;

	ckpt_dec_mended(a->dec, &m);
	if (!m.times)
		return;
	a->mended.times += m.times;
	a->mended.offset = m.offset;
	tv_log(TV_ERROR,
	       "the standby's copy of the device state had changed in memory at byte %zu, "
	       "and was mended from its second copy",
	       m.offset);
}

static int epoch_end(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	int rc = verify(a, w, ans);

	note_mended(a);
	if (rc)
		return rc;
	ans->suspended = w->sums.suspended;
	a->answer(ans, a->arg); /* committed */
	/* A promotion runs this epoch, or, if it cannot be applied, none. */
	a->suspended = w->sums.suspended;
	a->applied = (struct apply_time){.epoch = w->epoch, .from_ns = tv_now_ns()};
	rc = ckpt_dec_apply(a->dec);
	if (rc)
		return tv_fail(&ans->e, rc, "applying an epoch: %s", tv_strerror(rc));
	rc = a->rep ? ckpt_rep_apply(a->rep, w->epoch, &ans->e) : 0;
	a->applied.until_ns = tv_now_ns();
	return rc;
}

/* What cannot be compared is no failure of the standby's. */
static int compare(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	struct compared_with with = {.mem = &a->mem, .rep = a->rep};
	int rc;

	memcpy(&ans->ask, w->data, sizeof(ans->ask));
	if (a->applied.epoch != w->epoch || !a->sb)
		return tv_fail(&ans->e, 0, "the standby is not at epoch %llu",
			       (unsigned long long)w->epoch);
	with.state = ckpt_dec_state(a->dec, &with.state_bytes);
	note_mended(a);
	if (ans->ask.what == COMPARED_STATE) {
		ans->mended = a->mended;
		a->mended.times = 0;
	}
	ans->hashes = malloc(ans->ask.n * sizeof(uint32_t));
	rc = ans->hashes ? compared_run(w->data, w->n, &with, (uint32_t *)ans->hashes, &ans->e)
			 : tv_fail(&ans->e, -ENOMEM, "no memory to compare");
	ans->hashes_bytes = rc > 0 ? (size_t)rc * sizeof(uint32_t) : 0;
	return 0;
}

/* ---- ends ---- */

/* The answer first: neither the VM nor the next session waits for a disk. */
static void end_disks(struct apply *a, const struct apply_work *w, const struct apply_answer *ans)
{
	struct tv_err e = {0};
	int rc = 0;

	a->answer(ans, a->arg);
	/* Of a VM that was refused nothing stays; else the next session has use for them. */
	if (w->kind == APPLY_KILL && a->copies &&
	    (w->epoch || (!a->started && a->failed && copies_are_new(a->copies))))
		copies_remove(a->copies);
	if (!a->rep)
		return;
	if (w->kind == APPLY_PROMOTE)
		rc = ckpt_rep_let_go(a->rep, &e);
	else if (w->epoch || !(ckpt_rep_is_whole(a->rep) || ckpt_rep_has_old(a->rep)))
		ckpt_rep_remove(a->rep);
	else if (ckpt_rep_is_whole(a->rep)) /* if not: the next first copy has use for it */
		rc = ckpt_rep_settle(a->rep, &e);
	if (rc)
		tv_log(TV_WARN, "%s", e.text);
	ckpt_rep_free(a->rep);
	a->rep = NULL;
}

/*
 * The primary of a planned switch waits with a whole copy, which is back sooner than a second try.
 * Else this may be the last copy: a busy host is waited for, and a second try has a fresh QEMU.
 */
static int load(struct apply *a, const uint8_t *state, size_t n, bool planned, struct tv_err *e)
{
	int ms = planned ? a->conf.planned_timeout_ms : a->conf.promote_timeout_ms;
	int rc = hv_standby_promote(a->sb, state, n, ms, e);

	for (int again = planned ? 0 : 2; rc && rc != -ESTALE && rc != TV_E_POISON && again;
	     again--) {
		tv_log(TV_ERROR, "promotion: %s; it is tried again", e->text);
		rc = hv_standby_promote(a->sb, state, n, ms, e);
	}
	return rc;
}

static int promote(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	size_t n;
	const uint8_t *state = a->dec ? ckpt_dec_state(a->dec, &n) : NULL;
	int rc;

	if (a->failed)
		return tv_fail(&ans->e, -EIO, "the last committed epoch is not whole here: %s",
			       a->why.text);
	if (hv_standby_lost(&ans->e))
		return TV_E_POISON;
	if (!state)
		return tv_fail(&ans->e, -ENODATA, "no committed epoch");
	if (a->rep)
		ckpt_rep_hand_over(a->rep);
	ans->suspended = a->suspended;
	hv_standby_stay(a->sb, a->suspended);
	ans->load_ns = tv_now_ns();
	rc = load(a, state, n, w->epoch, &ans->e);
	if (rc)
		return rc;
	ans->ran_ns = tv_now_ns();
	tv_copy(ans->e.text, sizeof(ans->e.text), hv_standby_taps_why(a->sb));
	hv_standby_id(a->sb, &ans->vm);
	end_disks(a, w, ans);
	/*
	 * Last: unmapping main RAM takes a tenth of a millisecond for each MiB that was touched, and behind
	 * the answer are the frames that are replayed. The VM does not need this process any more, nor
	 * is anything of sb asked for from here on (a->sb is this thread's; the loop has the VM's id).
	 */
	hv_standby_release(a->sb);
	a->sb = NULL;
	return 0;
}

static void kill_standby(struct apply *a, const struct apply_work *w,
			 const struct apply_answer *ans)
{
	hv_standby_kill(a->sb);
	a->sb = NULL;
	end_disks(a, w, ans);
}

/* ---- one piece of work ---- */

static int run(struct apply *a, const struct apply_work *w, struct apply_answer *ans)
{
	switch (w->kind) {
	case APPLY_START:
		return start(a, w, ans);
	case APPLY_FILE:
		return file_data(a, w, ans);
	case APPLY_WANT:
		return 0;
	case APPLY_HASH:
		return hash_some(a, ans);
	case APPLY_SYNC:
		return ckpt_dec_stream(a->dec, w->data, w->n, &ans->e);
	case APPLY_SYNC_END:
		return sync_end(a, w, &ans->e);
	case APPLY_DISK:
		return disk_data(a, w, &ans->e);
	case APPLY_BEGIN:
		ckpt_dec_begin(a->dec);
		return 0;
	case APPLY_EPOCH:
		return epoch_data(a, w, &ans->e);
	case APPLY_END:
		return epoch_end(a, w, ans);
	case APPLY_COMPARE:
		return compare(a, w, ans);
	case APPLY_PROMOTE:
		return promote(a, w, ans);
	case APPLY_KILL:
		kill_standby(a, w, ans);
		return 0;
	}
	return 0;
}

struct guarded {
	struct apply *a;
	const struct apply_work *w;
	struct apply_answer *ans;
};

static int run_guarded(void *arg)
{
	struct guarded *g = arg;

	return run(g->a, g->w, g->ans);
}

/* After work, so that no commit waits for it. */
static void weigh(struct apply *a)
{
	int64_t now_ns = tv_now_ns();

	if (!a->rep || !a->conf.images || now_ns - a->weighed_ns < WEIGH_NS)
		return;
	a->weighed_ns = now_ns;
	for (unsigned i = 0; i < a->conf.standby.n_replicas; i++)
		atomic_store(&a->conf.images->bytes[i], ckpt_rep_image_bytes(a->rep, i));
}

void apply_run(struct apply *a, const struct apply_work *w)
{
	struct apply_answer ans = {
		.kind = w->kind, .epoch = w->epoch, .pidfd = -1, .applied = a->applied};
	struct guarded g = {a, w, &ans};

	if (a->failed && w->kind != APPLY_KILL && w->kind != APPLY_PROMOTE)
		return;
	apply_end_still(a, w->kind);
	ans.rc = hv_standby_guard(run_guarded, &g);
	if (ans.rc == TV_E_POISON)
		(void)hv_standby_lost(&ans.e);
	if (ans.rc && w->kind != APPLY_PROMOTE && !a->failed) {
		a->failed = true;
		a->why = ans.e;
	}
	/* END, PROMOTE and KILL have answered their success themselves, as early as they could. */
	if (ans.rc || w->kind == APPLY_START || w->kind == APPLY_HASH || w->kind == APPLY_COMPARE ||
	    ans.kind != w->kind)
		a->answer(&ans, a->arg);
	weigh(a);
	if (w->kind == APPLY_END) /* though more waits: a busy VM's still becomes whole, too */
		apply_idle(a);
}

struct apply *apply_new(const struct apply_conf *conf, apply_answer_cb answer, void *arg)
{
	struct apply *a = calloc(1, sizeof(*a));

	if (a)
		*a = (struct apply){.conf = *conf, .answer = answer, .arg = arg, .pidfd = -1};
	return a;
}

void apply_free(struct apply *a)
{
	if (!a)
		return;
	sink_still_leave(&a->still);
	ckpt_rep_free(a->rep);
	ckpt_dec_free(a->dec);
	copies_free(a->copies);
	json_decref(a->desc);
	ckpt_room_free(a->room);
	tv_close_fd(&a->pidfd);
	free(a);
}
