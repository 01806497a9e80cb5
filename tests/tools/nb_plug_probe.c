/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plug against a real kernel: taps that this program writes to as a guest would, and a bridge
 * where "the world" listens. In a network namespace of its own. Needs root and a
 * kernel with sch_plug (a lab host has one).
 * usage: nb_plug_probe [EPOCHS [TEST]]   exit status: 0 all is as it should be; 77 skipped, with
 * the reason
 */
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
#define BURST 500 /* frames of one sender between two stops at most */

static int failures;
static const char *doing = "?";
static unsigned epochs = 1000;

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("FAIL %s, line %d: %s: ", doing, __LINE__, #cond);                  \
			printf(__VA_ARGS__);                                                       \
			printf("\n");                                                              \
			failures++;                                                                \
		}                                                                                  \
	} while (0)

static void run(const char *cmd)
{
	if (system(cmd)) {
		printf("FAIL '%s'\n", cmd);
		exit(1);
	}
}

static char *output(const char *cmd)
{
	static char *text[2];
	static int which;
	FILE *f = popen(cmd, "r");
	size_t n;

	which = !which;
	text[which] = realloc(text[which], 1 << 16);
	n = fread(text[which], 1, (1 << 16) - 1, f);
	text[which][n] = '\0';
	pclose(f);
	return text[which];
}

/* Everything that we could leave behind; numbers that only count are cut out. */
static const char *traces(void)
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

static int open_tap(const char *name, int flags)
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

static int open_world(const char *dev)
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

static void on_first_held(void *arg, int64_t now_ns)
{
	struct bed *b = arg;

	(void)now_ns;
	b->first_held++;
}

static void on_failed(void *arg, const char *port, int rc)
{
	struct bed *b = arg;

	(void)port;
	b->failed++;
	b->failed_rc = rc;
}

static void plug_in(struct bed *b, unsigned taps, size_t limit_bytes)
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

static void set_up(struct bed *b, int tap_flags)
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

static void tear_down(struct bed *b)
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

/* Writes frame number seq, and says so only if the kernel took it. */
static void put_frame(int fd, uint32_t seq, uint16_t type, size_t bytes)
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

static uint32_t guest_sends(struct bed *b, unsigned tap, uint16_t type, size_t bytes)
{
	put_frame(b->tap[tap], b->seq, type, bytes);
	return b->seq++;
}

/* One of the guest's frames, if one has come out; its number. */
static bool world_gets(struct bed *b, uint32_t *seq)
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

static void turn(struct bed *b)
{
	event_base_loop(b->base, EVLOOP_NONBLOCK);
}

/* Exactly the frames next_out ... last come out, in order, and nothing after them. */
static void expect_out(struct bed *b, uint32_t last)
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

static void expect_nothing(struct bed *b)
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

static void barrier(struct bed *b, uint64_t epoch, int want)
{
	int rc = nb_barrier(b->nb, epoch);

	CHECK(rc == want, "barrier %llu says %d", (unsigned long long)epoch, rc);
}

/* The counters may be some ms old. */
static void await_held(struct bed *b, uint64_t frames, struct nb_stats *st)
{
	int64_t until = tv_now_ns() + WAIT_NS;

	do {
		turn(b);
		nb_stats(b->nb, st);
	} while (st->held_frames != frames && tv_now_ns() < until);
}

/* ---- the tests ---- */

