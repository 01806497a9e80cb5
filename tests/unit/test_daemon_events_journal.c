/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal's datagram: its fields, the binary form, and a journal that is not there or does not read. */
#include "events_kit.h"

#include <sys/stat.h>
#include <sys/un.h>

static char path[108];

static int journal(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(path, sizeof(path), "%s/journal", d.conf.state_dir);
	strcpy(a.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static json_t *event(const char *text, const char *reason)
{
	return json_pack("{sI ss ss ss ss ss sI sI ss s{ss sf ss}}", "id", (json_int_t)17, "host",
			 "hostB", "kind", "failover", "vm", "vm1", "vm_id", ID, "role", "primary",
			 "generation", (json_int_t)2, "epoch", (json_int_t)99, "text", text, "data",
			 "reason", reason, "outage_ms", 412.5, "not_a_field", "x");
}

static bool has(const char *got, size_t n, const char *want, size_t bytes)
{
	return memmem(got, n, want, bytes) != NULL;
}
#define HAS(line) assert_true(has(got, (size_t)n, "\n" line "\n", sizeof(line) + 1))

static void one_datagram_has_all_fields(void **state)
{
	TV_CLOSE int fd = journal();
	json_t *o = event("vm1 failed over", "silence");
	char got[8192] = "\n";
	ssize_t n;

	(void)state;
	assert_true(events_journal_send(path, o, EVENTS_FAILOVER));
	n = recv(fd, got + 1, sizeof(got) - 1, 0);
	assert_true(n++ > 0);
	HAS("MESSAGE=vm1 failed over");
	HAS("MESSAGE_ID=546f8f1b70624c4ca2329cb21a5b054d");
	HAS("PRIORITY=4");
	HAS("SYSLOG_IDENTIFIER=twinvmd");
	HAS("TWINVM_EVENT=failover");
	HAS("TWINVM_EVENT_ID=17");
	HAS("TWINVM_HOST=hostB");
	HAS("TWINVM_VM=vm1");
	HAS("TWINVM_VM_ID=" ID);
	HAS("TWINVM_ROLE=primary");
	HAS("TWINVM_GENERATION=2");
	HAS("TWINVM_EPOCH=99");
	HAS("TWINVM_REASON=silence");
	HAS("TWINVM_OUTAGE_MS=412.500");
	assert_false(has(got, (size_t)n, "TWINVM_PEER", 11));
	assert_false(has(got, (size_t)n, "not_a_field", 11));
	assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
	json_decref(o);
}

/* So a text cannot add a field of its own. */
static void several_lines_are_binary(void **state)
{
	json_t *o = event("one\nPRIORITY=0\n", "a\nb");
	size_t n;
	char *got = events_journal_pack(o, EVENTS_FAILOVER, &n);

	(void)state;
	assert_true(has(got, n, "MESSAGE\n\x0f\0\0\0\0\0\0\0one\nPRIORITY=0\n\n", 32));
	assert_true(has(got, n, "TWINVM_REASON\n\x03\0\0\0\0\0\0\0a\nb\n", 26));
	assert_true(has(got, n, "\nPRIORITY=4\n", 12));
	free(got);
	json_decref(o);
}

/* It never waits. */
static void a_journal_that_does_not_read(void **state)
{
	TV_CLOSE int fd = journal();
	json_t *o = event("text", "");
	int sent = 0;

	(void)state;
	while (sent < 100000 && events_journal_send(path, o, EVENTS_FAILOVER))
		sent++;
	assert_true(sent > 0 && sent < 100000);
	close(fd);
	fd = -1;
	assert_false(events_journal_send(path, o, EVENTS_FAILOVER));
	assert_int_equal(unlink(path), 0);
	assert_false(events_journal_send(path, o, EVENTS_FAILOVER));
	json_decref(o);
}

static void stderr_of_a_journal(void **state)
{
	struct stat st;
	char of[80];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	assert_false(events_journal_has_stderr());
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(of, sizeof(of), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", of, 1);
	assert_true(events_journal_has_stderr());
	setenv("JOURNAL_STREAM", "8:1", 1);
	assert_false(events_journal_has_stderr());
	setenv("JOURNAL_STREAM", "nonsense", 1);
	assert_false(events_journal_has_stderr());
	unsetenv("JOURNAL_STREAM");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(one_datagram_has_all_fields),
		CASE(several_lines_are_binary),
		CASE(a_journal_that_does_not_read),
		CASE(stderr_of_a_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
