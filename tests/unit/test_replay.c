/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recent frames: what a watch sees of a device, and what a promoted VM's host replays, on real
 * devices in a network namespace made for this test. Needs root.
 */
#include "replicator/sink/replay.h"
#include "netbuffer/netbuffer.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAME_BYTES 60

struct got {
	struct event_base *base;
	unsigned n, want;
	uint8_t mark[16];
};

static const uint8_t no_hdr[NB_VNET_HDR_BYTES];

static void fill(uint8_t *f, size_t n, bool multicast, uint8_t mark)
{
	memset(f, 0, n);
	f[0] = multicast ? 0x03 : 0x02;
	f[6] = 0x02;
	f[12] = 0x88; /* an ethertype for experiments: nobody answers */
	f[13] = 0xb5;
	f[14] = mark;
}

static void on_frame(const uint8_t *hdr, const uint8_t *frame, size_t n, void *arg)
{
	struct got *g = arg;

	(void)hdr;
	if (n < 15 || frame[12] != 0x88 || frame[13] != 0xb5)
		return; /* the kernel's own chatter */
	if (g->n < 16)
		g->mark[g->n] = frame[14];
	if (++g->n == g->want)
		event_base_loopbreak(g->base);
}

static int set_up(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET))
		return -1;
	return system(
		"ip link add t0 type veth peer name t1 && ip link set t0 up && ip link set t1 up "
		"&& ip link add br0 type bridge && ip link set br0 up && ip link add p0 type "
		"veth peer name p1 && ip link set p0 master br0 up && ip link set p1 up");
}

/* Runs until so many frames came, or two seconds have passed. */
static void wait_for(struct got *g, unsigned n)
{
	struct timeval tv = {2, 0};

	g->want = n;
	if (g->n >= n)
		return;
	event_base_loopexit(g->base, &tv);
	event_base_dispatch(g->base);
}

static void a_watch_sees_what_goes_to_the_guest(void **state)
{
	struct got g = {.base = event_base_new()};
	struct nb_tap *t = NULL;
	uint8_t f[4096];
	int in, out;

	(void)state;
	assert_int_equal(nb_tap_watch(g.base, "nosuch", on_frame, &g, &t), -ENODEV);
	assert_null(t);
	assert_int_equal(nb_tap_watch(g.base, "t0", on_frame, &g, &t), 0);
	out = nb_replay_open("t0"); /* sends out of t0, as a bridge does */
	in = nb_replay_open("t1");  /* comes in at t0, as from a guest */
	assert_true(out >= 0 && in >= 0);
	fill(f, FRAME_BYTES, false, 1);
	assert_int_equal(nb_replay_send(in, no_hdr, f, FRAME_BYTES), 0);
	fill(f, FRAME_BYTES, true, 2);
	assert_int_equal(nb_replay_send(out, no_hdr, f, FRAME_BYTES), 0);
	fill(f, FRAME_BYTES, false, 3);
	assert_int_equal(nb_replay_send(out, no_hdr, f, FRAME_BYTES), 0);
	fill(f, FRAME_BYTES, false, 4);
	assert_int_equal(nb_replay_send(out, no_hdr, f, FRAME_BYTES), 0);
	wait_for(&g, 2);
	assert_int_equal(g.n, 2); /* neither the guest's own nor the multicast one */
	assert_int_equal(g.mark[0], 3);
	assert_int_equal(g.mark[1], 4);
	/* switched off, what comes is forgotten */
	nb_tap_enable(t, false);
	fill(f, FRAME_BYTES, false, 5);
	assert_int_equal(nb_replay_send(out, no_hdr, f, FRAME_BYTES), 0);
	nb_tap_enable(t, true);
	fill(f, FRAME_BYTES, false, 6);
	assert_int_equal(nb_replay_send(out, no_hdr, f, FRAME_BYTES), 0);
	wait_for(&g, 3);
	assert_int_equal(g.mark[2], 6);
	nb_tap_free(t);
	nb_tap_free(NULL);
	close(in);
	close(out);
	event_base_free(g.base);
}

static void add(struct replay *r, uint64_t epoch, bool output, uint8_t mark)
{
	uint8_t d[NB_VNET_HDR_BYTES + FRAME_BYTES] = {0};

	fill(d + NB_VNET_HDR_BYTES, FRAME_BYTES, false, mark);
	assert_int_equal(replay_add(r, epoch, output, d, sizeof(d)), 0);
}

struct bridge {
	const char *name;
	int fd;
};

/* What the monitor does (replicator/monitor/serve_loop.c). */
static int on_bridge(void *arg, const void *frame, size_t bytes)
{
	struct bridge *b = arg;

	if (b->fd < 0)
		b->fd = nb_replay_open(b->name);
	return b->fd < 0 ? b->fd
			 : nb_replay_send(b->fd, frame, (const uint8_t *)frame + NB_VNET_HDR_BYTES,
					  bytes - NB_VNET_HDR_BYTES);
}

static void output_of_a_discarded_future_is_not_said(void **state)
{
	struct got g = {.base = event_base_new()};
	struct bridge none = {"nosuch", -1}, br = {"br0", -1};
	struct replay *r = replay_new();
	struct nb_tap *t;

	(void)state;
	assert_int_equal(nb_tap_watch(g.base, "p0", on_frame, &g, &t), 0);
	add(r, 5, true, 1);
	add(r, 5, false, 2);
	replay_committed(r, 7); /* both are behind it */
	add(r, 7, false, 3);
	add(r, 7, true, 4);
	add(r, 8, true, 5);
	add(r, 9, true, 6); /* not committed: never */
	add(r, 9, false, 7);
	assert_int_equal(replay_run(r, 8, on_bridge, &none), 0);
	assert_int_equal(replay_run(r, 8, on_bridge, &br), 4);
	close(br.fd);
	wait_for(&g, 4);
	assert_int_equal(g.n, 4);
	assert_memory_equal(g.mark, ((uint8_t[]){4, 5, 3, 7}), 4); /* output first */
	replay_free(r);
	replay_free(NULL);
	nb_tap_free(t);
	event_base_free(g.base);
}

static void bounds(void **state)
{
	struct bridge br = {"br0", -1};
	struct replay *r = replay_new();
	uint8_t d[4096] = {0};

	(void)state;
	assert_int_equal(replay_add(r, 1, false, d, NB_VNET_HDR_BYTES + 13), -EBADMSG);
	assert_int_equal(replay_add(r, 1, false, d, 0), -EBADMSG);
	assert_int_equal(replay_add(r, 1, false, d, REPLAY_MAX_FRAME_BYTES + 1), -EBADMSG);
	for (int i = 0; i < 1000; i++)
		add(r, 1, false, 9);
	assert_int_equal(replay_run(r, 1, on_bridge, &br), 256); /* the newest */
	close(br.fd);
	replay_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watch_sees_what_goes_to_the_guest),
		cmocka_unit_test(output_of_a_discarded_future_is_not_said),
		cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
