/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap of soft-dirty tracking: what hv_soft_harvest hands out, in what pieces, exactly once.
 * And when shared memory's bits are believed: every fact that stands against it, at the start and
 * later.
 */
#include "hv/dirty/dirty_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 1000
#define ROOM 64

static struct hv_vm *vm;
static uint64_t maps[2][PAGES / 64 + 1];
static bool want[2][PAGES];
static struct hv_run runs[ROOM];

static int setup(void **state)
{
	(void)state;
	vm = calloc(1, sizeof(*vm));
	vm->dirty = calloc(1, sizeof(*vm->dirty));
	vm->dirty->soft = true;
	vm->pidfd = -1; /* no process: splitting huge pages fails, which is no error */
	vm->dirty->iovs = calloc(HV_IOVS, sizeof(*vm->dirty->iovs));
	vm->n_blocks = 2;
	for (unsigned i = 0; i < HV_MAX_BLOCKS; i++)
		vm->dirty->file_fds[i] = -1;
	memset(maps, 0, sizeof(maps));
	memset(want, 0, sizeof(want));
	for (unsigned i = 0; i < 2; i++) {
		vm->dirty->pending[i] = maps[i];
		vm->blocks[i].bytes = PAGES * TV_PAGE_BYTES;
		vm->blocks[i].host.v = UINT64_C(0x7f0000000000) + i * (UINT64_C(1) << 30);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(vm->dirty->iovs);
	free(vm->dirty);
	free(vm);
	return 0;
}

static void dirty(unsigned block, unsigned page)
{
	maps[block][page / 64] |= UINT64_C(1) << page % 64;
	want[block][page] = true;
}

/* Harvests everything in pieces of the sizes given; each wanted page must come once, in order. */
static void take_all(unsigned max_runs, uint64_t max_pages)
{
	struct hv_cursor c = {0};
	uint64_t last = 0;

	while (!c.done) {
		int n = hv_harvest(vm, &c, runs, max_runs, max_pages);
		uint64_t pages = 0;

		assert_true(n >= 0 && (unsigned)n <= max_runs);
		for (int i = 0; i < n; i++) {
			uint64_t at = runs[i].offset / TV_PAGE_BYTES;
			uint64_t order = runs[i].block * (uint64_t)PAGES + at + 1;

			assert_true(order > last);
			last = order + runs[i].pages - 1;
			for (unsigned p = 0; p < runs[i].pages; p++) {
				assert_true(want[runs[i].block][at + p]);
				want[runs[i].block][at + p] = false;
			}
			pages += runs[i].pages;
		}
		assert_true(pages <= max_pages);
	}
	for (unsigned i = 0; i < PAGES; i++)
		assert_false(want[0][i] || want[1][i]);
}

static void test_nothing(void **state)
{
	struct hv_cursor c = {0};

	(void)state;
	assert_int_equal(hv_harvest(vm, &c, runs, ROOM, PAGES), 0);
	assert_true(c.done);
}

static void test_ends_of_words_and_blocks(void **state)
{
	static const unsigned pages[] = {0, 1, 62, 63, 64, 127, 128, 500, 998, 999};

	(void)state;
	for (unsigned i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		dirty(0, pages[i]);
		dirty(1, pages[i]);
	}
	take_all(ROOM, PAGES);
}

static void test_small_pieces(void **state)
{
	(void)state;
	for (unsigned room = 1; room <= 3; room++) {
		for (uint64_t pages = 1; pages <= 70; pages += 23) {
			for (unsigned i = 0; i < PAGES; i++)
				dirty(i & 1, i * 7 % PAGES);
			take_all(room, pages);
		}
	}
}

/* 2 MiB and more at a stretch: the pages that would be split do not disturb what is handed out. */
static void test_everything(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAGES; i++) {
		dirty(0, i);
		dirty(1, i);
	}
	take_all(ROOM, 2 * PAGES);
}

static void test_only_while_paused(void **state)
{
	(void)state;
	assert_true(hv_round_needs_pause(vm));
	assert_int_equal(hv_round_begin(vm), -EBUSY);
	vm->dirty->soft = false;
	assert_false(hv_round_needs_pause(vm));
	assert_int_equal(hv_round_begin(vm), 0);
}

static void test_entries(void **state)
{
	uint64_t dirty_bit = UINT64_C(1) << 55, present = UINT64_C(1) << 63,
		 swapped = UINT64_C(1) << 62;

	(void)state;
	assert_true(hv_soft_is_dirty(dirty_bit | present));
	assert_true(hv_soft_is_dirty(dirty_bit | swapped));
	assert_false(hv_soft_is_dirty(present));
	assert_false(hv_soft_is_dirty(dirty_bit)); /* never touched: reads as zero */
}

