/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a page may change: who may ask, how, for what; and what comes of it. */
#include "web_kit.h"

#define BEARER "Authorization: Bearer " TOKEN "\r\n"
#define JSON "Content-Type: application/json\r\n"
#define GOOD "{\"op\":\"failover\",\"vm\":\"vm1\",\"typed\":\"vm1\"}"
#define WAITING 16 /* web/ask.c lets so many wait */

static const char *request(const char *method, const char *headers, const char *body)
{
	static char text[40000];

	snprintf(text, sizeof(text),
		 "%s /api/act HTTP/1.1\r\nHost: 127.0.0.1:7891\r\n%sContent-Length: %zu\r\n\r\n%s",
		 method, headers, strlen(body), body);
	return text;
}

static int post(const char *headers, const char *body)
{
	return client_ask(request("POST", headers, body), NULL);
}

/* A client whose good command the daemon has now. */
static struct client *asks(void)
{
	struct client *c = client_new(1, 0);
	size_t before = json_array_size(kit.asked);

	client_say(c, request("POST", BEARER JSON, GOOD));
	while (json_array_size(kit.asked) == before)
		event_base_loop(w.base, EVLOOP_ONCE);
	return c;
}

static void none_asked(void)
{
	for (int i = 0; i < 10; i++)
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	assert_int_equal(kit.handed, 0);
}

static void it_needs_the_token(void **state)
{
	char cookie[AUTH_COOKIE_ROOM], headers[512];

	(void)state;
	assert_int_equal(post(JSON, GOOD), 401);
	assert_int_equal(post(JSON "Authorization: Bearer 0123456789abcdef0124\r\n", GOOD), 401);
	assert_int_equal(post(JSON "Authorization: Basic " TOKEN "\r\n", GOOD), 401);
	assert_int_equal(post(JSON "Cookie: twinvm=" TOKEN "\r\n", GOOD), 401);
	auth_cookie(w.auth, time(NULL) - AUTH_COOKIE_S - 1, cookie); /* it is over */
	snprintf(headers, sizeof(headers),
		 JSON "Origin: http://127.0.0.1:7891\r\nCookie: twinvm=%s\r\n", cookie);
	assert_int_equal(post(headers, GOOD), 401);
	none_asked();
}

static void a_foreign_page_may_not(void **state)
{
	static const char *const foreign[] = {"Origin: http://evil.example\r\n", "Origin: null\r\n",
					      "", "Origin: http://127.0.0.1:7892\r\n",
					      "Origin: https://127.0.0.1:7891\r\n"};
	char cookie[AUTH_COOKIE_ROOM], headers[512];

	(void)state;
	auth_cookie(w.auth, time(NULL), cookie);
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
		snprintf(headers, sizeof(headers), JSON "%sCookie: twinvm=%s\r\n", foreign[i],
			 cookie);
		assert_int_equal(post(headers, GOOD), 403);
	}
	assert_int_equal(post(BEARER JSON "Origin: http://evil.example\r\n", GOOD), 403);
	none_asked();
}

