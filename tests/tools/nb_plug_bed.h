/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the plug against a real kernel share: taps that a program writes to as a guest
 * would, a bridge where "the world" listens, in a network namespace of their own; numbered frames;
 * what is left behind. They need root and a kernel with sch_plug (a lab host has one).
 */
#ifndef NB_PLUG_BED_H
#define NB_PLUG_BED_H

#include "netbuffer/netbuffer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#define VM_ID "0123456789abcdef0123456789abcdef"
#define GEN 7
#define WAIT_NS (5 * TV_NS_PER_S)
#define QUIET_MS 30 /* how long nothing may come out; a leak shows in microseconds */
#define HEAD 18	    /* Ethernet header and our number */
#define MAX_FRAME 70000
#define BURST 150 /* frames of one sender between two stops at most */

#define BED __attribute__((unused)) static

BED int failures;
BED const char *doing = "?";

#define CHECK(cond, ...)                                                          \
	do {                                                                      \
		if (!(cond)) {                                                    \
			printf("FAIL %s, line %d: %s: ", doing, __LINE__, #cond); \
			printf(__VA_ARGS__);                                      \
			printf("\n");                                             \
			failures++;                                               \
		}                                                                 \
	} while (0)

/* Not by system(3): a lab host's sh is a busybox that prefers its own ip and tc. */
BED int shell(const char *cmd, int out_fd)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (out_fd >= 0)
			dup2(out_fd, 1);
		execlp("bash", "bash", "-c", cmd, NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

BED void run(const char *cmd)
{
	if (shell(cmd, -1)) {
		printf("FAIL '%s'\n", cmd);
		exit(1);
	}
}

BED char *output(const char *cmd)
{
	static char *text[2];
	static int which;
	FILE *f = tmpfile();
	size_t n;

	which = !which;
	text[which] = realloc(text[which], 1 << 16);
	if (shell(cmd, fileno(f)))
		printf("'%s' fails\n", cmd);
	rewind(f);
	n = fread(text[which], 1, (1 << 16) - 1, f);
	text[which][n] = '\0';
	fclose(f);
	return text[which];
}

/* Everything that we could leave behind; numbers that only count are cut out. */
BED const char *traces(void)
{
	return output(
		"ip -o link | cut -d' ' -f2,4,5 | sort; tc qdisc; for d in $(ls /sys/class/net); "
		"do tc filter show dev $d ingress; tc filter show dev $d; done 2>&1");
}

/* ---- the guest's and the world's side ---- */

struct bed { /* a VM's taps and what is around them */
	int tap[2], queue2, world;
	struct event_base *base;
	struct nb *nb;
	struct nb_plug_tap taps[2];
	unsigned first_held, failed;
	int failed_rc;
	uint32_t seq, next_out; /* numbers of frames: sent, and expected next */
};

BED int open_tap(const char *name, int flags)
{
	struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(r.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) {
		printf("FAIL tap %s: %s\n", name, strerror(errno));
		exit(1);
	}
	return fd;
}

BED int open_world(const char *dev)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(dev)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), big = 64 << 20;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		printf("FAIL packet socket on %s: %s\n", dev, strerror(errno));
		exit(1);
	}
	return fd;
}

BED void on_first_held(void *arg, int64_t now_ns)
{
	struct bed *b = arg;

	(void)now_ns;
	b->first_held++;
}

BED void on_failed(void *arg, const char *port, int rc)
{
	struct bed *b = arg;

	(void)port;
	b->failed++;
	b->failed_rc = rc;
}

BED void plug_in(struct bed *b, unsigned taps, size_t limit_bytes)
{
	struct nb_conf conf = {limit_bytes, GEN, on_first_held, on_failed, b};
	struct tv_err e = {0};

	b->first_held = b->failed = 0;
	b->seq = b->next_out;
	if (nb_plug_new(b->base, b->taps, taps, VM_ID, &conf, &b->nb, &e)) {
		printf("FAIL %s: %s\n", doing, e.text);
		exit(1);
	}
}

BED void set_up(struct bed *b, int tap_flags)
{
	memset(b, 0, sizeof(*b));
	b->queue2 = -1;
	b->base = event_base_new();
	b->tap[0] = open_tap("ptap0", tap_flags);
	if (tap_flags & IFF_MULTI_QUEUE)
		b->queue2 = open_tap("ptap0", tap_flags);
	b->tap[1] = open_tap("ptap1", 0);
	run("ip link add pbr type bridge mcast_snooping 0 && "
	    "for d in ptap0 ptap1; do ip link set $d master pbr; done && "
	    "for d in ptap0 ptap1 pbr; do ip link set $d mtu 9000; "
	    "echo 1 >/proc/sys/net/ipv6/conf/$d/disable_ipv6; ip link set $d up; done");
	for (unsigned i = 0; i < 2; i++) {
		snprintf(b->taps[i].name, sizeof(b->taps[i].name), "nic%u", i);
		snprintf(b->taps[i].ifname, sizeof(b->taps[i].ifname), "ptap%u", i);
		b->taps[i].ifindex = if_nametoindex(b->taps[i].ifname);
	}
	b->world = open_world("pbr");
	b->next_out = 1;
}

BED void tear_down(struct bed *b)
{
	nb_free(b->nb);
	run("ip link del pbr");
	close(b->world);
	close(b->tap[0]);
	close(b->tap[1]);
	if (b->queue2 >= 0)
		close(b->queue2);
	event_base_free(b->base);
}

