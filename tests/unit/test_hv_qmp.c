/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QMP client against a scripted server on the other end of a real UNIX socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "hv/qemu/qmp.h"
#include "hv/qemu/qmp_frame.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

/* For each line received the server sends the next answer, with @ replaced by the id of that line
 * and # by the id of the line before; NULL ends the script and the connection.
 */
struct server {
	char path[64];
	int fd;
	const char *greeting;
	const char *const *answers;
	int got_fd;
	pthread_t thread;
};

static ssize_t recv_line(int fd, char *buf, size_t room, int *got_fd)
{
	size_t n = 0;

	while (n < room) {
		char ctl[CMSG_SPACE(sizeof(int))];
		struct iovec iov = {buf + n, 1};
		struct msghdr m = {.msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = ctl,
				   .msg_controllen = sizeof(ctl)};

		if (recvmsg(fd, &m, 0) <= 0)
			return -1;
		if (CMSG_FIRSTHDR(&m))
			memcpy(got_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
		if (buf[n++] == '\n')
			return (ssize_t)n;
	}
	return -1;
}

/* Copies the id of a command into out, as the pair that an answer carries. */
static void id_pair(const char *line, char *out, size_t room)
{
	json_t *j = json_loads(line, 0, NULL);
	const char *id = json_string_value(json_object_get(j, "id"));

	snprintf(out, room, "\"id\": \"%s\"", id ? id : "none");
	json_decref(j);
}

static bool answer(int fd, const char *text, const char *id, const char *old_id)
{
	for (const char *p = text; *p; p++) {
		const char *out = *p == '@' ? id : *p == '#' ? old_id : p;
		size_t n = *p == '@' || *p == '#' ? strlen(out) : strcspn(p, "@#");

		if (send(fd, out, n, MSG_NOSIGNAL) != (ssize_t)n)
			return false;
		p += out == p ? n - 1 : 0;
	}
	return true;
}

static void *serve(void *arg)
{
	char line[4096], id[96] = "", old_id[96];
	struct server *s = arg;
	int c = accept(s->fd, NULL, NULL);

	if (s->greeting && write(c, s->greeting, strlen(s->greeting)) < 0)
		abort();
	for (unsigned i = 0; s->answers[i]; i++) {
		ssize_t n = recv_line(c, line, sizeof(line) - 1, &s->got_fd);

		if (n < 0)
			break;
		line[n] = '\0';
		memcpy(old_id, id, sizeof(id));
		id_pair(line, id, sizeof(id));
		if (!answer(c, s->answers[i], id, old_id))
			break;
	}
	close(c);
	return NULL;
}

static void server_start(struct server *s, const char *greeting, const char *const *answers)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	*s = (struct server){.greeting = greeting, .answers = answers, .got_fd = -1};
	snprintf(s->path, sizeof(s->path), "/tmp/twinvm-test-qmp-%d", getpid());
	unlink(s->path);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
}

static void test_frame(void **state)
{
	const char *text = "{\"a\": \"}{\\\"\", \"b\": [1, {}]}\r\n{\"return\": 1}";
	struct hv_qmp_frame f = {0};
	const char *id;
	size_t n = 0;

	(void)state;
	/* Byte by byte gives the same cut as all at once. */
	for (size_t i = 1; i <= strlen(text) && !n; i++)
		n = hv_qmp_frame_end(&f, text, i);
	assert_int_equal(n, strchr(text, '\r') - text);
	text += n;
	assert_int_equal(hv_qmp_frame_end(&f, text, strlen(text)), strlen(text));
	assert_int_equal(hv_qmp_frame_kind(text, strlen(text), NULL, NULL), HV_QMP_RETURN);
	text = "{\"data\": {\"return\": 1}, \"id\": \"error\", \"event\": \"X\"}";
	assert_int_equal(hv_qmp_frame_kind(text, strlen(text), &id, &n), HV_QMP_EVENT);
	assert_int_equal(n, 5);
	assert_memory_equal(id, "error", 5);
	assert_int_equal(hv_qmp_frame_kind("{\"x\": 1}", 8, &id, &n), HV_QMP_OTHER);
	assert_int_equal(n, 0);
}

