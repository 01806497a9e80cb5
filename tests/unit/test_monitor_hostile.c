/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor whose sink was taken over: what becomes of it when it is sent nonsense. */
#include "monitor_kit.h"

#include <errno.h>
#include <poll.h>

/* ---- nonsense ---- */

struct raw { /* a monitor whose sockets are the test's */
	pid_t pid;
	int fds[MON_CHANNELS];
};

static void raw_begin(struct raw *r)
{
	int theirs[MON_CHANNELS], pair_of[2];

	for (unsigned i = 0; i < MON_CHANNELS; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair_of), 0);
		r->fds[i] = pair_of[0];
		theirs[i] = pair_of[1];
	}
	r->pid = fork();
	if (!r->pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 2); /* it logs each of them */
		for (unsigned i = 0; i < MON_CHANNELS; i++)
			close(r->fds[i]);
		mon_serve(&conf, theirs);
	}
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		close(theirs[i]);
}

/* Its exit status; -1: a signal ended it. */
static int raw_end(struct raw *r)
{
	int status;

	for (unsigned i = 0; i < MON_CHANNELS; i++)
		close(r->fds[i]);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void raw_send(struct raw *r, unsigned channel, const void *p, size_t n)
{
	assert_int_equal(send(r->fds[channel], p, n, MSG_NOSIGNAL), n);
}

/* Sent to the channel, this is the end of it, by its own decision. */
static void expect_the_end(unsigned channel, const void *p, size_t n)
{
	struct mon_reply reply;
	struct raw r;

	raw_begin(&r);
	raw_send(&r, channel, p, n);
	assert_true(recv(r.fds[channel], &reply, sizeof(reply), 0) <= 0);
	assert_int_equal(raw_end(&r), 1);
}

static void what_is_no_request_ends_it(void **state)
{
	static uint8_t
		packet[sizeof(struct mon_head) + sizeof(union mon_body) + MON_TAIL_BYTES + 64];
	struct mon_head *h = (struct mon_head *)packet;

	(void)state;
	expect_the_end(MON_LOOP, packet, 1);
	for (unsigned v = 0; v < MON_VERBS; v++) {
		const struct mon_shape *s = &mon_shapes[v];
		size_t whole = sizeof(*h) + s->body_bytes;

		/* Another channel's, too short, too long, a body or tail of another size. */
		*h = (struct mon_head){.verb = v, .body_bytes = s->body_bytes};
		expect_the_end((s->channel + 1) % MON_CHANNELS, packet, whole);
		expect_the_end(s->channel, packet, whole - 1);
		expect_the_end(s->channel, packet, whole + 1);
		h->body_bytes++;
		expect_the_end(s->channel, packet, whole + 1);
		*h = (struct mon_head){
			.verb = v, .body_bytes = s->body_bytes, .tail_bytes = s->tail_bytes + 1};
		expect_the_end(s->channel, packet, whole + s->tail_bytes + 1);
		*h = (struct mon_head){
			.verb = v, .body_bytes = s->body_bytes, .tail_bytes = UINT32_MAX};
		expect_the_end(s->channel, packet, whole);
		*h = (struct mon_head){.verb = v, .body_bytes = s->body_bytes, .reserved = 1};
		expect_the_end(s->channel, packet, whole);
	}
	for (unsigned c = 0; c < MON_CHANNELS; c++) {
		*h = (struct mon_head){.verb = MON_VERBS};
		expect_the_end(c, packet, sizeof(*h));
		*h = (struct mon_head){.verb = UINT32_MAX};
		expect_the_end(c, packet, sizeof(*h));
		expect_the_end(c, packet, sizeof(packet)); /* more than any request */
	}
}

static void descriptors_end_it(void **state)
{
	struct mon_head h = {.verb = MON_V_TAPS};
	struct iovec v = {&h, sizeof(h)};
	char room[CMSG_SPACE(20 * sizeof(int))];

	(void)state;
	for (unsigned n = 1; n <= 20; n += 19) { /* as many as fit, and more */
		struct msghdr msg = {.msg_iov = &v,
				     .msg_iovlen = 1,
				     .msg_control = room,
				     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
		struct raw r;

		*CMSG_FIRSTHDR(&msg) =
			(struct cmsghdr){CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memset(CMSG_DATA(CMSG_FIRSTHDR(&msg)), 0, n * sizeof(int)); /* stdin, n times */
		raw_begin(&r);
		assert_int_equal(sendmsg(r.fds[MON_APPLY], &msg, 0), sizeof(h));
		assert_true(recv(r.fds[MON_APPLY], &h, sizeof(h), 0) <= 0);
		assert_int_equal(raw_end(&r), 1);
		h = (struct mon_head){.verb = MON_V_TAPS};
	}
}

static uint64_t random_of(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *seed >> 33;
}

/*
 * Requests of the right size with anything in them, in any order, to a monitor that has its VM and
 * slot: each is answered, none starts a program, makes a note or ends it. It may run for an hour
 * with another seed and number: SEED, ROUNDS.
 */
static void anything_in_a_body_is_survived(void **state)
{
	static uint8_t packet[sizeof(struct mon_head) + sizeof(union mon_body) + MON_TAIL_BYTES];
	const char *seed_text = getenv("SEED"), *rounds_text = getenv("ROUNDS");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
	unsigned long rounds = rounds_text ? strtoul(rounds_text, NULL, 0) : 20000;
	struct mon_vm vm = {.vm_id = ID, .generation = 3};
	struct mon_slot slot = {2};
	struct mon_reply reply;
	int fds[MON_MAX_FDS];
	struct standby_note n;
	char dir[300];
	struct raw r;

	(void)state;
	note_path("", dir);
	unlink("/tmp/twinvm-canary");
	raw_begin(&r);
	assert_int_equal(mon_call(r.fds[MON_LOOP], MON_V_VM, &vm, NULL, 0, &reply, fds), 0);
	assert_int_equal(mon_call(r.fds[MON_LOOP], MON_V_SLOT, &slot, NULL, 0, &reply, fds), 0);
	for (unsigned long i = 0; i < rounds; i++) {
		enum mon_verb v = (enum mon_verb)(random_of(&seed) % MON_VERBS);
		size_t most = mon_shapes[v].tail_bytes < 600 ? mon_shapes[v].tail_bytes : 600;
		size_t tail = most ? random_of(&seed) % most : 0;

		/* Often few bits: zeroes and small numbers get further. */
		for (size_t k = 0; k < mon_shapes[v].body_bytes + tail; k++)
			packet[k] = random_of(&seed) % 3 ? 0 : (uint8_t)random_of(&seed);
		if (v == MON_V_START && i % 2) /* a name that passes: the rest is looked at */
			strcpy(((struct mon_start *)packet)->binary, i % 4 == 1 ? "canary" : "sh");
		assert_int_equal(mon_call(r.fds[mon_shapes[v].channel], v, packet,
					  packet + mon_shapes[v].body_bytes, tail, &reply, fds),
				 0);
		assert_int_equal(reply.fds, 0);
	}
	assert_int_equal(raw_end(&r), 0);
	assert_false(standby_noted(dir, &n));
	assert_int_equal(promotion_noted(dir), 0);
	assert_int_not_equal(access("/tmp/twinvm-canary", F_OK), 0);
}

/* ---- a sink that dies while its QEMU is being started ---- */

/* The daemon may have looked for its standby before there was a note of it. */
static void nobodys_qemu_is_ended(void **state)
{
	static uint8_t packet[sizeof(struct mon_head) + sizeof(struct mon_start) + 5];
	struct mon_head h = {
		.verb = MON_V_START, .body_bytes = sizeof(struct mon_start), .tail_bytes = 5};
	struct mon_start b = {.binary = "qemu-system-test", .ram_bytes = 4096, .n_words = 1};
	struct mon_vm vm_body = {.vm_id = ID, .generation = 3};
	struct mon_slot slot = {2};
	int fds[MON_MAX_FDS], status, pidfd;
	struct standby_note n;
	struct mon_reply r;
	char dir[300];
	struct raw raw;

	(void)state;
	if (geteuid())
		skip();
	memcpy(packet, &h, sizeof(h));
	memcpy(packet + sizeof(h), &b, sizeof(b));
	memcpy(packet + sizeof(h) + sizeof(b), "qemu", 5);
	raw_begin(&raw);
	assert_int_equal(mon_call(raw.fds[MON_LOOP], MON_V_VM, &vm_body, NULL, 0, &r, fds), 0);
	assert_int_equal(r.rc, 0);
	assert_int_equal(mon_call(raw.fds[MON_LOOP], MON_V_SLOT, &slot, NULL, 0, &r, fds), 0);
	assert_int_equal(r.rc, 0);
	/* Words of a sink that was taken over: a priority that no peer's VM has. */
	for (unsigned i = 0; i < 2; i++) {
		struct mon_start bad = b;

		bad.nice = i ? HV_HOST_NICE_MAX + 1 : HV_HOST_NICE_MIN - 1;
		assert_int_equal(
			mon_call(raw.fds[MON_APPLY], MON_V_START, &bad, "qemu", 5, &r, fds), 0);
		assert_int_equal(r.rc, -EINVAL);
	}
	raw_send(&raw, MON_APPLY, packet, sizeof(packet));
	close(raw.fds[MON_APPLY]);
	assert_int_equal(waitpid(raw.pid, &status, 0), raw.pid);
	close(raw.fds[MON_LOOP]);
	close(raw.fds[MON_ARBITER]);
	note_path("", dir);
	assert_true(standby_noted(dir, &n)); /* it was started */
	pidfd = (int)syscall(SYS_pidfd_open, n.pid, 0);
	assert_true(pidfd < 0 || tv_pid_start_ticks(n.pid) != n.start_ticks ||
		    poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, 10000) == 1);
	tv_close_fd(&pidfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_no_request_ends_it),
		T(descriptors_end_it),
		T(anything_in_a_body_is_survived),
		T(nobodys_qemu_is_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
