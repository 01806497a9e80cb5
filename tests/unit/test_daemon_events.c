/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events: what is kept of them over a restart, over a full disk and a torn line, and for how long; hostile
 * texts. */
#include "events_kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static size_t bytes_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (size_t)st.st_size;
}

static void append_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* ---- what an event has ---- */
static void has_its_fields_over_a_restart(void **state)
{
	struct vm *vm = kit_vm(SESSION_PRIMARY);
	json_t *list;

	(void)state;
	vm->saved.generation = 3;
	vm->now.stats.epoch_committed = 77;
	events_add(&d, EVENTS_DAEMON_STARTED, NULL, NULL, "up on %s", "hostB");
	events_vm(vm, EVENTS_PROTECTED, json_pack("{si}", "n", 5), "vm1 is protected");
	for (int i = 0; i < 2; i++) {
		list = read_all();
		assert_int_equal(json_array_size(list), 2);
		assert_string_equal(text_at(list, 0, "kind"), "daemon-started");
		assert_string_equal(text_at(list, 0, "text"), "up on hostB");
		assert_string_equal(text_at(list, 0, "vm"), "(none)");
		assert_string_equal(text_at(list, 1, "kind"), "protected");
		assert_string_equal(text_at(list, 1, "host"), "hostB");
		assert_string_equal(text_at(list, 1, "vm"), "vm1");
		assert_string_equal(text_at(list, 1, "vm_id"), ID);
		assert_string_equal(text_at(list, 1, "role"), "primary");
		assert_string_equal(text_at(list, 1, "peer"), "hostA");
		assert_int_equal(
			json_integer_value(json_object_get(json_array_get(list, 1), "epoch")), 77);
		assert_int_equal(
			json_integer_value(json_object_get(json_array_get(list, 1), "generation")),
			3);
		assert_int_equal(json_integer_value(json_object_get(
					 json_object_get(json_array_get(list, 1), "data"), "n")),
				 5);
		assert_true(id_at(list, 1) > id_at(list, 0));
		json_decref(list);
		restart();
	}
}

/* Also when the clock has been set back. */
static void ids_only_grow(void **state)
{
	json_t *list;

	(void)state;
	events_add(&d, EVENTS_DAEMON_STARTED, NULL, NULL, "1");
	restart();
	events_add(&d, EVENTS_DAEMON_STARTED, NULL, NULL, "2");
	list = read_all();
	assert_true(id_at(list, 1) > id_at(list, 0));
	json_decref(list);
	/* As by a daemon whose clock was in the year 2100. */
	events_stop(&d);
	append_to(newest, "{\"id\":4102444800,\"unix_ms\":4102444800000,\"kind\":\"failover\","
			  "\"text\":\"late\"}\n");
	events_start(&d);
	events_add(&d, EVENTS_DAEMON_STARTED, NULL, NULL, "3");
	list = read_all();
	assert_int_equal(id_at(list, 3), 4102444801);
	json_decref(list);
}

