/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv against a real QEMU, started here:
 *
 *   hv_probe_vm [-2] [-3] [-c] [-n EPOCHS] [-a ATTACHES] [-m MEASURE] [-b] [-w] [-A] [-u COMMAND]
 *               QEMU ARGS...
 *
 * -2: two-step harvest; -3: an epoch is three commands; -c: the same, because QEMU cannot open our
 * pipe; -a: attaches and detaches that often; -m: measures that many pauses; -b: a BIOS that never stops to write; -w: RAM is a shared memory file: pages are written to it that
 * QEMU never touched, as a replicator does to a standby's; -A: the first copy may report
 * everything; -u: COMMAND is run by the shell at the end, after which no round may count any more
 * (TV_E_UNTRACKED). Prints what it saw. Exit status 0: everything was as hv.h says; else the first
 * failure is on stderr. hv_probe_net and hv_probe_kill test the rest.
 */
#include "tests/tools/lib_hv_bed.h"
#include "tests/tools/lib_hv_shadow.h"
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static bool foreign;	   /* -w */
static const char *spoil;  /* -u */
static bool all_populated; /* -A */
static bool three;	   /* -3, -c */

/* ---- pages that only somebody else wrote ---- */

#define FOREIGN_AT (UINT64_C(128) << 20) /* far from what a firmware touches */
#define FOREIGN_PAGES 64

static void foreign_page(uint8_t *page, unsigned i)
{
	memset(page, (int)i + 1, TV_PAGE_BYTES);
}

/* Writes every third page of a stretch of the largest shared memory file that QEMU has mapped. */
static void write_foreign(void)
{
	const struct hv_map *ram = NULL;
	uint8_t page[TV_PAGE_BYTES];
	struct hv_maps maps;
	char path[96];
	int fd;

	MUST(!hv_maps_read(bed.pid, &maps), "maps");
	for (unsigned i = 0; i < maps.n; i++)
		if (maps.map[i].shared &&
		    (!ram || maps.map[i].end - maps.map[i].start > ram->end - ram->start))
			ram = &maps.map[i];
	MUST(ram && ram->end - ram->start > 2 * FOREIGN_AT, "no shared RAM of 256 MiB or more");
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, bed.pid, ram->start,
		 ram->end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	MUST(fd >= 0, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < FOREIGN_PAGES; i++) {
		foreign_page(page, i);
		MUST(pwrite(fd, page, sizeof(page),
			    (off_t)(FOREIGN_AT + 3 * i * (uint64_t)TV_PAGE_BYTES)) == sizeof(page),
		     "%s", strerror(errno));
	}
	close(fd);
	hv_maps_dispose(&maps);
}

