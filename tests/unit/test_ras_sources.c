/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw records of each source, read by its format file and decoded: what an operator gets to read. */
#include "ras_format_kit.h"

#include <errno.h>

static void decode(enum ras_source source, const char *format, const struct raw *raw,
		   struct ras_fault *f)
{
	struct ras_reader *r = ras_reader_new();
	struct ras_record record;

	assert_int_equal(ras_reader_format(r, source, format, strlen(format), NULL), 0);
	assert_int_equal(ras_reader_record(r, raw->b, raw->bytes, &record), 0);
	assert_int_equal(ras_decode(NULL, &record, f), 0);
	assert_int_equal(f->source, source);
	assert_true(tv_is_utf8(f->sentence) && f->sentence[0]);
	ras_reader_free(r);
}

static void says(const struct ras_fault *f, const char *text)
{
	if (!strstr(f->sentence, text))
		fail_msg("\"%s\" is not in: %s", text, f->sentence);
}

static void machine_checks(void **state)
{
	struct raw raw = raw_mce();
	struct ras_fault f;

	(void)state;
	decode(RAS_SRC_MCE, mce_6_12, &raw, &f);
	assert_int_equal(f.severity, RAS_CORRECTED);
	assert_int_equal(f.part, RAS_PART_MEMORY);
	assert_int_equal(f.page.n, 0x319deb);
	assert_string_equal(f.where, "package 1 bank 8 channel 2");
	tv_put_le64(raw.b + 24, 0);
	{
		struct ras_reader *r = ras_reader_new();
		struct ras_record record;

		assert_int_equal(
			ras_reader_format(r, RAS_SRC_MCE, mce_6_12, strlen(mce_6_12), NULL), 0);
		assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &record), 0);
		assert_int_equal(ras_decode(NULL, &record, &f), -EINVAL);
		ras_reader_free(r);
	}
}

static struct raw raw_mc(uint32_t type, uint16_t count, uint64_t address, uint8_t grain_bits,
			 const char *label)
{
	struct raw r = raw_of(481, 60);

	tv_put_le32(r.b + 8, type);
	tv_put_le16(r.b + 20, count);
	r.b[22] = 1;
	r.b[23] = 2;
	r.b[24] = 0;
	r.b[25] = 0xff; /* -1 */
	tv_put_le64(r.b + 32, address);
	r.b[40] = grain_bits;
	raw_text(&r, 12, "memory read error");
	raw_text(&r, 16, label);
	raw_text(&r, 56, "");
	return r;
}

static void errors_of_a_memory_controller(void **state)
{
	static const struct {
		uint32_t type;
		uint16_t count;
		uint64_t address;
		uint8_t grain_bits;
		const char *label;
		enum ras_severity severity;
		bool page;
		const char *where, *says;
	} rows[] = {
		{0, 1, 0x319deb440, 6, "CPU_SrcID#0_MC#0_Chan#1_DIMM#0", RAS_CORRECTED, true,
		 "CPU_SrcID#0_MC#0_Chan#1_DIMM#0", "page 0x319deb"},
		{0, 12, 0x319deb440, 12, "DIMM_A3", RAS_CORRECTED, true, "DIMM_A3", "12 errors"},
		{0, 0, 0x319deb440, 0, "DIMM_A3", RAS_CORRECTED, true, "DIMM_A3", "read error"},
		/* Boards without labels: the location counts. */
		{0, 1, 0, 6, "", RAS_CORRECTED, false, "controller 1 location 2:0:-1",
		 "without a label"},
		{0, 1, 0, 6, "memory", RAS_CORRECTED, false, "controller 1 location 2:0:-1",
		 "page unknown"},
		{0, 1, 0, 6, "any memory", RAS_CORRECTED, false, "controller 1 location 2:0:-1",
		 "page unknown"},
		{0, 1, 0x319deb440, 13, "DIMM_A3", RAS_CORRECTED, false, "DIMM_A3", "page unknown"},
		{1, 1, 0x319deb440, 6, "DIMM_A3", RAS_UNCORRECTED, true, "DIMM_A3", "uncorrected"},
		{2, 1, 0x319deb440, 6, "DIMM_A3", RAS_DEFERRED, true, "DIMM_A3", "not used yet"},
		{3, 1, 0x319deb440, 6, "DIMM_A3", RAS_FATAL, true, "DIMM_A3", "fatal"},
		{4, 1, 0x319deb440, 6, "DIMM_A3", RAS_NOTHING, true, "DIMM_A3", "no error"},
		{5, 1, 0x319deb440, 6, "DIMM_A3", RAS_UNKNOWN, true, "DIMM_A3", "unknown"},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct raw raw = raw_mc(rows[i].type, rows[i].count, rows[i].address,
					rows[i].grain_bits, rows[i].label);

		decode(RAS_SRC_MC, mc_format, &raw, &f);
		assert_int_equal(f.severity, rows[i].severity);
		assert_int_equal(f.part, RAS_PART_MEMORY);
		assert_int_equal(f.has_page, rows[i].page);
		assert_int_equal(f.count, rows[i].count ? rows[i].count : 1);
		assert_string_equal(f.where, rows[i].where);
		says(&f, rows[i].says);
	}
}

