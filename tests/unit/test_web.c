/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The web server's parts: names and origins, tokens, routes, metrics. */
#include "web/http.h"
#include "web/metrics.h"
#include "web/origin.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN "0123456789abcdef0123"

static void a_request_names_this_host(void **state)
{
	(void)state;
	assert_true(origin_host_is_ours("127.0.0.1:7891", "hostA", "", true));
	assert_true(origin_host_is_ours("[::1]:7891", "hostA", "", true));
	assert_true(origin_host_is_ours("localhost", "hostA", "", true));
	assert_true(origin_host_is_ours("HOSTA:443", "hostA", "", false));
	assert_true(origin_host_is_ours("twin.example", "hostA", "a.b twin.example", false));
	assert_false(origin_host_is_ours("localhost", "hostA", "", false));
	assert_false(origin_host_is_ours("", "hostA", "", true));
	assert_false(origin_host_is_ours("evil.example", "hostA", "twin.example", true));
	assert_false(origin_host_is_ours("127.0.0.1.evil.example", "hostA", "", true));
	assert_false(origin_host_is_ours("hostA:80x", "hostA", "", true));
	assert_false(origin_host_is_ours("hostA:", "hostA", "", true));
	assert_false(origin_host_is_ours("[hostA]", "hostA", "", true));
	assert_false(origin_host_is_ours("[::1", "hostA", "", true));
	assert_false(origin_host_is_ours("twin", "hostA", "twin.example", true));
}

static void an_origin_is_the_same(void **state)
{
	(void)state;
	assert_true(origin_is_same("http://hostA:7891", "hostA:7891", false));
	assert_true(origin_is_same("https://hosta", "hostA", true));
	assert_false(origin_is_same("http://hostA:7891", "hostA:7891", true));
	assert_false(origin_is_same("http://hostA:7892", "hostA:7891", false));
	assert_false(origin_is_same("null", "hostA:7891", false));
	assert_false(origin_is_same("http://hostA:7891.evil", "hostA:7891", false));
	assert_false(origin_is_same("", "", false));
}

static struct auth *auth_of(const char *text, int want)
{
	char path[] = "/tmp/twinvm-token-XXXXXX";
	int fd = mkstemp(path);
	struct auth *a;
	struct tv_err e = {0};

	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
	close(fd);
	assert_int_equal(auth_new(path, &a, &e), want);
	unlink(path);
	return a;
}

static void a_token_has_a_length(void **state)
{
	(void)state;
	assert_null(auth_of("short\n", -22));
	assert_null(auth_of("0123456789 abcdef\n", -22));
	assert_null(auth_of("", -22));
	auth_free(auth_of(TOKEN "\n", 0));
}

static void a_token_or_its_cookie_is_needed(void **state)
{
	struct auth *a = auth_of(TOKEN "\n", 0), *b = auth_of(TOKEN "4\n", 0);
	char cookie[AUTH_COOKIE_ROOM], header[256];

	(void)state;
	assert_int_equal(auth_headers(a, "", "", "h", 0, 1000), AUTH_NONE);
	assert_int_equal(auth_headers(a, "Bearer " TOKEN, "", "h", 0, 1000), AUTH_GOOD);
	assert_int_equal(auth_headers(a, "Bearer " TOKEN "x", "", "h", 0, 1000), AUTH_WRONG);
	assert_int_equal(auth_headers(a, "Bearer ", "", "h", 0, 1000), AUTH_WRONG);
	assert_int_equal(auth_headers(a, "Basic " TOKEN, "", "h", 0, 1000), AUTH_NONE);
	auth_cookie(a, 1000, cookie);
	snprintf(header, sizeof(header), "x=1; twinvm=%s; y=2", cookie);
	assert_int_equal(auth_headers(a, "", header, "h", 0, 1001), AUTH_COOKIE);
	assert_int_equal(auth_headers(a, "", header, "h", 0, 1001 + AUTH_COOKIE_S), AUTH_NONE);
	assert_int_equal(auth_headers(a, "", header, "h", 0, 0), AUTH_NONE);
	assert_int_equal(auth_headers(b, "", header, "h", 0, 1001), AUTH_NONE);
	header[11]++; /* its time */
	assert_int_equal(auth_headers(a, "", header, "h", 0, 1001), AUTH_NONE);
	assert_int_equal(auth_headers(a, "", "twinvm=99999.", "h", 0, 1001), AUTH_NONE);
	assert_int_equal(auth_headers(a, "", "twinvm=", "h", 0, 1001), AUTH_NONE);
	auth_free(a);
	auth_free(b);
}

