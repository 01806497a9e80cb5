/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients of a monitor's proxy: who gets which answer, and what no client can do. */
#include "tests/unit/hv_proxy_kit.h"

static struct talk a, b;

static void test_answers(void **state)
{
	(void)state;
	meet(&a);
	meet(&b);
	tell(&a, "{\"execute\":\"any\",\"id\":{\"x\":[1.5,null]}}{\"execute\":\"wrong\"}");
	tell(&b, "{\"execute\":\"large\"} {\"id\":\"twice\",\"execute\":\"large\"}");
	assert_string_equal(line(&a), "{\"return\": {}, \"id\": {\"x\":[1.5,null]}}");
	assert_string_equal(line(&a),
			    "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}");
	assert_string_equal(line(&b), "{\"return\": {\"id\": \"7\", \"n\": 18446744073709551615}}");
	says(&b, "{\"id\": \"twice\", \"return\": {\"id\": \"7\"");
	tell(&a, "{\"execute\":\"stale\",\"id\":3}");
	assert_string_equal(line(&a), "{\"return\": {}, \"id\": 3}");
	/* Events come to all, before the answer of who has caused them. */
	tell(&a, "{\"execute\":\"stop\",\"id\":4}");
	says(&a, "\"STOP\"");
	says(&a, "\"id\": 4");
	says(&b, "\"STOP\"");
	bye(&a);
	tell(&b, "{\"execute\":\"any\",\"id\":5}");
	says(&b, "\"id\": 5");
	bye(&b);
}

/* One that says no more, as `echo ... | socat` does, gets its answers. */
static void test_half_closed(void **state)
{
	(void)state;
	hello(&a);
	tell(&a, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"any\",\"id\":1}");
	shutdown(a.fd, SHUT_WR);
	says(&a, "QMP");
	says(&a, "return");
	says(&a, "\"id\": 1");
	assert_null(line(&a));
	bye(&a);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *want;
	} bad[] = {
		{"{\"execute\":}", "JSON parse error"},
		{"[]", "JSON parse error"},
		{"{}", "lacks member 'execute'"},
		{"{\"execute\":{},\"id\":9}", "lacks member 'execute'"},
		{"{\"execute\":\"a\",\"execute\":\"b\"}", "JSON parse error"},
		{"{\"exec-oob\":\"a\",\"id\":\"x\"}", "exec-oob"},
		{"{\"execute\":\"qmp_capabilities\"}", "already complete"},
		{"{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"f\"}}", "SCM_RIGHTS"},
		{"{\"execute\":\"a\",\"arguments\":{\"n\":18446744073709551615}}", "too big"},
	};

	(void)state;
	hello(&a);
	says(&a, "QMP");
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "Expecting capabilities negotiation");
	tell(&a, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
	says(&a, "shared");
	tell(&a, "{\"execute\":\"qmp_capabilities\"}");
	says(&a, "return");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		tell(&a, bad[i].text);
		says(&a, bad[i].want);
	}
	tell(&a, "{\"execute\":\"any\",\"id\":1}");
	says(&a, "\"return\": {}");
	bye(&a);
}

static void tell_fd(struct talk *c, const char *text, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = {{0}};
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	*h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(h), &fd, sizeof(int));
	assert_int_equal(sendmsg(c->fd, &m, MSG_NOSIGNAL), strlen(text));
}

static void test_descriptors(void **state)
{
	int mine[2], other[2];
	char got[8] = "";

	(void)state;
	assert_int_equal(pipe(mine), 0);
	assert_int_equal(pipe(other), 0);
	meet(&a);
	meet(&b);
	/* One that no command has taken is nobody else's. */
	tell_fd(&b, "{\"execute\":\"any\"}", other[1]);
	says(&b, "return");
	tell(&a, "{\"execute\":\"getfd\",\"id\":1}");
	says(&a, "SCM_RIGHTS");
	tell_fd(&a, "{\"execute\":\"getfd\",", mine[1]);
	tell(&a, "\"id\":2}");
	says(&a, "\"id\": 2");
	assert_int_equal(read(mine[0], got, sizeof(got)), 2);
	assert_string_equal(got, "fd");
	bye(&a);
	bye(&b);
}

/* Each of these harms itself; one that asks meanwhile is answered. */
static void test_limits(void **state)
{
	static char much[PROXY_COMMAND_BYTES + 4096];
	struct talk *more = calloc(PROXY_OF_ONE + 1, sizeof(*more));
	struct timeval patience = {.tv_sec = 10};
	unsigned i;

	(void)state;
	meet(&b);
	hello(&a);
	setsockopt(a.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	memset(much, 'x', sizeof(much) - 1);
	(void)!send(a.fd, much, sizeof(much) - 1, MSG_NOSIGNAL);
	says(&a, "QMP");
	assert_null(line(&a));
	bye(&a);
	/* It reads nothing: events fill what it may leave unread, commands do not. */
	meet(&a);
	for (i = 0; i < 40000; i++)
		tell(&b, "{\"execute\":\"stop\",\"id\":1}"), says(&b, "STOP"),
			says(&b, "\"id\": 1");
	while (line(&a))
		;
	bye(&a);
	/* The quietest of too many goes. */
	hello(&a);
	for (i = 0; i < PROXY_OF_ONE + 1; i++) {
		tell(&b, "{\"execute\":\"any\",\"id\":2}");
		says(&b, "\"id\": 2");
		hello(&more[i]);
		says(&more[i], "QMP");
	}
	says(&a, "QMP");
	assert_null(line(&a));
	tell(&b, "{\"execute\":\"any\",\"id\":3}");
	says(&b, "\"id\": 3");
	for (i = 0; i < PROXY_OF_ONE + 1; i++)
		bye(&more[i]);
	bye(&a);
	bye(&b);
	free(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_descriptors, setup_served, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup_served, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
