/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections of hosts that are not known: who finds a slot, who is ended for another. This program stands in
 * for the sink, too: started as `replicate`, it answers R, and does what the first byte after the
 * head of a TLS record asks for: A closes the latch (authenticated), H does not.
 */
#include "tests/unit/daemon_kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/wait.h>

#define PEER "127.0.0.2"
#define EACH 16 /* as in door.c: silent ones of an address */
#define CHILDREN_OTHERS 8
#define CHILDREN_PEER 32

static int stand_in(void)
{
	char bytes[6];

	if (recv(3, bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes))
		return 1;
	if (bytes[5] == 'A')
		close(4);
	if (write(3, "R", 1) != 1)
		return 1;
	return read(3, bytes, 1) != 0; /* until the connection ends */
}

/* ---- the listening side, as in serve.c ---- */
static int listener;
static struct event *accepts;
static unsigned exits;

static void on_peer(evutil_socket_t fd, short what, void *arg)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (conn >= 0)
		door_accept(arg, conn);
}

static int set_up(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
	int rc = kit_set_up(state);

	d.conf.peer_count = 1;
	strcpy(d.conf.peers[0].name, "hostA");
	strcpy(d.conf.peers[0].host, PEER);
	d.conf.peers[0].port = 7890;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(listener, (struct sockaddr *)&in, sizeof(in)) || listen(listener, 64))
		return -1;
	accepts = event_new(d.base, listener, EV_READ | EV_PERSIST, on_peer, &d);
	event_add(accepts, NULL);
	return rc;
}

static void reap(void)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		door_child_exit(&d, pid);
		exits++;
	}
	kit_settle();
}

static int connect_from(const char *address)
{
	struct sockaddr_in from = {.sin_family = AF_INET}, to;
	socklen_t n = sizeof(to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &n), 0);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	reap();
	return fd;
}

/* Ended by the daemon, or by the end of its process? A byte that waits counts as open. */
static bool is_open(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n > 0 || (n < 0 && errno == EAGAIN);
}

static unsigned open_ones(const int *fds, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += is_open(fds[i]);
	return count;
}

/* What happens next at the other end: its process answers, or the connection ends. */
static bool gets_process(int fd)
{
	char byte = 0;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		kit_settle();
		if (poll(&p, 1, 20) > 0)
			return recv(fd, &byte, 1, 0) == 1 && byte == 'R';
	}
}

