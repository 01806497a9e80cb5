/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of netbuffer/ share: a VM's ends of the sockets, numbered frames, a reader of
 * them. */
#ifndef NB_KIT_H
#define NB_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define NB_KIT_GENERATION 7

#include "netbuffer/netbuffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KIT __attribute__((unused)) static
#define PORTS 2 /* port 0 without, port 1 with vnet_hdr */

struct fake {
	struct event_base *base;
	struct nb *nb;
	int guest[PORTS]; /* the VM writes its frames here */
	int world[PORTS]; /* and they come out here */
	unsigned first_held, failed;
	int failed_rc;
	char failed_port[64];
	bool free_in_first_held, free_in_failed, release_in_first_held;
	uint64_t release_epoch;
	/* Reader of the world's side. */
	uint8_t got[PORTS][1 << 20];
	size_t got_bytes[PORTS];
};

KIT void fake_first_held(void *arg, int64_t now_ns)
{
	struct fake *f = arg;

	assert_true(now_ns > 0);
	f->first_held++;
	if (f->release_in_first_held)
		nb_release(f->nb, NB_KIT_GENERATION, f->release_epoch);
	if (f->free_in_first_held) {
		nb_free(f->nb);
		f->nb = NULL;
	}
}

KIT void fake_failed(void *arg, const char *port, int rc)
{
	struct fake *f = arg;

	f->failed++;
	f->failed_rc = rc;
	snprintf(f->failed_port, sizeof(f->failed_port), "%s", port);
	if (f->free_in_failed) {
		nb_free(f->nb);
		f->nb = NULL;
	}
}

KIT void fake_start(struct fake *f, size_t limit_bytes)
{
	struct nb_conf conf = {limit_bytes, NB_KIT_GENERATION, fake_first_held, fake_failed, f};
	struct nb_port ports[PORTS] = {{.name = "nic0"}, {.name = "nic1", .vnet_hdr = true}};
	struct tv_err e = {0};
	int c[2], w[2];

	memset(f, 0, sizeof(*f));
	f->base = event_base_new();
	for (int i = 0; i < PORTS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w), 0);
		f->guest[i] = c[0];
		ports[i].capture_fd = c[1];
		ports[i].inject_fd = w[0];
		f->world[i] = w[1];
		fcntl(w[1], F_SETFL, O_NONBLOCK);
	}
	if (nb_relay_new(f->base, ports, PORTS, &conf, &f->nb, &e))
		fail_msg("%s", e.text);
	assert_int_equal(nb_mode(f->nb), NB_PASS);
}

KIT void fake_end(struct fake *f)
{
	nb_free(f->nb);
	event_base_free(f->base);
	for (int i = 0; i < PORTS; i++) {
		tv_close_fd(&f->guest[i]);
		tv_close_fd(&f->world[i]);
	}
}

KIT void put_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

KIT uint32_t fake_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Frame number seq of this port: head, seq, then bytes that follow from seq. At least 4 bytes. */
KIT size_t make_frame(uint8_t *out, int port, uint32_t seq, size_t bytes)
{
	size_t head = port ? 8 : 4, i;

	put_be32(out, (uint32_t)bytes);
	if (port)
		put_be32(out + 4, 4);
	put_be32(out + head, seq);
	for (i = 4; i < bytes; i++)
		out[head + i] = (uint8_t)(seq * 31 + i);
	return head + bytes;
}

KIT void guest_sends(struct fake *f, int port, uint32_t seq, size_t bytes)
{
	static uint8_t b[200 << 10];
	size_t n = make_frame(b, port, seq, bytes);

	assert_int_equal(write(f->guest[port], b, n), (ssize_t)n);
}

KIT void turns(struct fake *f, int n)
{
	while (n--)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* Takes what has come out of a port. */
KIT void world_reads(struct fake *f, int port)
{
	ssize_t r;

	do {
		size_t room = sizeof(f->got[0]) - f->got_bytes[port];

		r = read(f->world[port], f->got[port] + f->got_bytes[port], room);
		if (r > 0)
			f->got_bytes[port] += (size_t)r;
	} while (r > 0);
	assert_true(r == 0 || errno == EAGAIN);
}

/* Parses and checks whole frames from the front; calls back with each number; keeps the rest. */
KIT unsigned world_frames(struct fake *f, int port, void (*each)(void *, int, uint32_t), void *arg)
{
	static uint8_t want[200 << 10];
	size_t head = port ? 8 : 4, at = 0;
	unsigned count = 0;

	world_reads(f, port);
	while (f->got_bytes[port] - at >= head + 4) {
		const uint8_t *p = f->got[port] + at;
		size_t bytes = fake_be32(p);

		if (f->got_bytes[port] - at < head + bytes)
			break;
		make_frame(want, port, fake_be32(p + head), bytes);
		assert_memory_equal(p, want, head + bytes);
		if (each)
			each(arg, port, fake_be32(p + head));
		at += head + bytes;
		count++;
	}
	f->got_bytes[port] -= at;
	memmove(f->got[port], f->got[port] + at, f->got_bytes[port]);
	return count;
}

struct expected {
	const uint32_t *seqs;
	unsigned n, at;
};

KIT void expect_next(void *arg, int port, uint32_t seq)
{
	struct expected *x = arg;

	(void)port;
	assert_true(x->at < x->n);
	assert_int_equal(seq, x->seqs[x->at++]);
}

/* After a few turns exactly these frames have come out of the port, whole and in this order. */
#define EXPECT_OUT(f, port, ...)                                                           \
	do {                                                                               \
		const uint32_t seqs_[] = {0, ##__VA_ARGS__};                               \
		struct expected x_ = {seqs_ + 1, sizeof(seqs_) / sizeof(seqs_[0]) - 1, 0}; \
		turns((f), 4);                                                             \
		world_frames((f), (port), expect_next, &x_);                               \
		assert_int_equal(x_.at, x_.n);                                             \
		assert_int_equal((f)->got_bytes[port], 0);                                 \
	} while (0)

#endif
