/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When shared memory's soft-dirty bits are believed: every fact that stands against it, at the start
 * and later. */
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
	struct hv_vm *vm = calloc(1, sizeof(*vm));
	struct hv_shared_facts f;
	struct tv_err e = {0};

	(void)state;
	vm->dirty = calloc(1, sizeof(*vm->dirty));
	vm->dirty->soft = true;
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
	free(vm->dirty);
	free(vm);
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
		cmocka_unit_test(test_locked),
		cmocka_unit_test_setup_teardown(test_migration, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_refusals, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_odd_hosts, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_watch_reclaim, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_watch_huge, setup_root, teardown_root),
		cmocka_unit_test_setup_teardown(test_round_untracked, setup_root, teardown_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