static void test_epochs(void)
{
	struct nb_stats st;
	struct bed b;

	set_up(&b, 0);
	plug_in(&b, 1, 0);
	CHECK(nb_max_in_flight(b.nb) == 1 && !strcmp(nb_way(b.nb), "plug"), "%s", nb_way(b.nb));
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 60));
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 1500));
	barrier(&b, 5, 0); /* only checks */
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 60));
	nb_hold(b.nb);
	CHECK(nb_mode(b.nb) == NB_PASS, "holds too early");
	guest_sends(&b, 0, 0x88b5, 60); /* before the first barrier: passes */
	barrier(&b, 1, 0);
	CHECK(nb_mode(b.nb) == NB_HOLD, "does not hold");
	expect_out(&b, b.seq - 1);
	CHECK(b.first_held == 0, "first_held for a frame that passed");
	for (int i = 0; i < 5; i++)
		guest_sends(&b, 0, 0x88b5, 60 + 300 * (size_t)i);
	expect_nothing(&b);
	CHECK(b.first_held == 1, "first_held %u times", b.first_held);
	nb_release(b.nb, GEN, 1);
	nb_release(b.nb, GEN, 2); /* no barrier yet: lets nothing out, now or later */
	expect_nothing(&b);
	barrier(&b, 2, 0);
	barrier(&b, 2, -EINVAL);
	guest_sends(&b, 0, 0x88b5, 60);
	guest_sends(&b, 0, 0x88b5, 61);
	expect_nothing(&b);
	CHECK(b.first_held == 2, "first_held %u times", b.first_held);
	await_held(&b, 7, &st);
	CHECK(st.held_frames == 7 && st.oldest_held_ns > 0, "%llu held, oldest %lld",
	      (unsigned long long)st.held_frames, (long long)st.oldest_held_ns);
	nb_release(b.nb, GEN + 1, 2);
	expect_nothing(&b);
	nb_release(b.nb, GEN, 2);
	expect_out(&b, b.seq - 3);
	expect_nothing(&b);
	/* More than one unreleased epoch: they leave together, later and not earlier. */
	barrier(&b, 3, 0);
	guest_sends(&b, 0, 0x88b5, 62);
	barrier(&b, 4, 0);
	guest_sends(&b, 0, 0x88b5, 63);
	expect_nothing(&b);
	nb_release(b.nb, GEN, 3);
	expect_out(&b, b.seq - 3);
	expect_nothing(&b);
	nb_release(b.nb, GEN, 4); /* its frames are together with 5's */
	expect_nothing(&b);
	barrier(&b, 5, 0);
	expect_nothing(&b);
	nb_release(b.nb, GEN, 5);
	expect_out(&b, b.seq - 1);
	barrier(&b, 6, 0); /* an empty epoch */
	nb_release(b.nb, GEN, 6);
	guest_sends(&b, 0, 0x88b5, 64);
	expect_nothing(&b);
	nb_pass(b.nb);
	expect_out(&b, b.seq - 1);
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 64));
	/* And again, with the numbers begun anew. */
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	guest_sends(&b, 0, 0x88b5, 65);
	expect_nothing(&b);
	barrier(&b, 2, 0);
	nb_release(b.nb, GEN, 2);
	expect_out(&b, b.seq - 1);
	CHECK(b.failed == 0, "failed: %d", b.failed_rc);
	nb_pass(b.nb);
	while (!nb_idle(b.nb))
		turn(&b);
	nb_stats(b.nb, &st);
	CHECK(st.dropped_frames == 0 && st.held_frames == 0, "%llu dropped",
	      (unsigned long long)st.dropped_frames);
	tear_down(&b);
}

static void test_protocols(void)
{
	static const uint16_t types[] = {0x0806, 0x0800, 0x86dd,
					 0x8100, 0x88a8, 0x88cc,
					 0x8863, 0xabcd, 46 /* a length: 802.3 */,
					 0x0000};
	struct bed b;

	set_up(&b, 0);
	plug_in(&b, 1, 0);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		guest_sends(&b, 0, types[i], 60);
	guest_sends(&b, 0, 0x88b5, 9014);
	expect_nothing(&b);
	barrier(&b, 2, 0);
	nb_release(b.nb, GEN, 2);
	expect_out(&b, b.seq - 1);
	tear_down(&b);
}

