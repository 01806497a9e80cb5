/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: a comparison of the VM with its backup (docs/REHEARSAL.md), part by part.
 *
 * A part of memory is wanted (compare.c), the next epoch completes its hashes, they are sent behind
 * that epoch's end, and the backup answers which of them differ from what it holds when it has
 * applied that epoch and nothing newer. Meanwhile the next part is wanted. With `repair` a part in
 * which something differs is wanted again: what differed is reported as written, so that its epoch
 * brings it whole, and the part is compared anew.
 *
 * Bounded: one part is read and three are with the backup; the backup's answers are checked against
 * what was asked. No epoch is made or released otherwise than without a comparison.
 */
#include "replicator/source/source_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { WHAT_MEMORY, WHAT_DISK, WHAT_STATE }; /* of the protocol */

#define LEAST_PAGES 256u /* of a part: less is waited for */
#define TELL_NS (200 * TV_NS_PER_MS)
#define STALL_NS (60 * TV_NS_PER_S)

/* ---- to the daemon ---- */
static void tell(struct source *s, bool over, bool ok, const char *why)
{
	struct src_verify *v = &s->verify;
	json_t *msg;

	v->got.over = over;
	v->got.ok = ok;
	v->got.seconds = (double)(tv_now_ns() - v->begun_ns) / 1e9;
	v->got.progress = ok ? 1 : v->all_bytes ? (double)v->used_bytes / (double)v->all_bytes : 0;
	tv_copy(v->got.text, sizeof(v->got.text), why);
	msg = session_message(SESSION_OP_VERIFIED, &v->got);
	if (msg && over)
		json_object_set(msg, "found", v->found);
	report_send(s->report, msg);
	v->told_ns = tv_now_ns();
}

static void forget(struct src_verify *v)
{
	while (v->opens)
		json_decref(v->open[--v->opens].names);
	while (v->redos)
		free(v->redo[--v->redos]);
	json_decref(v->blocks);
	json_decref(v->found);
	v->blocks = v->found = NULL;
	v->on = false;
}

/* What is wanted, or with the backup, is not waited for: its answers come to nothing (`stale`). */
static void finish(struct source *s, bool ok, const char *why)
{
	struct src_verify *v = &s->verify;

	tell(s, true, ok, why);
	tv_log(TV_INFO,
	       "%s: compared with %s: %llu pages, %llu differ; %llu blocks of disks, %llu differ%s%s",
	       s->job.vm_name, s->job.peer.name, (unsigned long long)v->got.pages,
	       (unsigned long long)v->got.mismatched_pages, (unsigned long long)v->got.blocks,
	       (unsigned long long)v->got.mismatched_blocks, *why ? ": " : "", why);
	v->stale += v->opens;
	src_vdisks_end(s);
	forget(v);
}

/* ---- parts ---- */
static void want(struct source *s, const struct compare_want *w, bool again)
{
	s->verify.again = again;
	s->verify.want = *w;
	compare_want(s->verify.compare, w);
	cap_post(s->cap, CAP_COMPARE, 0);
}

static uint64_t pages_of(const struct source *s, uint32_t block)
{
	json_t *b = json_array_get(s->verify.blocks, block);

	return (uint64_t)json_integer_value(json_object_get(b, "bytes")) >> TV_PAGE_SHIFT;
}

/* As many as the rate allows by now. */
static uint64_t allowed(const struct src_verify *v)
{
	double bytes = (double)(tv_now_ns() - v->begun_ns) / 1e9 * (double)v->rate_bytes_s -
		       (double)v->used_bytes;

	return bytes > 0 ? (uint64_t)bytes >> TV_PAGE_SHIFT : 0;
}

static void want_next(struct source *s)
{
	static struct compare_want w; /* large; the loop's */
	struct src_verify *v = &s->verify;
	uint64_t left = pages_of(s, v->block) - v->page, may = allowed(v);

	if (may < LEAST_PAGES && may < left)
		return;
	may = may < COMPARE_PAGES ? may : COMPARE_PAGES;
	w = (struct compare_want){
		.block = v->block, .pages = (uint32_t)(left < may ? left : may), .first = v->page};
	w.state = !v->state_sent || (w.pages == left && v->block + 1 == json_array_size(v->blocks));
	want(s, &w, false);
}

static bool memory_is_done(const struct src_verify *v)
{
	return v->block >= json_array_size(v->blocks);
}