static int speak_from(const char *address, char what)
{
	char head[6] = {22, 3, 1, 2, 0, what};
	int fd = connect_from(address);

	assert_int_equal(send(fd, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	return fd;
}

static void close_all(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	while (!TAILQ_EMPTY(&d.callers))
		reap();
}

static int tear_down(void **state)
{
	event_free(accepts);
	close(listener);
	return kit_tear_down(state);
}

/* ---- silent ones ---- */

static void a_silent_one_costs_no_process(void **state)
{
	int fds[200], speaker;

	(void)state;
	exits = 0;
	for (unsigned i = 0; i < 200; i++)
		fds[i] = connect_from("127.0.0.9");
	assert_int_equal(open_ones(fds, 200), EACH);
	assert_int_equal(open_ones(fds + 200 - EACH, EACH), EACH); /* the newest */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);	   /* no child at all */
	/* Neither a peer nor another address notices. */
	speaker = speak_from(PEER, 'A');
	assert_true(gets_process(speaker));
	close(speaker);
	speaker = speak_from("127.0.0.10", 'H');
	assert_true(gets_process(speaker));
	close(speaker);
	close_all(fds, 200);
}

static void a_peer_beside_silent_ones_of_its_address(void **state)
{
	int fds[40], speaker;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		fds[i] = connect_from(PEER);
	speaker = speak_from(PEER, 'A');
	assert_true(gets_process(speaker));
	close(speaker);
	close_all(fds, 40);
}

/* What a peer has sent counts, also when the loop has not come to it and others connect meanwhile. */
static void a_peer_that_has_sent_is_not_silent(void **state)
{
	int fds[40], speaker = connect_from(PEER);
	char head[6] = {22, 3, 1, 2, 0, 'A'};

	(void)state;
	assert_int_equal(send(speaker, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	for (unsigned i = 0; i < 40; i++) {
		struct sockaddr_in to, from = {.sin_family = AF_INET};
		socklen_t n = sizeof(to);

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(inet_pton(AF_INET, PEER, &from.sin_addr), 1);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(getsockname(listener, (struct sockaddr *)&to, &n), 0);
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
		on_peer(listener, EV_READ, &d);
	}
	assert_true(gets_process(speaker));
	close(speaker);
	close_all(fds, 40);
}

static void silent_ones_of_many_addresses(void **state)
{
	int fds[100], speaker;
	char address[32];

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		snprintf(address, sizeof(address), "127.0.1.%u", i + 1);
		fds[i] = connect_from(address);
	}
	assert_int_equal(open_ones(fds, 100), 64);
	speaker = speak_from("127.0.2.1", 'H'); /* it gets in all the same */
	assert_true(gets_process(speaker));
	close(speaker);
	close_all(fds, 100);
}

static void silence_has_an_end(void **state)
{
	char byte;
	int fd;

	(void)state;
	fd = connect_from(PEER);
	assert_true(is_open(fd));
	while (is_open(fd))
		event_base_loop(d.base, EVLOOP_ONCE);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close_all(&fd, 1);
}

static void what_is_not_tls_ends_at_once(void **state)
{
	static const char *const texts[] = {"GET / HTTP/1.0\r\n\r\n", "\x16\x02\x01xx",
					    "\x17\x03\x01xx"};
	int fd;

	(void)state;
	exits = 0;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		fd = connect_from(PEER);
		assert_true(send(fd, texts[i], strlen(texts[i]), MSG_NOSIGNAL) > 0);
		assert_false(gets_process(fd));
		close(fd);
	}
	fd = connect_from(PEER);
	assert_int_equal(send(fd, "\x16\x03", 2, MSG_NOSIGNAL), 2); /* less than a head */
	kit_settle();
	assert_true(is_open(fd));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_false(gets_process(fd));
	close_all(&fd, 1);
	assert_int_equal(exits, 0);
}

/* ---- handshakes that do not end ---- */

static void unknown_addresses_share_few_processes(void **state)
{
	int fds[30], speaker;
	char address[32];

	(void)state;
	exits = 0;
	for (unsigned i = 0; i < 30; i++) {
		snprintf(address, sizeof(address), "127.0.3.%u", i / 3 + 1);
		fds[i] = speak_from(address, 'H');
		assert_true(gets_process(fds[i])); /* the newest one always has a chance */
	}
	while (exits < 30 - CHILDREN_OTHERS)
		reap();
	assert_int_equal(open_ones(fds, 30), CHILDREN_OTHERS);
	assert_int_equal(open_ones(fds, 3), 0);
	speaker = speak_from(PEER, 'H');
	assert_true(gets_process(speaker));
	assert_int_equal(open_ones(fds, 30), CHILDREN_OTHERS);
	close(speaker);
	close_all(fds, 30);
}

static void a_peer_beside_handshakes_of_its_address(void **state)
{
	int fds[100], peer[2];

	(void)state;
	exits = 0;
	for (unsigned i = 0; i < 50; i++)
		fds[i] = speak_from(PEER, 'H');
	peer[0] = speak_from(PEER, 'A');
	assert_true(gets_process(peer[0]));
	reap(); /* the latch is seen */
	for (unsigned i = 50; i < 100; i++)
		fds[i] = speak_from(PEER, 'H');
	peer[1] = speak_from(PEER, 'A');
	assert_true(gets_process(peer[1]));
	assert_true(is_open(peer[0])); /* it was the oldest by far */
	close(peer[0]);
	close(peer[1]);
	close_all(fds, 100);
}

static void authenticated_ones_are_bounded(void **state)
{
	char address[64] = "unchanged";
	int fds[CHILDREN_PEER], more;

	(void)state;
	for (unsigned i = 0; i < CHILDREN_PEER; i++) {
		fds[i] = speak_from(PEER, 'A');
		assert_true(gets_process(fds[i]));
	}
	reap();
	more = speak_from(PEER, 'A');
	assert_false(gets_process(more));
	close(more);
	assert_int_equal(open_ones(fds, CHILDREN_PEER), CHILDREN_PEER);
	/* One that ends makes room. */
	close(fds[0]);
	exits = 0;
	while (!exits)
		reap();
	fds[0] = speak_from(PEER, 'A');
	assert_true(gets_process(fds[0]));
	door_registered(&d, getpid(), address, sizeof(address));
	assert_string_equal(address, "unchanged");
	close_all(fds, CHILDREN_PEER);
}

/* ---- whose address is a peer's ---- */

static void addresses_of_peers(void **state)
{
	struct vm *vm = kit_vm(SESSION_BACKUP);
	int fds[20];

	(void)state;
	/* The other host of a VM, wherever it connected from. */
	strcpy(vm->saved.peer.address, "127.0.0.77");
	for (unsigned i = 0; i < 20; i++) {
		fds[i] = speak_from("127.0.0.77", 'H');
		assert_true(gets_process(fds[i]));
	}
	reap();
	assert_int_equal(open_ones(fds, 20), 20);
	close_all(fds, 20);
	/* Written another way. */
	strcpy(vm->saved.peer.address, "::ffff:127.0.0.78%eth0");
	for (unsigned i = 0; i < 20; i++)
		fds[i] = speak_from("127.0.0.78", 'H');
	for (unsigned i = 0; i < 20; i++)
		assert_true(gets_process(fds[i]));
	close_all(fds, 20);
	vm_drop(vm);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_silent_one_costs_no_process, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_peer_beside_silent_ones_of_its_address, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_peer_that_has_sent_is_not_silent, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(silent_ones_of_many_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silence_has_an_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_tls_ends_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(unknown_addresses_share_few_processes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_peer_beside_handshakes_of_its_address, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(authenticated_ones_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(addresses_of_peers, set_up, tear_down),
	};

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return stand_in();
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_door", tests, NULL, NULL);
}