/* A large TCP frame as guests with offloads send it: held whole, not counted by the kernel. */
static void test_gso(void)
{
	static uint8_t f[12 + 14 + 40 + 30000];
	struct virtio_net_hdr *v = (void *)f;
	uint8_t *ip = f + 10 + 14, *tcp = ip + 20;
	uint32_t sum = 0, seq;
	size_t n = 10 + 14 + 40 + 30000;
	struct bed b;

	set_up(&b, IFF_VNET_HDR);
	plug_in(&b, 1, 0);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	v->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	v->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	v->hdr_len = 54;
	v->gso_size = 1448;
	v->csum_start = 34;
	v->csum_offset = 16;
	memset(f + 10, 0xff, 6);
	memcpy(f + 16, "\x02twin\x02\x08\x00", 8);
	memcpy(ip,
	       "\x45\x00\x75\x58\x00\x01\x00\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02",
	       20);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16));
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	tcp[12] = 0x50;
	tcp[13] = 0x10;
	for (unsigned round = 2; round < 12; round++) {
		uint8_t got[MAX_FRAME];
		size_t payload = 0;
		int64_t until = tv_now_ns() + WAIT_NS;
		struct pollfd p = {b.world, POLLIN, 0};
		ssize_t r;

		CHECK(write(b.tap[0], f, n) == (ssize_t)n, "%s", strerror(errno));
		CHECK(!world_gets(&b, &seq), "came out");
		CHECK(poll(&p, 1, QUIET_MS) == 0, "came out");
		barrier(&b, round, 0);
		CHECK(poll(&p, 1, QUIET_MS) == 0, "came out");
		nb_release(b.nb, GEN, round);
		while (payload < 30000 && tv_now_ns() < until) {
			turn(&b);
			while ((r = recv(b.world, got, sizeof(got), 0)) >= 0)
				if (r > 54 && !memcmp(got + 6, "\x02twin\x02", 6))
					payload += (size_t)r - 54;
			poll(&p, 1, 1);
		}
		CHECK(payload == 30000, "%zu bytes of 30000 came out", payload);
	}
	CHECK(b.failed == 0, "failed: %d", b.failed_rc);
	tear_down(&b);
}

static void test_limit(void)
{
	struct nb_stats st;
	struct bed b;
	uint32_t last;

	set_up(&b, 0);
	plug_in(&b, 1, 256 << 10);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	last = b.seq + (256 << 10) / 1000 - 1; /* that many fit */
	for (int i = 0; i < 400; i++)
		guest_sends(&b, 0, 0x88b5, 1000);
	barrier(&b, 2, 0);
	nb_stats(b.nb, &st);
	CHECK(st.held_frames == (256 << 10) / 1000, "%llu held",
	      (unsigned long long)st.held_frames);
	CHECK(st.dropped_frames == 400 - (256 << 10) / 1000, "%llu dropped",
	      (unsigned long long)st.dropped_frames);
	expect_nothing(&b);
	nb_release(b.nb, GEN, 2);
	expect_out(&b, last);
	expect_nothing(&b);
	b.next_out = b.seq;
	guest_sends(&b, 0, 0x88b5, 1000);
	barrier(&b, 3, 0);
	nb_release(b.nb, GEN, 3);
	expect_out(&b, b.seq - 1);
	tear_down(&b);
}

static void test_drop(void)
{
	struct nb_stats st;
	struct bed b;

	set_up(&b, 0);
	plug_in(&b, 2, 0);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	for (int round = 0; round < 3; round++) {
		guest_sends(&b, 0, 0x88b5, 100);
		barrier(&b, 2 + 3 * (uint64_t)round, 0);
		guest_sends(&b, 1, 0x88b5, 100);
		expect_nothing(&b);
		nb_drop(b.nb);
		CHECK(nb_mode(b.nb) == NB_HOLD, "opened");
		b.next_out = b.seq;
		guest_sends(&b, 0, 0x88b5, 100);
		expect_nothing(&b);
		barrier(&b, 3 + 3 * (uint64_t)round, 0);
		nb_release(b.nb, GEN, 3 + 3 * (uint64_t)round);
		expect_out(&b, b.seq - 1);
	}
	nb_stats(b.nb, &st);
	CHECK(st.dropped_frames == 6, "%llu dropped", (unsigned long long)st.dropped_frames);
	CHECK(b.failed == 0, "failed: %d", b.failed_rc);
	tear_down(&b);
}