/* Blocks of less than a page have no page. */
static void skip_ended(struct source *s)
{
	struct src_verify *v = &s->verify;

	while (!memory_is_done(v) && v->page >= pages_of(s, v->block)) {
		v->block++;
		v->page = 0;
	}
}

static void next_disks(struct source *s)
{
	struct src_verify *v = &s->verify;
	struct tv_err e;

	if (v->d.step == VDISKS_NONE && src_vdisks(s)) {
		if (src_vdisks_begin(s, &e))
			finish(s, false, e.text);
		return;
	}
	if (v->d.step == VDISKS_ASKED || !cdisk_is_idle(v->disks))
		return;
	if (v->d.step == VDISKS_READS) {
		uint64_t may = (allowed(v) << TV_PAGE_SHIFT) / CKPT_BLOCK_BYTES;

		if (!may || src_vdisks_want(s, may))
			return;
	}
	if (!v->opens)
		finish(s, true, "");
}

static void next(struct source *s)
{
	struct src_verify *v = &s->verify;

	if (!compare_is_idle(v->compare) || v->opens == SRC_VERIFY_OPEN)
		return;
	skip_ended(s);
	if (v->redos) {
		want(s, v->redo[--v->redos], true);
		free(v->redo[v->redos]);
	} else if (!memory_is_done(v)) {
		want_next(s);
	} else {
		next_disks(s);
	}
}

bool src_verify_waits(const struct source *s)
{
	const struct src_verify *v = &s->verify;

	return v->on && ((!compare_is_idle(v->compare) && !compare_is_due(v->compare)) ||
			 (v->d.step == VDISKS_READS && !cdisk_is_idle(v->disks)));
}

void src_verify_look(struct source *s)
{
	struct src_verify *v = &s->verify;
	int64_t now_ns = tv_now_ns();

	if (!v->on)
		return;
	if (now_ns - v->asked_ns > STALL_NS) {
		finish(s, false,
		       s->vm.stopped ? "the VM stands still: nothing more was compared for a minute"
				     : "nothing more was compared for a minute");
		return;
	}
	next(s);
	if (v->on && now_ns - v->told_ns > TELL_NS)
		tell(s, false, false, "");
}

/* ---- to the backup ---- */
static void ask(struct source *s, const struct src_compared *c, const uint8_t *hashes, uint64_t *at,
		size_t nat)
{
	struct src_verify *v = &s->verify;
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	Twinvm__Verify m = TWINVM__VERIFY__INIT;

	m.generation = s->job.generation;
	m.epoch = c->epoch;
	m.key.data = v->key;
	m.key.len = sizeof(v->key);
	m.what = c->what;
	m.number = c->number;
	m.first = c->first;
	m.at = at;
	m.n_at = nat;
	m.hashes.data = (uint8_t *)hashes;
	m.hashes.len = (size_t)c->n * COMPARE_HASH_BYTES;
	msg.msg_case = TWINVM__CONTROL__MSG_VERIFY;
	msg.verify = &m;
	v->open[v->opens++] = *c;
	v->asked_ns = tv_now_ns();
	src_send(s, &msg, false);
}

static void send_state(struct source *s, const struct compare_out *o)
{
	struct src_compared c = {
		.epoch = o->epoch, .what = WHAT_STATE, .n = o->nparts, .names = json_array()};
	uint64_t at[2 * COMPARE_PARTS];

	for (unsigned i = 0; i < o->nparts; i++) {
		at[2 * i] = o->parts[i].offset;
		at[2 * i + 1] = o->parts[i].bytes;
		json_array_append_new(
			c.names, json_pack("[sI]", o->parts[i].name,
					   (json_int_t)(o->parts[i].offset + o->parts[i].bytes)));
	}
	s->verify.state_sent = true;
	ask(s, &c, o->part_hashes, at, 2 * (size_t)o->nparts);
}

/* Queues pages of it to be sent again, and compared. Without memory they stay a mismatch. */
static void again(struct source *s, uint32_t block, uint64_t first, const uint32_t *which, size_t n)
{
	struct src_verify *v = &s->verify;
	struct compare_want *w = n && v->redos < SRC_VERIFY_OPEN ? calloc(1, sizeof(*w)) : NULL;

	if (!w)
		return;
	w->block = block;
	w->first = first + which[0];
	w->pages = which[n - 1] - which[0] + 1;
	w->nrepair = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		w->repair[i] = which[i] - which[0];
	v->redo[v->redos++] = w;
}