/* ---- bounds ---- */
static void disk_and_memory_are_bounded(void **state)
{
	char filler[900];
	size_t n, after;

	(void)state;
	memset(filler, 'x', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	/* failovers: of other kinds there are at most 200 in ten minutes */
	for (int i = 0; i < 4000; i++) {
		events_add(&d, EVENTS_FAILOVER, NULL, NULL, "%d %s", i, filler);
		if (i % 500 == 499) /* what is not written yet is bounded as well: it is now */
			restart();
	}
	n = d.events->bytes;
	assert_true(n <= 2 * EVENTS_SEGMENT_BYTES && n > EVENTS_SEGMENT_BYTES);
	restart();
	assert_true(bytes_of(newest) <= EVENTS_SEGMENT_BYTES && bytes_of(newest) > 0);
	assert_true(bytes_of(older) <= EVENTS_SEGMENT_BYTES);
	assert_true(bytes_of(older) > EVENTS_SEGMENT_BYTES - EVENTS_LINE_BYTES);
	after = d.events->bytes;
	assert_true(after == bytes_of(newest) + bytes_of(older));
	/* the newest are there, whole and in order */
	assert_non_null(strstr(TAILQ_LAST(&d.events->list, events_list)->line, "3999 xxx"));
	for (struct events_item *it = TAILQ_FIRST(&d.events->list); TAILQ_NEXT(it, link);
	     it = TAILQ_NEXT(it, link))
		assert_true(TAILQ_NEXT(it, link)->id == it->id + 1);
}

static void pages_hold_all(void **state)
{
	struct events_query q = {.limit = 7};
	json_int_t last = 0;
	bool more = true;
	size_t n = 0, i;
	json_t *list, *o;

	(void)state;
	for (int j = 0; j < 40; j++)
		events_add(&d, EVENTS_PEER_SEEN, NULL, NULL, "%d", j);
	while (more) {
		list = events_read(&d, &q, &more);
		json_array_foreach(list, i, o) {
			assert_true(json_integer_value(json_object_get(o, "id")) > last);
			last = json_integer_value(json_object_get(o, "id"));
			n++;
		}
		q.after_id = (uint64_t)last;
		json_decref(list);
	}
	assert_int_equal(n, 40);
	q = (struct events_query){.limit = 3, .newest = true};
	list = events_read(&d, &q, &more);
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(text_at(list, 0, "text"), "37");
	assert_string_equal(text_at(list, 2, "text"), "39");
	json_decref(list);
}

/* A host that tries again and again, and one that does so with other names: neither pushes others out. */
static void a_flood_is_bounded(void **state)
{
	struct events_about a = {.vm = "vm1", .vm_id = ID};

	(void)state;
	for (int i = 0; i < 50; i++)
		events_add(&d, EVENTS_REFUSED, &a, NULL, "vm1 is refused");
	assert_int_equal(count(), 1);
	for (int i = 0; i < 1000; i++)
		events_add(&d, EVENTS_REFUSED, &a, NULL, "vm%d is refused", i);
	assert_int_equal(count(), 200);
	events_add(&d, EVENTS_PROTECTED, &a, NULL, "vm1 is protected");
	assert_int_equal(count(), 201);
}

/* ---- what a disk does ---- */
static void a_torn_line_costs_itself_only(void **state)
{
	json_t *list;

	(void)state;
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "before");
	events_stop(&d);
	append_to(newest, "{\"id\":9999999999,\"unix_ms\":1,\"kind\":\"fail");
	events_start(&d);
	assert_int_equal(count(), 1);
	events_add(&d, EVENTS_ALONE, NULL, NULL, "after");
	restart();
	list = read_all();
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_at(list, 0, "text"), "before");
	assert_string_equal(text_at(list, 1, "text"), "after");
	json_decref(list);
}

static void damaged_lines_are_left_out(void **state)
{
	static const char *const bad[] = {
		"\n",
		"null\n",
		"[]\n",
		"{}\n",
		"{\"id\":-1,\"unix_ms\":1,\"kind\":\"alone\",\"text\":\"x\"}\n",
		"{\"id\":9223372036854775807,\"unix_ms\":1,\"kind\":\"alone\",\"text\":\"x\"}\n",
		"{\"id\":4000000000,\"unix_ms\":1,\"kind\":7,\"text\":\"x\"}\n",
		"{\"id\":4000000000,\"unix_ms\":1,\"kind\":\"alone\",\"text\":\"\xff\"}\n",
		"{\"id\":1,\"unix_ms\":1,\"kind\":\"alone\",\"text\":\"older than those before it\"}\n"};
	char longer[2 * EVENTS_LINE_BYTES];

	(void)state;
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "before");
	events_stop(&d);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		append_to(newest, bad[i]);
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 2] = '\n';
	longer[sizeof(longer) - 1] = '\0';
	append_to(newest, longer);
	/* a newer version's */
	append_to(newest,
		  "{\"id\":4000000000,\"unix_ms\":1,\"kind\":\"born-later\",\"text\":\"x\"}\n");
	events_start(&d);
	assert_int_equal(count(), 2);
}

