/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's small parts: configuration, control connections, jobs, pace. */
#include "replicator/source/capture.h"
#include "replicator/session/config.h"
#include "replicator/session/ctl.h"
#include "replicator/session/job.h"
#include "replicator/source/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define CERTS "ca = a\ncert = b\nkey = c\n"

static int load(const char *text, struct config *c, struct tv_err *e)
{
	char path[] = "/tmp/twinvm-config-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
	close(fd);
	rc = config_load(path, c, e);
	unlink(path);
	return rc;
}

static void config_is_read(void **state)
{
	struct config_peer p;
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(load("# comment\n host = hostA\nlisten=10.0.0.1:99\n" CERTS
			      "peer.hostB = 10.0.0.2\npeer.hostC = [fe80::1]:5\nheartbeat_ms = 50\n"
			      "staging_mib = 8\nmode = kemari",
			      &c, &e),
			 0);
	assert_string_equal(c.host, "hostA");
	assert_string_equal(c.listen_host, "10.0.0.1");
	assert_int_equal(c.listen_port, 99);
	assert_int_equal(c.heartbeat_ms, 50);
	assert_int_equal(c.staging_bytes, 8 << 20);
	assert_int_equal(config_peer(&c, "hostB", &p, &e), 0);
	assert_string_equal(p.host, "10.0.0.2");
	assert_int_equal(p.port, CONFIG_DEFAULT_PORT);
	assert_int_equal(config_peer(&c, "hostC", &p, &e), 0);
	assert_string_equal(p.host, "fe80::1");
	assert_int_equal(p.port, 5);
	assert_int_equal(config_peer(&c, "other.example:77", &p, &e), 0);
	assert_string_equal(p.host, "other.example");
	assert_int_equal(p.port, 77);
	assert_string_equal(p.name, "");
	assert_int_equal(config_peer(&c, "x:y", &p, &e), -EINVAL);
}

static void config_errors_name_the_line(void **state)
{
	static const struct {
		const char *text, *says;
	} bad[] = {{CERTS "nonsense\n", ":4:"},
		   {CERTS "colour = red\n", "colour"},
		   {"host = a\n", "'ca' is missing"},
		   {CERTS "heartbeat_ms = 5\n", "from 20 to 60000"},
		   {CERTS "heartbeat_ms = 1e3\n", "heartbeat_ms"},
		   {CERTS "listen = :99\n", "ADDRESS:PORT"},
		   {CERTS "listen = a:70000\n", "ADDRESS:PORT"},
		   {CERTS "peer.x = a:0\n", "HOST:PORT"},
		   {CERTS "mode = fast\n", "mode"},
		   {CERTS "bridge = averyveryverylongname\n", "too long"}};
	struct config c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tv_err e = {0};

		assert_true(load(bad[i].text, &c, &e) < 0);
		if (!strstr(e.text, bad[i].says))
			fail_msg("'%s' does not say '%s'", e.text, bad[i].says);
	}
}

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
	strcpy(j.vm_id, "abc");
	strcpy(j.vm_name, "a \"b\" c");
	j.vm_pid = 77;
	j.vm_start_ticks = UINT64_C(1) << 40;
	j.peer.port = 65535;
	j.generation = 9;
	text = job_to_text(&j);
	assert_int_equal(job_from_text(text, &k, &e), 0);
	assert_string_equal(k.vm_name, j.vm_name);
	assert_int_equal(k.vm_start_ticks, j.vm_start_ticks);
	assert_int_equal(k.peer.port, 65535);
	free(text);
	assert_int_equal(job_from_text("{}", &k, &e), -EINVAL);
	unlink(path);
}

#define MS TV_NS_PER_MS
static void pace_follows_its_mode(void **state)
{
	struct pace p = {.mode = PACE_REMUS, .epoch_ns = 25 * MS};
	enum pace_mode m;

	(void)state;
	pace_captured(&p, 100 * MS, 4 * MS);
	assert_int_equal(pace_due_ns(&p, 0), 125 * MS);
	assert_int_equal(pace_due_ns(&p, 101 * MS), 125 * MS); /* talk changes nothing */
	p.mode = PACE_KEMARI;
	assert_int_equal(pace_due_ns(&p, 107 * MS), 107 * MS);
	assert_int_equal(pace_due_ns(&p, 0), 1100 * MS);
	p.mode = PACE_ADAPTIVE;
	assert_int_equal(pace_due_ns(&p, 0), 200 * MS);
	assert_int_equal(pace_due_ns(&p, 105 * MS), 116 * MS); /* 104 ms plus three pauses */
	assert_int_equal(pace_due_ns(&p, 150 * MS), 150 * MS);
	assert_int_equal(pace_mode_parse("adaptive", &m), 0);
	assert_int_equal(m, PACE_ADAPTIVE);
	assert_int_equal(pace_mode_parse("fast", &m), -EINVAL);
	assert_string_equal(pace_mode_name(PACE_KEMARI), "kemari");
}

/* An outlier moves the mean a little, not the pace for good. */
static void pace_mean_forgets(void **state)
{
	struct pace p = {.mode = PACE_ADAPTIVE, .epoch_ns = 25 * MS};

	(void)state;
	pace_captured(&p, 0, 2 * MS);
	pace_captured(&p, 100 * MS, 82 * MS);
	assert_in_range(p.pause_ns, 11 * MS, 13 * MS);
	for (int i = 0; i < 64; i++)
		pace_captured(&p, (200 + i * 30) * MS, 2 * MS);
	assert_in_range(p.pause_ns, 2 * MS, 3 * MS);
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
		cmocka_unit_test(config_is_read),
		cmocka_unit_test(config_errors_name_the_line),
		cmocka_unit_test(ctl_carries_messages_and_fds),
		cmocka_unit_test(ctl_ends_on_nonsense),
		cmocka_unit_test(jobs_survive_the_trip),
		cmocka_unit_test(pace_follows_its_mode),
		cmocka_unit_test(pace_mean_forgets),
		cmocka_unit_test(cap_page_outlives_its_writer),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