/* ---- shared memory ---- */

/* A memory file that somebody else filled: what it holds is the first round's, mapped or not. */
static void test_shared_file_first(void **state)
{
	static const unsigned held[] = {0, 7, 63, 64, 65, 500, 999};
	TV_CLOSE int fd = memfd_create("test", MFD_CLOEXEC);
	struct hv_maps m;
	uint8_t *ram;

	(void)state;
	/* The block begins a page into the file, and the file goes on behind it. */
	assert_int_equal(ftruncate(fd, (PAGES + 10) * TV_PAGE_BYTES), 0);
	for (unsigned i = 0; i < sizeof(held) / sizeof(*held); i++) {
		assert_int_equal(pwrite(fd, "x", 1, (held[i] + 1) * TV_PAGE_BYTES), 1);
		want[0][held[i]] = true;
	}
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_int_equal(pwrite(fd, "x", 1, (PAGES + 5) * TV_PAGE_BYTES), 1);
	ram = mmap(NULL, PAGES * TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   TV_PAGE_BYTES);
	assert_ptr_not_equal(ram, MAP_FAILED);
	ram[300 * TV_PAGE_BYTES] = 1;
	want[0][300] = true;

	vm->n_blocks = 1;
	vm->blocks[0].host.v = (uintptr_t)ram;
	vm->dirty->file_at[0] = TV_PAGE_BYTES;
	assert_int_equal(hv_maps_read(getpid(), &m), 0);
	vm->dirty->file_fds[0] = hv_ramfile_open(getpid(), hv_maps_at(&m, (uintptr_t)ram));
	if (vm->dirty->file_fds[0] < 0) { /* map_files is for root */
		hv_maps_dispose(&m);
		munmap(ram, PAGES * TV_PAGE_BYTES);
		skip();
	}
	/* a named file's mount has options, a memfd's has none */
	assert_true(hv_shared_is_unnamed(vm->dirty->file_fds[0]));
	vm->dirty->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	assert_false(hv_shared_is_unnamed(vm->dirty->pagemap_fd));
	vm->dirty->clear_fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	vm->dirty->entries = malloc(65536 * sizeof(*vm->dirty->entries));
	vm->paused = vm->dirty->soft_all = true;
	assert_int_equal(hv_round_begin(vm), 0);
	take_all(ROOM, PAGES);
	assert_false(vm->dirty->soft_all); /* the file's holdings are the first round's only */

	hv_maps_dispose(&m);
	munmap(ram, PAGES * TV_PAGE_BYTES);
	free(vm->dirty->entries);
	close(vm->dirty->pagemap_fd);
	close(vm->dirty->clear_fd);
	close(vm->dirty->file_fds[0]);
}

static void test_locked(void **state)
{
	static const char text[] = "7f0000000000-7f0000200000 rw-s 00000000 00:01 5 /memfd:a\n"
				   "Size: 2048 kB\nVmFlags: rd wr sh mr mw me ms sd \n"
				   "7f0000200000-7f0000400000 rw-s 00000000 00:01 6 /memfd:lo\n"
				   "Size: 2048 kB\nVmFlags: rd wr sh mr mw me ms lo sd \n"
				   "7f0000400000-7f0000600000 rw-s 00000000 00:01 7 /memfd:b\n";
	TV_FREE char *smaps = NULL;
	uint8_t *p;

	(void)state;
	assert_false(hv_shared_is_locked(text, UINT64_C(0x7f0000000000)));
	assert_true(hv_shared_is_locked(text, UINT64_C(0x7f0000200000)));
	assert_false(hv_shared_is_locked(text, UINT64_C(0x7f0000)));
	/* and as this kernel writes it */
	p = mmap(NULL, TV_PAGE_BYTES, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(tv_read_file("/proc/self/smaps", 64 << 20, &smaps, NULL), 0);
	assert_false(hv_shared_is_locked(smaps, (uintptr_t)p));
	free(smaps);
	/* not by mlock(), which the address sanitizer makes do nothing */
	assert_int_equal(syscall(SYS_mlock, p, TV_PAGE_BYTES), 0);
	assert_int_equal(tv_read_file("/proc/self/smaps", 64 << 20, &smaps, NULL), 0);
	assert_true(hv_shared_is_locked(smaps, (uintptr_t)p));
	munmap(p, TV_PAGE_BYTES);
}

static char root[64];

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

#define SHMEM "sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define L1TF "sys/devices/system/cpu/vulnerabilities/l1tf"
#define SWAPS_HEAD "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

static void put_vmstat(uint64_t huge_pages, uint64_t scanned)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "nr_free_pages 5\nnr_shmem 99\nnr_shmem_hugepages %" PRIu64
		 "\npgscan_anonymous 9\npgscan_anon %" PRIu64 "\npgscan_file 7\n",
		 huge_pages, scanned);
	put("proc/vmstat", text);
}