/* An epoch came before all of what is compared again was read: so many pages were. How many of those had
 * to be repaired; the others are queued. */
static uint32_t rest(struct source *s, uint32_t pages)
{
	const struct compare_want *w = &s->verify.want;
	uint32_t n = 0;

	while (n < w->nrepair && w->repair[n] < pages)
		n++;
	again(s, w->block, w->first, w->repair + n, w->nrepair - n);
	return n;
}

void src_verify_epoch(struct source *s, struct compare *compare)
{
	struct src_verify *v = &s->verify;
	struct src_compared c = {.what = WHAT_MEMORY, .again = v->again};
	struct compare_out o;

	compare_take(compare, &o);
	if (!v->on)
		return;
	if (o.rc) {
		struct tv_err e;

		tv_fail(&e, o.rc, "the memory of the VM, block %s from page %llu on: %s",
			src_block_name(s, o.block), (unsigned long long)o.first, tv_strerror(o.rc));
		finish(s, false, e.text);
		return;
	}
	c.epoch = o.epoch;
	c.number = o.block;
	c.first = o.first;
	c.n = o.pages;
	if (v->again)
		c.repairs = rest(s, o.pages);
	ask(s, &c, o.hashes, NULL, 0);
	if (o.nparts && v->opens < SRC_VERIFY_OPEN)
		send_state(s, &o);
	if (!v->again) {
		v->page += o.pages;
		v->used_bytes += (uint64_t)o.pages << TV_PAGE_SHIFT;
	}
	if (!v->got.first_epoch)
		v->got.first_epoch = o.epoch;
	v->got.last_epoch = o.epoch;
	next(s);
}

void src_verify_exported(struct source *s, const struct cap_event *ev)
{
	struct tv_err e;

	if (src_vdisks_exported(s, ev, &e) && s->verify.on)
		finish(s, false, e.text);
	else if (!s->verify.on)
		src_vdisks_end(s);
}

void src_verify_disks(struct source *s, uint64_t epoch)
{
	struct src_verify *v = &s->verify;
	struct src_compared c = {.epoch = epoch, .what = WHAT_DISK};
	struct cdisk_out o;
	struct tv_err e;

	if (!v->on || !src_vdisks_take(s, epoch, &o))
		return;
	if (o.rc) {
		tv_fail(&e, o.rc, "the disk %s could not be read through QEMU: %s",
			src_vdisks_name(s, o.disk), tv_strerror(o.rc));
		finish(s, false, e.text);
		return;
	}
	c.number = o.disk;
	c.n = o.n;
	c.again = v->d.now == VDISKS_RECHECK;
	memcpy(c.at, o.blocks, sizeof(c.at));
	if (o.n)
		ask(s, &c, o.hashes, o.blocks, o.n);
	v->used_bytes += (uint64_t)o.n * CKPT_BLOCK_BYTES;
	v->got.last_epoch = epoch;
	v->asked_ns = tv_now_ns();
	next(s);
}

/* ---- the backup's answers ---- */
static void on_pages(struct source *s, const struct src_compared *c, const Twinvm__Verified *m)
{
	struct src_verify *v = &s->verify;

	if (c->again) {
		v->got.repaired_pages += c->repairs - m->n_different;
		src_found_repaired(s, c, m);
		return;
	}
	v->got.pages += c->n;
	v->got.mismatched_pages += m->n_different;
	for (size_t i = 0; i < m->n_different; i++)
		src_found_page(s, c, m->different[i]);
	if (v->repair)
		again(s, c->number, c->first, m->different, m->n_different);
}

/* The part that has this byte, as the parts are now; of a state that was longer the last one. */
static uint32_t part_at(const struct src_compared *c, uint64_t offset)
{
	uint32_t i = 0;

	while (i + 1 < c->n && (uint64_t)json_integer_value(
				       json_array_get(json_array_get(c->names, i), 1)) <= offset)
		i++;
	return i;
}

static void on_parts(struct source *s, const struct src_compared *c, const Twinvm__Verified *m)
{
	struct src_verify *v = &s->verify;

	v->got.parts += c->n;
	v->got.mismatched_parts += m->n_different + m->mended;
	v->got.repaired_parts += m->mended;
	for (size_t i = 0; i < m->n_different; i++)
		src_found_part(s, c, m->different[i], false);
	if (m->mended)
		src_found_part(s, c, part_at(c, m->mended_at), true);
}

