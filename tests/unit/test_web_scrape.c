/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /metrics: made once for a snapshot, and never old. */
#include "web_kit.h"

#define GET "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n"
#define OPEN_METRICS "Accept: application/openmetrics-text; version=1.0.0\r\n"

/* Is it in the answer? */
static bool has(const char *headers, const char *text)
{
	struct client *c = client_new(1, 0);
	bool found;

	client_say(c, GET);
	client_say(c, headers);
	client_say(c, "Connection: close\r\n\r\n");
	client_await_end(c);
	assert_non_null(strstr(c->in, "HTTP/1.1 200"));
	found = strstr(c->in, text) != NULL;
	client_free(c);
	return found;
}

static void snapshot(const char *version)
{
	unsigned before = kit.seen;

	kit_snapshot(version);
	while (kit.seen == before)
		event_base_loop(w.base, EVLOOP_ONCE);
}

static void each_snapshot_is_shown_in_both_formats(void **state)
{
	struct evbuffer *made;

	(void)state;
	assert_true(has("", "twinvm_daemon_up 0\n"));
	assert_true(has(OPEN_METRICS, "# EOF"));
	for (char version[] = "1.1"; version[2] < '4'; version[2]++) {
		char want[64];

		snapshot(version);
		snprintf(want, sizeof(want), "version=\"%s\"", version);
		assert_true(has("", want));
		assert_false(has("", "# EOF"));
		assert_true(has(OPEN_METRICS, want));
		assert_true(has(OPEN_METRICS, "# EOF"));
		made = w.scrapes[0].text;
		for (int i = 0; i < 20; i++)
			assert_true(has("", "twinvm_daemon_up 1\n"));
		assert_ptr_equal(w.scrapes[0].text, made);
	}
}

static void without_new_snapshots_it_becomes_stale(void **state)
{
	(void)state;
	snapshot("1");
	assert_true(has("", "twinvm_daemon_up 1\n"));
	while (!has("", "twinvm_daemon_up 0\n"))
		event_base_loop(w.base, EVLOOP_ONCE); /* a timer of the server's */
	assert_true(has(OPEN_METRICS, "twinvm_daemon_up 0\n"));
	snapshot("2");
	assert_true(has("", "twinvm_daemon_up 1\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_snapshot_is_shown_in_both_formats, kit_open,
						kit_down),
		cmocka_unit_test_setup_teardown(without_new_snapshots_it_becomes_stale, kit_open,
						kit_down),
	};

	return cmocka_run_group_tests_name("web_scrape", tests, NULL, NULL);
}