static void a_page_of_this_host_may(void **state)
{
	char cookie[AUTH_COOKIE_ROOM], headers[512];
	struct client *c = client_new(1, 0);

	(void)state;
	auth_cookie(w.auth, time(NULL), cookie);
	snprintf(headers, sizeof(headers),
		 JSON "Origin: http://127.0.0.1:7891\r\nCookie: a=b; twinvm=%s\r\n", cookie);
	client_say(c, request("POST", headers, GOOD));
	while (!json_array_size(kit.asked))
		event_base_loop(w.base, EVLOOP_ONCE);
	ctl_send(kit.commands[0], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(c, "done\n");
	assert_non_null(strstr(c->in, "HTTP/1.1 200"));
	client_free(c);
}

static void without_a_token_nothing_can_be_changed(void **state)
{
	(void)state;
	assert_int_equal(post(JSON, GOOD), 403);
	assert_int_equal(post(BEARER JSON "Origin: http://127.0.0.1:7891\r\n", GOOD), 403);
	none_asked();
}

static void only_json_of_a_post(void **state)
{
	static char big[WEB_MAX_BODY_BYTES + 1000];
	int code;

	(void)state;
	assert_int_equal(client_ask(request("GET", BEARER JSON, GOOD), NULL), 405);
	assert_int_equal(client_ask(request("HEAD", BEARER JSON, ""), NULL), 405);
	code = client_ask(request("PUT", BEARER JSON, GOOD), NULL);
	assert_true(code == 501 || code == 405);
	/* What a form of another page can send. */
	assert_int_equal(post(BEARER "Content-Type: text/plain\r\n", GOOD), 400);
	assert_int_equal(post(BEARER "Content-Type: application/x-www-form-urlencoded\r\n", GOOD),
			 400);
	assert_int_equal(post(BEARER, GOOD), 400);
	memset(big, ' ', sizeof(big) - 1);
	memcpy(big, GOOD, strlen(GOOD));
	assert_int_equal(post(BEARER JSON, big), 413);
	none_asked();
}

static void a_command_names_its_vm_twice(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"null",
		"{\"op\":\"failover\",\"vm\":\"vm1\"}",
		"{\"op\":\"failover\",\"vm\":\"vm1\",\"typed\":\"vm\"}",
		"{\"op\":\"failover\",\"vm\":\"vm1\",\"typed\":\"VM1\"}",
		"{\"op\":\"failover\",\"vm\":\"vm1\",\"typed\":[\"vm1\"]}",
		"{\"op\":\"failover\",\"vm\":\"\",\"typed\":\"\"}",
		"{\"op\":\"failover\",\"vm\":1,\"typed\":1}",
		"{\"op\":\"protect\",\"vm\":\"vm1\",\"typed\":\"vm1\"}",
		"{\"op\":\"snapshot\",\"vm\":\"vm1\",\"typed\":\"vm1\"}",
		"{\"op\":[\"failover\"],\"vm\":\"vm1\",\"typed\":\"vm1\"}",
		"{\"op\":\"failover\",\"vm\":\"vm2\",\"vm\":\"vm1\",\"typed\":\"vm1\"}",
		"{\"op\":\"failover\",\"vm\":\"vm1\\u0000x\",\"typed\":\"vm1\\u0000x\"}",
		GOOD "x",
		GOOD GOOD,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (post(BEARER JSON, bad[i]) != 400)
			fail_msg("not refused: %s", bad[i]);
	none_asked();
}

static void nothing_else_of_the_body_goes_on(void **state)
{
	struct client *c = client_new(1, 0);
	json_t *want = json_pack("{ss ss}", "op", "unprotect", "vm", "vm1");

	(void)state;
	client_say(c, request("POST", BEARER JSON,
			      "{\"op\":\"unprotect\",\"vm\":\"vm1\",\"typed\":\"vm1\","
			      "\"force\":true,\"retry\":true,\"to\":\"hostC\"}"));
	while (!json_array_size(kit.asked))
		event_base_loop(w.base, EVLOOP_ONCE);
	assert_true(json_equal(json_array_get(kit.asked, 0), want));
	json_decref(want);
	ctl_send(kit.commands[0], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(c, "done\n");
	client_free(c);
}

/* What the daemon is asked for; the caller's. */
static json_t *made_of(const char *body)
{
	struct client *c = client_new(1, 0);
	size_t n = json_array_size(kit.asked);
	json_t *command;

	client_say(c, request("POST", BEARER JSON, body));
	while (json_array_size(kit.asked) == n)
		event_base_loop(w.base, EVLOOP_ONCE);
	command = json_incref(json_array_get(kit.asked, n));
	ctl_send(kit.commands[n], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(c, "done\n");
	client_free(c);
	return command;
}

static void protecting_names_a_host(void **state)
{
	json_t *want = json_pack("{ss ss ss}", "op", "protect", "vm", "vm1", "to", "hostB");
	json_t *got = made_of("{\"op\":\"protect\",\"vm\":\"vm1\",\"typed\":\"vm1\",\"to\":"
			      "\"hostB\",\"mode\":\"remus\"}");

	(void)state;
	assert_true(json_equal(got, want));
	json_decref(want);
	json_decref(got);
}

static void a_failover_is_acknowledged_by_its_id(void **state)
{
	json_t *want = json_pack("{ss si ss}", "op", "events-ack", "id", 7, "by", "127.0.0.1");
	json_t *got = made_of("{\"op\":\"events-ack\",\"id\":7,\"by\":\"root\"}");

	(void)state;
	assert_true(json_equal(got, want));
	json_decref(want);
	json_decref(got);
	assert_int_equal(post(BEARER JSON, "{\"op\":\"events-ack\",\"id\":0}"), 400);
	assert_int_equal(post(BEARER JSON, "{\"op\":\"events-ack\",\"id\":\"7\"}"), 400);
	assert_int_equal(post(BEARER JSON, "{\"op\":\"events-ack\",\"vm\":\"vm1\"}"), 400);
}

static void what_comes_of_it_is_told(void **state)
{
	struct client *refused = asks(), *lost = asks(), *gone = asks();

	(void)state;
	ctl_send(kit.commands[0], json_pack("{ss}", "text", "copying"));
	ctl_send(kit.commands[0],
		 json_pack("{sb si ss}", "done", 1, "rc", 3, "error", "vm1 runs alone"));
	client_await(refused, "vm1 runs alone\n");
	assert_non_null(strstr(refused->in, "HTTP/1.1 409"));
	ctl_free(kit.commands[1]); /* the daemon ends */
	kit.commands[1] = NULL;
	client_await(lost, "HTTP/1.1 504");
	/* Who asked has gone before the answer came. */
	client_free(gone);
	event_base_loop(w.base, EVLOOP_NONBLOCK);
	ctl_send(kit.commands[2], json_pack("{sb si}", "done", 1, "rc", 0));
	while (kit.ended < 2) /* the first, and this one */
		event_base_loop(w.base, EVLOOP_ONCE);
	client_free(refused);
	client_free(lost);
}

static void so_many_wait_and_no_more(void **state)
{
	struct client *c[WAITING];

	(void)state;
	for (unsigned i = 0; i < WAITING; i++)
		c[i] = asks();
	assert_int_equal(post(BEARER JSON, GOOD), 503);
	ctl_send(kit.commands[0], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(c[0], "done\n");
	client_free(c[0]);
	c[0] = asks();
	for (unsigned i = 0; i < WAITING; i++)
		client_free(c[i]);
}

/* The time for a request is for what comes from outside, not for what the daemon takes. */
static void a_slow_request_is_cut_off_and_a_slow_command_is_not(void **state)
{
	static const char *const slow[] = {
		"", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
		"POST /api/act HTTP/1.1\r\nHost: 127.0.0.1\r\n" BEARER JSON
		"Content-Length: 40\r\n\r\n{\"op\":"};
	struct client *done = asks(), *c = asks(), *stream = client_new(1, 0), *s[4];

	(void)state;
	ctl_send(kit.commands[0], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(done, "done\n");
	client_say(stream, "GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n" BEARER "\r\n");
	client_await(stream, "text/event-stream");
	for (unsigned i = 0; i < 4; i++) {
		s[i] = client_new(1, 0);
		client_say(s[i], slow[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		while (!s[i]->closed) { /* byte by byte */
			if (slow[i][0] && i < 3)
				(void)!send(s[i]->fd, "x", 1, MSG_NOSIGNAL);
			event_base_loop(w.base, EVLOOP_ONCE);
		}
		assert_null(strstr(s[i]->in, "HTTP/1.1 200"));
		client_free(s[i]);
	}
	client_await_end(done); /* answered: its next request has a limit again */
	client_free(done);
	kit_snapshot("on");
	client_await(stream, "\"on\"");
	ctl_send(kit.commands[1], json_pack("{sb si}", "done", 1, "rc", 0));
	client_await(c, "done\n");
	client_free(c);
	client_free(stream);
}

#define OPEN_TEST(f) cmocka_unit_test_setup_teardown(f, kit_open, kit_down)
#define TOKEN_TEST(f) cmocka_unit_test_setup_teardown(f, kit_with_token, kit_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOKEN_TEST(it_needs_the_token),
		TOKEN_TEST(a_foreign_page_may_not),
		TOKEN_TEST(a_page_of_this_host_may),
		OPEN_TEST(without_a_token_nothing_can_be_changed),
		TOKEN_TEST(only_json_of_a_post),
		TOKEN_TEST(a_command_names_its_vm_twice),
		TOKEN_TEST(nothing_else_of_the_body_goes_on),
		TOKEN_TEST(protecting_names_a_host),
		TOKEN_TEST(a_failover_is_acknowledged_by_its_id),
		TOKEN_TEST(what_comes_of_it_is_told),
		TOKEN_TEST(so_many_wait_and_no_more),
		TOKEN_TEST(a_slow_request_is_cut_off_and_a_slow_command_is_not),
	};

	return cmocka_run_group_tests_name("web_act", tests, NULL, NULL);
}
