/* SPDX-License-Identifier: GPL-2.0-or-later */
/* failover: an etcd arbiter's URLs, and the answers of etcd: real ones (Debian's 3.4.23), and
 * what must not be taken for one. */
#include "failover/arbiter/etcd_answer.h"
#include "failover/arbiter/arbiter.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fo_times times;
static const struct fo_arbiter_conf conf = {.times = &times};

static void bad_urls(void **state)
{
	static const char *const bad[] = {"ftp://x",
					  "etcd:/x",
					  "etcd://",
					  "etcd://a,",
					  "etcd://,a",
					  "etcd://a:0",
					  "etcd://a:65536",
					  "etcd://a:12x",
					  "etcd://a:",
					  "etcd://a/",
					  "etcd://u@a",
					  "etcd://[::1",
					  "etcd://[]:1",
					  "etcd://a:1,a:1",
					  "etcd://a,a:2379",
					  "etcd://a b",
					  "etcd://1,2,3,4,5,6,7,8,9,10",
					  "etcds://a",
					  "http://a:2379",
					  "file://relative"};
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};
	char text[300] = "etcd://";

	(void)state;
	assert_int_equal(fo_arbiter_open("none", &conf, &a, &e), 0);
	assert_null(a);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(fo_arbiter_check_url(bad[i], &conf, &e), -EINVAL);
		assert_non_null(strstr(e.text, bad[i])); /* names it, and what it should be */
		assert_int_equal(fo_arbiter_open(bad[i], &conf, &a, &e), -EINVAL);
		assert_null(a);
	}
	memset(text + 7, 'a', sizeof(text) - 8);
	assert_int_equal(fo_arbiter_check_url(text, &conf, &e), -EINVAL);
	assert_true(fo_arbiter_open("file:///does/not/exist", &conf, &a, &e) < 0);
	assert_non_null(strstr(e.text, "/does/not/exist"));
}

static void good_urls(void **state)
{
	static const char *const good[] = {"none",
					   "file:///x",
					   "etcd://a",
					   "etcd://10.0.0.1:2379",
					   "etcd://[fd00::1]:1,b.example:65535,c-1",
					   "etcd://1,2,3,4,5,6,7,8,9"};
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_int_equal(fo_arbiter_check_url(good[i], &conf, &e), 0);
	assert_int_equal(fo_arbiter_open("etcd://a,b", &conf, &a, &e), 0); /* nothing is sent */
	fo_arbiter_close(a);
}

static void tls_is_all_or_nothing(void **state)
{
	struct fo_arbiter_conf c = {.times = &times, .ca = "/dev/null"};
	struct fo_arbiter *a = NULL;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_arbiter_check_url("etcds://a", &c, &e), 0);
	assert_int_equal(fo_arbiter_check_url("etcd://a", &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "use etcds://"));
	c.cert = "/no/such.crt";
	assert_int_equal(fo_arbiter_check_url("etcds://a", &c, &e), -EINVAL);
	c.key = "/dev/null";
	assert_int_equal(fo_arbiter_check_url("etcds://a", &c, &e), 0);
	assert_int_equal(fo_arbiter_open("etcds://a", &c, &a, &e), -ENOENT);
	assert_non_null(strstr(e.text, "arbiter_cert /no/such.crt"));
	c = (struct fo_arbiter_conf){.times = &times, .ca = ""};
	assert_int_equal(fo_arbiter_check_url("etcds://a", &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "arbiter_ca"));
}

/* No member listens: reported at once, with the name of each, as an unknown result. */
static void no_member_there(void **state)
{
	struct fo_claim b = {.vm_id = "0123456789abcdef0123456789abcdef", .self = "B"};
	struct fo_arbiter *a = NULL;
	struct fo_record r;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(fo_arbiter_open("etcd://127.0.0.1:1,127.0.0.1:2", &conf, &a, &e), 0);
	assert_int_equal(fo_arbiter_probe(a, &e), -EHOSTUNREACH);
	assert_int_equal(fo_claim(a, FO_ASK_PROMOTE, &b, &r, &e), -EHOSTUNREACH);
	assert_non_null(strstr(e.text, "127.0.0.1:1: Connection refused"));
	assert_non_null(strstr(e.text, "127.0.0.1:2: Connection refused"));
	fo_arbiter_close(a);
}

#define HEADER                                                               \
	"\"header\":{\"cluster_id\":\"15118495548433857066\",\"member_id\":" \
	"\"13668033151171901709\","                                          \
	"\"revision\":\"2\",\"raft_term\":\"2\"}"