/* Writes frame number seq; ends the program unless the kernel took it. */
BED void put_frame(int fd, uint32_t seq, uint16_t type, size_t bytes)
{
	static __thread uint8_t f[MAX_FRAME];
	size_t tag = type == 0x8100 || type == 0x88a8 ? 4 : 0;

	memset(f, 0xff, 6);
	memcpy(f + 6, "\x02twin\x01", 6);
	f[12] = (uint8_t)(type >> 8);
	f[13] = (uint8_t)type;
	if (tag) /* of a VLAN; packet sockets show it elsewhere */
		memcpy(f + 14, "\x00\x05\x88\xb6", tag);
	for (unsigned i = 0; i < 4; i++)
		f[14 + tag + i] = (uint8_t)(seq >> (24 - 8 * i));
	for (size_t i = HEAD + tag; i < bytes; i++)
		f[i] = (uint8_t)(seq + i - tag);
	if (write(fd, f, bytes) != (ssize_t)bytes) {
		printf("FAIL %s: write to the tap: %s\n", doing, strerror(errno));
		exit(1);
	}
}

BED uint32_t guest_sends(struct bed *b, unsigned tap, uint16_t type, size_t bytes)
{
	put_frame(b->tap[tap], b->seq, type, bytes);
	return b->seq++;
}

/* One of the guest's frames, if one has come out; its number. */
BED bool world_gets(struct bed *b, uint32_t *seq)
{
	static uint8_t f[MAX_FRAME];
	ssize_t r;

	while ((r = recv(b->world, f, sizeof(f), MSG_TRUNC)) >= 0) {
		if (r < HEAD || memcmp(f + 6, "\x02twin\x01", 6))
			continue;
		*seq = (uint32_t)f[14] << 24 | (uint32_t)f[15] << 16 | (uint32_t)f[16] << 8 | f[17];
		for (ssize_t i = HEAD; i < r; i++)
			if (f[i] != (uint8_t)(*seq + (uint32_t)i)) {
				CHECK(false, "frame %u is damaged at %zd of %zd", *seq, i, r);
				break;
			}
		return true;
	}
	return false;
}

BED void turn(struct bed *b)
{
	event_base_loop(b->base, EVLOOP_NONBLOCK);
}

/* Exactly the frames next_out ... last come out, in order, and nothing after them. */
BED void expect_out(struct bed *b, uint32_t last)
{
	int64_t until = tv_now_ns() + WAIT_NS;
	struct pollfd p = {b->world, POLLIN, 0};
	uint32_t seq;

	while (b->next_out <= last && tv_now_ns() < until) {
		turn(b);
		if (!world_gets(b, &seq)) {
			poll(&p, 1, 1);
			continue;
		}
		CHECK(seq == b->next_out, "frame %u came out, %u was due", seq, b->next_out);
		b->next_out = seq + 1;
	}
	CHECK(b->next_out == last + 1, "frame %u has not come out", b->next_out);
	b->next_out = last + 1;
}

BED void expect_nothing(struct bed *b)
{
	struct pollfd p = {b->world, POLLIN, 0};
	uint32_t seq;

	turn(b);
	while (poll(&p, 1, QUIET_MS) > 0) {
		turn(b);
		if (world_gets(b, &seq)) {
			CHECK(false, "frame %u came out", seq);
			b->next_out = seq + 1;
		}
	}
	turn(b);
}

BED void barrier(struct bed *b, uint64_t epoch, int want)
{
	int rc = nb_barrier(b->nb, epoch);

	CHECK(rc == want, "barrier %llu says %d", (unsigned long long)epoch, rc);
}

/* The counters may be some ms old. */
BED void await_held(struct bed *b, uint64_t frames, struct nb_stats *st)
{
	int64_t until = tv_now_ns() + WAIT_NS;

	do {
		turn(b);
		nb_stats(b->nb, st);
	} while (st->held_frames != frames && tv_now_ns() < until);
}

/* ---- numbers, steps ---- */

BED int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

BED void print_times(const char *what, int64_t *v, unsigned n)
{
	if (!n)
		return;
	qsort(v, n, sizeof(*v), cmp64);
	printf("  %s: median %.1f us, p99 %.1f us, longest %.1f us of %u\n", what,
	       (double)v[n / 2] / 1e3, (double)v[(n - 1) * 99 / 100] / 1e3, (double)v[n - 1] / 1e3,
	       n);
}

BED void step(const char *name, void (*test)(void))
{
	char before[1 << 14];
	int had = failures;

	doing = name;
	snprintf(before, sizeof(before), "%s", traces());
	test();
	CHECK(!strcmp(before, traces()), "left behind:\n%s", traces());
	printf("%s %s\n", failures == had ? "ok  " : "FAIL", doing);
}

/* 0, or 77: this cannot be tested here, and the reason was printed. */
BED int bed_enter(void)
{
	struct tv_err e = {0};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (geteuid() || unshare(CLONE_NEWNET | CLONE_NEWNS)) {
		printf("skipped: needs root\n");
		return 77;
	}
	/* /sys shows the devices of the namespace it was mounted in. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("sys", "/sys", "sysfs", 0, NULL))
		printf("/sys: %s\n", strerror(errno));
	run("ip link set lo up");
	if (!nb_plug_probe(&e))
		return 0;
	printf("skipped: %s\n", e.text);
	return 77;
}

BED int bed_verdict(void)
{
	printf("%s\n", failures ? "FAILED" : "all is as it should be");
	return failures ? 1 : 0;
}

#endif
