/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engines' assertions: each is met in a child, which must end by SIGABRT and name the invariant
 * on stderr. What a peer may send is none of these: that is TV_E_PROTOCOL (test_fo_primary.c,
 * test_fo_backup.c).
 */
#include "tests/unit/fo_kit.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child's stderr must name this. */
static void must_abort(void (*violate)(void), const char *named)
{
	FILE *err = tmpfile();
	char line[512];
	bool found = false;
	int status;
	pid_t pid;

	assert_non_null(err);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		dup2(fileno(err), STDERR_FILENO);
		violate();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	rewind(err);
	while (fgets(line, sizeof(line), err))
		found |= strstr(line, "assertion failed: ") && strstr(line, named);
	fclose(err);
	if (!found)
		print_error("expected an assertion on %s\n", named);
	assert_true(found);
}

static void p_released_uncommitted(void)
{
	struct primary x;

	p_protect(&x, true);
	x.p.epoch_released = x.p.epoch_committed + 1;
	fo_primary_tick(&x.p, x.now, x.now);
}

static void p_commits_unsent(void)
{
	struct primary x;

	p_protect(&x, true);
	x.p.epoch_committed = x.p.epoch_released = x.p.epoch_sent + 1;
	fo_primary_tick(&x.p, x.now, x.now);
}

static void p_releases_unpaired(void)
{
	struct primary x;

	p_pair(&x, true);
	x.p.releasing = true;
	p_pass(&x, x.t.tick_ns, true);
}

static void p_captures_too_much(void)
{
	struct primary x;

	p_protect(&x, true);
	for (int i = 0; i < 3; i++) {
		fo_primary_capture(&x.p);
		fo_primary_captured(&x.p, true);
	}
}

static void p_sends_out_of_order(void)
{
	struct primary x;

	p_protect(&x, true);
	fo_primary_capture(&x.p);
	fo_primary_captured(&x.p, true);
	fo_primary_sent(&x.p, 3);
}

static void p_gets_unasked_answer(void)
{
	struct primary x;

	p_protect(&x, true);
	fo_primary_answer(&x.p, x.now, FO_ASK_ALONE, 0);
}

static void p_owner_grants_itself(void)
{
	struct primary x;

	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_PEER_LOST);
	fo_primary_event(&x.p, x.now, FO_PE_ALONE_RECORDED);
}

static void p_ends_without_an_event(void)
{
	struct primary x;

	p_protect(&x, true);
	fo_primary_event(&x.p, x.now, FO_PE_LEAVE);
	x.p.alone.won = true; /* of an answer that never came */
	x.p.state = FO_P_ALONE;
	fo_primary_tick(&x.p, x.now, x.now);
}

static void b_commits_open_epoch(void)
{
	struct backup x;

	b_protect(&x, true);
	if (!fo_backup_epoch_begin(&x.b, 5, 2))
		fo_backup_verified(&x.b, x.now, 2);
}

static void b_skips_epoch(void)
{
	struct backup x;

	b_protect(&x, true);
	b_epoch(&x, 2);
	b_epoch(&x, 3);
	fo_backup_verified(&x.b, x.now, 3);
}

static void b_promotes_same_generation(void)
{
	struct backup x;

	b_protect(&x, true);
	b_pass(&x, x.t.suspect_ns + 20 * MS);
	fo_backup_answer(&x.b, x.now, 0, 5);
}

static void b_gets_unasked_answer(void)
{
	struct backup x;

	b_protect(&x, true);
	fo_backup_answer(&x.b, x.now, 0, 6);
}

static void b_runs_nothing(void)
{
	struct backup x;

	b_protect(&x, true);
	x.b.epoch_committed = 0;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
}

static void b_forgets_generation(void)
{
	struct backup x;

	b_protect(&x, true);
	x.b.generation--;
	fo_backup_tick(&x.b, x.now, x.rx_ns);
}

static void r_tries_twice(void)
{
	struct fo_candidate h = {.name = "b", .port = 1};
	struct fo_reprotect k;
	struct fo_times t;

	fo_times_init(&t, 100 * MS);
	fo_reprotect_start(&k, &t, "b", START);
	if (!fo_reprotect_choose(&k, &h, 1, START))
		fo_reprotect_choose(&k, &h, 1, START);
}

static void a_violated_invariant_aborts(void **state)
{
	(void)state;
	must_abort(p_released_uncommitted, "failover/primary.c");
	must_abort(p_released_uncommitted, "p->epoch_released <= p->epoch_committed");
	must_abort(p_commits_unsent, "p->epoch_committed <= p->epoch_sent");
	must_abort(p_releases_unpaired, "p->pair.won");
	must_abort(p_captures_too_much, "fo_primary_may_capture(p)");
	must_abort(p_sends_out_of_order, "epoch == p->epoch_sent + 1");
	must_abort(p_gets_unasked_answer, "k->open");
	must_abort(p_owner_grants_itself, "FO_PE_PEER_LOST");
	must_abort(p_ends_without_an_event, "p->ended == ends_in(p->state)");
	must_abort(b_commits_open_epoch, "b->epoch_open");
	must_abort(b_skips_epoch, "epoch == b->epoch_committed + 1");
	must_abort(b_promotes_same_generation, "generation > b->generation");
	must_abort(b_gets_unasked_answer, "b->promote.open");
	must_abort(b_runs_nothing, "b->epoch_committed");
	must_abort(b_forgets_generation, "b->generation >= b->session_generation");
	must_abort(r_tries_twice, "k->due_ns != INT64_MAX");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_violated_invariant_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
