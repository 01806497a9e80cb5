/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pages' event streams: what each gets, and what is cut off. */
#include "web_kit.h"

#include <malloc.h>

#define OPEN "GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
#define STREAMS 200   /* web/stream.c serves so many */
#define OF_ADDRESS 50 /* fewer than web/visitors.h allows */
#define MANY_SNAPSHOTS 2000

static struct client *page(unsigned no)
{
	struct client *c = client_new(no, 0);

	client_say(c, OPEN "\r\n");
	return c;
}

/* The id of the first message that has text. */
static unsigned long long id_of(const struct client *c, const char *text)
{
	const char *p = strstr(c->in, text), *id = NULL;

	for (const char *q = c->in; p && (q = strstr(q, "id: ")) && q < p; q++)
		id = q;
	assert_non_null(id);
	return strtoull(id + 4, NULL, 10);
}

static void all_pages_get_each_snapshot(void **state)
{
	struct client *c[3];
	unsigned long long first;

	(void)state;
	c[0] = page(1);
	client_await(c[0], "text/event-stream");
	kit_snapshot("one");
	client_await(c[0], "\"one\"");
	c[1] = page(1); /* has the newest one at once */
	client_await(c[1], "\"one\"");
	c[2] = page(2);
	client_await(c[2], "\"one\"");
	first = id_of(c[0], "\"one\"");
	assert_int_equal(kit.seen, 1); /* the daemon sends no other before */
	kit_snapshot("two");
	for (unsigned i = 0; i < 3; i++) {
		client_await(c[i], "\"two\"");
		assert_int_equal(client_count(c[i], "\"one\""), 1);
		assert_int_equal(client_count(c[i], "event: state\ndata: {"), 2);
		assert_true(id_of(c[i], "\"one\"") == first);
		assert_true(id_of(c[i], "\"two\"") > first);
		assert_non_null(strstr(c[i]->in, "Cache-Control: no-store"));
		client_free(c[i]);
	}
}

static void the_daemon_knows_whether_somebody_looks(void **state)
{
	unsigned before = kit.looks;
	struct client *c;

	(void)state;
	kit_snapshot("one");
	while (kit.seen < 1)
		assert_int_equal(event_base_loop(w.base, EVLOOP_ONCE), 0);
	assert_int_equal(kit.looks, before);
	c = page(1);
	client_await(c, "\"one\"");
	kit_snapshot("two"); /* at once: no second report */
	client_await(c, "\"two\"");
	while (kit.seen < 2)
		assert_int_equal(event_base_loop(w.base, EVLOOP_ONCE), 0);
	assert_int_equal(kit.looks, before + 1);
	client_free(c);
}

static struct client *page_that_has(unsigned long long id)
{
	struct client *c = client_new(1, 0);
	char text[200];

	snprintf(text, sizeof(text), OPEN "Last-Event-ID: %llu\r\n\r\n", id);
	client_say(c, text);
	return c;
}

static void a_page_gets_what_it_has_not(void **state)
{
	struct client *first = page(1), *again, *behind, *odd;
	unsigned long long id;

	(void)state;
	kit_snapshot("one");
	client_await(first, "\"one\"");
	id = id_of(first, "\"one\"");
	again = page_that_has(id);
	behind = page_that_has(id - 1);
	client_await(again, "text/event-stream");
	client_await(behind, "\"one\"");
	kit_snapshot("two");
	client_await(again, "\"two\"");
	assert_int_equal(client_count(again, "\"one\""), 0);
	/* An id of another process, or none at all. */
	odd = client_new(1, 0);
	client_say(odd, OPEN "Last-Event-ID: x\r\n\r\n");
	client_await(odd, "\"two\"");
	client_free(first);
	client_free(again);
	client_free(behind);
	client_free(odd);
}

static void who_does_not_read_is_cut_off(void **state)
{
	struct client *reads = page(1), *slow = client_new(1, 4096);
	TV_FREE char *big = calloc(1, 60000);
	unsigned n = 0;
	char end[32];

	(void)state;
	memset(big, 'x', 59999);
	client_say(slow, OPEN "\r\n");
	client_await(reads, "text/event-stream");
	client_await(slow, "text/event-stream");
	client_stop(slow);
	while (visitors_count(w.visitors) == 2) {
		assert_true(++n < MANY_SNAPSHOTS); /* or all of this is kept for it */
		kit_snapshot(big);
		snprintf(end, sizeof(end), "end %u.", n);
		kit_snapshot(end);
		client_await(reads, end);
		client_forget(reads);
	}
	/* What the kernel and the server held for it is all that it gets. */
	event_add(slow->ev, NULL);
	client_await_end(slow);
	assert_true(client_count(slow, "event: state") < 2 * n);
	kit_snapshot("last");
	client_await(reads, "\"last\"");
	client_free(reads);
	client_free(slow);
}