static void pages_that_the_kernel_takes(void **state)
{
	static const struct {
		int32_t type, result;
		enum ras_owner owner;
		enum ras_result is;
		const char *says;
	} rows[] = {
		{0, 0, RAS_OWNER_KERNEL, RAS_RESULT_IGNORED,
		 "reserved kernel page; the kernel has "
		 "left it in use"},
		{1, 1, RAS_OWNER_KERNEL, RAS_RESULT_FAILED, "could not take it"},
		{15, 3, RAS_OWNER_FREE, RAS_RESULT_RECOVERED, "free buddy page"},
		{15, 1, RAS_OWNER_UNKNOWN, RAS_RESULT_FAILED, "free buddy page"},
		{7, 3, RAS_OWNER_FREE, RAS_RESULT_RECOVERED, "clean swapcache"},
		{12, 3, RAS_OWNER_UNKNOWN, RAS_RESULT_RECOVERED, "dirty LRU page"},
		{12, 2, RAS_OWNER_UNKNOWN, RAS_RESULT_DELAYED, "when it can"},
		{12, 77, RAS_OWNER_UNKNOWN, RAS_RESULT_NONE, "not known what"},
		{12, -1, RAS_OWNER_UNKNOWN, RAS_RESULT_NONE, "not known what"},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct raw raw = raw_of(482, 24);

		tv_put_le64(raw.b + 8, 0x319deb);
		tv_put_le32(raw.b + 16, (uint32_t)rows[i].type);
		tv_put_le32(raw.b + 20, (uint32_t)rows[i].result);
		decode(RAS_SRC_MF, mf_6_12, &raw, &f);
		assert_int_equal(f.severity, RAS_UNCORRECTED);
		assert_true(f.has_page && f.page.n == 0x319deb);
		assert_int_equal(f.owner, rows[i].owner);
		assert_int_equal(f.result, rows[i].is);
		says(&f, rows[i].says);
	}
}

static void errors_of_pci_express(void **state)
{
	static const struct {
		uint32_t status;
		uint8_t severity;
		enum ras_severity is;
		bool fails;
		const char *says;
	} rows[] = {
		{1, 2, RAS_CORRECTED, false, "0000:00:01.0: receiver error"},
		{0x40, 2, RAS_CORRECTED, false, "bad packet"},
		{0x1000, 2, RAS_CORRECTED, false, "replay timer"},
		{0x8001, 2, RAS_CORRECTED, false, "receiver error, header log overflow"},
		{0x10, 0, RAS_UNCORRECTED, false, "link protocol"},
		{0x100000, 0, RAS_UNCORRECTED, false, "unsupported request"},
		{0x1000, 0, RAS_UNCORRECTED, true, "poisoned packet"},
		{0x20, 0, RAS_UNCORRECTED, true, "lost by surprise"},
		{0x40000, 1, RAS_FATAL, true, "malformed packet"},
		{0x80000000, 1, RAS_FATAL, true, "bit 31, which is unknown"},
		{0, 0, RAS_UNCORRECTED, false, "names no error"},
		{1, 9, RAS_UNKNOWN, false, "of unknown severity"},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct raw raw = raw_of(483, 36);

		tv_put_le32(raw.b + 12, rows[i].status);
		raw.b[16] = rows[i].severity;
		raw_text(&raw, 8, "0000:00:01.0");
		decode(RAS_SRC_AER, aer_format, &raw, &f);
		assert_int_equal(f.severity, rows[i].is);
		assert_int_equal(f.part, RAS_PART_DEVICE);
		assert_int_equal(f.device_fails, rows[i].fails);
		assert_string_equal(f.where, "0000:00:01.0");
		assert_false(f.has_page);
		says(&f, rows[i].says);
	}
}

static struct raw raw_extlog(uint8_t etype, uint8_t sev, uint64_t pa, uint8_t lsb, uint64_t valid,
			     const char *fru)
{
	struct raw r = raw_of(484, 103);

	r.b[12] = etype;
	r.b[13] = sev;
	tv_put_le64(r.b + 16, pa);
	r.b[24] = lsb;
	tv_put_le64(r.b + 48, valid);
	tv_put_le16(r.b + 48 + 8, 1);	/* node */
	tv_put_le16(r.b + 48 + 10, 2);	/* card */
	tv_put_le16(r.b + 48 + 12, 3);	/* module */
	tv_put_le16(r.b + 48 + 18, 99); /* row */
	raw_text(&r, 44, fru);
	return r;
}