/* Queues and filters that somebody takes away end the session. */
static void test_loss(void)
{
	static const char *const cmds[] = {
		"tc qdisc del dev ptap0 ingress", "tc filter del dev ptap0 ingress",
		"ip link del tb01234567p0", "ip link set tb01234567p0 down",
		"tc qdisc del dev tb01234567p0 root"};
	struct bed b;

	for (size_t i = 0; i < sizeof(cmds) / sizeof(*cmds); i++) {
		int64_t until;

		set_up(&b, 0);
		plug_in(&b, 1, 0);
		nb_hold(b.nb);
		barrier(&b, 1, 0);
		turn(&b);
		CHECK(b.failed == 0, "failed too early");
		run(cmds[i]);
		until = tv_now_ns() + WAIT_NS;
		while (!b.failed && tv_now_ns() < until)
			event_base_loop(b.base, EVLOOP_NONBLOCK);
		CHECK(b.failed == 1 && b.failed_rc == -EPIPE, "'%s': %u, %d", cmds[i], b.failed,
		      b.failed_rc);
		barrier(&b, 2, -EPIPE);
		nb_pass(b.nb);
		tear_down(&b);
	}
}

static void test_refusals(void)
{
	struct tv_err e = {0};
	struct bed b;

	set_up(&b, 0);
	run("tc qdisc add dev ptap0 clsact");
	CHECK(nb_plug_new(b.base, b.taps, 1, VM_ID, NULL, &b.nb, &e) == -EBUSY && !b.nb, "%s",
	      e.text);
	run("tc qdisc del dev ptap0 clsact; echo 1 >/sys/class/net/ptap0/queues/rx-0/rps_cpus");
	CHECK(nb_plug_new(b.base, b.taps, 1, VM_ID, NULL, &b.nb, &e) == -ENOTSUP && !b.nb, "%s",
	      e.text);
	b.taps[0].ifindex = 9999;
	CHECK(nb_plug_new(b.base, b.taps, 1, VM_ID, NULL, &b.nb, &e) < 0 && !b.nb, "%s", e.text);
	tear_down(&b);
}

/* A process that dies by SIGKILL while it holds frames. */
static void test_kill(bool release)
{
	struct tv_err e = {0};
	struct bed b;
	int ready[2], status;
	char before[1 << 14], byte;
	pid_t pid;

	set_up(&b, 0);
	snprintf(before, sizeof(before), "%s", traces());
	CHECK(pipe(ready) == 0, "pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		event_reinit(b.base);
		plug_in(&b, 1, 0);
		nb_hold(b.nb);
		barrier(&b, 1, 0);
		if (write(ready[1], "r", 1) != 1)
			exit(1);
		pause();
	}
	CHECK(read(ready[0], &byte, 1) == 1, "the child died");
	b.seq = b.next_out;
	for (int i = 0; i < 10; i++)
		guest_sends(&b, 0, 0x88b5, 500);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	for (int i = 0; i < 10; i++)
		guest_sends(&b, 0, 0x88b5, 500);
	expect_nothing(&b);
	CHECK(nb_plug_clean("fedcba98", true, &e) == 0, "%s", e.text);
	expect_nothing(&b); /* another VM's */
	CHECK(nb_plug_clean(VM_ID, release, &e) == 0, "%s", e.text);
	if (release) {
		expect_out(&b, b.seq - 1);
	} else {
		expect_nothing(&b);
		b.next_out = b.seq;
	}
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 500));
	CHECK(!strcmp(before, traces()), "left behind: %s", traces());
	CHECK(nb_plug_clean(VM_ID, release, &e) == 0, "%s", e.text);
	close(ready[0]);
	close(ready[1]);
	tear_down(&b);
}

/* ---- many epochs under load: two queues and a second NIC written to by threads ---- */

struct sender {
	pthread_t thread;
	int fd;
	uint8_t id;
	uint32_t seq; /* of the next frame */
};
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, quit;
	unsigned running;
} guest = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, false, 0};

/* A virtual CPU, or vhost worker: sends without a pause until it is stopped, as `stop` does. */
static void *sender_main(void *arg)
{
	struct sender *s = arg;
	unsigned random = s->id + 1u;

	for (;;) {
		pthread_mutex_lock(&guest.lock);
		while (guest.stop && !guest.quit)
			pthread_cond_wait(&guest.changed, &guest.lock);
		if (guest.quit) {
			pthread_mutex_unlock(&guest.lock);
			return NULL;
		}
		guest.running++;
		pthread_mutex_unlock(&guest.lock);
		for (int n = 0; n < BURST && !__atomic_load_n(&guest.stop, __ATOMIC_ACQUIRE); n++) {
			put_frame(s->fd, (uint32_t)s->id << 24 | s->seq, 0x88b5,
				  60 + (size_t)rand_r(&random) % 1400);
			s->seq++;
			if (rand_r(&random) % 4 == 0)
				sched_yield();
		}
		pthread_mutex_lock(&guest.lock); /* more would be too much for the queues */
		while (!guest.stop)
			pthread_cond_wait(&guest.changed, &guest.lock);
		guest.running--;
		pthread_cond_broadcast(&guest.changed);
		pthread_mutex_unlock(&guest.lock);
	}
}

