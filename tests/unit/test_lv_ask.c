/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is linked with libvirt; starting twinvm-libvirt, and the sentences where that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lv/lv.h"

/* The folder with the programs: this test lies in one below it. */
static void build_folder(char *out, size_t room)
{
	char path[PATH_MAX];

	assert_int_equal(lv_program(path, sizeof(path), NULL), 0);
	*strrchr(path, '/') = '\0';
	snprintf(out, room, "%.*s", (int)(strrchr(path, '/') - path), path);
}

static bool needs(const char *program, const char *library)
{
	char folder[PATH_MAX], command[2 * PATH_MAX], line[1024];
	bool found = false, any = false;
	FILE *f;

	build_folder(folder, sizeof(folder));
	snprintf(command, sizeof(command), "ldd %s/%s", folder, program);
	f = popen(command, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		any = true;
		found |= strstr(line, library) != NULL;
	}
	assert_int_equal(pclose(f), 0);
	assert_true(any);
	return found;
}

static void only_one_program_needs_libvirt(void **state)
{
	static const char *const libraries[] = {"libvirt", "libxml2"};

	(void)state;
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		assert_false(needs("twinvmd", libraries[i]));
		assert_false(needs("twinvm", libraries[i]));
	}
	assert_true(needs("twinvm-libvirt", "libvirt"));
}

static void failure_has_a_sentence(void **state)
{
	const char *args[] = {"no-such-subcommand", NULL};
	struct lv_ask ask = {.args = args, .most_bytes = 100, .timeout_ms = 60000};
	struct tv_err e = {0};
	char *out = (char *)"not touched";

	(void)state;
	assert_int_equal(lv_ask(&ask, &out, NULL, &e), -EINVAL);
	assert_null(out);
	assert_true(*e.text);
}

static void answer_is_bounded(void **state)
{
	const char *args[] = {"--help", NULL};
	struct lv_ask ask = {.args = args, .most_bytes = 10, .timeout_ms = 60000};
	struct tv_err e = {0};
	size_t bytes = 0;
	char *out;

	(void)state;
	assert_int_equal(lv_ask(&ask, &out, &bytes, &e), -EFBIG);
	ask.most_bytes = 100000;
	assert_int_equal(lv_ask(&ask, &out, &bytes, &e), 0);
	assert_int_equal(bytes, strlen(out));
	assert_non_null(strstr(out, "xml"));
	free(out);
	/* To the byte. */
	ask.most_bytes = bytes;
	assert_int_equal(lv_ask(&ask, &out, &bytes, &e), 0);
	free(out);
}

static void time_is_bounded(void **state)
{
	const char *args[] = {"--help", NULL};
	struct lv_ask ask = {.args = args, .most_bytes = 100000, .timeout_ms = 0};
	struct tv_err e = {0};
	char *out;

	(void)state;
	assert_int_equal(lv_ask(&ask, &out, NULL, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "did not answer"));
}

static void exit_statuses_are_codes(void **state)
{
	(void)state;
	assert_int_equal(lv_exit_code(LV_EXIT_OK), 0);
	assert_int_equal(lv_exit_code(LV_EXIT_REFUSED), TV_E_REFUSED);
	assert_int_equal(lv_exit_code(LV_EXIT_GONE), TV_E_GONE);
	assert_int_equal(lv_exit_code(LV_EXIT_NO_DAEMON), -ENOTCONN);
	assert_int_equal(lv_exit_code(77), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_one_program_needs_libvirt),
		cmocka_unit_test(failure_has_a_sentence),
		cmocka_unit_test(answer_is_bounded),
		cmocka_unit_test(time_is_bounded),
		cmocka_unit_test(exit_statuses_are_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
