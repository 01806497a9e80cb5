/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The encoder's slots and pieces: who waits for whom, and what ends the waiting. */
#include "replicator/source/encoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

static struct event_base *base;
static struct encoder *en;
static bool takes;		 /* the connection has room */
static enum piece_kind kinds[8]; /* as they came */
static unsigned kinds_n;

static bool on_piece(const struct piece *p, void *arg)
{
	(void)arg;
	if (!takes)
		return false;
	if (kinds_n < 8)
		kinds[kinds_n++] = p->kind;
	return true;
}

static int set_up(void **state)
{
	(void)state;
	takes = true;
	kinds_n = 0;
	base = event_base_new();
	assert_int_equal(encoder_new(base, 1 << 20, 1 << 20, on_piece, NULL, &en), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	encoder_free(en);
	event_base_free(base);
	return 0;
}

/* One epoch of one page. */
static void fill(struct slot *s, uint64_t epoch)
{
	s->epoch = epoch;
	s->first = s->last = true;
	s->runs[0] = (struct hv_run){.pages = 1};
	s->nruns = 1;
	s->npages = 1;
	memset(s->pages, (int)epoch, TV_PAGE_BYTES);
}

static void test_epoch_becomes_pieces(void **state)
{
	struct slot *s = encoder_slot_get(en, NULL, NULL);

	(void)state;
	fill(s, 0); /* first copy: no begin, no device state */
	encoder_slot_put(en, s);
	while (kinds_n < 2)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(kinds[0], PIECE_RECORDS);
	assert_int_equal(kinds[1], PIECE_SYNC_END);
}

static void test_stalled_piece_is_offered_again(void **state)
{
	struct slot *s = encoder_slot_get(en, NULL, NULL);

	(void)state;
	takes = false;
	fill(s, 0);
	encoder_slot_put(en, s);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(kinds_n, 0);
	takes = true;
	encoder_continue(en);
	while (kinds_n < 2)
		assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
	assert_int_equal(kinds[0], PIECE_RECORDS);
}

/* ---- waiting for a slot ---- */
struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned looks; /* of gave_up */
	bool give_up;
	struct slot *got;
};

/* Under the encoder's lock: who sees that it was called, and then takes that lock, finds the
 * thread waiting. */
static bool gave_up(void *arg)
{
	struct waiter *w = arg;
	bool give_up;

	pthread_mutex_lock(&w->lock);
	w->looks++;
	give_up = w->give_up;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	return give_up;
}

static void *wait_for_slot(void *arg)
{
	struct waiter *w = arg;

	w->got = encoder_slot_get(en, gave_up, w);
	return NULL;
}

static void start(struct waiter *w, pthread_t *t)
{
	assert_int_equal(pthread_create(t, NULL, wait_for_slot, w), 0);
	pthread_mutex_lock(&w->lock);
	while (!w->looks)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

static void test_waiting_ends(void **state)
{
	struct slot *a = encoder_slot_get(en, NULL, NULL), *b = encoder_slot_get(en, NULL, NULL);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	for (int how = 0; how < 3; how++) {
		struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER,
				   .changed = PTHREAD_COND_INITIALIZER};
		pthread_t t;

		start(&w, &t);
		switch (how) {
		case 0: /* it gives up */
			pthread_mutex_lock(&w.lock);
			w.give_up = true;
			pthread_mutex_unlock(&w.lock);
			encoder_look(en);
			break;
		case 1: /* a slot is free */
			encoder_slot_drop(en, a);
			break;
		case 2:
			encoder_stop(en);
			break;
		}
		pthread_join(t, NULL);
		assert_ptr_equal(w.got, how == 1 ? a : NULL);
	}
	assert_true(encoder_stopped(en));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_epoch_becomes_pieces),
		TEST(test_stalled_piece_is_offered_again),
		TEST(test_waiting_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
