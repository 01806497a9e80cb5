/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sink without a standby: the apply thread's queue and answers, the first message's fields, how
 * a session ends, and what the daemon gets to know of it. What needs a standby is in tests/local.
 */
#include "tests/unit/room_kit.h"
#include "replicator/sink/open_disks.h"
#include "replicator/sink/sink_int.h"
#include "tests/unit/sink_kit.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define QUEUE_BYTES (1u << 20)
#define PLUG 100 /* more answers than their mailbox holds: unread, they stop the thread */

/* ---- the apply thread ---- */
/* Its first work fails, as the description is none: from then on only APPLY_KILL is answered. */
struct answers {
	struct event_base *base;
	struct applier *applier;
	unsigned n, want, kinds[APPLY_KILL + 1], drained;
	int first_rc;
	uint64_t last_epoch;
	bool in_order;
};

static void on_answer(const struct apply_answer *a, void *arg)
{
	struct answers *g = arg;

	if (!g->n)
		g->first_rc = a->rc;
	if (a->kind == APPLY_KILL && a->epoch) {
		g->in_order = g->in_order && a->epoch == g->last_epoch + 1;
		g->last_epoch = a->epoch;
	}
	g->kinds[a->kind]++;
	free(a->hashes);
	if (++g->n == g->want)
		event_base_loopbreak(g->base);
}

static void on_drained(void *arg)
{
	struct answers *g = arg;

	g->drained++;
}

static void answers_open(struct answers *g)
{
	struct applier_conf conf = {
		.queue_bytes = QUEUE_BYTES, .answer = on_answer, .drained = on_drained, .arg = g};

	*g = (struct answers){.base = event_base_new(), .in_order = true};
	assert_int_equal(applier_new(g->base, &conf, &g->applier), 0);
}

static void post(struct answers *g, enum apply_kind kind, const char *data, size_t n,
		 uint64_t epoch)
{
	assert_int_equal(applier_post(g->applier, kind, data, n, epoch, NULL), 0);
}

static void run_until(struct answers *g, unsigned n)
{
	g->want = n;
	if (g->n < n)
		event_base_dispatch(g->base);
	assert_int_equal(g->n, n);
}

static void answers_close(struct answers *g)
{
	applier_free(g->applier);
	event_base_free(g->base);
}

static void plug(struct answers *g)
{
	for (unsigned i = 1; i <= PLUG; i++)
		post(g, APPLY_KILL, NULL, 0, i);
}

static void a_failure_is_answered_once(void **state)
{
	struct answers g;

	(void)state;
	answers_open(&g);
	post(&g, APPLY_START, "no JSON", 7, 0);
	post(&g, APPLY_SYNC, "abc", 3, 0);
	post(&g, APPLY_BEGIN, NULL, 0, 1);
	post(&g, APPLY_EPOCH, "abc", 3, 1);
	post(&g, APPLY_END, NULL, 0, 1);
	post(&g, APPLY_PROMOTE, NULL, 0, 0);
	post(&g, APPLY_KILL, NULL, 0, 0);
	run_until(&g, 3);
	assert_int_equal(g.first_rc, TV_E_PROTOCOL);
	assert_int_equal(g.kinds[APPLY_START], 1);
	assert_int_equal(g.kinds[APPLY_PROMOTE], 1); /* whoever asked for it must know */
	assert_int_equal(g.kinds[APPLY_KILL], 1);
	answers_close(&g);
}

/* Many more answers than the mailbox holds: the thread waits for the loop, and none is lost. */
static void no_answer_is_lost(void **state)
{
	enum { MANY = 1000 };
	struct answers g;

	(void)state;
	answers_open(&g);
	for (unsigned i = 1; i <= MANY; i++)
		post(&g, APPLY_KILL, NULL, 0, i);
	run_until(&g, MANY);
	assert_true(g.in_order);
	answers_close(&g);
}

static void the_thread_ends_with_answers_that_nobody_reads(void **state)
{
	struct answers g;

	(void)state;
	answers_open(&g);
	for (unsigned i = 1; i <= 1000; i++)
		post(&g, APPLY_KILL, NULL, 0, i);
	answers_close(&g);
	assert_int_equal(g.n, 0);
	applier_free(NULL);
}

static void full_until_half_is_done(void **state)
{
	static const char data[4096];
	struct answers g;
	unsigned n = 0;

	(void)state;
	answers_open(&g);
	post(&g, APPLY_START, "no JSON", 7, 0);
	run_until(&g, 1);
	plug(&g);
	assert_false(applier_full(g.applier));
	for (; !applier_full(g.applier); n++)
		post(&g, APPLY_SYNC, data, sizeof(data), 0);
	assert_in_range(n, QUEUE_BYTES / sizeof(data) / 2, QUEUE_BYTES / sizeof(data));
	while (!g.drained)
		event_base_loop(g.base, EVLOOP_ONCE);
	assert_int_equal(g.drained, 1);
	assert_false(applier_full(g.applier));
	answers_close(&g);
}

