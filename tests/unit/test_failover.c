/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failover: time-outs, and where the next backup should be. */
#include "failover/failover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void times_keep_their_order(void **state)
{
	static const int64_t beats_ms[] = {20, 100, 1000, 60000};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct fo_times t;

		fo_times_init(&t, beats_ms[i] * TV_NS_PER_MS);
		/* the primary's lease ends before the backup asks, with room for clock rates */
		assert_true(t.lease_ns + t.heartbeat_ns / 4 < t.suspect_ns);
		assert_true(t.suspect_ns < t.backup_lost_ns);
		assert_true(t.backup_lost_ns < t.reconnect_grace_ns);
		/* a stop that is late by two ticks is still in time */
		assert_true(t.lease_ns + 2 * t.tick_ns < t.suspect_ns);
		assert_true(t.beat_ns < t.lease_ns);
		/* what is lost is found lost by its silence first, and by the kernel last */
		assert_true(t.backup_lost_ns < t.commit_deadline_ns);
		assert_true(t.commit_deadline_ns < t.stream_stuck_ns);
		assert_true(t.tick_ns < t.heartbeat_ns);
		/* a silent member of etcd is not all there is to a question's time */
		assert_true(2 * t.arbiter_next_ns < t.arbiter_answer_ns);
		/* two announcements in a row may get lost */
		assert_true(3 * t.announce_ns < t.member_ns);
		/* slower hosts have longer for attaching to a VM; a mute peer goes after minutes */
		assert_true(t.hello_ns == 120 * TV_NS_PER_S || t.hello_ns >= 150 * t.heartbeat_ns);
		assert_in_range(t.hello_ns, 15 * TV_NS_PER_S, 120 * TV_NS_PER_S);
	}
}

/* The interval that is named works, and what works is not refused. */
static void a_long_way(void **state)
{
	static const int64_t rtt_ms[] = {1, 149, 151, 200, 401, 900};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rtt_ms) / sizeof(*rtt_ms); i++) {
		int64_t rtt_ns = rtt_ms[i / 2] * TV_NS_PER_MS, needs_ns;
		bool arbiter = i % 2;
		struct fo_times t;

		fo_times_init(&t, 100 * TV_NS_PER_MS);
		needs_ns = fo_times_for(&t, arbiter, rtt_ns);
		assert_int_equal(!needs_ns, rtt_ms[i / 2] < (arbiter ? 150 : 400));
		if (!needs_ns)
			continue;
		fo_times_init(&t, needs_ns);
		assert_int_equal(fo_times_for(&t, arbiter, rtt_ns), 0);
		assert_true(rtt_ns + t.beat_ns < t.lease_ns);
	}
}

static struct fo_host host_of(const char *name, uint64_t free_mib, enum fo_health health)
{
	struct fo_host h = {.free_mib = free_mib, .cpus = 4, .health = health};

	strcpy(h.name, name);
	strcpy(h.address, "10.0.0.1:7890");
	return h;
}

static const char *chosen(const struct fo_host *h, unsigned n, const char *last, uint64_t need)
{
	const struct fo_host *c = fo_choose_backup(h, n, "self", last, need);

	return c ? c->name : "none";
}

static void the_best_backup(void **state)
{
	const struct fo_host h[] = {host_of("b", 4000, FO_GREEN),    host_of("a", 4000, FO_GREEN),
				    host_of("y", 9000, FO_YELLOW),   host_of("r", 9000, FO_RED),
				    host_of("self", 9999, FO_GREEN), host_of("s", 500, FO_GREEN)};

	(void)state;
	assert_string_equal(chosen(h, 6, NULL, 1000), "a"); /* as much memory as b: by name */
	assert_string_equal(chosen(h, 6, "", 1000), "a");
	assert_string_equal(chosen(h, 6, "b", 1000), "b");
	assert_string_equal(chosen(h, 6, "s", 400),
			    "s"); /* it has the disks: less memory will do */
	assert_string_equal(chosen(h, 6, "s", 501), "a"); /* if it is enough */
	assert_string_equal(chosen(h, 6, "y", 1000), "a");
	assert_string_equal(chosen(h, 6, "r", 1000), "a");
	assert_string_equal(chosen(h, 6, "gone", 1000), "a");
	assert_string_equal(chosen(h, 6, "self", 1000), "a");
	assert_string_equal(chosen(h, 6, "b", 4000), "b");
	assert_string_equal(chosen(h, 6, NULL, 4001), "none"); /* yellow: not by itself */
	assert_string_equal(chosen(h, 6, "r", 9001), "none");
	assert_string_equal(chosen(h, 0, "b", 0), "none");
}

/* Nobody watches the hardware of many hosts: they are as good as those that are green. */
static void unknown_health_is_no_reproach(void **state)
{
	const struct fo_host h[] = {host_of("u", 5000, FO_UNKNOWN), host_of("g", 4000, FO_GREEN)};
	enum fo_health of;

	(void)state;
	assert_string_equal(chosen(h, 2, NULL, 1000), "u");
	assert_string_equal(chosen(h, 2, "g", 1000), "g");
	for (enum fo_health a = FO_GREEN; a < FO_HEALTHS; a++) {
		assert_true(fo_health_of(fo_health_name(a), &of) && of == a);
		assert_int_equal(fo_is_well(a), a < FO_YELLOW);
		for (enum fo_health b = FO_GREEN; b < FO_HEALTHS; b++)
			assert_int_equal(fo_is_better(a, b), a < b && b >= FO_YELLOW);
	}
	assert_false(fo_health_of("purple", &of) || of != FO_UNKNOWN);
	assert_false(fo_health_of(NULL, &of) || of != FO_UNKNOWN);
}

/* Whatever the hosts: the choice is fit, none that is fit beats it, and their order is nothing. */
static void every_choice_keeps_the_rules(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct fo_host h[6], turned[6];
		unsigned n = (unsigned)rand_r(&seed) % 7, by = n ? (unsigned)rand_r(&seed) % n : 0;
		uint64_t need = (uint64_t)(rand_r(&seed) % 4);
		const struct fo_host *c, *d;
		char name[2] = "a", last[2] = {(char)('a' + rand_r(&seed) % 7), 0};

		for (unsigned i = 0; i < n; i++, name[0]++)
			h[i] = host_of(name, (uint64_t)(rand_r(&seed) % 4),
				       (enum fo_health)(rand_r(&seed) % FO_HEALTHS));
		for (unsigned i = 0; i < n; i++)
			turned[i] = h[(i + by) % n];
		c = fo_choose_backup(h, n, "a", last, need);
		d = fo_choose_backup(turned, n, "a", last, need);
		assert_true(!c == !d && (!c || !strcmp(c->name, d->name)));
		if (c)
			assert_true(strcmp(c->name, "a") != 0 && fo_is_well(c->health) &&
				    c->free_mib >= need);
		for (unsigned i = 0; i < n; i++) {
			if (!strcmp(h[i].name, "a") || !fo_is_well(h[i].health) ||
			    h[i].free_mib < need)
				continue;
			assert_non_null(c);
			if (strcmp(c->name, last) != 0)
				assert_true(strcmp(h[i].name, last) != 0 &&
					    c->free_mib >= h[i].free_mib);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_keep_their_order),
		cmocka_unit_test(a_long_way),
		cmocka_unit_test(the_best_backup),
		cmocka_unit_test(unknown_health_is_no_reproach),
		cmocka_unit_test(every_choice_keeps_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