/* The first copy has what somebody else wrote, before anybody has read it. */
static void must_have_foreign(struct shadow *s, struct hv_vm *vm)
{
	uint8_t page[TV_PAGE_BYTES];
	unsigned n, m = 0;
	const struct hv_block *b = hv_blocks(vm, &n);

	while (!b[m].main_ram)
		m++;
	for (unsigned i = 0; i < FOREIGN_PAGES; i++) {
		foreign_page(page, i);
		MUST(!memcmp(s->mem[m] + FOREIGN_AT + 3 * i * (uint64_t)TV_PAGE_BYTES, page,
			     sizeof(page)),
		     "page %u that QEMU never touched is not in the first copy", i);
	}
	printf("%d pages that QEMU never touched are in the first copy\n", FOREIGN_PAGES);
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double median_us(int64_t *t, int n)
{
	qsort(t, (size_t)n, sizeof(*t), cmp64);
	return (double)t[n / 2] / 1000;
}

static void must_not_come(enum hv_event ev, const char *name, void *arg)
{
	(void)arg;
	MUST(ev == HV_EV_OTHER || ev == HV_EV_RESET, "event %s", name);
}

static void check_state(struct hv_vm *vm, size_t bytes)
{
	uint8_t *buf = malloc(bytes);

	MUST(!hv_state_read(vm, buf, bytes), "state");
	MUST(!memcmp(buf, "QEVM\0\0\0\3", 8) && buf[bytes - 1] == 0, "no stream: %02x..%02x",
	     buf[0], buf[bytes - 1]);
	MUST(hv_state_read(vm, buf, bytes + 1) == -ERANGE, "read past the end");
	free(buf);
}

/* Pages written from outside are reported exactly, with their new content. */
static void check_exact(struct hv_vm *vm, struct shadow *s)
{
	static const uint64_t pages[] = {3, 4, 5, 77, 100, 4096, 4097, 20000};
	struct hv_cursor c = {0};
	unsigned n, m = 0;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint8_t got[8 * TV_PAGE_BYTES];
	uint64_t k = 0;
	int rc;

	while (!b[m].main_ram)
		m++;
	rc = hv_pause(vm, BED_MS);
	MUST(!rc, "pause: %s", tv_strerror(rc));
	shadow_harvest(vm, s, NULL, NULL);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = UINT64_C(0x1122334455667700) + i;
		struct iovec l = {&v, 8};
		struct iovec r = {(void *)(b[m].host.v + pages[i] * TV_PAGE_BYTES + 8 * i), 8};

		MUST(process_vm_writev(bed.pid, &l, 1, &r, 1, 0) == 8, "%s", strerror(errno));
	}
	bed_begin_round(vm);
	rc = hv_harvest(vm, &c, shadow_runs, SHADOW_RUNS, 1 << 20);
	MUST(rc >= 0 && c.done, "%s", tv_strerror(rc));
	n = (unsigned)rc;
	for (unsigned i = 0; i < n; i++)
		for (unsigned p = 0; p < shadow_runs[i].pages; p++, k++)
			MUST(k < 8 && shadow_runs[i].block == m &&
				     shadow_runs[i].offset / TV_PAGE_BYTES + p == pages[k],
			     "page %" PRIu64 " of block %u was not written",
			     shadow_runs[i].offset / TV_PAGE_BYTES + p, shadow_runs[i].block);
	MUST(k == 8, "%" PRIu64 " pages reported", k);
	MUST(!hv_copy(vm, shadow_runs, n, got), "copy");
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v;

		memcpy(&v, got + (size_t)i * TV_PAGE_BYTES + 8 * i, 8);
		MUST(v == UINT64_C(0x1122334455667700) + i, "page %u", i);
		memcpy(s->mem[m] + pages[i] * TV_PAGE_BYTES, got + (size_t)i * TV_PAGE_BYTES,
		       TV_PAGE_BYTES);
	}
	shadow_must_equal(s, vm);
	MUST(!hv_resume(vm, BED_MS), "resume");
}

/* After the command the kernel may have lost bits, and the next round reports it. What it did lose of
 * 64 written pages is printed: with none, the command does not do what it is there for. */
static void check_untracked(struct hv_vm *vm, const char *command)
{
	enum { PAGES = 64 };
	unsigned n, m = 0, lost = 0;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint64_t entries[PAGES];
	uint8_t bytes[PAGES];
	struct iovec l = {bytes, PAGES}, r[PAGES];
	char path[64];
	int fd;

	while (!b[m].main_ram)
		m++;
	memset(bytes, 0x77, sizeof(bytes));
	for (unsigned i = 0; i < PAGES; i++)
		r[i] = (struct iovec){(void *)(b[m].host.v + (3000 + i) * TV_PAGE_BYTES), 1};
	MUST(!hv_pause(vm, BED_MS) && !hv_round_begin(vm), "a round before it");
	MUST(process_vm_writev(bed.pid, &l, 1, r, PAGES, 0) == PAGES, "%s", strerror(errno));
	MUST(!system(command), "%s", command);
	MUST(process_vm_readv(bed.pid, &l, 1, r, PAGES, 0) == PAGES, "%s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", bed.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && !hv_soft_read(fd, (uint64_t)r[0].iov_base, PAGES, entries), "%s", path);
	close(fd);
	for (unsigned i = 0; i < PAGES; i++)
		lost += !hv_soft_is_dirty(entries[i]);
	for (int i = 0; i < 2; i++)
		MUST(hv_round_begin(vm) == TV_E_UNTRACKED, "a round counts after it");
	MUST(!hv_resume(vm, BED_MS), "resume");
	printf("%u of %u written pages were forgotten, and the next round reported it\n", lost,
	       PAGES);
}

