/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of replicator/session: control connections, reports, jobs, the page, and the engines'
 * messages on the wire. Its tables (fields, messages, outcomes): test_session.c; the configuration:
 * test_session_config.c. */
#include "replicator/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CERTS "ca = a\ncert = b\nkey = c\n"

struct ends {
	struct event_base *base;
	unsigned messages, closed, fds;
	char last[64];
};

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct ends *e = arg;

	(void)c;
	e->messages++;
	e->fds += n;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	snprintf(e->last, sizeof(e->last), "%s", json_string_value(json_object_get(msg, "op")));
	event_base_loopbreak(e->base);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct ends *e = arg;

	e->closed++;
	ctl_free(c);
	event_base_loopbreak(e->base);
}

static const struct ctl_ops ctl_test_ops = {on_message, on_closed};

static void ctl_carries_messages_and_fds(void **state)
{
	struct ends e = {.base = event_base_new()};
	struct ctl *a, *b;
	int sv[2], p[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(ctl_new(e.base, sv[0], &ctl_test_ops, &e, &a), 0);
	assert_int_equal(ctl_new(e.base, sv[1], &ctl_test_ops, &e, &b), 0);
	ctl_send(a, json_pack("{ss}", "op", "one"));
	ctl_send_fds(a, json_pack("{ss}", "op", "two"), p, 2);
	while (e.messages < 2)
		event_base_loop(e.base, EVLOOP_ONCE);
	assert_string_equal(e.last, "two");
	assert_int_equal(e.fds, 2);
	ctl_close_when_sent(a);
	while (e.closed < 2)
		event_base_loop(e.base, EVLOOP_ONCE);
	close(p[0]);
	close(p[1]);
	event_base_free(e.base);
}

static void ctl_ends_on_nonsense(void **state)
{
	static const char *const bad[] = {"not json\n", "[]\n", "{\"fds\":3}\n", "{\"fds\":-1}\n"};

	(void)state;
	for (size_t i = 0; i <= sizeof(bad) / sizeof(*bad); i++) {
		struct ends e = {.base = event_base_new()};
		struct ctl *a;
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		assert_int_equal(ctl_new(e.base, sv[0], &ctl_test_ops, &e, &a), 0);
		fcntl(sv[1], F_SETFL, O_NONBLOCK);
		if (i < sizeof(bad) / sizeof(*bad)) {
			assert_int_equal(tv_write_all(sv[1], bad[i], strlen(bad[i])), 0);
			event_base_loop(e.base, EVLOOP_ONCE);
		}
		while (!e.closed) { /* the last round: a line without an end */
			char junk[4096];

			memset(junk, 'x', sizeof(junk));
			if (write(sv[1], junk, sizeof(junk)) < 0)
				assert_true(errno == EAGAIN || errno == EPIPE);
			event_base_loop(e.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		}
		assert_int_equal(e.messages, 0);
		close(sv[1]);
		event_base_free(e.base);
	}
}

/* The other end does not read: its connection is closed at a bound, and from the loop. */
static void ctl_is_bounded(void **state)
{
	struct ends e = {.base = event_base_new()};
	json_t *big = json_object();
	char text[65536];
	struct ctl *a;
	int sv[2];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	json_object_set_new(big, "op", json_string(text));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ctl_new(e.base, sv[0], &ctl_test_ops, &e, &a), 0);
	ctl_send(a, NULL); /* sends nothing */
	ctl_flush(a, 1000);
	for (unsigned i = 0; i < 200; i++) /* 13 MiB */
		ctl_send(a, json_incref(big));
	assert_int_equal(e.closed, 0);
	while (!e.closed)
		event_base_loop(e.base, EVLOOP_ONCE);
	assert_int_equal(e.messages, 0);
	json_decref(big);
	close(sv[1]);
	event_base_free(e.base);
}

static void free_inside(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	on_message(c, msg, fds, n, arg);
	ctl_free(c);
}

static void ctl_may_be_freed_inside(void **state)
{
	static const struct ctl_ops ops = {free_inside, on_closed};
	struct ends e = {.base = event_base_new()}, other = {.base = e.base};
	struct ctl *a, *b;
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ctl_new(e.base, sv[0], &ctl_test_ops, &other, &a), 0);
	assert_int_equal(ctl_new(e.base, sv[1], &ctl_test_ops, &other, &b), 0);
	ctl_set_arg(b, &ops, &e);
	ctl_send(a, json_pack("{ss}", "op", "one"));
	ctl_send(a, json_pack("{ss}", "op", "two"));
	ctl_flush(a, 1000);
	while (!other.closed) /* a's, as b is gone */
		event_base_loop(e.base, EVLOOP_ONCE);
	assert_int_equal(e.messages, 1);
	assert_int_equal(e.closed, 0);
	assert_int_equal(other.messages, 0);
	event_base_free(e.base);
}

