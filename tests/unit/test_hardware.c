/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What watches the hardware: from raw pages to messages, and what the kernel counts by itself. */
#include "ras_format_kit.h"

#include "hardware/counters.h"
#include "hardware/gather.h"
#include "hardware/missed.h"
#include "hardware/pipes.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct ras_fault corrected(unsigned cpu)
{
	struct ras_fault f = {.source = RAS_SRC_MCE,
			      .severity = RAS_CORRECTED,
			      .part = RAS_PART_MEMORY,
			      .count = 1,
			      .has_cpu = true,
			      .cpu = cpu};

	strcpy(f.where, "CPU package 0, bank 8");
	strcpy(f.sentence, "a corrected error");
	return f;
}

static struct ras_fault uncorrected(uint64_t page)
{
	struct ras_fault f = {.source = RAS_SRC_MF,
			      .severity = RAS_UNCORRECTED,
			      .part = RAS_PART_MEMORY,
			      .result = RAS_RESULT_FAILED,
			      .count = 1,
			      .has_page = true,
			      .page = {page}};

	strcpy(f.sentence, "a page has failed");
	return f;
}

static void a_fault_survives_its_message(void **state)
{
	struct hw_fault in = {.records = 3, .first_ns = 5, .last_ns = 9}, out;
	json_t *o;

	(void)state;
	in.fault = uncorrected(UINT64_C(0xfedcba987654));
	in.fault.has_addr = true;
	in.fault.addr = UINT64_MAX - 1;
	in.fault.lost = in.fault.by_firmware = in.fault.normalised = in.fault.device_fails = true;
	in.fault.owner = RAS_OWNER_KERNEL;
	in.fault.bank = 255;
	in.fault.core = 6;
	in.fault.many = true;
	strcpy(in.fault.where, "DIMM A1");
	o = hw_fault_json(&in);
	assert_true(hw_fault_of(o, &out));
	assert_memory_equal(&in, &out, sizeof(in));

	json_object_set_new(o, "severity_id", json_integer(RAS_SEVERITY_COUNT));
	assert_false(hw_fault_of(o, &out));
	json_object_set_new(o, "severity_id", json_integer(-1));
	assert_false(hw_fault_of(o, &out));
	json_object_set_new(o, "severity_id", json_integer(0));
	json_object_set_new(o, "page", json_string("0x12 "));
	assert_false(hw_fault_of(o, &out));
	json_object_set_new(o, "page", json_string("0x12"));
	json_object_set_new(o, "count", json_integer(0));
	assert_false(hw_fault_of(o, &out));
	json_decref(o);
	o = json_array();
	assert_false(hw_fault_of(o, &out));
	json_decref(o);
}

static json_int_t total(const json_t *m, const char *severity)
{
	return json_integer_value(json_object_get(json_object_get(m, "total"), severity));
}

static void a_storm_is_a_message_a_second(void **state)
{
	static struct hw_gather g;
	struct ras_fault f = corrected(0), other = uncorrected(7);
	struct hw_fault got;
	unsigned messages = 0;
	json_t *m;

	(void)state;
	g = (struct hw_gather){0};
	/* 50,000 in ten seconds */
	for (int64_t i = 0; i < 50000; i++) {
		int64_t now = TV_NS_PER_S + i * 200000;

		hw_gather_add(&g, &f, now);
		if (hw_gather_due(&g, now)) {
			m = hw_gather_take(&g, now);
			assert_int_equal(json_array_size(json_object_get(m, "faults")), 1);
			json_decref(m);
			messages++;
		}
	}
	assert_int_equal(messages, 10);
	/* What lost data does not wait for the next second. */
	hw_gather_add(&g, &other, 11 * TV_NS_PER_S - 1);
	assert_true(hw_gather_due(&g, 11 * TV_NS_PER_S - 1));
	m = hw_gather_take(&g, 11 * TV_NS_PER_S - 1);
	assert_int_equal(total(m, "corrected"), 50000);
	assert_int_equal(total(m, "uncorrected"), 1);
	assert_true(hw_fault_of(json_array_get(json_object_get(m, "faults"), 0), &got));
	assert_int_equal(got.records, 4999); /* the first of the second went at once */
	assert_int_equal(got.fault.count, 4999);
	assert_true(got.first_ns < got.last_ns);
	json_decref(m);
	assert_false(hw_gather_due(&g, 20 * TV_NS_PER_S));
}

