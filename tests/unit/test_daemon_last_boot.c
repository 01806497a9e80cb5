/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host that is back after it died of a hardware fault: by which traces, and each counts once. */
#include "events_kit.h"

#include "daemon/health.h"
#include "daemon/last_boot.h"

#include <time.h>
#include <utime.h>

static char bert[300], pstore[300], moved[300], log_file[300], boot_id[300];
static const struct last_boot_paths paths = {bert, {pstore, moved}, log_file, boot_id};
static struct last_boot found[LAST_BOOT_MOST];

static void put(const char *path, const void *p, size_t n)
{
	assert_int_equal(tv_write_file(path, p, n), 0);
}
static void put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static int begin(void **state)
{
	int rc = set_up(state);

	kit_path(bert, sizeof(bert), "BERT");
	kit_path(pstore, sizeof(pstore), "pstore");
	kit_path(moved, sizeof(moved), "moved/17");
	assert_int_equal(tv_mkdirs(pstore) | tv_mkdirs(moved), 0);
	kit_path(moved, sizeof(moved), "moved");
	kit_path(log_file, sizeof(log_file), "kmsg");
	kit_path(boot_id, sizeof(boot_id), "boot_id");
	put_text(boot_id, "11111111-2222\n");
	(void)health_judge();
	health_clear(&d);
	return rc;
}

static void record(uint32_t status, uint32_t data, uint32_t severity, size_t bytes)
{
	uint8_t b[64] = {0};

	tv_put_le32(b, status);
	tv_put_le32(b + 12, data);
	tv_put_le32(b + 16, severity);
	put(bert, b, bytes);
}

static void what_names_a_death(void **state)
{
	char path[400];

	(void)state;
	assert_int_equal(last_boot_look(&paths, found), 0); /* nothing is there */
	for (uint32_t severity = 0; severity < 4; severity++) {
		record(1, 40, severity, 64);
		assert_int_equal(last_boot_look(&paths, found), severity <= 1);
	}
	record(0, 40, 1, 64); /* no error */
	assert_int_equal(last_boot_look(&paths, found), 0);
	record(2, 40, 1, 64); /* a corrected one */
	assert_int_equal(last_boot_look(&paths, found), 0);
	record(1, 45, 1, 64); /* longer than the file */
	assert_int_equal(last_boot_look(&paths, found), 0);
	record(1, 40, 1, 19);
	assert_int_equal(last_boot_look(&paths, found), 0);

	put_text(log_file, "6,1,0,-;BERT: [Hardware Error]: event severity: fatal\n");
	assert_int_equal(last_boot_look(&paths, found), 0); /* not of the previous boot */
	put_text(log_file, "6,1,0,-;BERT: Error records from previous boot:\n"
			   "2,2,0,-;[Hardware Error]: event severity: recoverable\n");
	assert_int_equal(last_boot_look(&paths, found), 0);
	put_text(log_file, "6,1,0,-;BERT: Error records from previous boot:\n"
			   "2,2,0,-;[Hardware Error]: event severity: fatal\n");
	assert_int_equal(last_boot_look(&paths, found), 1);
	assert_string_equal(found[0].key, "boot 11111111-2222");
	unlink(log_file);

	snprintf(path, sizeof(path), "%s/dmesg-efi-1", pstore);
	put_text(path, "Kernel panic - not syncing: Attempted to kill init!");
	assert_int_equal(last_boot_look(&paths, found), 0);
	put_text(path, "x\nKernel panic - not syncing: Fatal machine check\n");
	assert_int_equal(last_boot_look(&paths, found), 1);
	snprintf(path, sizeof(path), "%s/17/dmesg.txt", moved);
	put_text(path, "Fatal local machine check");
	assert_int_equal(last_boot_look(&paths, found), 2);
	utime(path, &(struct utimbuf){time(NULL) - 8 * 24 * 3600, time(NULL) - 8 * 24 * 3600});
	assert_int_equal(last_boot_look(&paths, found), 1); /* long ago */
	unlink(boot_id);
	assert_int_equal(last_boot_look(&paths, found), 0);
}

static void it_counts_once(void **state)
{
	struct ras_cause c;
	char known[300];

	(void)state;
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_UNKNOWN);
	record(1, 40, 1, 64);
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_YELLOW);
	assert_int_equal(health_causes(&c, 1), 1);
	assert_int_equal(c.rule, RAS_RULE_HOST_RETURNED);
	assert_true(c.until_cleared);
	assert_null(strstr(c.sentence, "not for the first time"));
	/* The daemon is started again in the same boot, after an operator has looked. */
	health_clear(&d);
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_UNKNOWN);
	put_text(boot_id, "33333333-4444\n"); /* it died again */
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_YELLOW);
	assert_int_equal(health_causes(&c, 1), 1);
	assert_non_null(strstr(c.sentence, "not for the first time in 7 days"));
	/* What is damaged is taken for empty. */
	health_clear(&d);
	kit_path(known, sizeof(known), "last-boot.json");
	put_text(known, "{\"seen\":7}");
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_YELLOW);
	health_clear(&d);
	last_boot_start(&d, &paths);
	assert_int_equal(health_of_host(), FO_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_names_a_death, begin, tear_down),
		cmocka_unit_test_setup_teardown(it_counts_once, begin, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
