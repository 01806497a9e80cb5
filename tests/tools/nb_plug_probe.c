/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plug's rules against a real kernel, one by one. See nb_plug_bed.h.
 * usage: nb_plug_probe [TEST]   exit status: 0 all is as it should be; 77 skipped, with the reason
 */
#include "tests/tools/nb_plug_bed.h"

/* More than one unreleased epoch: they leave together, later and not earlier. */
static void several_unreleased(struct bed *b)
{
	barrier(b, 3, 0);
	guest_sends(b, 0, 0x88b5, 62);
	barrier(b, 4, 0);
	guest_sends(b, 0, 0x88b5, 63);
	expect_nothing(b);
	nb_release(b->nb, GEN, 3);
	expect_out(b, b->seq - 3);
	expect_nothing(b);
	nb_release(b->nb, GEN, 4); /* its frames are together with 5's */
	expect_nothing(b);
	barrier(b, 5, 0);
	expect_nothing(b);
	nb_release(b->nb, GEN, 5);
	expect_out(b, b->seq - 1);
}

/* Held again after a pass: epoch numbers begin anew. */
static void hold_again(struct bed *b)
{
	nb_hold(b->nb);
	barrier(b, 1, 0);
	guest_sends(b, 0, 0x88b5, 65);
	expect_nothing(b);
	barrier(b, 2, 0);
	nb_release(b->nb, GEN, 2);
	expect_out(b, b->seq - 1);
}

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
	several_unreleased(&b);
	barrier(&b, 6, 0); /* an empty epoch */
	nb_release(b.nb, GEN, 6);
	guest_sends(&b, 0, 0x88b5, 64);
	expect_nothing(&b);
	nb_pass(b.nb);
	expect_out(&b, b.seq - 1);
	expect_out(&b, guest_sends(&b, 0, 0x88b5, 64));
	hold_again(&b);
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

/* TCP bytes of the frame below that come out, until there are enough or the time is over. */
static size_t large_bytes(struct bed *b, size_t enough, int64_t ms)
{
	int64_t until = tv_now_ns() + ms * TV_NS_PER_MS;
	struct pollfd p = {b->world, POLLIN, 0};
	static uint8_t got[MAX_FRAME];
	size_t payload = 0;
	ssize_t r;

	while (payload < enough && tv_now_ns() < until) {
		turn(b);
		while ((r = recv(b->world, got, sizeof(got), 0)) >= 0)
			if (r > 54 && !memcmp(got + 6, "\x02twin\x02", 6))
				payload += (size_t)r - 54;
		poll(&p, 1, 1);
	}
	return payload;
}

/* A large TCP frame as guests with offloads send it: held whole, not counted by the kernel. */
static void test_gso(void)
{
	static uint8_t f[12 + 14 + 40 + 30000];
	struct virtio_net_hdr *v = (void *)f;
	uint8_t *ip = f + 10 + 14, *tcp = ip + 20;
	uint32_t sum = 0;
	size_t n = 10 + 14 + 40 + 30000, out;
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
		CHECK(write(b.tap[0], f, n) == (ssize_t)n, "%s", strerror(errno));
		CHECK(large_bytes(&b, 1, QUIET_MS) == 0, "came out");
		barrier(&b, round, 0);
		CHECK(large_bytes(&b, 1, QUIET_MS) == 0, "came out");
		nb_release(b.nb, GEN, round);
		out = large_bytes(&b, 30000, WAIT_NS / TV_NS_PER_MS);
		CHECK(out == 30000, "%zu bytes of 30000 came out", out);
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
};

int main(int argc, char **argv)
{
	int rc = bed_enter();

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		if (argc < 2 || !strcmp(argv[1], tests[i].name))
			step(tests[i].name, tests[i].run);
	return bed_verdict();
}