static void wrong_tokens_are_limited_by_address(void **state)
{
	struct auth *a = auth_of(TOKEN "\n", 0);
	int64_t now = 1000 * TV_NS_PER_S;

	(void)state;
	for (int i = 0; i < AUTH_TRIES; i++)
		assert_int_equal(auth_token(a, "wrong", "bad", now), AUTH_WRONG);
	assert_int_equal(auth_token(a, "wrong", "bad", now), AUTH_LIMITED);
	assert_int_equal(auth_token(a, TOKEN, "bad", now), AUTH_LIMITED);
	assert_int_equal(auth_token(a, TOKEN, "good", now), AUTH_GOOD);
	assert_int_equal(auth_token(a, TOKEN, "bad", now + 2 * TV_NS_PER_S), AUTH_GOOD);
	auth_free(a);
}

static void routes_have_methods(void **state)
{
	const char *rest;
	bool other;

	(void)state;
	assert_non_null(route_find(EVHTTP_REQ_HEAD, "/metrics", &rest, &other));
	assert_null(route_find(EVHTTP_REQ_POST, "/metrics", &rest, &other));
	assert_true(other);
	assert_null(route_find(EVHTTP_REQ_GET, "/metricsx", &rest, &other));
	assert_false(other);
}

/* s is used up. */
static char *metrics_of_snapshot(json_t *s, bool stale, bool open)
{
	struct evbuffer *b = evbuffer_new();
	size_t n;
	char *text;

	metrics_write(b, s, stale, open);
	n = evbuffer_get_length(b);
	text = calloc(1, n + 1);
	evbuffer_remove(b, text, n);
	evbuffer_free(b);
	json_decref(s);
	return text;
}

static char *metrics_of(const char *vms, bool stale, bool open)
{
	return metrics_of_snapshot(json_pack("{ss si sf so}", "version", "1", "protocol", 4,
					     "wall_s", 5.5, "vms", json_loads(vms, 0, NULL)),
				   stale, open);
}

static json_t *with_health(void)
{
	return json_pack("{sf s{ss s{si} s{si si} si si}}", "wall_s", 5.5, "health", "state",
			 "yellow", "errors", "corrected", 7, "causes", "yellow", 2, "red", 0,
			 "reports_lost", 3, "taken_bytes", 8192);
}

static void the_hardware_of_the_host(void **state)
{
	TV_FREE char *good = metrics_of_snapshot(with_health(), false, false);
	TV_FREE char *old = metrics_of_snapshot(with_health(), true, false);
	TV_FREE char *none = metrics_of_snapshot(json_pack("{sf}", "wall_s", 5.5), false, false);

	(void)state;
	assert_non_null(strstr(good, "twinvm_hardware_state{state=\"green\"} 0\n"
				     "twinvm_hardware_state{state=\"yellow\"} 1\n"
				     "twinvm_hardware_state{state=\"red\"} 0\n"));
	assert_non_null(strstr(good, "twinvm_hardware_errors_total{severity=\"corrected\"} 7\n"));
	assert_non_null(strstr(good, "twinvm_hardware_causes{state=\"yellow\"} 2\n"));
	assert_non_null(strstr(good, "twinvm_hardware_reports_lost_total 3\n"));
	assert_non_null(strstr(good, "twinvm_hardware_memory_taken_bytes 8192\n"));
	assert_null(strstr(old, "twinvm_hardware_"));
	/* Of a daemon that says nothing of it, no state is 1. */
	assert_null(strstr(none, "twinvm_hardware_state{state=\"unknown\"} 1"));
	assert_null(strstr(none, "\ntwinvm_hardware_errors_total"));
}