/* A host as it should be, in a folder. */
static int setup_root(void **state)
{
	char path[256];

	(void)state;
	snprintf(root, sizeof(root), "/tmp/test_hv_softdirty.%d", (int)getpid());
	snprintf(path, sizeof(path), "%s/proc/sys/kernel", root);
	assert_int_equal(tv_mkdirs(path), 0);
	snprintf(path, sizeof(path), "%s/sys/kernel/mm/transparent_hugepage", root);
	assert_int_equal(tv_mkdirs(path), 0);
	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu/vulnerabilities", root);
	assert_int_equal(tv_mkdirs(path), 0);
	put(L1TF, "Not affected\n");
	put("proc/sys/kernel/osrelease", "6.1.0-56-amd64\n");
	put("proc/swaps", SWAPS_HEAD);
	put_vmstat(0, 1234);
	put(SHMEM, "always within_size advise [never] deny force\n");
	return 0;
}

static int teardown_root(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd);
}

static void judge(const struct hv_shared_block *b, const char *remedy)
{
	struct hv_shared_facts f;
	struct tv_err e = {0};
	int rc;

	assert_int_equal(hv_shared_facts(root, &f, &e), 0);
	rc = hv_shared_judge(&f, b, &e);
	if (!remedy) {
		assert_int_equal(rc, 0);
		return;
	}
	assert_int_equal(rc, TV_E_REFUSED);
	assert_non_null(strstr(e.text, b->name)); /* what it is about, and what to do */
	assert_non_null(strstr(e.text, remedy));
	assert_null(strchr(e.text, '\n'));
}

static void test_refusals(void **state)
{
	static const char *const words[] = {"always", "within_size", "advise", "force"};
	const struct hv_shared_block memfd = {.name = "pc.ram", .unnamed = true};
	const struct hv_shared_block locked = {.name = "pc.ram", .unnamed = true, .locked = true};
	const struct hv_shared_block named = {.name = "pc.ram"};
	char text[128];

	(void)state;
	judge(&memfd, NULL);
	judge(&named, "echo deny >"); /* huge= of its mount could be anything */
	put(SHMEM, "always within_size advise never [deny] force\n");
	judge(&memfd, NULL);
	judge(&named, NULL);
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++) {
		snprintf(text, sizeof(text), "never [%s] deny\n", words[i]);
		put(SHMEM, text);
		judge(&memfd, "echo never >");
		judge(&locked, "echo never >"); /* huge pages do not care for locks */
		judge(&named, "echo deny >");
	}
	put(SHMEM, "[never]\n");

	put("proc/swaps", SWAPS_HEAD "/dev/vda5   partition\t999420\t\t0\t\t-2\n");
	judge(&memfd, "swapoff -a");
	judge(&memfd, "mem-lock=on");
	judge(&locked, NULL);
	put("proc/swaps", SWAPS_HEAD);

	put_vmstat(512, 1234);
	judge(&memfd, "ShmemHugePages");
	judge(&locked, "ShmemHugePages");
	put_vmstat(0, 1234);

	put("proc/sys/kernel/osrelease", "5.10.0-28-amd64\n");
	judge(&memfd, "Linux 5.10");
	put("proc/sys/kernel/osrelease", "6.12.1\n");
	judge(&memfd, "private RAM");
	put("proc/sys/kernel/osrelease", "6.6.9\n");
	judge(&memfd, NULL);
}

static void test_odd_hosts(void **state)
{
	const struct hv_shared_block memfd = {.name = "pc.ram", .unnamed = true};
	char path[256];
	struct hv_shared_facts f;
	struct tv_err e = {0};

	(void)state;
	/* a kernel without swap and without huge pages */
	snprintf(path, sizeof(path), "%s/proc/swaps", root);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof(path), "%s/" SHMEM, root);
	assert_int_equal(unlink(path), 0);
	judge(&memfd, NULL);
	assert_int_equal(hv_shared_facts(root, &f, &e), 0);
	assert_string_equal(f.huge, "deny");
	assert_false(f.swap);
	/* what is not understood is no permission */
	put(SHMEM, "never\n");
	assert_int_equal(hv_shared_facts(root, &f, &e), -EBADMSG);
	put(SHMEM, "[never]\n");
	put("proc/vmstat", "nr_shmem_hugepages 0\npgscan_kswapd 5\n");
	assert_int_equal(hv_shared_facts(root, &f, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "pgscan_anon"));
}