/* The disk is full in the middle of a line: nothing torn is left, what came meanwhile is written later. */
static void a_full_disk_loses_nothing(void **state)
{
	struct rlimit was, small;
	json_t *list;
	size_t bytes;

	(void)state;
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "before");
	restart();
	bytes = bytes_of(newest);
	assert_true(bytes > 0);
	signal(SIGXFSZ, SIG_IGN); /* the limit is one of this test's output, too */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = (struct rlimit){bytes + 50, was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	events_add(&d, EVENTS_BACKUP_LOST, NULL, NULL, "while it is full 1");
	events_add(&d, EVENTS_ALONE, NULL, NULL, "while it is full 2");
	assert_int_equal(count(), 3); /* at once, from memory */
	assert_false(events_file_close(d.events->file, 1000));
	d.events->file = NULL;
	assert_int_equal(bytes_of(newest), bytes);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);

	restart();
	small = (struct rlimit){bytes, was.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	events_add(&d, EVENTS_BACKUP_LOST, NULL, NULL, "full again");
	assert_int_equal(count(), 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	events_add(&d, EVENTS_ALONE, NULL, NULL, "room again");
	restart(); /* the end of the daemon is one more try */
	list = read_all();
	assert_int_equal(json_array_size(list), 3);
	assert_string_equal(text_at(list, 1, "text"), "full again");
	assert_string_equal(text_at(list, 2, "text"), "room again");
	json_decref(list);
}

/* A folder that cannot be made, or that goes away: events are made and read all the same. */
static void no_folder_is_no_harm(void **state)
{
	char folder[300], command[700];

	(void)state;
	kit_path(folder, sizeof(folder), "events");
	events_stop(&d);
	snprintf(command, sizeof(command), "rm -rf %s && touch %s", folder, folder);
	assert_int_equal(system(command), 0);
	events_start(&d);
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "1");
	assert_int_equal(count(), 1);
	assert_int_equal(unlink(folder), 0);
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "2");
	restart();
	assert_int_equal(count(), 2);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
	events_add(&d, EVENTS_PROTECTED, NULL, NULL, "3");
	restart();
	assert_int_equal(count(), 1);
}

/* ---- texts of others ---- */
static void hostile_texts_are_plain(void **state)
{
	struct events_about a = {.vm = "v\x1b[2Jm\n1", .vm_id = ID, .peer = "h\xffost\xc2\x9b"};
	char longer[5000];
	json_t *list;

	(void)state;
	events_add(&d, EVENTS_REFUSED, &a, json_pack("{so}", "reason", events_text("a\r\nb\x7f")),
		   "%s",
		   "one\ntwo\x1b]0;title\x07 \xe2\x80\xae three \xf0\x9f\x99\x82 \xc3\xa9 \xc3");
	memset(longer, '"', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	events_add(&d, EVENTS_REFUSED, &a,
		   json_pack("{s:o, s:o, s:o}", "a", events_text(longer), "b", events_text(longer),
			     "c", events_text(longer)),
		   "%s", longer);
	restart();
	list = read_all();
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text_at(list, 0, "text"),
			    "one two?]0;title? ??? three \xf0\x9f\x99\x82 \xc3\xa9 ");
	assert_string_equal(text_at(list, 0, "vm"), "v?[2Jm 1");
	assert_string_equal(text_at(list, 0, "peer"), "h?ost??");
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(json_array_get(list, 0), "data"), "reason")),
			    "a? b?");
	assert_int_equal(strlen(text_at(list, 1, "text")), 1023);
	assert_true(json_is_true(
		json_object_get(json_object_get(json_array_get(list, 1), "data"), "left_out")));
	json_decref(list);
}

/* ---- the table ---- */
static void the_table_is_sound(void **state)
{
	(void)state;
	for (int i = 0; i < EVENTS_KIND_COUNT; i++) {
		const struct events_kind_info *k = events_kind_info((enum events_kind)i);

		assert_int_equal(strlen(k->message_id), 32);
		assert_int_equal(strspn(k->message_id, "0123456789abcdef"), 32);
		assert_true(strlen(k->word) < 20 && k->subject[0]);
		assert_int_equal(events_kind_of(k->word), i);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(k->message_id,
						events_kind_info((enum events_kind)j)->message_id);
	}
	assert_int_equal(events_kind_of("no-such"), EVENTS_KIND_COUNT);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(has_its_fields_over_a_restart),
		CASE(ids_only_grow),
		CASE(disk_and_memory_are_bounded),
		CASE(pages_hold_all),
		CASE(a_flood_is_bounded),
		CASE(a_torn_line_costs_itself_only),
		CASE(damaged_lines_are_left_out),
		CASE(a_full_disk_loses_nothing),
		CASE(no_folder_is_no_harm),
		CASE(hostile_texts_are_plain),
		cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
