/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Format files, records and pages of trace data: as kernels write them, and as none should. What
 * other readers have stumbled over is tried by its rule: a format file that is longer than a page, a
 * broken page, fields that come and go, numbers of types that change, a length that is not the
 * structure's.
 */
#include "ras_format_kit.h"

#include <errno.h>
#include <stdlib.h>

static struct ras_reader *reader_with(enum ras_source source, const char *format)
{
	struct ras_reader *r = ras_reader_new();
	struct tv_err e = {0};

	assert_non_null(r);
	if (ras_reader_format(r, source, format, strlen(format), &e))
		fail_msg("%s", e.text);
	return r;
}

static void check_mce(const struct ras_mce *m)
{
	assert_int_equal(m->status, UINT64_C(0x8c00000000000092));
	assert_int_equal(m->addr, UINT64_C(0x319deb440));
	assert_int_equal(m->misc, MISC_PAGE);
	assert_int_equal(m->walltime, 1700000000);
	assert_int_equal(m->cpu, 3);
	assert_int_equal(m->cpuid, CPUID_INTEL);
	assert_int_equal(m->socketid, 1);
	assert_int_equal(m->cs, 0x33);
	assert_int_equal(m->bank, 8);
}

/* The same record as three kernels lay it out: fields are found by name. */
static void fields_are_found_by_name(void **state)
{
	struct raw now = raw_mce(), old = raw_of(113, 107), later;
	struct ras_reader *r = reader_with(RAS_SRC_MCE, mce_6_12);
	struct ras_record out;

	(void)state;
	assert_int_equal(ras_reader_record(r, now.b, now.bytes, &out), 0);
	assert_int_equal(out.source, RAS_SRC_MCE);
	check_mce(&out.mce);
	assert_int_equal(out.mce.ppin, 7);
	assert_int_equal(out.mce.microcode, 0x2b000590);
	/* 6.1: without ppin, so that all behind it lies elsewhere. */
	memcpy(old.b + 8, now.b + 8, 72);
	memcpy(old.b + 80, now.b + 88, 27);
	assert_int_equal(ras_reader_record(r, old.b, old.bytes, &out), -ENOENT);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, mce_6_1, strlen(mce_6_1), NULL), 0);
	assert_int_equal(ras_reader_record(r, old.b, old.bytes, &out), 0);
	check_mce(&out.mce);
	assert_int_equal(out.mce.ppin, 0);
	/* A later one, whose last field is the name of a part, or two syndromes. */
	later = now;
	tv_put_le16(later.b, 115);
	later.bytes = 124;
	raw_dynamic(&later, 120, "DIMM_P0_A3\0\0\0\0\0\0", 16);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, mce_later, strlen(mce_later), NULL), 0);
	assert_int_equal(ras_reader_record(r, later.b, later.bytes, &out), 0);
	check_mce(&out.mce);
	assert_string_equal(out.mce.fru, "DIMM_P0_A3");
	later.b[later.bytes - 16] = 0x81;
	assert_int_equal(ras_reader_record(r, later.b, later.bytes, &out), 0);
	assert_string_equal(out.mce.fru, "");
	ras_reader_free(r);
}

static void unknown_fields_are_named_and_missing_ones_refused(void **state)
{
	struct ras_reader *r = ras_reader_new();
	struct tv_err e = {0};
	char text[sizeof(mce_6_12) + 128], names[64], *at;
	struct raw raw = raw_mce();
	struct ras_record out;

	(void)state;
	assert_false(ras_reader_knows(r, RAS_SRC_MCE, names, sizeof(names)));
	snprintf(text, sizeof(text), "%s", mce_6_12);
	at = strstr(text, "microcode");
	memcpy(at, "nanocodes", 9);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, text, strlen(text), &e), 0);
	assert_true(ras_reader_knows(r, RAS_SRC_MCE, names, sizeof(names)));
	assert_string_equal(names, "nanocodes");
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_int_equal(out.mce.microcode, 0);
	/* Without one that is needed: refused by name, and what was known stays known. */
	memcpy(strstr(text, "u64 status") + 4, "statue", 6);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, text, strlen(text), &e), -ENOENT);
	assert_non_null(strstr(e.text, "status"));
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	/* Another event's file. */
	assert_int_equal(ras_reader_format(r, RAS_SRC_MC, mce_6_12, strlen(mce_6_12), &e), -EINVAL);
	ras_reader_free(r);
}