static void watch(struct hv_shared_watch *w, bool reclaim)
{
	struct hv_shared_facts f;
	struct tv_err e = {0};

	assert_int_equal(hv_shared_watch_start(w, root, reclaim, &f, &e), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(hv_shared_watch_ok(w), 0);
}

static void must_have_ended(struct hv_shared_watch *w)
{
	for (int i = 0; i < 3; i++) /* and stays so, whatever is put back */
		assert_int_equal(hv_shared_watch_ok(w), TV_E_UNTRACKED);
	hv_shared_watch_stop(w);
	assert_int_equal(hv_shared_watch_ok(w), 0); /* nothing is watched */
}

static void test_watch_reclaim(void **state)
{
	struct hv_shared_watch w;

	(void)state;
	watch(&w, true);
	put("proc/swaps", SWAPS_HEAD "/swapfile file\t9\t0\t-2\n");
	assert_int_equal(hv_shared_watch_ok(&w), 0); /* nothing was taken up for it yet */
	put_vmstat(0, 1235);
	assert_int_equal(hv_shared_watch_ok(&w), TV_E_UNTRACKED);
	put_vmstat(0, 1234);
	must_have_ended(&w);

	watch(&w, false); /* all of it is locked */
	put_vmstat(0, 99999);
	assert_int_equal(hv_shared_watch_ok(&w), 0);
	put("proc/vmstat", "");
	must_have_ended(&w);
}

static void test_watch_huge(void **state)
{
	struct hv_shared_watch w;
	TV_CLOSE int fd = -1;
	char path[256], *word;

	(void)state;
	watch(&w, false);
	put(SHMEM, "[always] never\n");
	must_have_ended(&w);

	put(SHMEM, "always [never]\n");
	watch(&w, false);
	put(SHMEM, "[always] never\n"); /* and back, between two looks */
	put(SHMEM, "always [never]\n");
	must_have_ended(&w);

	/* without an event, as through another mount of sysfs: writes to a mapping make none */
	watch(&w, false);
	snprintf(path, sizeof(path), "%s/" SHMEM, root);
	fd = open(path, O_RDWR | O_CLOEXEC);
	word = mmap(NULL, 14, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(word, MAP_FAILED);
	memcpy(word, "[always] never", 14);
	must_have_ended(&w);
	memcpy(word, "always [never]", 14);
	munmap(word, 14);

	watch(&w, false);
	put_vmstat(512, 1234);
	assert_int_equal(hv_shared_watch_ok(&w), TV_E_UNTRACKED);
	put_vmstat(0, 1234);
	must_have_ended(&w);
}

/* A round whose bits may be gone is no round, and no bit is cleared by it. */
static void test_round_untracked(void **state)
{
	struct hv_shared_facts f;
	struct tv_err e = {0};

	(void)state;
	vm->n_blocks = 0;
	vm->dirty->pending[0] = vm->dirty->pending[1] = NULL;
	vm->paused = vm->dirty->soft_all = true;
	vm->dirty->clear_fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	assert_int_equal(hv_shared_watch_start(&vm->dirty->watch, root, true, &f, &e), 0);
	assert_int_equal(hv_round_begin(vm), 0);
	put_vmstat(0, 1300);
	vm->dirty->soft_all = true;
	assert_int_equal(hv_round_begin(vm), TV_E_UNTRACKED);
	assert_true(vm->dirty->soft_all);
	assert_int_equal(hv_round_begin(vm), TV_E_UNTRACKED);
	assert_string_not_equal(tv_strerror(TV_E_UNTRACKED), strerror(-TV_E_UNTRACKED));
	hv_soft_teardown(vm);
}

static int setup_both(void **state)
{
	return setup(state) || setup_root(state);
}

static int teardown_both(void **state)
{
	return teardown(state) || teardown_root(state);
}

/* Bits that a migration can take are not used. */
static void test_migration(void **state)
{
	(void)state;
	assert_true(hv_soft_survives_migration(root));
	put(L1TF, "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable\n");
	assert_false(hv_soft_survives_migration(root));
	put(L1TF, "Vulnerable\n");
	assert_false(hv_soft_survives_migration(root));
	put(L1TF, "Not affected\n");
	put("proc/sys/kernel/osrelease", "5.15.0-25-generic\n");
	assert_false(hv_soft_survives_migration(root));
	put("proc/sys/kernel/osrelease", "6.6.9\n");
	assert_true(hv_soft_survives_migration(root));
	assert_false(hv_soft_survives_migration("/nowhere"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends_of_words_and_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_while_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_entries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shared_file_first, setup, teardown),
		cmocka_unit_test(test_locked),
		cmocka_unit_test_setup_teardown(test_migration, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_refusals, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_odd_hosts, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_watch_reclaim, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_watch_huge, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_round_untracked, setup_both, teardown_both),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