static void metrics_are_silent_where_nothing_is_known(void **state)
{
	TV_FREE char *alone =
		metrics_of("[{\"name\":\"a\\\"b\\\\\\n\",\"role\":\"primary\",\"state\":"
			   "\"alone\",\"last_commit_time\":5,\"uncommitted_bytes\":0}]",
			   false, false);
	TV_FREE char *good = metrics_of("[{\"name\":\"v\",\"role\":\"primary\",\"state\":"
					"\"protected\",\"last_commit_time\":5.25,"
					"\"failover_allowed\":true,\"tally\":{"
					"\"epochs_committed\":7,\"failovers\":{\"planned\":2}},"
					"\"peer\":\"h2\",\"last_contact_time\":4.5,"
					"\"arbiter_state\":\"no record\","
					"\"oldest_held_frame_ms\":20}]",
					false, true);
	TV_FREE char *copied = metrics_of("[{\"name\":\"v\",\"role\":\"primary\",\"state\":"
					  "\"syncing\",\"progress\":0.25}]",
					  false, false);
	TV_FREE char *received = metrics_of("[{\"name\":\"v\",\"role\":\"backup\",\"state\":"
					    "\"syncing\",\"progress\":0}]",
					    false, false);
	TV_FREE char *old = metrics_of("[{\"name\":\"v\",\"state\":\"protected\"}]", true, false);

	(void)state;
	/* The backup of a copy that is made does not know how far it is. */
	assert_non_null(strstr(copied, "\ntwinvm_sync_progress_ratio{vm=\"v\"} 0.25\n"));
	assert_null(strstr(received, "\ntwinvm_sync_progress_ratio{"));
	assert_non_null(strstr(alone, "twinvm_vm_protected{vm=\"a\\\"b\\\\\\n\"} 0\n"));
	assert_non_null(strstr(alone, "state=\"alone\"} 1\n"));
	assert_null(strstr(alone, "\ntwinvm_last_commit_timestamp_seconds{"));
	assert_null(strstr(alone, "\ntwinvm_uncommitted_bytes{"));
	assert_null(strstr(alone, "# EOF"));
	assert_non_null(strstr(good, "\ntwinvm_last_commit_timestamp_seconds{vm=\"v\"} 5.25\n"));
	assert_non_null(strstr(good, "\ntwinvm_failover_allowed{vm=\"v\"} 1\n"));
	assert_non_null(strstr(good, "# TYPE twinvm_epochs_committed counter\n"
				     "twinvm_epochs_committed_total{vm=\"v\"} 7\n"));
	assert_non_null(strstr(good, "twinvm_oldest_held_frame_seconds{vm=\"v\"} 0.02\n"));
	assert_non_null(strstr(good, "twinvm_last_peer_contact_timestamp_seconds{vm=\"v\","
				     "peer=\"h2\"} 4.5\n"));
	assert_non_null(strstr(good, "twinvm_failovers_total{vm=\"v\",reason=\"planned\"} 2\n"));
	assert_non_null(strstr(good, "twinvm_arbiter_reachable{vm=\"v\"} 0\n"));
	assert_non_null(strstr(good, "twinvm_vm_info{vm=\"v\",id=\"\",peer=\"h2\"} 1\n"));
	assert_null(strstr(alone, "\ntwinvm_arbiter_reachable{")); /* it has none */
	assert_string_equal(good + strlen(good) - 6, "# EOF\n");
	/* A daemon that reports nothing has no green VM. */
	assert_non_null(strstr(old, "twinvm_daemon_up 0\n"));
	assert_null(strstr(old, "twinvm_vm_protected"));
	assert_true(metrics_wants_open("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
	assert_false(metrics_wants_open("text/plain"));
}

/* Of a primary's VM, with that histogram. */
static char *with_pauses(const char *role, const char *list)
{
	char vms[300];

	snprintf(vms, sizeof(vms),
		 "[{\"name\":\"v\",\"role\":\"%s\",\"state\":\"alone\",\"tally\":{\"pause\":%s}}]",
		 role, list);
	return metrics_of(vms, false, false);
}

static void a_histogram_is_cumulative(void **state)
{
	const char *list = "[1,2,0,0,0,0,0,0,0,0,0,4,0,0,8,2500000]";
	TV_FREE char *good = with_pauses("primary", list), *backup = with_pauses("backup", list),
		     *cut = with_pauses("primary", "[1,2,3]");

	(void)state;
	assert_non_null(strstr(good, "# TYPE twinvm_pause_seconds histogram\n"
				     "twinvm_pause_seconds_bucket{vm=\"v\",le=\"0.001\"} 1\n"
				     "twinvm_pause_seconds_bucket{vm=\"v\",le=\"0.002\"} 3\n"));
	assert_non_null(strstr(good, "le=\"0.5\"} 3\n"
				     "twinvm_pause_seconds_bucket{vm=\"v\",le=\"1.0\"} 7\n"));
	assert_non_null(strstr(good, "le=\"5.0\"} 7\n"
				     "twinvm_pause_seconds_bucket{vm=\"v\",le=\"+Inf\"} 15\n"
				     "twinvm_pause_seconds_sum{vm=\"v\"} 2.5\n"
				     "twinvm_pause_seconds_count{vm=\"v\"} 15\n"));
	assert_null(strstr(backup, "\ntwinvm_pause_seconds_"));
	assert_null(strstr(cut, "\ntwinvm_pause_seconds_"));
}

static void two_vms_of_one_name_are_two(void **state)
{
	TV_FREE char *text = metrics_of("[{\"name\":\"v\",\"id\":\"1a\",\"state\":\"alone\"},"
					"{\"name\":\"v\",\"id\":\"2b\",\"state\":\"alone\"}]",
					false, false);

	(void)state;
	assert_non_null(strstr(text, "twinvm_vm_protected{vm=\"v\"} 0\n"
				     "twinvm_vm_protected{vm=\"v (2b)\"} 0\n"));
}

static void each_disk_has_a_series(void **state)
{
#define DISKS                                                                   \
	"\"disks\":[{\"name\":\"d0\",\"behind_bytes\":0},{\"name\":\"d\\\"1\"," \
	"\"behind_bytes\":4096},{\"name\":\"d0\",\"behind_bytes\":7},{\"name\":\"d3\"}]"
	TV_FREE char *good = metrics_of("[{\"name\":\"v\",\"role\":\"primary\",\"state\":"
					"\"protected\"," DISKS "}]",
					false, false);
	TV_FREE char *copied = metrics_of("[{\"name\":\"v\",\"role\":\"primary\",\"state\":"
					  "\"syncing\"," DISKS "}]",
					  false, false);

	(void)state;
	assert_non_null(strstr(good, "twinvm_disk_bytes_behind{vm=\"v\",disk=\"d0\"} 0\n"));
	assert_non_null(strstr(good, "{vm=\"v\",disk=\"d\\\"1\"} 4096\n"));
	assert_non_null(strstr(good, "{vm=\"v\",disk=\"d0 (2)\"} 7\n"));
	assert_null(strstr(good, "d3"));
	assert_null(strstr(copied, "twinvm_disk_bytes_behind{"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_names_this_host),
		cmocka_unit_test(an_origin_is_the_same),
		cmocka_unit_test(a_token_has_a_length),
		cmocka_unit_test(a_token_or_its_cookie_is_needed),
		cmocka_unit_test(wrong_tokens_are_limited_by_address),
		cmocka_unit_test(routes_have_methods),
		cmocka_unit_test(the_hardware_of_the_host),
		cmocka_unit_test(metrics_are_silent_where_nothing_is_known),
		cmocka_unit_test(a_histogram_is_cumulative),
		cmocka_unit_test(two_vms_of_one_name_are_two),
		cmocka_unit_test(each_disk_has_a_series),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