static bool runs(struct hv_vm *vm)
{
	const struct hv_run_state *s;

	return !hv_look(vm, &s) && s->protection == HV_GOES_ON;
}

/* QEMU waits in its own command: the VM stands as long as we like, and runs again by itself. */
static void check_one_command(struct hv_vm *vm, struct shadow *s)
{
	uint8_t *state, start[8];
	size_t bytes, again;

	MUST(!hv_epoch_way(vm), "one command cannot be used: %s", hv_epoch_way(vm));
	MUST(!hv_epoch_begin(vm, false, BED_MS), "begin");
	MUST(!hv_round_begin(vm), "a round");
	shadow_harvest(vm, s, NULL, NULL);
	shadow_must_equal(s, vm);
	MUST(!hv_epoch_end(vm, BED_MS, &bytes), "end");
	MUST(!hv_is_paused(vm) && runs(vm), "it does not run");
	state = malloc(bytes);
	MUST(state && !hv_state_read(vm, state, bytes), "state");
	memcpy(start, state, sizeof(start));
	MUST(!hv_pause(vm, BED_MS) && hv_epoch_begin(vm, false, BED_MS) == -EALREADY,
	     "an epoch of a VM that does not run counts");
	MUST(!runs(vm), "it was resumed");
	MUST(!hv_resume(vm, BED_MS), "resume");
	/* As the three commands save it. */
	MUST(!hv_pause(vm, BED_MS) && !hv_state_begin(vm) && !hv_state_end(vm, BED_MS, &again) &&
		     !hv_state_read(vm, (state = realloc(state, again)), again) &&
		     !hv_resume(vm, BED_MS),
	     "three commands");
	MUST(!memcmp(start, state, sizeof(start)) && again < bytes + bytes / 8 &&
		     bytes < again + again / 8,
	     "%zu bytes by one command, %zu by three", bytes, again);
	free(state);
	printf("one command: %zu bytes of state\n", bytes);
}

static void measure(struct hv_vm *vm, struct shadow *s, int n)
{
	int64_t *ours = calloc((size_t)n, 8), *raw = calloc((size_t)n, 8);
	uint64_t pages = 0, sum = 0;
	size_t bytes;

	/* Alternating, so that what else the machine does hits both alike. */
	for (int i = 0; i < n; i++) {
		ours[i] = shadow_epoch(vm, s, &pages, &bytes, false);
		sum += pages;
		poll(NULL, 0, 10);
		int64_t t0 = tv_now_ns();
		MUST(!hv_pause(vm, BED_MS) && !hv_state_begin(vm) &&
			     !hv_state_end(vm, BED_MS, &bytes) && !hv_resume(vm, BED_MS),
		     "raw");
		raw[i] = tv_now_ns() - t0;
		poll(NULL, 0, 10);
	}
	median_us(ours, n);
	median_us(raw, n);
	printf("pause with harvest and copy of %" PRIu64 " pages: median %.0f us, p90 %.0f; stop, "
	       "save, cont alone: median %.0f us, p90 %.0f\n",
	       sum / (uint64_t)n, median_us(ours, n), (double)ours[n * 9 / 10] / 1000,
	       median_us(raw, n), (double)raw[n * 9 / 10] / 1000);
	free(ours);
	free(raw);
}