static void test_commands_and_events(void **state)
{
	const char *const answers[] = {
		"{\"return\": {}, @}\r\n",
		"{\"event\": \"A\"}\r\n{\"return\": {\"status\": \"running\"}, @}\r\n{\"event\": ",
		"\"B\"}\r\n{\"error\": {\"class\": \"GenericError\", \"desc\": "
		"\"no such thing\"}, @}\r\n",
		"{\n    \"return\": \"pretty\\r\\n\",\n    @\n}\n",
		NULL,
	};
	struct hv_qmp *q;
	struct server s;
	struct tv_err e = {0};
	json_t *ret, *ev;
	char *text;

	(void)state;
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, &e), 0);
	assert_int_equal(hv_qmp_cmd(q, "query-status", NULL, &ret, 2000, &e), 0);
	assert_string_equal(json_string_value(json_object_get(ret, "status")), "running");
	json_decref(ret);
	assert_int_equal(hv_qmp_cmd(q, "bad", json_pack("{s:i}", "x", 1), NULL, 2000, &e),
			 TV_E_QMP);
	assert_non_null(strstr(e.text, "no such thing"));
	assert_int_equal(hv_qmp_hmp(q, "info x", &text, 2000, &e), 0);
	assert_string_equal(text, "pretty\r\n");
	free(text);
	for (const char *want = "AB"; *want; want++) {
		assert_int_equal(hv_qmp_next_event(q, &ev), 1);
		assert_int_equal(json_string_value(json_object_get(ev, "event"))[0], *want);
		json_decref(ev);
	}
	assert_int_equal(hv_qmp_cmd(q, "x", NULL, NULL, 2000, &e), TV_E_MONITOR);
	assert_int_equal(hv_qmp_next_event(q, &ev), TV_E_MONITOR);
	hv_qmp_close(q);
	server_stop(&s);
}

static void test_numbers_that_have_no_room(void **state)
{
	static const char *const answers[] = {
		"{\"return\": {}, @}\r\n",
		"{\"return\": [18446744073709551615, 9223372036854775808, \"18446744073709551615\\\"\", "
		"18446744073709547520, -9223372036854775808, 1.5, 7], @}\r\n",
		NULL};
	static const json_int_t want[] = {-1, INT64_MAX, 0, -4096, INT64_MIN, 0, 7};
	struct tv_err e = {0};
	struct server s;
	struct hv_qmp *q;
	json_t *ret;

	(void)state;
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, &e), 0);
	assert_int_equal(hv_qmp_cmd(q, "qom-get", NULL, &ret, 2000, &e), 0);
	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++)
		assert_int_equal(json_integer_value(json_array_get(ret, i)), want[i]);
	assert_string_equal(json_string_value(json_array_get(ret, 2)), "18446744073709551615\"");
	json_decref(ret);
	hv_qmp_close(q);
	server_stop(&s);
}

static void test_fire_and_wait(void **state)
{
	const char *const answers[] = {"{\"return\": {}, @}",
				       "{\"event\": \"STOP\"}{\"return\": {}, @}",
				       "{\"error\": {}, @}", NULL};
	struct hv_qmp *q;
	struct server s;
	json_t *ev;

	(void)state;
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	assert_int_equal(hv_qmp_fire(q, "{\"execute\": \"x\"}\n", 17), 0);
	assert_int_equal(hv_qmp_wait(q, 2000), 0);
	assert_int_equal(hv_qmp_next_event(q, &ev), 1);
	json_decref(ev);
	assert_int_equal(hv_qmp_fire(q, "{\"execute\": \"x\"}\n", 17), 0);
	assert_int_equal(hv_qmp_wait(q, 2000), TV_E_QMP);
	hv_qmp_close(q);
	server_stop(&s);
}