/* Marks carry no data, and still they are bounded. */
static void marks_fill_the_queue_too(void **state)
{
	struct answers g;
	uint64_t epoch = 0;

	(void)state;
	answers_open(&g);
	while (!applier_full(g.applier))
		post(&g, APPLY_KILL, NULL, 0, ++epoch);
	assert_in_range(epoch, 100, 1000);
	while (!g.drained || g.last_epoch < epoch)
		event_base_loop(g.base, EVLOOP_ONCE);
	assert_true(g.in_order);
	answers_close(&g);
}

static void only_the_tail_without_an_end_is_dropped(void **state)
{
	struct answers g;

	(void)state;
	answers_open(&g);
	plug(&g);
	post(&g, APPLY_START, "no JSON", 7, 0);
	post(&g, APPLY_BEGIN, NULL, 0, 1);
	post(&g, APPLY_END, NULL, 0, 1);
	post(&g, APPLY_BEGIN, NULL, 0, 2);
	post(&g, APPLY_KILL, NULL, 0, 999);
	applier_drop_queued(g.applier);
	post(&g, APPLY_KILL, NULL, 0, PLUG + 1);
	run_until(&g, PLUG + 2);
	assert_true(g.in_order);
	assert_int_equal(g.last_epoch, PLUG + 1);
	assert_int_equal(g.kinds[APPLY_START], 1);
	answers_close(&g);
}

/* ---- disks of a description ---- */
static void disks_of_a_description(void **state)
{
	const char *paths[CKPT_MAX_DISKS];
	char dir[] = "/tmp/twinvm-disks-XXXXXX", cmd[64];
	struct open_disks_conf conf = {.vm_id = "0123", .session = "ab"};
	json_t *none = json_object(), *many = json_object(), *one;
	struct ckpt_rep *rep;
	struct tv_err e = {0};
	unsigned n;

	(void)state;
	assert_non_null(mkdtemp(dir));
	conf.dir = dir;
	conf.room = room_kit(dir, 1 << 20);
	assert_int_equal(sink_open_disks(none, &conf, &rep, paths, &n, &e), 0);
	assert_null(rep);
	assert_int_equal(n, 0);
	json_object_set_new(many, "disks", json_array());
	for (unsigned i = 0; i <= CKPT_MAX_DISKS; i++)
		json_array_append_new(json_object_get(many, "disks"), json_object());
	assert_int_equal(sink_open_disks(many, &conf, &rep, paths, &n, &e), TV_E_PROTOCOL);
	assert_non_null(strstr(e.text, "disks"));
	assert_null(rep);
	one = json_pack("{s[{si}]}", "disks", "bytes", 1 << 20);
	assert_int_equal(sink_open_disks(one, &conf, &rep, paths, &n, &e), 0);
	assert_non_null(rep);
	assert_int_equal(n, 1);
	assert_int_equal(access(paths[0], R_OK | W_OK), 0);
	ckpt_rep_free(rep);
	json_decref(none);
	json_decref(many);
	json_decref(one);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
}

/* ---- what the daemon gets, and the end ---- */
static void it_registers_and_reports(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	b.s.asked_to_run = true;
	b.s.rx_bytes = 12345;
	sink_set_why(&b.s, 0, "because");
	sink_send_stats(&b.s);
	bed_run(&b, SESSION_OP_STATS, 2);
	assert_int_equal(b.n[SESSION_OP_REGISTER], 1);
	assert_int_equal(b.reg.role, SESSION_BACKUP);
	assert_string_equal(b.reg.name, "vm1");
	assert_string_equal(b.reg.peer, "hostA");
	assert_int_equal(b.reg.pid, getpid());
	assert_string_equal(b.stats.state, "syncing");
	assert_string_equal(b.stats.core, "SYNCING");
	assert_string_equal(b.stats.reason, "because");
	assert_int_equal(b.stats.wire_bytes, 12345);
	assert_true(b.stats.asked_to_run);
	bed_close(&b);
}

static void the_first_end_counts(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	sink_set_why(&b.s, -EIO, "first");
	sink_set_why(&b.s, -EPIPE, "second");
	sink_end(&b.s, SESSION_FAILED, 1000); /* without connection and standby: at once */
	assert_int_equal(b.s.step, SINK_ENDED);
	sink_end(&b.s, SESSION_PROMOTED, 0);
	sink_end_closed(&b.s);
	sink_end_killed(&b.s);
	sink_refuse(&b.s, -EINVAL, "late");
	bed_run(&b, SESSION_OP_DONE, 1);
	event_base_loop(b.s.base, EVLOOP_NONBLOCK);
	assert_int_equal(b.n[SESSION_OP_DONE], 1);
	assert_int_equal(b.end.outcome, SESSION_FAILED);
	assert_int_equal(b.end.rc, -EIO);
	assert_string_equal(b.end.text, "first");
	assert_int_equal(b.end.generation, 7);
	bed_close(&b);
}