static void what_finds_no_place_is_counted(void **state)
{
	static struct hw_gather g;
	struct ras_fault f, bad = uncorrected(1);
	json_t *m, *o;
	bool found = false;
	struct hw_fault got;
	size_t i;

	(void)state;
	g = (struct hw_gather){0};
	for (unsigned cpu = 0; cpu < HW_DIFFERENT + 5; cpu++) {
		f = corrected(cpu);
		f.count = 10;
		hw_gather_add(&g, &f, 1);
	}
	hw_gather_add(&g, &bad, 2);
	m = hw_gather_take(&g, 3);
	json_array_foreach(json_object_get(m, "faults"), i, o)
		if (hw_fault_of(o, &got) && got.fault.has_page)
			found = true;
	assert_true(found);
	assert_int_equal(json_array_size(json_object_get(m, "faults")), HW_DIFFERENT);
	assert_int_equal(json_integer_value(json_object_get(m, "more")), 60);
	assert_int_equal(total(m, "corrected"), (HW_DIFFERENT + 5) * 10);
	json_decref(m);
	/* A storm of lost pages is bounded, too. */
	for (unsigned n = 0; n < 100; n++) {
		bad.page.n = n;
		hw_gather_add(&g, &bad, 4);
		if (hw_gather_due(&g, 4))
			json_decref(hw_gather_take(&g, 4));
	}
	assert_int_equal(g.sent, HW_URGENT);
}

struct seen {
	unsigned n;
	int64_t at_ns;
	struct event_base *base;
};

static void on_fault(void *arg, const struct ras_fault *f, int64_t at_ns)
{
	struct seen *s = arg;

	assert_int_equal(f->source, RAS_SRC_MCE);
	s->at_ns = at_ns;
	if (++s->n == 3)
		event_base_loopbreak(s->base);
}

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

static void pages_become_faults_and_a_broken_one_none(void **state)
{
	const struct timeval long_enough = {20, 0};
	struct ras_reader *r = ras_reader_new();
	struct raw mce = raw_mce(), nothing = raw_mce();
	struct raw_page p, broken;
	struct ras_cpu cpu = {0};
	struct hw_pipes *pipes;
	struct seen s = {0};
	int a[2], b[2];
	int64_t now;

	(void)state;
	assert_int_equal(ras_reader_format(r, RAS_SRC_MCE, mce_6_12, strlen(mce_6_12), NULL), 0);
	/* As trace_pipe_raw: a read returns one page. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, b), 0);
	s.base = event_base_new();
	now = monotonic_ns() - 5 * TV_NS_PER_S;
	page_begin(&p, (uint64_t)now);
	page_add(&p, 0, &mce);
	memset(nothing.b + 24, 0, 8); /* without VAL */
	page_add(&p, 0, &nothing);
	broken = p;
	tv_put_le64(broken.b + 8, 4000);
	assert_int_equal(write(a[1], p.b, sizeof(p.b)), sizeof(p.b));
	pipes = hw_pipes_new(s.base, r, (int[]){a[0], -1, b[0]}, 3, &cpu, on_fault, &s);
	assert_non_null(pipes);
	assert_int_equal(s.n, 1); /* what waited is read at once */
	assert_true(tv_now_ns() - s.at_ns >= 5 * TV_NS_PER_S);
	assert_true(tv_now_ns() - s.at_ns < 100 * TV_NS_PER_S);
	assert_int_equal(write(b[1], broken.b, sizeof(broken.b)), sizeof(broken.b));
	assert_int_equal(write(b[1], p.b, sizeof(p.b)), sizeof(p.b));
	assert_int_equal(write(a[1], p.b, sizeof(p.b)), sizeof(p.b));
	event_base_loopexit(s.base, &long_enough);
	event_base_dispatch(s.base);
	assert_int_equal(s.n, 3);
	assert_int_equal(ras_reader_counts(r)->broken_pages, 1);
	assert_true(hw_pipes_empty_records(pipes) >= 2);
	hw_pipes_free(pipes);
	ras_reader_free(r);
	event_base_free(s.base);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

static void a_time_of_the_trace_is_never_in_the_future(void **state)
{
	int64_t now = tv_now_ns(), then = hw_from_monotonic(INT64_MAX);

	(void)state;
	assert_true(then >= now && then <= tv_now_ns());
}

static char dir[64];

static void put(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(tv_write_file(path, text, strlen(text)), 0);
}

static void make_dir(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(tv_mkdirs(path), 0);
}

static json_int_t edac_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(o, "edac"), key));
}