static void guest_stop(void)
{
	pthread_mutex_lock(&guest.lock);
	__atomic_store_n(&guest.stop, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&guest.changed);
	while (guest.running)
		pthread_cond_wait(&guest.changed, &guest.lock);
	pthread_mutex_unlock(&guest.lock);
}

static void guest_cont(void)
{
	pthread_mutex_lock(&guest.lock);
	__atomic_store_n(&guest.stop, false, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&guest.changed);
	pthread_mutex_unlock(&guest.lock);
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_times(const char *what, int64_t *v, unsigned n)
{
	if (!n)
		return;
	qsort(v, n, sizeof(*v), cmp64);
	printf("  %s: median %.1f us, p99 %.1f us, longest %.1f us of %u\n", what,
	       (double)v[n / 2] / 1e3, (double)v[(n - 1) * 99 / 100] / 1e3, (double)v[n - 1] / 1e3,
	       n);
}

/* Takes all that has come out: in order for each sender, none missing, none after its limit. */
static unsigned take_out(struct bed *b, uint32_t next[3], const uint32_t limit[3])
{
	unsigned n = 0;
	uint32_t seq;

	while (world_gets(b, &seq)) {
		unsigned id = seq >> 24;
		uint32_t k = seq & 0xffffff;

		n++;
		if (id > 2) {
			CHECK(false, "frame of nobody: %x", seq);
			continue;
		}
		CHECK(k == next[id], "sender %u: frame %u came out, %u was due", id, k, next[id]);
		CHECK(k < limit[id],
		      "sender %u: frame %u came out, but only those before %u are "
		      "released",
		      id, k, limit[id]);
		next[id] = k + 1;
		if (failures > 20)
			exit(1);
	}
	return n;
}

static void test_many(void)
{
	int64_t *barrier_ns = calloc(epochs, sizeof(int64_t));
	uint32_t next[3] = {0}, released[3] = {0}, sealed[3];
	struct sender s[3] = {{0}};
	struct nb_stats st;
	unsigned frames = 0;
	struct bed b;

	set_up(&b, IFF_MULTI_QUEUE);
	plug_in(&b, 2, 64 << 20);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		s[i].fd = i == 0 ? b.tap[0] : i == 1 ? b.queue2 : b.tap[1];
		s[i].id = (uint8_t)i;
		pthread_create(&s[i].thread, NULL, sender_main, &s[i]);
	}
	for (unsigned n = 0; n < epochs; n++) {
		struct pollfd p = {b.world, POLLIN, 0};
		int64_t t0, until;

		guest_cont();
		turn(&b);
		poll(NULL, 0, 1 + (int)(n % 3)); /* an epoch's length */
		guest_stop();
		t0 = tv_now_ns();
		barrier(&b, n + 2, 0);
		barrier_ns[n] = tv_now_ns() - t0;
		for (unsigned i = 0; i < 3; i++)
			sealed[i] = s[i].seq;
		guest_cont(); /* the next epoch's frames mix with those that leave */
		take_out(&b, next, released);
		memcpy(released, sealed, sizeof(released));
		nb_release(b.nb, GEN, n + 2);
		until = tv_now_ns() + WAIT_NS;
		while (tv_now_ns() < until &&
		       (next[0] < released[0] || next[1] < released[1] || next[2] < released[2])) {
			turn(&b);
			if (!take_out(&b, next, released))
				poll(&p, 1, 1);
		}
		for (unsigned i = 0; i < 3; i++)
			CHECK(next[i] == released[i], "epoch %u, sender %u: %u of %u came out",
			      n + 2, i, next[i], released[i]);
		guest_stop();
	}
	CHECK(b.failed == 0, "failed: %d", b.failed_rc);
	CHECK(b.first_held > 0, "first_held never came");
	for (unsigned i = 0; i < 3; i++) {
		frames += s[i].seq;
		released[i] = s[i].seq;
	}
	nb_stats(b.nb, &st);
	CHECK(st.dropped_frames == 0, "%llu dropped", (unsigned long long)st.dropped_frames);
	nb_pass(b.nb);
	for (int64_t until = tv_now_ns() + WAIT_NS;
	     tv_now_ns() < until && next[0] + next[1] + next[2] < frames;) {
		turn(&b);
		take_out(&b, next, released);
	}
	CHECK(next[0] + next[1] + next[2] == frames, "%u of %u came out",
	      next[0] + next[1] + next[2], frames);
	pthread_mutex_lock(&guest.lock);
	guest.quit = true;
	pthread_cond_broadcast(&guest.changed);
	pthread_mutex_unlock(&guest.lock);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(s[i].thread, NULL);
	printf("  %u epochs, %u frames of 2 NICs, one with 2 queues\n", epochs, frames);
	print_times("barrier (2 NICs)", barrier_ns, epochs);
	free(barrier_ns);
	tear_down(&b);
}