#define STOP "{\"event\": \"STOP\"}"
#define RESUME "{\"event\": \"RESUME\"}"

/* A command that stops and resumes: its own pair is dropped, everybody else's events are kept. */
static void test_own_pair(void **state)
{
	static const struct {
		const char *answer;
		enum hv_qmp_pair pair;
		const char *kept; /* first letters */
	} cases[] = {
		{STOP RESUME "{\"return\": {}, @}", HV_QMP_BOTH, ""},
		{"{\"return\": {}, @}", HV_QMP_NONE, ""},	   /* it stood */
		{STOP "{\"return\": {}, @}", HV_QMP_STOPPED, "S"}, /* their stop */
		{STOP RESUME STOP RESUME "{\"return\": {}, @}", HV_QMP_BOTH,
		 "SR"},							      /* theirs, ours */
		{RESUME STOP RESUME "{\"return\": {}, @}", HV_QMP_BOTH, "R"}, /* their cont */
		{STOP RESUME STOP "{\"return\": {}, @}", HV_QMP_STOPPED, "SRS"},
		{STOP "{\"event\": \"JOB\"}" RESUME "{\"return\": {}, @}", HV_QMP_BOTH, "J"},
		{STOP RESUME "{\"error\": {}, @}" STOP, HV_QMP_BOTH, "S"}, /* after the answer */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *const answers[] = {"{\"return\": {}, @}", cases[i].answer, NULL};
		struct hv_qmp *q;
		struct server s;
		const char *c;
		json_t *ev;
		int rc;

		server_start(&s, GREETING, answers);
		assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
		hv_qmp_pair_begin(q);
		assert_int_equal(hv_qmp_fire(q, "{\"execute\": \"x\"}\n", 17), 0);
		rc = hv_qmp_wait(q, 2000);
		assert_int_equal(rc, strstr(cases[i].answer, "error") ? TV_E_QMP : 0);
		assert_int_equal(hv_qmp_pair(q), cases[i].pair);
		assert_int_equal(hv_qmp_pair_end(q), cases[i].pair);
		server_stop(&s);
		for (c = cases[i].kept; (rc = hv_qmp_next_event(q, &ev)) > 0; c++) {
			assert_int_equal(json_string_value(json_object_get(ev, "event"))[0], *c);
			json_decref(ev);
		}
		assert_true(rc < 0 && !*c);
		hv_qmp_close(q);
	}
}

/* What others did is counted, also where it is kept back or dropped. */
static void test_runs_are_counted(void **state)
{
	const char *const answers[] = {
		"{\"return\": {}, @}",
		STOP RESUME "{\"event\": \"RESET\"}" STOP "{\"return\": {}, @}", NULL};
	struct hv_qmp_runs r;
	struct hv_qmp *q;
	struct server s;

	(void)state;
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	hv_qmp_mute(q, "\"STOP\"");
	assert_int_equal(hv_qmp_fire(q, "{\"execute\": \"x\"}\n", 17), 0);
	assert_int_equal(hv_qmp_wait(q, 2000), 0);
	assert_int_equal(hv_qmp_mute(q, NULL), 2);
	r = hv_qmp_runs(q);
	assert_true(r.stops == 2 && r.resumes == 1 && r.resets == 1 && r.stop_last);
	hv_qmp_close(q);
	server_stop(&s);
}

static void test_late_answer_is_not_mistaken(void **state)
{
	/* The first command is answered only when the second one comes. */
	const char *const answers[] = {"{\"return\": {}, @}", " ",
				       "{\"return\": \"late\", #}{\"return\": \"mine\", @}", NULL};
	struct hv_qmp *q;
	struct server s;
	struct tv_err e = {0};
	json_t *ret;

	(void)state;
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	assert_int_equal(hv_qmp_cmd(q, "slow", NULL, &ret, 50, &e), -ETIMEDOUT);
	assert_null(ret);
	assert_non_null(strstr(e.text, "slow"));
	assert_int_equal(hv_qmp_cmd(q, "next", NULL, &ret, 2000, &e), 0);
	assert_string_equal(json_string_value(ret), "mine");
	json_decref(ret);
	hv_qmp_close(q);
	server_stop(&s);
}

