/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A still's socket: what a holder gets, how it ends, and what it takes from nobody. */
#include "still/maker.h"
#include "still/still.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAM (2u << 20)
#define VGA (64u << 10)

static int maker, holder;
static uint64_t seen_copied, seen_total;

static void on_progress(void *arg, uint64_t copied, uint64_t total)
{
	(void)arg;
	seen_copied = copied;
	seen_total = total;
}

static int file_of(uint64_t bytes)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static json_t *about(void)
{
	json_t *o = json_pack("{ss ss ss si si sf sb si}", "name", "vm", "vm_id", "0123", "session",
			      "s", "generation", 3, "epoch", 7, "committed", 1.5, "suspended", 0,
			      "state_bytes", 100);

	json_object_set_new(o, "description", json_pack("{ss}", "name", "vm"));
	json_object_set_new(o, "blocks",
			    json_pack("[{ss si sb} {ss si sb}]", "name", "vga.vram", "bytes",
				      (int)VGA, "main", 0, "name", "pc.ram", "bytes", (int)RAM,
				      "main", 1));
	json_object_set_new(o, "disks", json_pack("[{ss si}]", "name", "drive0", "bytes", 1 << 20));
	return o;
}

/* Sends what a sink sends; about is stolen. */
static void put_files(json_t *o, uint64_t ram_bytes)
{
	char *text = json_dumps(o, 0);
	int fds[4] = {file_of(ram_bytes), file_of(VGA), file_of(100), file_of(0)};

	assert_int_equal(tv_write_all(fds[3], text, strlen(text)), 0);
	assert_int_equal(still_put(maker, json_pack("{ss}", "is", "files"), fds, 4), 0);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	free(text);
	json_decref(o);
}

static void put_disk(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(still_put(maker, json_pack("{ss}", "is", "disk"), fds, 1), 0);
	close(fds[0]);
	close(fds[1]);
}

static void put_word(const char *is)
{
	assert_int_equal(still_put(maker, json_pack("{ss}", "is", is), NULL, 0), 0);
}

static int set_up(void **state)
{
	(void)state;
	return still_pair(&maker, &holder);
}

static int tear_down(void **state)
{
	(void)state;
	tv_close_fd(&maker);
	return 0;
}

static void test_whole(void **state)
{
	struct still s;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(
		still_put(maker,
			  json_pack("{ss si si}", "is", "progress", "copied", 5, "total", 10), NULL,
			  0),
		0);
	put_files(about(), RAM);
	put_disk();
	put_word("whole");
	assert_int_equal(still_receive(holder, on_progress, NULL, &s, &e), 0);
	assert_true(seen_copied == 5 && seen_total == 10);
	assert_true(s.epoch == 7 && s.generation == 3 && s.ram_bytes == RAM && s.n_blocks == 2);
	assert_true(!s.blocks[0].main && s.blocks[0].offset == 0 && s.blocks[1].main);
	assert_true(s.n_disks == 1 && s.disks[0].fd >= 0 && s.state_bytes == 100);
	assert_string_equal(json_string_value(json_object_get(s.desc, "name")), "vm");
	assert_false(still_ended(&s, &e));
	assert_int_equal(still_put(maker,
				   json_pack("{ss si ss}", "is", "end", "rc", TV_E_GONE, "why",
					     "a failover comes first"),
				   NULL, 0),
			 0);
	assert_true(still_ended(&s, &e));
	assert_non_null(strstr(e.text, "a failover comes first"));
	still_close(&s);
	/* The holder is gone: that is what the maker sees. */
	assert_int_equal(still_put(maker, json_pack("{ss}", "is", "end"), NULL, 0), -EPIPE);
}

/* Fails, and leaves no descriptor open. */
static void refused(int want)
{
	struct still s;
	struct tv_err e = {0};
	int before = dup(0), after;

	close(before);
	assert_int_equal(still_receive(holder, NULL, NULL, &s, &e), want);
	assert_true(e.text[0]);
	after = dup(0);
	close(after);
	assert_true(after <= before);
	tv_close_fd(&maker);
	assert_int_equal(still_pair(&maker, &holder), 0);
}

static void test_ends_before_it_is_whole(void **state)
{
	(void)state;
	put_files(about(), RAM);
	tv_close_fd(&maker);
	refused(TV_E_GONE);
	assert_int_equal(
		still_put(maker,
			  json_pack("{ss si ss}", "is", "end", "rc", -ENOMEM, "why", "no room"),
			  NULL, 0),
		0);
	refused(-ENOMEM);
	close(holder);
}

/* It was whole, and then ended before its holder looked: the memory is cut off already. */
static void test_ends_before_it_is_read(void **state)
{
	(void)state;
	put_files(about(), 0);
	put_disk();
	put_word("whole");
	assert_int_equal(still_put(maker,
				   json_pack("{ss si ss}", "is", "end", "rc", TV_E_GONE, "why",
					     "a failover comes first"),
				   NULL, 0),
			 0);
	refused(TV_E_GONE);
	close(holder);
}

static void set(json_t *o, const char *list, size_t i, const char *key, json_t *v)
{
	json_object_set_new(json_array_get(json_object_get(o, list), i), key, v);
}

static void test_hostile(void **state)
{
	json_t *o;

	(void)state;
	assert_int_equal(send(maker, "{", 1, 0), 1);
	refused(TV_E_PROTOCOL);
	put_files(about(), RAM - 1); /* a file smaller than it claims */
	refused(TV_E_PROTOCOL);
	o = about();
	set(o, "blocks", 0, "bytes", json_integer(VGA + TV_PAGE_BYTES));
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	o = about();
	set(o, "blocks", 0, "bytes", json_integer(-4096));
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	o = about();
	set(o, "blocks", 0, "main", json_true()); /* two main blocks */
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	o = about();
	set(o, "disks", 0, "bytes", json_integer(0));
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	o = about();
	json_object_set_new(o, "epoch", json_integer(0));
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	o = about();
	json_object_del(o, "description");
	put_files(o, RAM);
	refused(TV_E_PROTOCOL);
	put_disk(); /* before the files */
	refused(TV_E_PROTOCOL);
	put_files(about(), RAM);
	put_word("whole"); /* a disk is missing */
	refused(TV_E_PROTOCOL);
	put_files(about(), RAM);
	put_disk();
	put_disk(); /* one too many */
	refused(TV_E_PROTOCOL);
	put_files(about(), RAM);
	put_files(about(), RAM);
	refused(TV_E_PROTOCOL);
	close(holder);
}

/* The maker never waits for a holder that does not read. */
static void test_holder_that_does_not_read(void **state)
{
	int rc = 0;

	(void)state;
	for (unsigned i = 0; i < 100000 && !rc; i++)
		rc = still_put(maker, json_pack("{ss}", "is", "progress"), NULL, 0);
	assert_int_equal(rc, -EAGAIN);
	close(holder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends_before_it_is_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends_before_it_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_holder_that_does_not_read, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