/* From the guest's write to first_held; once an epoch. From the release to the first frame. */
static void test_first(void)
{
	int64_t held_ns[200], out_ns[200];
	struct bed b;

	set_up(&b, 0);
	plug_in(&b, 1, 0);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	for (unsigned i = 0; i < 200; i++) {
		struct pollfd p = {b.world, POLLIN, 0};
		int64_t t0 = tv_now_ns();
		unsigned had = b.first_held;

		guest_sends(&b, 0, 0x88b5, 200);
		event_base_loop(b.base, EVLOOP_ONCE);
		held_ns[i] = tv_now_ns() - t0;
		while (b.first_held == had && tv_now_ns() < t0 + WAIT_NS)
			turn(&b);
		for (int k = 0; k < 20; k++)
			guest_sends(&b, 0, 0x88b5, 200);
		turn(&b);
		turn(&b);
		CHECK(b.first_held == had + 1, "%u times in epoch %u", b.first_held - had, i);
		barrier(&b, i + 2, 0);
		t0 = tv_now_ns();
		nb_release(b.nb, GEN, i + 2);
		CHECK(poll(&p, 1, 5000) == 1, "nothing comes out");
		out_ns[i] = tv_now_ns() - t0;
		expect_out(&b, b.seq - 1);
	}
	print_times("frame written to first_held", held_ns, 200);
	print_times("release of 21 frames to the first one out", out_ns, 200);
	tear_down(&b);
}

static void step(const char *name, void (*test)(void))
{
	char before[1 << 14];
	int had = failures;

	doing = name;
	snprintf(before, sizeof(before), "%s", traces());
	test();
	CHECK(!strcmp(before, traces()), "left behind:\n%s", traces());
	printf("%s %s\n", failures == had ? "ok  " : "FAIL", doing);
}

static void test_kill_release(void)
{
	test_kill(true);
}

static void test_kill_drop(void)
{
	test_kill(false);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"epochs", test_epochs},       {"protocols", test_protocols},
	{"large-frames", test_gso},    {"limit", test_limit},
	{"drop", test_drop},	       {"loss", test_loss},
	{"refusals", test_refusals},   {"kill-release", test_kill_release},
	{"kill-drop", test_kill_drop}, {"first-frame", test_first},
	{"many", test_many},
};

int main(int argc, char **argv)
{
	struct tv_err e = {0};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		epochs = (unsigned)atoi(argv[1]);
	if (geteuid() || unshare(CLONE_NEWNET)) {
		printf("skipped: needs root\n");
		return 77;
	}
	run("ip link set lo up; mount -t sysfs sys /sys 2>/dev/null || true");
	if (nb_plug_probe(&e)) {
		printf("skipped: %s\n", e.text);
		return 77;
	}
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		if (argc < 3 || !strcmp(argv[2], tests[i].name))
			step(tests[i].name, tests[i].run);
	printf("%s\n", failures ? "FAILED" : "all is as it should be");
	return failures ? 1 : 0;
}