/* rasdaemon read it into a fixed buffer, which cut it, and then, longer, overflowed. */
static void a_format_file_is_of_any_length(void **state)
{
	size_t room = RAS_FORMAT_MOST_BYTES + 64;
	char *text = malloc(room);
	struct ras_reader *r = ras_reader_new();
	struct raw raw = raw_of(482, 24);
	struct ras_record out;
	const char *symbols = strstr(mf_6_12, "__print_symbolic(REC->type");
	size_t head = (size_t)(symbols - mf_6_12);

	(void)state;
	assert_non_null(text);
	/* The names of the types come 20,000 bytes later than usual. */
	memcpy(text, mf_6_12, head);
	memset(text + head, ' ', 20000);
	snprintf(text + head + 20000, room - head - 20000, "%s", symbols);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, text, strlen(text), NULL), 0);
	tv_put_le32(raw.b + 16, 2);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_string_equal(out.mf.type_text, "huge page");
	/* The limit. */
	memset(text, ' ', room);
	memcpy(text, mf_6_12, strlen(mf_6_12));
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, text, RAS_FORMAT_MOST_BYTES, NULL), 0);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, text, RAS_FORMAT_MOST_BYTES + 1, NULL),
			 -E2BIG);
	free(text);
	ras_reader_free(r);
}

/* Cut anywhere, a file is refused or understood as far as it goes; in memory of just that size. */
static void a_format_file_is_cut_anywhere(void **state)
{
	static const char *const all[] = {mce_6_12,   mc_format,     mf_6_12,
					  aer_format, extlog_format, firmware_format};

	(void)state;
	for (int s = 0; s < RAS_SRC_COUNT; s++)
		for (size_t n = 0; n <= strlen(all[s]); n++) {
			struct ras_reader *r = ras_reader_new();
			char *piece = malloc(n + !n);
			struct tv_err e = {0};
			int rc;

			memcpy(piece, all[s], n);
			rc = ras_reader_format(r, (enum ras_source)s, piece, n, &e);
			assert_true(rc == 0 || ((rc == -EINVAL || rc == -ENOENT) && e.text[0]));
			assert_int_equal(ras_reader_knows(r, (enum ras_source)s, NULL, 0), !rc);
			assert_true(n < strlen(all[s]) || !rc);
			free(piece);
			ras_reader_free(r);
		}
}

static void malformed_format_files_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"name: mce_record\n",
		"name: mce_record\nID: 114\n",
		"name: mce_record\nID: 70000\n" COMMON F_U64("status", 8),
		"name: mce_record\nID: -1\n" COMMON F_U64("status", 8),
		"name: mce_record\nID: 99999999999999999999\n" COMMON F_U64("status", 8),
		"name: mce_record\nID: 114\n" COMMON "\tfield:u64 status\n",
		"name: mce_record\nID: 114\n" COMMON
		"\tfield:status;\toffset:8;\tsize:8;\tsigned:0;\n",
		"name: mce_record\nID: 114\n" COMMON
		"\tfield:u64 ;\toffset:8;\tsize:8;\tsigned:0;\n",
		"name: mce_record\nID: 114\n" COMMON F("u64", "status", 99999, 8, 0),
		"name: mce_record\nID: 114\n" COMMON F("u64", "status", 8, 99999, 0),
		"name: mce_record\nID: 114\n" COMMON F("u64", "status", 65000, 65000, 0),
		"name: mce_record\nID: 114\n" COMMON F("u64", "status", 8, -8, 0),
		"name: mce_record\nID: 114\n" COMMON F("__data_loc char[]", "x", 8, 8, 0),
		"name: mce_record\nID: 114\nformat:\n" F_U64("status", 8),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ras_reader *r = ras_reader_new();
		struct tv_err e = {0};

		if (ras_reader_format(r, RAS_SRC_MCE, bad[i], strlen(bad[i]), &e) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_true(e.text[0]);
		ras_reader_free(r);
	}
}