/* ---- the daemon, and the next one ---- */
struct meeting {
	struct sockaddr_un address;
	int fd;
};

static void meeting_open(struct meeting *m)
{
	memset(m, 0, sizeof(*m));
	m->address.sun_family = AF_UNIX;
	snprintf(m->address.sun_path, sizeof(m->address.sun_path), "/tmp/twinvm-session-test-%d",
		 getpid());
	unlink(m->address.sun_path);
	m->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(m->fd, (struct sockaddr *)&m->address, sizeof(m->address)), 0);
	assert_int_equal(listen(m->fd, 4), 0);
}

static void meeting_close(struct meeting *m)
{
	close(m->fd);
	unlink(m->address.sun_path);
}

static struct ctl *meeting_accept(struct meeting *m, struct ends *e)
{
	struct ctl *c;
	int fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ctl_new(e->base, fd, &ctl_test_ops, e, &c), 0);
	return c;
}

static void ctl_connects_to_a_path(void **state)
{
	struct ends e = {.base = event_base_new()};
	struct tv_err err = {0};
	char long_path[200];
	struct meeting m;
	struct ctl *a, *b;

	(void)state;
	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = 0;
	assert_int_equal(ctl_connect(e.base, long_path, &ctl_test_ops, &e, &a, &err),
			 -ENAMETOOLONG);
	assert_int_equal(ctl_connect(e.base, "/nowhere/sock", &ctl_test_ops, &e, &a, &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/sock"));
	meeting_open(&m);
	assert_int_equal(ctl_connect(e.base, m.address.sun_path, &ctl_test_ops, &e, &a, &err), 0);
	b = meeting_accept(&m, &e);
	ctl_send(a, json_pack("{ss}", "op", "hello"));
	while (!e.messages)
		event_base_loop(e.base, EVLOOP_ONCE);
	assert_string_equal(e.last, "hello");
	ctl_free(a);
	ctl_free(b);
	ctl_free(NULL);
	meeting_close(&m);
	event_base_free(e.base);
}

static unsigned connections;
static void on_connected(struct report *r, void *arg)
{
	char op[24];

	(void)arg;
	snprintf(op, sizeof(op), "register %u", ++connections);
	report_send(r, json_pack("{ss}", "op", op));
}

static void on_order(struct report *r, json_t *msg, void *arg)
{
	struct ends *e = arg;

	(void)r;
	e->messages++;
	snprintf(e->last, sizeof(e->last), "%s", json_string_value(json_object_get(msg, "op")));
}

static void until(struct ends *e, unsigned messages)
{
	while (e->messages < messages)
		event_base_loop(e->base, EVLOOP_ONCE);
}

static void report_finds_the_next_daemon(void **state)
{
	struct ends e = {.base = event_base_new()}, orders = {.base = e.base};
	struct report_ops ops = {on_connected, on_order, &orders};
	struct report *r;
	struct meeting m;
	struct ctl *daemon;
	int fds[2];

	(void)state;
	meeting_open(&m);
	assert_int_equal(report_new(e.base, m.address.sun_path, &ops, &r), 0);
	report_send(r, json_pack("{ss}", "op", "too early")); /* dropped: not connected yet */
	report_send(r, NULL);
	report_flush(r);
	while (!connections)
		event_base_loop(e.base, EVLOOP_ONCE);
	daemon = meeting_accept(&m, &e);
	until(&e, 1);
	assert_string_equal(e.last, "register 1");
	ctl_send(daemon, json_pack("{ss}", "op", "go"));
	until(&orders, 1);
	assert_string_equal(orders.last, "go");
	/* The daemon dies; what is reported meanwhile is lost; the next one is found by itself. */
	ctl_free(daemon);
	meeting_close(&m);
	while (orders.messages == 1 && connections == 1) {
		report_send(r, json_pack("{ss}", "op", "lost"));
		event_base_loop(e.base, EVLOOP_ONCE);
		if (connections == 1 && access(m.address.sun_path, F_OK))
			meeting_open(&m);
	}
	daemon = meeting_accept(&m, &e);
	until(&e, 2);
	assert_string_equal(e.last, "register 2");
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	report_send_fds(r, json_pack("{ss}", "op", "stash"), fds, 2);
	report_flush(r);
	until(&e, 3);
	assert_string_equal(e.last, "stash");
	assert_int_equal(e.fds, 2);
	close(fds[0]);
	close(fds[1]);
	report_free(r);
	report_free(NULL);
	ctl_free(daemon);
	meeting_close(&m);
	event_base_free(e.base);
}

static void jobs_survive_the_trip(void **state)
{
	struct job j = {0}, k;
	char path[] = "/tmp/twinvm-job-XXXXXX";
	struct tv_err e = {0};
	int fd = mkstemp(path);
	char *text;

	(void)state;
	assert_int_equal(tv_write_all(fd, CERTS, strlen(CERTS)), 0);
	close(fd);
	strcpy(j.conf.path, path);
	strcpy(j.conf.host, "hostA");
	strcpy(j.conf.listen_host, "10.0.0.1");
	j.conf.listen_port = 99;
	strcpy(j.conf.run_dir, "/r");
	strcpy(j.vm_id, "abc");
	strcpy(j.vm_name, "a \"b\" c");
	j.vm_pid = 77;
	j.vm_start_ticks = UINT64_C(1) << 40;
	j.peer.port = 65535;
	j.generation = 9;
	j.had_record = true;
	strcpy(j.last_backup, "hostB");
	text = job_to_text(&j);
	assert_int_equal(job_from_text(text, &k, &e), 0);
	/* The file says other things by now, which count after a restart. */
	assert_string_equal(k.conf.host, "hostA");
	assert_string_equal(k.conf.run_dir, "/r");
	assert_string_equal(k.conf.address, "10.0.0.1:99");
	assert_string_equal(k.vm_name, j.vm_name);
	assert_int_equal(k.vm_start_ticks, j.vm_start_ticks);
	assert_int_equal(k.peer.port, 65535);
	assert_true(k.had_record);
	assert_string_equal(k.last_backup, "hostB");
	free(text);
	assert_int_equal(job_from_text("{}", &k, &e), -EINVAL);
	unlink(path);
}

static void a_claim_is_made_of_the_job(void **state)
{
	struct job j = {.generation = 5};
	struct fo_claim c;
	char dir[64] = "/tmp/twinvm-run-XXXXXX", out[256];
	struct stat st;

	(void)state;
	strcpy(j.vm_id, "abc");
	strcpy(j.session, "def");
	strcpy(j.conf.host, "hostA");
	strcpy(j.peer.name, "hostB");
	job_claim(&j, &c);
	assert_string_equal(c.vm_id, "abc");
	assert_string_equal(c.session, "def");
	assert_string_equal(c.self, "hostA");
	assert_string_equal(c.peer, "hostB");
	assert_int_equal(c.generation, 5);
	assert_non_null(mkdtemp(dir));
	strcpy(j.conf.run_dir, dir);
	assert_int_equal(job_dir(&j.conf, "abc", out, sizeof(out)), 0);
	assert_int_equal(stat(out, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(job_dir(&j.conf, "abc", out, sizeof(out)), 0); /* there already */
	assert_int_equal(job_dir(&j.conf, "abc", out, 8), -ENAMETOOLONG);
	assert_int_equal(rmdir(strcat(dir, "/abc")), 0);
	*strrchr(dir, '/') = 0;
	assert_int_equal(rmdir(dir), 0);
}

/* What a replicator reads of a message is what the other one's engine meant. */
static void engine_messages_on_the_wire(void **state)
{
	Twinvm__Heartbeat hb = TWINVM__HEARTBEAT__INIT;
	Twinvm__HeartbeatEcho echo = TWINVM__HEARTBEAT_ECHO__INIT;
	Twinvm__Committed committed = TWINVM__COMMITTED__INIT;
	Twinvm__TakeOver take = TWINVM__TAKE_OVER__INIT;
	Twinvm__Fenced fenced = TWINVM__FENCED__INIT;
	Twinvm__Bye bye = TWINVM__BYE__INIT;
	Twinvm__Welcome welcome = TWINVM__WELCOME__INIT;
	Twinvm__Control m = TWINVM__CONTROL__INIT;
	struct fo_msg out;

	(void)state;
	assert_false(wire_read(&m, &out));
	assert_string_equal(wire_name(&m), "of no kind");
	hb.seq = echo.seq = 3;
	hb.sent_ns = echo.sent_ns = -4;
	hb.generation = echo.generation = committed.generation = take.generation =
		fenced.generation = bye.generation = 9;
	committed.epoch = take.epoch = 7;
	fenced.running = true;
	m.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT;
	m.heartbeat = &hb;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_HEARTBEAT && out.seq == 3);
	assert_true(out.sent_ns == -4 && out.generation == 9 && !out.datagram);
	assert_string_equal(wire_name(&m), "Heartbeat");
	m.msg_case = TWINVM__CONTROL__MSG_HEARTBEAT_ECHO;
	m.heartbeat_echo = &echo;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_ECHO && out.seq == 3);
	assert_true(out.sent_ns == -4 && out.generation == 9);
	assert_string_equal(wire_name(&m), "HeartbeatEcho");
	m.msg_case = TWINVM__CONTROL__MSG_COMMITTED;
	m.committed = &committed;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_COMMITTED && out.epoch == 7);
	m.msg_case = TWINVM__CONTROL__MSG_TAKE_OVER;
	m.take_over = &take;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_TAKE_OVER && out.epoch == 7);
	m.msg_case = TWINVM__CONTROL__MSG_FENCED;
	m.fenced = &fenced;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_FENCED && out.running);
	m.msg_case = TWINVM__CONTROL__MSG_BYE;
	m.bye = &bye;
	assert_true(wire_read(&m, &out) && out.kind == FO_M_BYE && out.generation == 9);
	m.msg_case = TWINVM__CONTROL__MSG_WELCOME;
	m.welcome = &welcome;
	assert_false(wire_read(&m, &out)); /* for the engine's owner */
	assert_string_equal(wire_name(&m), "Welcome");
}

static void cap_page_outlives_its_writer(void **state)
{
	char path[] = "/tmp/twinvm-page-XXXXXX";
	struct cap_page *a, *b;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(cap_page_map(path, false, &a), -EBADMSG); /* empty file */
	assert_int_equal(cap_page_map(path, true, &a), 0);
	a->in_pause = 1;
	cap_page_unmap(a);
	assert_int_equal(cap_page_map(path, false, &b), 0);
	assert_int_equal(b->in_pause, 1);
	cap_page_unmap(b);
	unlink(path);
	assert_int_equal(cap_page_map(path, false, &b), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ctl_carries_messages_and_fds),
		cmocka_unit_test(ctl_ends_on_nonsense),
		cmocka_unit_test(ctl_is_bounded),
		cmocka_unit_test(ctl_may_be_freed_inside),
		cmocka_unit_test(ctl_connects_to_a_path),
		cmocka_unit_test(report_finds_the_next_daemon),
		cmocka_unit_test(jobs_survive_the_trip),
		cmocka_unit_test(a_claim_is_made_of_the_job),
		cmocka_unit_test(engine_messages_on_the_wire),
		cmocka_unit_test(cap_page_outlives_its_writer),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
