/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failover/moves.c: which VM leaves a host whose hardware fails, and that none is passed to and fro. */
#include "failover/failover.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)

static struct fo_move_vm vm_of(char name, int priority, enum fo_health peer)
{
	struct fo_move_vm v = {.priority = priority, .ready = true, .peer = peer};

	v.id[0] = name;
	return v;
}

/* What becomes of up to 8 VMs, a letter each. */
static const char *all(const struct fo_move_host *host, const struct fo_move_vm *vms, unsigned n)
{
	static const char letters[FO_MOVE_COUNT + 1] = "-GwmnbrasfH";
	static char out[9];
	enum fo_move is[8];

	fo_moves(host, vms, n, is);
	for (unsigned i = 0; i < n; i++) {
		out[i] = letters[is[i]];
		assert_non_null(fo_move_reason(is[i]));
	}
	out[n] = '\0';
	return out;
}

static void red_gives_all_away_one_after_another(void **state)
{
	struct fo_move_host host = {.health = FO_RED, .now_s = NOW};
	struct fo_move_vm v[3] = {vm_of('a', 10, FO_GREEN), vm_of('b', 90, FO_UNKNOWN),
				  vm_of('c', 90, FO_YELLOW)};

	(void)state;
	assert_string_equal(all(&host, v, 3), "wGw");
	v[1].moving = true;
	v[1].begun_s = NOW;
	assert_string_equal(all(&host, v, 3), "wmw");
	assert_string_equal(all(&host, v + 2, 1), "G"); /* b has left */
	v[1] = v[2];
	assert_string_equal(all(&host, v, 2), "wG");
	v[1].ready = false; /* it does not hold up the others */
	assert_string_equal(all(&host, v, 2), "Gn");
	v[1].ready = true;
	v[1].peer = FO_RED;
	assert_string_equal(all(&host, v, 2), "Gb");
	assert_string_equal(all(&host, v, 0), "");
}

static void yellow_gives_away_what_is_concerned(void **state)
{
	struct fo_move_host host = {.health = FO_YELLOW, .now_s = NOW};
	struct fo_move_vm v[3] = {vm_of('a', 49, FO_GREEN), vm_of('b', 50, FO_GREEN),
				  vm_of('c', 0, FO_GREEN)};

	(void)state;
	assert_string_equal(all(&host, v, 3), "---");
	v[2].concerned = true;
	assert_string_equal(all(&host, v, 3), "--G");
	host.important = true;
	assert_string_equal(all(&host, v, 3), "-Gw");
	v[1].peer = FO_YELLOW; /* no better */
	assert_string_equal(all(&host, v, 3), "-bG");
	host.health = FO_GREEN;
	assert_string_equal(all(&host, v, 3), "---");
	host.health = FO_UNKNOWN;
	assert_string_equal(all(&host, v, 3), "---");
}

static void once_an_hour(void **state)
{
	struct fo_move_host host = {.health = FO_RED, .now_s = NOW};
	struct fo_move_vm v = vm_of('a', 50, FO_GREEN);

	(void)state;
	v.moved_s = NOW - FO_MOVE_EVERY_S + 1;
	assert_string_equal(all(&host, &v, 1), "s");
	v.moved_s--;
	assert_string_equal(all(&host, &v, 1), "G");
	v.moved_s = NOW + 100; /* a clock that was set back */
	assert_string_equal(all(&host, &v, 1), "s");
	v.moved_s = 0;
	v.begun_s = NOW - FO_MOVE_RETRY_S + 1;
	assert_string_equal(all(&host, &v, 1), "f");
	v.begun_s--;
	assert_string_equal(all(&host, &v, 1), "G");
}