/* Every length but the record's own, and up to 16 bytes of padding, is refused and counted. */
static void a_record_of_wrong_length_is_refused(void **state)
{
	struct ras_reader *r = reader_with(RAS_SRC_MCE, mce_6_12);
	struct raw raw = raw_mce();
	struct ras_record out;
	uint64_t refused = 0;

	(void)state;
	for (size_t n = 0; n <= 200; n++) {
		uint8_t *exact = malloc(n + !n);
		int rc;

		memcpy(exact, raw.b, n);
		rc = ras_reader_record(r, exact, n, &out);
		assert_int_equal(rc, n >= 120 && n <= 136 ? 0 : -EBADMSG);
		refused += rc != 0;
		free(exact);
	}
	assert_int_equal(ras_reader_counts(r)->malformed, refused);
	assert_int_equal(ras_reader_counts(r)->records[RAS_SRC_MCE], 17);
	ras_reader_free(r);
}

static void a_record_that_points_out_of_itself_is_refused(void **state)
{
	static const uint32_t places[] = {0xffffffff, 0x00010400, 0xffff0000, 0x00100038 + 0x10000};
	struct ras_reader *r = reader_with(RAS_SRC_AER, aer_format);
	struct raw raw = raw_of(483, 36);
	struct ras_record out;

	(void)state;
	raw_text(&raw, 8, "0000:00:01.0");
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_string_equal(out.aer.dev_name, "0000:00:01.0");
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		tv_put_le32(raw.b + 8, places[i]);
		assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), -EBADMSG);
	}
	assert_int_equal(ras_reader_counts(r)->malformed, 4);
	/* A text without an end, and of bytes that no terminal should get. */
	tv_put_le32(raw.b + 8, 36 | 3 << 16);
	memcpy(raw.b + 36, "\x1b[m", 3);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes - 8, &out), 0);
	assert_string_equal(out.aer.dev_name, "?[m");
	ras_reader_free(r);
}

/* rasdaemon has a table of its own, and names the wrong kind of page on later kernels. */
static void types_of_pages_have_the_kernels_names(void **state)
{
	struct ras_reader *r = reader_with(RAS_SRC_MF, mf_6_1);
	struct raw raw = raw_of(482, 24);
	struct ras_record out;
	struct ras_fault f;

	(void)state;
	tv_put_le64(raw.b + 8, 0x319deb);
	tv_put_le32(raw.b + 16, 4);
	tv_put_le32(raw.b + 20, 3);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_string_equal(out.mf.type_text, "huge page");
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, mf_6_12, strlen(mf_6_12), NULL), 0);
	tv_put_le32(raw.b + 16, 2);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_string_equal(out.mf.type_text, "huge page");
	assert_string_equal(out.mf.result_text, "Recovered");
	tv_put_le32(raw.b + 16, 4);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &out), 0);
	assert_string_equal(out.mf.type_text, "");
	assert_int_equal(ras_decode(NULL, &out, &f), 0);
	assert_non_null(strstr(f.sentence, "unknown type 4"));
	assert_int_equal(f.result, RAS_RESULT_RECOVERED);
	ras_reader_free(r);
}

static void several_sources_at_once(void **state)
{
	struct ras_reader *r = reader_with(RAS_SRC_MCE, mce_6_12);
	struct raw mce = raw_mce(), mf = raw_of(482, 24), other = raw_of(9, 24);
	struct ras_record out;

	(void)state;
	assert_int_equal(ras_reader_record(r, mf.b, mf.bytes, &out), -ENOENT);
	assert_int_equal(ras_reader_format(r, RAS_SRC_MF, mf_6_12, strlen(mf_6_12), NULL), 0);
	assert_int_equal(ras_reader_record(r, mf.b, mf.bytes, &out), 0);
	assert_int_equal(out.source, RAS_SRC_MF);
	assert_int_equal(ras_reader_record(r, mce.b, mce.bytes, &out), 0);
	assert_int_equal(out.source, RAS_SRC_MCE);
	assert_int_equal(ras_reader_record(r, other.b, other.bytes, &out), -ENOENT);
	assert_int_equal(ras_reader_counts(r)->strangers, 2);
	assert_int_equal(ras_reader_counts(r)->malformed, 0);
	ras_reader_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_found_by_name),
		cmocka_unit_test(unknown_fields_are_named_and_missing_ones_refused),
		cmocka_unit_test(a_format_file_is_of_any_length),
		cmocka_unit_test(a_format_file_is_cut_anywhere),
		cmocka_unit_test(malformed_format_files_are_refused),
		cmocka_unit_test(a_record_of_wrong_length_is_refused),
		cmocka_unit_test(a_record_that_points_out_of_itself_is_refused),
		cmocka_unit_test(types_of_pages_have_the_kernels_names),
		cmocka_unit_test(several_sources_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