static void errors_of_the_extended_log(void **state)
{
	static const struct {
		uint8_t etype, sev;
		uint64_t pa;
		uint8_t lsb;
		uint64_t valid;
		const char *fru;
		enum ras_severity is;
		bool page;
		const char *where, *says;
	} rows[] = {
		{2, 2, 0x319deb440, 6, 0x38, "DIMM_B1", RAS_CORRECTED, true, "DIMM_B1",
		 "single-bit error, reported by the firmware; DIMM DIMM_B1; node 1 card 2 module 3"},
		{3, 0, 0x319deb440, 255, 0x138, "", RAS_UNCORRECTED, true, "node 1 card 2 module 3",
		 "module 3 row 99; page 0x319deb"},
		{14, 1, UINT64_MAX, 255, 0, "", RAS_FATAL, false, "", "page unknown"},
		{13, 2, 0x319deb440, 21, 8, "", RAS_CORRECTED, false, "node 1", "page unknown"},
		{255, 3, 0, 255, 0, "", RAS_NOTHING, true, "", "memory error"},
		{2, 4, 0, 255, 0, "", RAS_UNKNOWN, true, "", "unknown severity"},
	};
	struct ras_fault f;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct raw raw = raw_extlog(rows[i].etype, rows[i].sev, rows[i].pa, rows[i].lsb,
					    rows[i].valid, rows[i].fru);

		decode(RAS_SRC_EXTLOG, extlog_format, &raw, &f);
		assert_int_equal(f.severity, rows[i].is);
		assert_int_equal(f.has_page, rows[i].page);
		assert_true(f.by_firmware);
		assert_string_equal(f.where, rows[i].where);
		says(&f, rows[i].says);
	}
}

static struct raw raw_firmware(const uint8_t type[16], uint8_t sev, uint32_t len, size_t real)
{
	struct raw r = raw_of(485, 56);
	uint8_t section[256];

	memcpy(r.b + 8, type, 16);
	r.b[44] = sev;
	tv_put_le32(r.b + 48, len);
	for (size_t i = 0; i < sizeof(section); i++)
		section[i] = (uint8_t)(0xa0 + i);
	raw_text(&r, 40, "");
	raw_dynamic(&r, 52, section, real);
	return r;
}

static void records_of_the_firmware(void **state)
{
	/* CXL DRAM, as the bytes of a GUID lie; and one that has no name. */
	static const uint8_t cxl[16] = {0xb3, 0xcb, 0x1d, 0x60, 0x06, 0x9c, 0xab, 0x4e,
					0xb8, 0xaf, 0x4e, 0x9b, 0xfb, 0x5c, 0x96, 0x24},
			     other[16] = {1, 2, 3};
	struct raw raw = raw_firmware(cxl, 2, 20, 20);
	struct ras_reader *r = ras_reader_new();
	struct ras_record record;
	struct ras_fault f;

	(void)state;
	decode(RAS_SRC_FIRMWARE, firmware_format, &raw, &f);
	assert_int_equal(f.severity, RAS_CORRECTED);
	says(&f, "CXL DRAM (601dcbb3-9c06-4eab-b8af-4e9bfb5c9624); 20 bytes: a0 a1");
	assert_string_equal(f.where, "601dcbb3-9c06-4eab-b8af-4e9bfb5c9624");
	raw = raw_firmware(other, 1, 0, 0);
	decode(RAS_SRC_FIRMWARE, firmware_format, &raw, &f);
	assert_int_equal(f.severity, RAS_FATAL);
	says(&f, "an unknown kind (00030201-0000-");
	raw = raw_firmware(other, 7, 3, 3);
	decode(RAS_SRC_FIRMWARE, firmware_format, &raw, &f);
	assert_int_equal(f.severity, RAS_UNKNOWN);
	says(&f, "3 bytes: a0 a1 a2");
	/* Sections of one type differ in length; one that lies about its own is refused. */
	assert_int_equal(ras_reader_format(r, RAS_SRC_FIRMWARE, firmware_format,
					   strlen(firmware_format), NULL),
			 0);
	raw = raw_firmware(cxl, 2, 200, 200);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &record), 0);
	raw = raw_firmware(cxl, 2, 200, 20);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &record), -EBADMSG);
	raw = raw_firmware(cxl, 2, 20, 200);
	assert_int_equal(ras_reader_record(r, raw.b, raw.bytes, &record), -EBADMSG);
	assert_int_equal(ras_reader_counts(r)->malformed, 2);
	ras_reader_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machine_checks),
		cmocka_unit_test(errors_of_a_memory_controller),
		cmocka_unit_test(pages_that_the_kernel_takes),
		cmocka_unit_test(errors_of_pci_express),
		cmocka_unit_test(errors_of_the_extended_log),
		cmocka_unit_test(records_of_the_firmware),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