#define KV                                                                            \
	"{\"key\":\"L3R3aW52bS94\",\"create_revision\":\"2\",\"mod_revision\":\"2\"," \
	"\"version\":\"1\",\"value\":\"aGVsbG8=\"}"
#define KEY "/twinvm/x"
static const char nothing[] = "{" HEADER "}";
static const char there[] = "{" HEADER ",\"kvs\":[" KV "],\"count\":\"1\"}";
static const char was_put[] = "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{"
			      "\"header\":{\"revision\":\"2\"}}}]}";
static const char was_not[] = "{" HEADER ",\"responses\":[{\"response_range\":{\"header\":{"
			      "\"revision\":\"2\"},\"kvs\":[" KV "],\"count\":\"1\"}}]}";
static const char granted[] = "{" HEADER ",\"ID\":\"4111120144518230794\",\"TTL\":\"12\"}";
static const char renewed[] = "{\"result\":{" HEADER ",\"ID\":\"123\",\"TTL\":\"12\"}}\n";
static const char ended[] = "{\"result\":{" HEADER ",\"ID\":\"123\"}}\n";

static int range(const char *text, size_t n, struct etcd_kv *kv)
{
	struct etcd_header h;
	struct tv_err e = {0};
	int rc = etcd_answer_range(text, n, KEY, &h, kv, &e);

	assert_true(!rc || (rc == TV_E_PROTOCOL && strstr(e.text, "not a valid etcd answer")));
	assert_true(rc || h.revision == 2);
	return rc;
}

static int txn(const char *text, size_t n, bool *yes, struct etcd_kv *kv)
{
	struct etcd_header h;
	struct tv_err e = {0};
	int rc = etcd_answer_txn(text, n, KEY, "response_put", &h, yes, kv, &e);

	assert_true(!rc ||
		    (rc == TV_E_PROTOCOL && !*yes && strstr(e.text, "not a valid etcd answer")));
	return rc;
}

static void real_answers(void **state)
{
	struct etcd_header h;
	struct etcd_kv kv;
	struct tv_err e = {0};
	uint64_t id, ttl;
	bool yes;

	(void)state;
	assert_int_equal(range(nothing, strlen(nothing), &kv), 0);
	assert_false(kv.found);
	assert_int_equal(range(there, strlen(there), &kv), 0);
	assert_true(kv.found && kv.version == 1 && kv.mod_revision == 2);
	assert_string_equal(kv.value, "hello");
	assert_int_equal(txn(was_put, strlen(was_put), &yes, &kv), 0);
	assert_true(yes);
	assert_int_equal(txn(was_not, strlen(was_not), &yes, &kv), 0);
	assert_true(!yes && kv.found && kv.version == 1);
	assert_int_equal(etcd_answer_lease(granted, strlen(granted), &h, &id, &ttl, &e), 0);
	assert_true(id == 4111120144518230794u && ttl == 12);
	assert_int_equal(etcd_answer_lease(renewed, strlen(renewed), &h, &id, &ttl, &e), 0);
	assert_true(id == 123 && ttl == 12);
	assert_int_equal(etcd_answer_lease(ended, strlen(ended), &h, &id, &ttl, &e), 0);
	assert_true(id == 123 && !ttl);
}

/* Cut off anywhere, an answer is none. */
static void truncated_answers(void **state)
{
	struct etcd_header h;
	struct etcd_kv kv;
	uint64_t id, ttl;
	bool yes;

	(void)state;
	for (size_t n = 0; n < strlen(there); n++)
		assert_int_equal(range(there, n, &kv), TV_E_PROTOCOL);
	for (size_t n = 0; n < strlen(was_put); n++)
		assert_int_equal(txn(was_put, n, &yes, &kv), TV_E_PROTOCOL);
	for (size_t n = 0; n < strlen(was_not); n++)
		assert_int_equal(txn(was_not, n, &yes, &kv), TV_E_PROTOCOL);
	for (size_t n = 0; n < strlen(granted); n++)
		assert_int_equal(etcd_answer_lease(granted, n, &h, &id, &ttl, NULL), TV_E_PROTOCOL);
}