/* A standby that has lost a page is none: the daemon and the primary learn why. */
static void lost_memory_ends_the_session(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	assert_false(sink_memory_lost(&b.s));
	sink_lose(&b.s, "a memory error of this host");
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_int_equal(b.hardware.what, SESSION_MEMORY_STANDBY);
	assert_string_equal(b.hardware.text, "a memory error of this host");
	assert_int_equal(b.end.rc, TV_E_POISON);
	assert_int_equal(b.end.outcome, SESSION_FAILED);
	assert_string_equal(b.end.text, "a memory error of this host");
	bed_close(&b);
	/* Once the VM is this host's, its promotion decides. */
	bed_open(&b);
	b.s.b.generation++;
	sink_lose(&b.s, "a memory error of this host");
	bed_run(&b, SESSION_OP_HARDWARE, 1);
	assert_int_equal(b.s.step, SINK_RUNS);
	bed_close(&b);
}

static void on_answer_of_bed(const struct apply_answer *a, void *arg)
{
	struct bed *b = arg;

	assert_int_equal(a->kind, APPLY_KILL);
	sink_end_killed(&b->s);
}

/* No memory for what the primary sent: the standby is ended before the process. */
static void without_memory_the_standby_ends_too(void **state)
{
	struct applier_conf conf = {.queue_bytes = QUEUE_BYTES, .answer = on_answer_of_bed};
	struct bed b;

	(void)state;
	bed_open(&b);
	conf.arg = &b;
	assert_int_equal(applier_new(b.s.base, &conf, &b.s.applier), 0);
	setenv("TWINVM_FAULT", "applier_memory", 1);
	sink_post(&b.s, APPLY_SYNC, "abc", 3, 0, NULL);
	unsetenv("TWINVM_FAULT");
	assert_int_equal(b.s.step, SINK_KILLS);
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_int_equal(b.s.step, SINK_ENDED);
	assert_int_equal(b.end.outcome, SESSION_FAILED);
	assert_string_equal(b.end.text, "no memory for received data");
	setenv("TWINVM_FAULT", "applier_memory:2", 1); /* an end needs none */
	assert_int_equal(applier_post(b.s.applier, APPLY_KILL, NULL, 0, 0, NULL), 0);
	unsetenv("TWINVM_FAULT");
	applier_free(b.s.applier);
	bed_close(&b);
}

/* Also when the connection closed before: then nothing is left to wait for. */
static void a_refusal_ends_the_session(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	sink_refuse(&b.s, TV_E_REFUSED, "two\nlines and \xc3\xa9");
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_int_equal(b.end.outcome, SESSION_REFUSED);
	assert_string_equal(b.end.text, "two lines and ??");
	bed_close(&b);
	bed_open(&b);
	sink_turn_away(&b.s, 9);
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_int_equal(b.end.outcome, SESSION_REFUSED);
	assert_int_equal(b.end.rc, TV_E_LOST);
	bed_close(&b);
}

static void a_violation_names_message_and_state(void **state)
{
	struct fo_msg m = {.kind = FO_M_COMMITTED, .generation = 7};
	struct bed b;

	(void)state;
	bed_open(&b);
	sink_receive(&b.s, "Committed", &m, 1);
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_string_equal(b.end.text, "unexpected message Committed in state SYNCING");
	assert_int_equal(b.end.rc, TV_E_PROTOCOL);
	bed_close(&b);
}

/* By the record the VM runs here: what a former primary sends must not end its only instance. */
static void a_violation_does_not_end_a_promotion(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b);
	b.s.b.state = FO_B_PROMOTING;
	b.s.b.generation = b.s.b.session_generation + 1;
	sink_violation(&b.s, "nonsense");
	assert_int_equal(b.s.step, SINK_RUNS);
	sink_end(&b.s, SESSION_PROMOTED, 100);
	bed_run(&b, SESSION_OP_DONE, 1);
	assert_int_equal(b.end.outcome, SESSION_PROMOTED);
	bed_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_is_answered_once),
		cmocka_unit_test(no_answer_is_lost),
		cmocka_unit_test(the_thread_ends_with_answers_that_nobody_reads),
		cmocka_unit_test(full_until_half_is_done),
		cmocka_unit_test(marks_fill_the_queue_too),
		cmocka_unit_test(only_the_tail_without_an_end_is_dropped),
		cmocka_unit_test(disks_of_a_description),
		cmocka_unit_test(it_registers_and_reports),
		cmocka_unit_test(the_first_end_counts),
		cmocka_unit_test(lost_memory_ends_the_session),
		cmocka_unit_test(without_memory_the_standby_ends_too),
		cmocka_unit_test(a_refusal_ends_the_session),
		cmocka_unit_test(a_violation_names_message_and_state),
		cmocka_unit_test(a_violation_does_not_end_a_promotion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