static void who_sends_is_not_read_without_end(void **state)
{
	struct client *c = page(1);
	static char junk[1 << 16];
	size_t sent = 0;
	ssize_t n;

	(void)state;
	memset(junk, 'x', sizeof(junk));
	client_await(c, "text/event-stream");
	/* The loop turns until it has nothing to do: then the server does not want more. */
	do {
		n = send(c->fd, junk, sizeof(junk), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		event_base_loop(w.base, EVLOOP_NONBLOCK);
		assert_true(sent < 64u << 20);
	} while (n > 0);
	assert_int_equal(errno, EAGAIN);
	kit_snapshot("on");
	client_await(c, "\"on\"");
	client_free(c);
}

static void there_is_a_limit_and_a_closed_one_gives_its_place(void **state)
{
	struct client *c[STREAMS], *more;

	(void)state;
	for (unsigned i = 0; i < STREAMS; i++) {
		c[i] = page(1 + i / OF_ADDRESS);
		client_await(c[i], "text/event-stream");
	}
	more = page(9);
	client_await(more, "too many pages are open");
	assert_non_null(strstr(more->in, "HTTP/1.1 503"));
	client_free(more);
	kit_snapshot("for all");
	for (unsigned i = 0; i < STREAMS; i++)
		client_await(c[i], "\"for all\"");
	client_free(c[7]);
	more = NULL;
	do { /* its end and the next one's begin come in any order */
		if (more)
			client_free(more);
		more = page(9);
		while (!client_count(more, "\r\n\r\n"))
			event_base_loop(w.base, EVLOOP_ONCE);
	} while (strstr(more->in, "HTTP/1.1 503"));
	client_await(more, "\"for all\"");
	client_free(more);
	for (unsigned i = 0; i < STREAMS; i++)
		if (i != 7)
			client_free(c[i]);
}

/* Pages come and go for weeks. */
static void a_closed_one_leaves_nothing(void **state)
{
	size_t before = 0;

	(void)state;
	for (int i = 0; i < 1100; i++) {
		int idle = event_base_get_num_events(w.base, EVENT_BASE_COUNT_ADDED);
		struct client *c = page(1 + (unsigned)i % 100);

		client_await(c, "text/event-stream");
		client_free(c);
		while (event_base_get_num_events(w.base, EVENT_BASE_COUNT_ADDED) > idle)
			event_base_loop(w.base, EVLOOP_ONCE); /* the server sees its end */
		if (i == 100)
			before = mallinfo2().uordblks;
	}
	assert_true(mallinfo2().uordblks < before + 200000);
}

static void one_address_has_a_limit(void **state)
{
	struct client *c[VISITORS_OF_ADDRESS], *more, *other;

	(void)state;
	for (unsigned i = 0; i < VISITORS_OF_ADDRESS; i++) {
		c[i] = page(1);
		client_await(c[i], "text/event-stream");
	}
	more = page(1);
	client_await_end(more);
	assert_int_equal(more->n, 0);
	other = page(2);
	client_await(other, "text/event-stream");
	client_free(more);
	client_free(other);
	for (unsigned i = 0; i < VISITORS_OF_ADDRESS; i++)
		client_free(c[i]);
}

static void only_a_get_is_a_stream(void **state)
{
	TV_FREE char *text = NULL;

	(void)state;
	assert_int_equal(client_ask("HEAD /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &text),
			 405);
	assert_int_equal(client_ask("POST /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
				    "Content-Length: 0\r\n\r\n",
				    NULL),
			 405);
}

static void a_stream_needs_the_token(void **state)
{
	struct client *c;

	(void)state;
	assert_int_equal(client_ask(OPEN "\r\n", NULL), 401);
	assert_int_equal(
		client_ask(OPEN "Authorization: Bearer 0123456789abcdef0124\r\n\r\n", NULL), 401);
	assert_int_equal(client_ask("GET /api/stream?token=" TOKEN " HTTP/1.1\r\n"
				    "Host: 127.0.0.1\r\n\r\n",
				    NULL),
			 401);
	/* A page of another name whose address has become this one. */
	assert_int_equal(client_ask("GET /api/stream HTTP/1.1\r\nHost: evil.example\r\n"
				    "Authorization: Bearer " TOKEN "\r\n\r\n",
				    NULL),
			 403);
	c = client_new(1, 0);
	client_say(c, OPEN "Authorization: Bearer " TOKEN "\r\n\r\n");
	kit_snapshot("one");
	client_await(c, "\"one\"");
	client_free(c);
}

#define OPEN_TEST(f) cmocka_unit_test_setup_teardown(f, kit_open, kit_down)
#define TOKEN_TEST(f) cmocka_unit_test_setup_teardown(f, kit_with_token, kit_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OPEN_TEST(all_pages_get_each_snapshot),
		OPEN_TEST(the_daemon_knows_whether_somebody_looks),
		OPEN_TEST(a_page_gets_what_it_has_not),
		OPEN_TEST(who_does_not_read_is_cut_off),
		OPEN_TEST(who_sends_is_not_read_without_end),
		OPEN_TEST(there_is_a_limit_and_a_closed_one_gives_its_place),
		OPEN_TEST(a_closed_one_leaves_nothing),
		OPEN_TEST(one_address_has_a_limit),
		OPEN_TEST(only_a_get_is_a_stream),
		TOKEN_TEST(a_stream_needs_the_token),
	};

	return cmocka_run_group_tests_name("web_stream", tests, NULL, NULL);
}