static void handed_over_only_when_urgent_and_late(void **state)
{
	struct fo_move_host host = {.health = FO_RED, .now_s = NOW, .urgent = true};
	struct fo_move_vm v = vm_of('a', 50, FO_GREEN);

	(void)state;
	assert_string_equal(all(&host, &v, 1), "G"); /* not before a switch was tried */
	v.moving = true;
	v.begun_s = NOW - FO_MOVE_DEADLINE_S + 1;
	assert_string_equal(all(&host, &v, 1), "m");
	v.begun_s--;
	assert_string_equal(all(&host, &v, 1), "H");
	v.ready = false; /* it stands still by its switch */
	assert_string_equal(all(&host, &v, 1), "H");
	host.urgent = false;
	assert_string_equal(all(&host, &v, 1), "m");
	host.urgent = true;
	host.health = FO_YELLOW;
	assert_string_equal(all(&host, &v, 1), "m");
}

static void maintenance_gives_all_away(void **state)
{
	struct fo_move_host host = {.health = FO_GREEN, .now_s = NOW, .maintenance = true};
	struct fo_move_vm v[4] = {vm_of('a', 10, FO_GREEN), vm_of('b', 90, FO_YELLOW),
				  vm_of('c', 99, FO_RED), vm_of('d', 99, FO_GREEN)};

	(void)state;
	v[3].peer_away = true;
	assert_string_equal(all(&host, v, 4), "wGra");
	v[0].moved_s = NOW - 1; /* whenever it was moved last */
	assert_string_equal(all(&host, v, 1), "G");
	v[0].begun_s = NOW - FO_MOVE_AGAIN_S + 1;
	assert_string_equal(all(&host, v, 1), "f");
	v[0].begun_s--;
	assert_string_equal(all(&host, v, 1), "G");
	v[0].ready = false;
	assert_string_equal(all(&host, v, 2), "nG");
	v[1].moving = true; /* and is handed over only by a host that may die */
	v[1].begun_s = NOW - FO_MOVE_DEADLINE_S;
	assert_string_equal(all(&host, v, 2), "nm");
	host.health = FO_RED;
	host.urgent = true;
	assert_string_equal(all(&host, v, 2), "nH");
	host = (struct fo_move_host){.health = FO_RED,
				     .now_s = NOW}; /* not to a host in maintenance */
	assert_string_equal(all(&host, v + 3, 1), "a");
}

/*
 * Two hosts that fall ill and get well at random, three VMs, minutes of a month: no VM is moved twice in
 * an hour, each move is to a better host, and there is at most one at a time.
 */
static void never_to_and_fro(void **state)
{
	unsigned seed = 7, moves = 0;
	int64_t moved[3] = {0};
	int at[3] = {0, 1, 0};
	enum fo_health health[2] = {FO_GREEN, FO_GREEN};

	(void)state;
	for (int64_t now = NOW; now < NOW + 30 * 24 * 3600; now += 60) {
		if (!(rand_r(&seed) % 20))
			health[rand_r(&seed) % 2] = (enum fo_health)(rand_r(&seed) % FO_HEALTHS);
		for (int h = 0; h < 2; h++) {
			struct fo_move_host host = {
				.health = (int)health[h], .important = true, .now_s = now};
			struct fo_move_vm v[3];
			int of[3], n = 0, gone = 0;
			enum fo_move is[3];

			for (int i = 0; i < 3; i++)
				if (at[i] == h) {
					v[n] = vm_of((char)('a' + i), 40 + 10 * i, health[!h]);
					v[n].moved_s = moved[i];
					of[n++] = i;
				}
			fo_moves(&host, v, (unsigned)n, is);
			for (int i = 0; i < n; i++) {
				if (is[i] != FO_MOVE_GOES)
					continue;
				assert_true(fo_is_better(health[!h], health[h]));
				assert_true(!moved[of[i]] || now - moved[of[i]] >= FO_MOVE_EVERY_S);
				moved[of[i]] = now;
				at[of[i]] = !h;
				gone++;
				moves++;
			}
			assert_true(gone <= 1);
		}
	}
	assert_true(moves > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(red_gives_all_away_one_after_another),
		cmocka_unit_test(yellow_gives_away_what_is_concerned),
		cmocka_unit_test(once_an_hour),
		cmocka_unit_test(handed_over_only_when_urgent_and_late),
		cmocka_unit_test(maintenance_gives_all_away),
		cmocka_unit_test(never_to_and_fro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