/* text with the first `from` replaced; the result is the caller's to free. */
static char *changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *out = NULL;

	assert_non_null(at);
	assert_true(asprintf(&out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return out;
}

static void wrong_answers(void **state)
{
	static const struct {
		const char *text, *from, *to;
	} cases[] = {
		{there, "\"15118495548433857066\"", "15118495548433857066"},
		{there, "\"15118495548433857066\"", "\"0\""},
		{there, "\"15118495548433857066\"", "\"18446744073709551616\""},
		{there, "\"15118495548433857066\"", "\"-1\""},
		{there, "\"15118495548433857066\"", "\" 1\""},
		{there, "\"15118495548433857066\"", "\"\""},
		{there, "\"15118495548433857066\"", "\"1\\u0000\""},
		{there, "\"15118495548433857066\"", "null"},
		{there, "\"15118495548433857066\"", "[[[[[[[[[[[[[[1]]]]]]]]]]]]]]"},
		{there, "\"header\"", "\"heater\""},
		{there, "\"revision\":\"2\"", "\"revision\":\"1\""}, /* changed in the future */
		{there, "\"revision\":\"2\"", "\"revision\":\"2\",\"revision\":\"3\""},
		{there, "\"mod_revision\":\"2\"", "\"mod_revision\":\"0\""},
		{there, "\"mod_revision\":\"2\",", ""},
		{there, "\"version\":\"1\"", "\"version\":\"0\""},
		{there, "\"version\":\"1\"", "\"version\":\"3\""},
		{there, "\"version\":\"1\"", "\"version\":1"},
		{there, "L3R3aW52bS94", "L3R3aW52bS95"}, /* another key */
		{there, "L3R3aW52bS94", "L3R3aW52bS94L3R3aW52bS94"},
		{there, "L3R3aW52bS94", "L3R3aW52bS9="},
		{there, "\"key\":\"L3R3aW52bS94\",", ""},
		{there, "aGVsbG8=", "aGVsbG9="}, /* bits behind the end */
		{there, "aGVsbG8=", "aGVsbG8"},
		{there, "aGVsbG8=", "aGV=bG8="},
		{there, "aGVsbG8=", "aGVs\\u0000bG8="},
		{there, "\"aGVsbG8=\"", "{}"},
		{there, "\"count\":\"1\"", "\"count\":\"2\""},
		{there, ",\"count\":\"1\"", ""},
		{there, "\"count\":\"1\"", "\"count\":\"1\",\"more\":true"},
		{there, KV, "1"},
		{there, KV, KV "," KV},
		{there, "[" KV "]", KV},
		{was_put, "true", "\"true\""},
		{was_put, "true", "1"},
		{was_put, "\"succeeded\":true,", ""},
		{was_put, "response_put", "response_range"},
		{was_put, "response_put", "response_delete_range"},
		{was_put, "{\"revision\":\"2\"}", "{\"revision\":\"1\"}"},
		{was_put, "{\"revision\":\"2\"}", "{}"},
		{was_put, "{\"revision\":\"2\"}", "\"2\""},
		{was_put, "[{", "[{},{"},
		{was_not, "\"responses\":", "\"succeeded\":true,\"responses\":"},
		{was_not, "response_range", "response_put"},
		{was_not, "\"kvs\"", "\"more\":true,\"kvs\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = changed(cases[i].text, cases[i].from, cases[i].to);
		struct etcd_kv kv;
		bool yes;
		int rc = cases[i].text == there ? range(text, strlen(text), &kv)
						: txn(text, strlen(text), &yes, &kv);

		if (rc != TV_E_PROTOCOL)
			fail_msg("taken: %s", text);
		free(text);
	}
}

static void large_and_deep_answers(void **state)
{
	size_t n = ETCD_MAX_ANSWER_BYTES + 1;
	struct etcd_kv kv;
	char *text = malloc(n);

	(void)state;
	assert_non_null(text);
	memset(text, '[', n);
	assert_int_equal(range(text, n, &kv), TV_E_PROTOCOL);
	assert_int_equal(range(text, n - 1, &kv), TV_E_PROTOCOL);
	for (size_t i = 0; i + 5 <= n; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	assert_int_equal(range(text, n - 1, &kv), TV_E_PROTOCOL);
	memset(text, ' ', n);
	memcpy(text, there, strlen(there));
	assert_int_equal(range(text, n - 1, &kv), 0); /* long, but what it should be */
	assert_int_equal(range(text, n, &kv), TV_E_PROTOCOL);
	free(text);
}

static void base64_there_and_back(void **state)
{
	char in[40] = "", text[60], out[41];
	size_t bytes;

	(void)state;
	for (size_t n = 0; n <= sizeof(in); n++) {
		for (size_t i = 0; i < n; i++)
			in[i] = (char)(i * 89 + n);
		etcd_base64(in, n, text);
		assert_int_equal(strlen(text), (n + 2) / 3 * 4);
		assert_int_equal(etcd_unbase64(text, out, sizeof(out), &bytes), 0);
		assert_int_equal(bytes, n);
		assert_memory_equal(in, out, n);
		if (n)
			assert_int_equal(etcd_unbase64(text, out, n, &bytes), -EBADMSG);
	}
	etcd_base64("hello", 5, text);
	assert_string_equal(text, "aGVsbG8=");
}

static void errors_are_printable(void **state)
{
	char out[20];

	(void)state;
#define SAYS(in, what)                                                   \
	do {                                                             \
		etcd_answer_error(in, sizeof(in) - 1, out, sizeof(out)); \
		assert_string_equal(out, what);                          \
	} while (0)
	SAYS("{\"error\":\"no leader\",\"code\":14}", "no leader");
	SAYS("{\"error\":\"a\\u001b[31m\\nb\"}", "a [31m b");
	SAYS("plain\r\n", "plain");
	SAYS("", "");
	SAYS("\0\0", "");
	SAYS("more than twenty characters", "more than twenty ch");
}

static void only_hosts_are_hosts(void **state)
{
	struct fo_host h = {"a", "10.0.0.1:7890", 100, 4, FO_YELLOW}, got[4];
	static const char *const keys[] = {"/h/a", "/h/b", "/x/a", "/h/a"};
	char text[4000] = "{" HEADER ",\"kvs\":[", key64[20], value64[400];
	struct etcd_header header;
	char *value = fo_host_text(&h, 0);
	unsigned found;

	(void)state;
	for (size_t i = 0; i < 4; i++) { /* right, another's name, elsewhere, no host */
		size_t n = strlen(text);

		etcd_base64(keys[i], strlen(keys[i]), key64);
		etcd_base64(value, i < 3 ? strlen(value) : 5, value64);
		snprintf(text + n, sizeof(text) - n, "%s{\"key\":\"%s\",\"value\":\"%s\"}",
			 i ? "," : "", key64, value64);
	}
	strcat(text, ",3]}");
	assert_int_equal(
		etcd_answer_hosts(text, strlen(text), "/h/", &header, got, 4, &found, NULL), 0);
	assert_int_equal(found, 1);
	assert_memory_equal(&got[0], &h, sizeof(h));
	assert_int_equal(
		etcd_answer_hosts(text, strlen(text), "/h/", &header, got, 0, &found, NULL), 0);
	assert_int_equal(found, 0);
	free(value);
}

static void records_there_and_back(void **state)
{
	/* static: the bytes between their fields are zero, too */
	static struct fo_record r = {0, INT64_MAX, FO_PAIRED, "A", "B \"'\\", "s1"}, got;
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"1",
		"{\"generation\":-1,\"state\":\"alone\",\"primary\":\"A\",\"backup\":\"\","
		"\"session\":\"\"}",
		"{\"generation\":1.5,\"state\":\"alone\",\"primary\":\"A\",\"backup\":\"\","
		"\"session\":\"\"}",
		"{\"generation\":1,\"state\":\"alone\",\"primary\":\"A\\n\",\"backup\":\"\","
		"\"session\":\"\"}",
		"{\"generation\":1,\"state\":\"alone\",\"primary\":\"A\",\"backup\":\"\","
		"\"session\":\"\",\"claim\":\"0123456789abcdefg\"}",
		"{\"generation\":1,\"state\":\"alone\",\"primary\":\"A\",\"backup\":\"\","
		"\"session\":\"\"} x"};
	char claim[FO_CLAIM_CHARS + 1], *text = fo_record_text(&r, "0123456789abcdef");

	(void)state;
	assert_int_equal(fo_record_parse(text, strlen(text), &got, claim), 0);
	assert_memory_equal(&r, &got, sizeof(r));
	assert_string_equal(claim, "0123456789abcdef");
	free(text);
	text = fo_record_text(&r, NULL);
	assert_int_equal(fo_record_parse(text, strlen(text), &got, claim), 0);
	assert_string_equal(claim, "");
	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(fo_record_parse(text, n, &got, claim), -EBADMSG);
	free(text);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(fo_record_parse(bad[i], strlen(bad[i]), &got, claim), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_urls),
		cmocka_unit_test(good_urls),
		cmocka_unit_test(tls_is_all_or_nothing),
		cmocka_unit_test(no_member_there),
		cmocka_unit_test(real_answers),
		cmocka_unit_test(truncated_answers),
		cmocka_unit_test(wrong_answers),
		cmocka_unit_test(large_and_deep_answers),
		cmocka_unit_test(base64_there_and_back),
		cmocka_unit_test(errors_are_printable),
		cmocka_unit_test(only_hosts_are_hosts),
		cmocka_unit_test(records_there_and_back),
	};

	signal(SIGPIPE, SIG_IGN);
	fo_times_init(&times, 100 * TV_NS_PER_MS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