static void on_blocks(struct source *s, const struct src_compared *c, const Twinvm__Verified *m)
{
	struct src_verify *v = &s->verify;

	if (c->again) {
		v->got.repaired_blocks += c->n - m->n_different;
		src_found_blocks_repaired(s, c, m);
		return;
	}
	v->got.blocks += c->n;
	v->got.mismatched_blocks += m->n_different;
	for (size_t i = 0; i < m->n_different; i++) {
		src_found_block(s, c, m->different[i]);
		if (v->repair)
			src_vdisks_repair(s, c->number, c->at[m->different[i]]);
	}
}

bool src_on_verified(struct source *s, const Twinvm__Verified *m)
{
	struct src_verify *v = &s->verify;
	struct src_compared c;

	if (m->generation != s->p.generation)
		return false;
	if (v->stale) {
		v->stale--;
		return true;
	}
	if (!v->on || !v->opens || !src_compared_fits(&v->open[0], m))
		return false;
	c = v->open[0];
	memmove(v->open, v->open + 1, --v->opens * sizeof(*v->open));
	v->asked_ns = tv_now_ns();
	if (m->why[0]) {
		struct tv_err e;

		tv_fail(&e, 0, "%s could not compare: %.400s", s->job.peer.name, m->why);
		for (char *p = e.text; *p; p++)
			*p = *p < ' ' || *p > '~' ? '?' : *p;
		finish(s, false, e.text);
	} else {
		(c.what == WHAT_STATE  ? on_parts
		 : c.what == WHAT_DISK ? on_blocks
				       : on_pages)(s, &c, m);
		next(s);
	}
	json_decref(c.names);
	return true;
}

/* ---- the daemon's orders ---- */
static const char *stands_against(const struct source *s)
{
	if (s->end.leaving || s->p.state != FO_P_PROTECTED)
		return "the VM is not protected at this moment";
	if (!s->verify.able)
		return "its backup has an older version of twinvm, which cannot compare";
	return s->verify.on ? "a comparison of this VM is under way" : NULL;
}

static int begin(struct source *s, const struct session_verify *o)
{
	struct src_verify *v = &s->verify;
	json_t *desc;

	if (getrandom(v->key, sizeof(v->key), 0) != sizeof(v->key) ||
	    compare_begin(v->compare, v->key))
		return -EIO;
	v->got = (struct session_verified){0};
	v->repair = o->repair;
	v->rate_bytes_s = o->rate_bytes_s;
	v->used_bytes = v->page = 0;
	v->block = 0;
	v->state_sent = false;
	v->begun_ns = v->asked_ns = v->told_ns = tv_now_ns();
	desc = json_loads(s->vm.description, 0, NULL);
	v->blocks = json_incref(json_object_get(desc, "blocks"));
	src_vdisks_init(s, desc);
	json_decref(desc);
	v->found = json_array();
	v->all_bytes = v->d.all_blocks * CKPT_BLOCK_BYTES;
	for (uint32_t i = 0; i < json_array_size(v->blocks); i++)
		v->all_bytes += pages_of(s, i) << TV_PAGE_SHIFT;
	v->on = true;
	return 0;
}

void src_order_verify(struct source *s, const json_t *msg)
{
	struct session_verified no = {.over = true};
	const char *why = stands_against(s);
	struct session_verify o;

	if (!why && session_body(SESSION_OP_VERIFY, msg, &o, sizeof(o), NULL))
		why = "an order that cannot be read: are twinvm and twinvmd of one version?";
	/* What is left of one that was given up is still on its way. */
	if (!why && (!compare_is_idle(s->verify.compare) || s->verify.stale ||
		     s->verify.d.step != VDISKS_NONE))
		why = "the last comparison is just ending: give the command again";
	if (!why && begin(s, &o))
		why = "no random key, or no memory";
	if (!why)
		return;
	tv_copy(no.text, sizeof(no.text), why);
	report_send(s->report, session_message(SESSION_OP_VERIFIED, &no));
}

void src_verify_stop(struct source *s)
{
	if (s->verify.on)
		finish(s, false, "it was given up");
}

void src_verify_end(struct source *s)
{
	if (s->verify.on)
		finish(s, false, "the protection of the VM ended meanwhile");
}