static void run_epochs(struct hv_vm *vm, int epochs, int measures)
{
	int64_t scan_ns = 0, copy_ns = 0, longest = 0;
	struct shadow s = {0};
	uint64_t pages, sum = 0;
	size_t bytes = 0;
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++)
		all += b[i].bytes / TV_PAGE_BYTES;
	shadow_init(&s, vm);
	pages = shadow_harvest(vm, &s, &scan_ns,
			       &copy_ns); /* the first copy, while it shadow_runs */
	printf("first copy: %" PRIu64 " of %" PRIu64 " pages, scan %" PRId64 " us, copy %" PRId64
	       " us\n",
	       pages, all, scan_ns / 1000, copy_ns / 1000);
	if (foreign)
		must_have_foreign(&s, vm);
	MUST(pages > 0 && (all_populated || pages < all), "everything or nothing was populated");
	for (int i = 0; i < epochs; i++) {
		/* Comparing touches all memory: only now and then. */
		int64_t t = shadow_epoch(vm, &s, &pages, &bytes, i % 7 == 6 || i == epochs - 1);

		sum += pages;
		longest = t > longest ? t : longest;
		check_state(vm, bytes);
		MUST(!hv_events(vm, must_not_come, NULL), "events");
		poll(NULL, 0, 20);
	}
	if (epochs) {
		printf("%d epochs, %" PRIu64 " dirty pages each, state %zu bytes\n", epochs,
		       sum / (uint64_t)epochs, bytes);
		check_exact(vm, &s);
		if (three)
			MUST(hv_epoch_way(vm), "one command is used");
		else
			check_one_command(vm, &s);
		MUST(!hv_events(vm, must_not_come, NULL), "events");
	}
	if (measures)
		measure(vm, &s, measures);
	if (spoil)
		check_untracked(vm, spoil);
	shadow_dispose(&s);
}

static void print_description(struct hv_vm *vm)
{
	json_t *d = bed_describe(vm);
	char *t = json_dumps(d, JSON_COMPACT);

	printf("%s\n", t);
	free(t);
	json_decref(d);
}

int main(int argc, char **argv)
{
	int o, epochs = 20, attaches = 1, measures = 0;
	struct hv_opts opts = {0};
	const char *more[] = {"-display", "none", NULL, NULL, NULL};
	bool bios = false;
	char *before;

	while ((o = getopt(argc, argv, "+23cn:a:m:bAwu:")) != -1) {
		opts.two_step = opts.two_step || o == '2';
		opts.three_commands = opts.three_commands || o == '3';
		three = three || o == '3' || o == 'c';
		bios = bios || o == 'b';
		all_populated = all_populated || o == 'A';
		foreign = foreign || o == 'w';
		spoil = o == 'u' ? optarg : spoil;
		epochs = o == 'n' ? atoi(optarg) : epochs;
		attaches = o == 'a' ? atoi(optarg) : attaches;
		measures = o == 'm' ? atoi(optarg) : measures;
	}
	MUST(optind < argc, "which QEMU?");
	tv_log_init("hv_probe_vm");
	bed_init("hv_probe_vm");
	if (bios) {
		more[2] = "-bios";
		more[3] = bed_write_bios();
	}
	bed_start(argv + optind, argc - optind, more);
	if (foreign)
		write_foreign();
	before = bed_traces();
	for (int i = 0; i < attaches; i++) {
		struct hv_vm *vm = bed_attach(&opts);
		const struct hv_run_state *state;

		if (i == 0) {
			print_description(vm);
			run_epochs(vm, epochs, measures);
		}
		MUST(!hv_look(vm, &state) && state->protection == HV_GOES_ON, "it does not run");
		hv_detach(vm);
		if (i < 3 || i == attaches - 1)
			bed_must_be_same(before, "detaching");
	}
	free(before);
	printf("ok\n");
	return 0;
}