/* QEMU gives the next client the answer to what a dead client asked last. */
static void test_answer_to_another_client(void **state)
{
	const char *const answers[] = {"{\"return\": {}, @}",
				       "{\"return\": {}}{\"return\": {}, \"id\": \"other\"}"
				       "{\"return\": \"mine\", @}",
				       NULL};
	struct hv_qmp *q;
	struct server s;
	json_t *ret;

	(void)state;
	server_start(&s, "{\"return\": {}, \"id\": \"dead\"}\r\n" GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	assert_int_equal(hv_qmp_cmd(q, "query-status", NULL, &ret, 2000, NULL), 0);
	assert_string_equal(json_string_value(ret), "mine");
	json_decref(ret);
	hv_qmp_close(q);
	server_stop(&s);
}

static void test_lost_events_are_told(void **state)
{
	static char flood[200 << 10];
	const char *const answers[] = {"{\"return\": {}, @}", flood, NULL};
	struct hv_qmp *q;
	struct server s;
	json_t *ev;
	int sum = 0, rc;

	(void)state;
	while (strlen(flood) < sizeof(flood) - 64)
		strcat(flood, "{\"event\": \"RTC_CHANGE\", \"data\": {}}");
	strcat(flood, "{\"return\": {}, @}");
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	assert_int_equal(hv_qmp_fire(q, "{\"execute\": \"x\"}\n", 17), 0);
	assert_int_equal(hv_qmp_wait(q, 5000), 0);
	while ((rc = hv_qmp_next_event(q, &ev)) == 1) {
		sum += !strcmp(json_string_value(json_object_get(ev, "event")),
			       "TWINVM_EVENTS_LOST");
		json_decref(ev);
	}
	assert_int_equal(sum, 1);
	hv_qmp_close(q);
	server_stop(&s);
}

static void test_busy_and_absent(void **state)
{
	const char *const answers[] = {"", "", NULL};
	struct hv_qmp *q = (void *)1;
	struct server s;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(hv_qmp_open("/nonexistent/qmp", 0, 50, &q, &e), -ENOENT);
	assert_null(q);
	server_start(&s, NULL, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 50, &q, &e), -EBUSY);
	assert_non_null(strstr(e.text, "another client"));
	server_stop(&s);
}

static void test_passes_a_descriptor(void **state)
{
	const char *const answers[] = {"{\"return\": {}, @}", "{\"return\": {\"fdset-id\": 3}, @}",
				       NULL};
	struct stat a, b;
	struct hv_qmp *q;
	struct server s;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	server_start(&s, GREETING, answers);
	assert_int_equal(hv_qmp_open(s.path, 0, 2000, &q, NULL), 0);
	assert_int_equal(hv_qmp_cmd_fd(q, "add-fd", NULL, fds[1], NULL, 2000, NULL), 0);
	hv_qmp_close(q);
	server_stop(&s);
	assert_int_equal(fstat(fds[1], &a), 0);
	assert_int_equal(fstat(s.got_fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(s.got_fd);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_commands_and_events),
		cmocka_unit_test(test_numbers_that_have_no_room),
		cmocka_unit_test(test_fire_and_wait),
		cmocka_unit_test(test_own_pair),
		cmocka_unit_test(test_runs_are_counted),
		cmocka_unit_test(test_late_answer_is_not_mistaken),
		cmocka_unit_test(test_answer_to_another_client),
		cmocka_unit_test(test_lost_events_are_told),
		cmocka_unit_test(test_busy_and_absent),
		cmocka_unit_test(test_passes_a_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