static json_int_t aer_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(o, "aer"), key));
}

static void counters_of_the_kernel_are_read(void **state)
{
	char meminfo[128], edac[128], cpuinfo[128], pci[128];
	json_t *o, *dimm;
	struct ras_cpu cpu;

	(void)state;
	strcpy(dir, "/tmp/twinvm-hardware-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(meminfo, sizeof(meminfo), "%s/meminfo", dir);
	snprintf(edac, sizeof(edac), "%s/mc", dir);
	snprintf(pci, sizeof(pci), "%s/pci", dir);
	snprintf(cpuinfo, sizeof(cpuinfo), "%s/cpuinfo", dir);
	o = hw_counters(meminfo, edac, pci);
	assert_true(json_is_null(json_object_get(o, "corrupted_kib")));
	assert_int_equal(edac_of(o, "controllers"), 0);
	json_decref(o);

	make_dir("mc/mc0/dimm3");
	make_dir("mc/mc1");
	make_dir("mc/power");
	put("meminfo", "MemTotal: 1 kB\nHardwareCorrupted:    12 kB\n");
	put("mc/mc0/ce_count", "41\n");
	put("mc/mc0/ue_count", "1\n");
	put("mc/mc1/ce_count", "1\n");
	put("mc/mc0/dimm3/dimm_ce_count", "40\n");
	put("mc/mc0/dimm3/dimm_label", "A1 \xff\n");
	make_dir("pci/0000:00:1c.0");
	make_dir("pci/0000:00:1d.0");
	put("pci/0000:00:1c.0/aer_dev_correctable", "RxErr 2\nBadTLP 5\nTOTAL_ERR_COR 7\n");
	put("pci/0000:00:1c.0/aer_dev_nonfatal", "Undefined 0\nTOTAL_ERR_NONFATAL 1\n");
	put("pci/0000:00:1c.0/aer_dev_fatal", "TOTAL_ERR_FATAL 0\n");
	put("pci/0000:00:1d.0/aer_dev_correctable", "no such text\n");
	o = hw_counters(meminfo, edac, pci);
	assert_int_equal(aer_of(o, "counting"), 1);
	assert_int_equal(aer_of(o, "corrected"), 7);
	assert_int_equal(aer_of(o, "nonfatal"), 1);
	assert_int_equal(aer_of(o, "fatal"), 0);
	assert_int_equal(json_integer_value(json_object_get(o, "corrupted_kib")), 12);
	assert_int_equal(edac_of(o, "controllers"), 2);
	assert_int_equal(edac_of(o, "corrected"), 42);
	assert_int_equal(edac_of(o, "uncorrected"), 1);
	dimm = json_array_get(json_object_get(json_object_get(o, "edac"), "dimms"), 0);
	assert_string_equal(json_string_value(json_object_get(dimm, "label")), "A1 ?");
	assert_int_equal(json_integer_value(json_object_get(dimm, "corrected")), 40);
	json_decref(o);

	cpu = hw_cpu(cpuinfo);
	assert_false(cpu.known);
	put("cpuinfo", "processor: 0\nflags\t\t: fpu succor_x xoverflow_recov\nbugs : succor\n");
	cpu = hw_cpu(cpuinfo);
	assert_true(cpu.known && !cpu.succor && !cpu.overflow_recov);
	put("cpuinfo", "processor: 0\nflags\t\t: fpu overflow_recov succor\n");
	cpu = hw_cpu(cpuinfo);
	assert_true(cpu.succor && cpu.overflow_recov);
	assert_int_equal(hw_number_after("entries: 3\noverrun: 17\n", "overrun"), 17);
	assert_int_equal(hw_number_after("entries: 3\n", "overrun"), 0);
}

/* ---- what only counters know ---- */
struct missed {
	unsigned n, errors;
	struct ras_fault last;
};

static void on_missed(void *arg, const struct ras_fault *f)
{
	struct missed *s = arg;

	s->n++;
	s->errors += f->count;
	s->last = *f;
}

static struct missed look(struct hw_missed *m, int dimm, int corrected_of, int fatal,
			  unsigned complete)
{
	struct missed s = {0};
	json_t *o = json_pack("{s{s[{ss ss ss sI sI}]} s{s[{ss sI sI sI}]}}", "edac", "dimms", "mc",
			      "mc0", "dimm", "dimm3", "label", "A1", "corrected", (json_int_t)dimm,
			      "uncorrected", (json_int_t)0, "aer", "devices", "device",
			      "0000:00:1c.0", "corrected", (json_int_t)corrected_of, "nonfatal",
			      (json_int_t)0, "fatal", (json_int_t)fatal);

	hw_missed_look(m, o, complete, on_missed, &s);
	json_decref(o);
	return s;
}

static void errors_without_an_event_are_counted_by_their_counters(void **state)
{
	static struct hw_missed m;
	struct ras_fault f = {.source = RAS_SRC_MC, .severity = RAS_CORRECTED, .count = 3};
	struct missed s;

	(void)state;
	m = (struct hw_missed){0};
	assert_int_equal(look(&m, 40, 7, 0, 0).n, 0); /* since this host's start */
	s = look(&m, 42, 7, 0, 0);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.last.count, 2);
	assert_int_equal(s.last.part, RAS_PART_MEMORY);
	assert_string_equal(s.last.where, "A1");
	assert_string_equal(s.last.sentence,
			    "corrected: 2 errors of DIMM A1, by the kernel's counters alone");
	s = look(&m, 42, 7, 1, 0);
	assert_int_equal(s.n, 1);
	assert_true(s.last.severity == RAS_FATAL && s.last.device_fails);
	assert_int_equal(s.last.part, RAS_PART_DEVICE);
	assert_string_equal(s.last.where, "0000:00:1c.0");
	/* Where events tell of all, counters add nothing. */
	assert_int_equal(look(&m, 52, 17, 1, 1 << RAS_SRC_MC | 1 << RAS_SRC_AER).n, 0);
	/* Some were lost: what events have reported is not counted again, whatever they call the DIMM. */
	strcpy(f.where, "controller 0 location 0:0:3");
	hw_missed_event(&m, &f);
	s = look(&m, 57, 17, 1, 0);
	assert_int_equal(s.errors, 2);
	hw_missed_event(&m, &f);
	assert_int_equal(look(&m, 59, 17, 1, 0).n, 0);
	/* Of a driver that was loaded anew nothing is known. */
	assert_int_equal(look(&m, 5, 17, 1, 0).n, 0);
	assert_int_equal(look(&m, 6, 17, 1, 0).errors, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_survives_its_message),
		cmocka_unit_test(a_storm_is_a_message_a_second),
		cmocka_unit_test(what_finds_no_place_is_counted),
		cmocka_unit_test(pages_become_faults_and_a_broken_one_none),
		cmocka_unit_test(a_time_of_the_trace_is_never_in_the_future),
		cmocka_unit_test(counters_of_the_kernel_are_read),
		cmocka_unit_test(errors_without_an_event_are_counted_by_their_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
