/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper: what it refuses by itself, what it writes where, what its processes may do. */
#include "tree_kit.h"

#include "keeper/sys.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES 64
#define LRU (UINT64_C(1) << 5)
#define DIRTY (UINT64_C(1) << 4)
#define BUDDY (UINT64_C(1) << 10)
#define MAPPED (UINT64_C(1) << 11)
#define ANON (UINT64_C(1) << 12)
#define HUGE (UINT64_C(1) << 17)
#define POISON (UINT64_C(1) << 19)

static char root[] = "/tmp/twinvm-keeper-XXXXXX";
static struct kp_sys s;
static struct kp_request q;
static struct kp_reply r;
static char written[64]; /* what was written last, "": nothing */
static int written_fd;
static bool kernel_lies;

static void text_file(const char *name, const char *text)
{
	tree_file(root, name, text, strlen(text));
}

static void page_is(uint64_t page, uint64_t flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/proc/kpageflags", root);
	fd = open(path, O_WRONLY);
	assert_true(pwrite(fd, &flags, 8, (off_t)(page * 8)) == 8);
	close(fd);
}

/* The kernel: a page whose address is written is taken, a CPU leaves the list. */
static int kernel(int fd, const char *text)
{
	tv_copy(written, sizeof(written), text);
	written_fd = fd;
	if (kernel_lies)
		return 0;
	if (fd == s.soft_fd || fd == s.hard_fd)
		page_is(strtoull(text, NULL, 0) >> TV_PAGE_SHIFT, POISON);
	return 0;
}

static int set_up(void **state)
{
	static const uint64_t flags[PAGES];

	(void)state;
	if (!mkdtemp(root))
		return -1;
	tree_file(root, "/proc/kpageflags", flags, sizeof(flags));
	text_file("/sys/devices/system/memory/soft_offline_page", "");
	text_file("/sys/devices/system/memory/hard_offline_page", "");
	text_file("/sys/devices/system/cpu/cpu1/online", "1");
	text_file("/sys/devices/system/cpu/cpu2/online", "1");
	text_file("/sys/devices/system/cpu/cpu3/online", "1");
	text_file("/sys/devices/system/cpu/online", "0-3\n");
	text_file("/sys/devices/system/node/online", "0-1\n");
	text_file("/sys/devices/system/node/node0/cpulist", "0-2\n");
	text_file("/sys/devices/system/node/node1/cpulist", "3\n");
	kp_sys_open(&s, root, true);
	s.put = kernel;
	return 0;
}

static int tear_down(void **state)
{
	char command[300];

	(void)state;
	kp_sys_close(&s);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static int ask(void)
{
	assert_true(kp_is_request(&q, sizeof(q)));
	written[0] = '\0';
	memset(&r, 0, sizeof(r));
	kp_answer(&s, &q, &r);
	assert_true(!r.rc || r.text[0]);
	return r.rc;
}

static int take(enum kp_verb verb, uint64_t page, uint64_t flags)
{
	page_is(page, flags);
	q = (struct kp_request){.verb = verb, .page = page};
	return ask();
}

static void what_is_no_request_is_refused(void **state)
{
	const struct kp_request good = {.verb = KP_OWNER, .n = 1, .who = {{.pid = 1}}};

	(void)state;
	q = good;
	assert_true(kp_is_request(&q, sizeof(q)));
	assert_false(kp_is_request(&q, sizeof(q) - 1));
	assert_false(kp_is_request(&q, sizeof(q) + 1));
	assert_false(kp_is_request(&q, 0));
#define BAD(field, value)                                   \
	do {                                                \
		q = good;                                   \
		q.field = (value);                          \
		assert_false(kp_is_request(&q, sizeof(q))); \
	} while (0)
	BAD(verb, KP_VERBS);
	BAD(verb, UINT32_MAX);
	BAD(n, KP_MAX_WHO + 1);
	BAD(n, UINT32_MAX);
	BAD(n, 2); /* the second is no process */
	BAD(who[0].pid, -1);
	BAD(who[0].pid, 0);
	BAD(others_ms, KP_OTHERS_MOST_MS + 1);
	BAD(page, UINT64_MAX); /* its address would not be one */
	BAD(page, UINT64_MAX >> TV_PAGE_SHIFT);
	BAD(cpu, KP_MAX_CPUS);
	BAD(cpu, UINT32_MAX);
	BAD(floor, KP_MAX_CPUS + 1);
#undef BAD
	q = good;
	memset(q.who[0].mapping, 'x', sizeof(q.who[0].mapping));
	assert_false(kp_is_request(&q, sizeof(q)));
}

static void the_kernel_that_survives_a_copy_is_known(void **state)
{
	(void)state;
	assert_true(kp_copy_recovers("6.11.0"));
	assert_true(kp_copy_recovers("6.12.117+deb12-amd64"));
	assert_true(kp_copy_recovers("7.0-rc1"));
	assert_false(kp_copy_recovers("6.10.11"));
	assert_false(kp_copy_recovers("6.1.0-56-amd64"));
	assert_false(kp_copy_recovers("5.15"));
	assert_false(kp_copy_recovers("unknown"));
	assert_false(kp_copy_recovers(""));
}

static void soft_offlining_reads_no_page_that_panics(void **state)
{
	static const struct row {
		uint64_t flags;
		int old, recovers; /* rc by kernel */
	} rows[] = {
		{BUDDY, 0, 0},
		{LRU, 0, 0}, /* of a file, unchanged */
		{LRU | MAPPED, -EPERM, 0},
		{LRU | ANON | MAPPED, -EPERM, 0},
		{LRU | DIRTY, -EPERM, 0},
		{LRU | UINT64_C(1) << 14, -EPERM, 0},
		{0, -EPERM, 0}, /* the kernel's, or of no process */
		{HUGE | LRU, -EPERM, -EPERM},
		{POISON, -EALREADY, -EALREADY},
		{POISON | LRU | MAPPED, -EALREADY, -EALREADY},
		{UINT64_C(1) << 20, -EPERM, -EPERM}, /* no memory */
	};

	(void)state;
	if (!kp_sees_pages())
		skip(); /* no rights to see numbers of pages */
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		s.copy_recovers = false;
		assert_int_equal(take(KP_SOFT, 9, rows[i].flags), rows[i].old);
		assert_int_equal(written[0] != '\0', !rows[i].old);
		s.copy_recovers = true;
		assert_int_equal(take(KP_SOFT, 9, rows[i].flags), rows[i].recovers);
		if (rows[i].recovers)
			continue;
		assert_string_equal(written, "0x9000"); /* an address */
		assert_int_equal(written_fd, s.soft_fd);
		assert_int_equal(r.page, KP_PAGE_TAKEN);
	}
	/* Beyond all memory. */
	q = (struct kp_request){.verb = KP_SOFT, .page = 1u << 20};
	assert_int_equal(ask(), -EPERM);
}

static void hard_offlining_kills_nobody(void **state)
{
	(void)state;
	if (!kp_sees_pages())
		skip(); /* no rights to see numbers of pages */
	assert_int_equal(take(KP_HARD, 7, LRU | ANON | MAPPED), -EPERM);
	assert_int_equal(take(KP_HARD, 7, LRU | MAPPED), -EPERM);
	assert_int_equal(take(KP_HARD, 7, 0), -EPERM);
	assert_string_equal(written, "");
	assert_int_equal(take(KP_HARD, 7, BUDDY), 0);
	assert_string_equal(written, "0x7000");
	assert_int_equal(written_fd, s.hard_fd);
}

static void success_is_looked_at(void **state)
{
	(void)state;
	if (!kp_sees_pages())
		skip(); /* no rights to see numbers of pages */
	kernel_lies = true;
	assert_int_equal(take(KP_SOFT, 9, BUDDY), -EIO);
	kernel_lies = false;
	assert_non_null(strstr(r.text, "still free"));
}

/* Whatever the flags say: one of those who must not have it does. */
static void a_page_of_a_vm_stays(void **state)
{
	uint64_t pfn = 0, flags = BUDDY;
	char *p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char path[300];

	(void)state;
	p[0] = 1;
	mlock(p, TV_PAGE_BYTES);
	if (pread(fd, &pfn, 8, (off_t)((uintptr_t)p / TV_PAGE_BYTES * 8)) != 8)
		pfn = 0;
	close(fd);
	pfn &= (UINT64_C(1) << 55) - 1;
	if (!pfn)
		skip(); /* no rights to see numbers of pages */
	snprintf(path, sizeof(path), "%s/proc/kpageflags", root);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(pwrite(fd, &flags, 8, (off_t)(pfn * 8)) == 8);
	close(fd);
	q = (struct kp_request){
		.verb = KP_SOFT, .page = pfn, .n = 2, .who = {{.pid = 1}, {.pid = getpid()}}};
	assert_int_equal(ask(), -EBUSY);
	q.verb = KP_HARD;
	assert_int_equal(ask(), -EBUSY);
	assert_string_equal(written, "");
	munmap(p, TV_PAGE_BYTES);
}

static int cpu(enum kp_verb verb, uint32_t n, uint32_t floor)
{
	q = (struct kp_request){.verb = verb, .cpu = n, .floor = floor};
	return ask();
}

static void a_cpu_that_is_needed_stays(void **state)
{
	(void)state;
	text_file("/sys/devices/system/cpu/online", "0-3\n");
	assert_int_equal(cpu(KP_CPU_OFF, 0, 0), -EOPNOTSUPP); /* never */
	assert_int_equal(cpu(KP_CPU_OFF, 4, 0), -EOPNOTSUPP); /* not there */
	assert_int_equal(cpu(KP_CPU_OFF, 4095, 0), -EOPNOTSUPP);
	assert_int_equal(cpu(KP_CPU_OFF, 3, 0), -EPERM); /* of its node */
	assert_int_equal(cpu(KP_CPU_OFF, 2, 4), -EPERM); /* the floor */
	assert_int_equal(cpu(KP_CPU_ON, 2, 0), -EALREADY);
	assert_string_equal(written, "");
	assert_int_equal(cpu(KP_CPU_OFF, 2, 3), 0);
	assert_string_equal(written, "0");
	assert_int_equal(written_fd, s.online_fd[2]);
	text_file("/sys/devices/system/cpu/online", "0-1,3\n");
	assert_int_equal(cpu(KP_CPU_OFF, 2, 0), -EALREADY);
	assert_int_equal(cpu(KP_CPU_ON, 2, 0), 0);
	assert_string_equal(written, "1");
	/* What cannot be read: nothing is stopped. */
	text_file("/sys/devices/system/cpu/online", "0-99999999\n");
	assert_int_equal(cpu(KP_CPU_OFF, 2, 0), -EALREADY);
	text_file("/sys/devices/system/cpu/online", "0-3\n");
}

static void lists_of_cpus_are_read(void **state)
{
	bool has;

	(void)state;
	assert_int_equal(kp_cpus_in("0-3,8\n", 8, &has), 5);
	assert_true(has);
	assert_int_equal(kp_cpus_in("0-3,8\n", 4, &has), 5);
	assert_false(has);
	assert_int_equal(kp_cpus_in("", 0, &has), 0);
	assert_int_equal(kp_cpus_in("\n", 0, &has), 0);
	assert_int_equal(kp_cpus_in("3-1", 2, &has), 0);
	assert_int_equal(kp_cpus_in("x", 0, &has), 0);
}

static void what_there_is_is_said(void **state)
{
	(void)state;
	q = (struct kp_request){.verb = KP_HELLO};
	assert_int_equal(ask(), 0);
	assert_true(r.takes_pages && r.stops_cpus);
	assert_int_equal(r.sees, kp_sees_pages());
}

/* ---- its processes ---- */
static uint64_t set_of(const char *name)
{
	char *text, *at;
	uint64_t sets;
	size_t bytes;

	assert_int_equal(tv_read_file("/proc/self/status", 65536, &text, &bytes), 0);
	at = strstr(text, name);
	assert_non_null(at);
	sets = strtoull(at + strlen(name), NULL, 16);
	free(text);
	return sets;
}

#define WANT(c)                                    \
	do {                                       \
		if (!(c))                          \
			_exit(__LINE__ % 250 + 1); \
	} while (0)

static _Noreturn void kept_process(int fd)
{
	static const int keeps[] = {CAP_SYS_ADMIN};
	const uint64_t bit = UINT64_C(1) << CAP_SYS_ADMIN;

	WANT(!sandbox_keep(keeps, 1));
	WANT(set_of("CapEff:") == bit && set_of("CapPrm:") == bit);
	WANT(!set_of("CapBnd:") && !set_of("CapInh:") && !set_of("CapAmb:"));
	WANT(set_of("NoNewPrivs:") == 1 && set_of("Seccomp:") == 2);
	WANT(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	WANT(open("/dev/null", O_WRONLY) < 0 && errno == EPERM);
	WANT(open("/tmp/twinvm-keeper-x", O_RDONLY | O_CREAT, 0600) < 0 && errno == EPERM);
	WANT(fork() < 0 && errno == EPERM);
	WANT(execl("/bin/true", "true", NULL) < 0 && errno == EPERM);
	WANT(kill(getppid(), 0) < 0 && errno == EPERM);
	WANT(write(fd, "x", 1) == 1); /* what is open stays so */
	_exit(0);
}

static void it_can_do_nothing_else(void **state)
{
	int status, fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* no rights to give up */
	pid = fork();
	if (!pid)
		kept_process(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(fd);
}

static void one_right_is_given_up_for_good(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* no rights to give up */
	pid = fork();
	if (!pid) {
		const uint64_t bit = UINT64_C(1) << CAP_SYS_ADMIN, before = set_of("CapEff:");

		WANT(before & bit);
		WANT(!sandbox_give_up(CAP_SYS_ADMIN));
		WANT(set_of("CapEff:") == (before & ~bit) && !(set_of("CapPrm:") & bit));
		WANT(!(set_of("CapBnd:") & bit) && !(set_of("CapInh:") & bit));
		WANT(!sandbox_give_up(CAP_SYS_ADMIN)); /* again */
		/* Nor has it a program that root starts. */
		execl("/bin/sh", "sh", "-c",
		      "while read -r k v; do [ $k = CapEff: ] && [ $((0x$v >> 21 & 1)) = 0 ] && "
		      "exit 0; done </proc/self/status; exit 1",
		      NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* What is no request ends the process that was sent it; the other one ends with it, or when asked no more. */
static void both_end(void **state)
{
	int act[2], look[2], status;
	char junk[100] = {1};
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* no rights to keep */
	for (int round = 0; round < 2; round++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, act), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, look), 0);
		pid = fork();
		if (!pid) {
			close(act[0]);
			close(look[0]);
			_exit(kp_main(act[1], look[1], ""));
		}
		close(act[1]);
		close(look[1]);
		q = (struct kp_request){.verb = KP_HELLO, .id = 77};
		for (int i = 0; i < 2; i++) {
			int fd = i ? look[0] : act[0];

			assert_int_equal(send(fd, &q, sizeof(q), 0), sizeof(q));
			assert_int_equal(recv(fd, &r, sizeof(r), 0), sizeof(r));
			assert_int_equal(r.id, 77);
		}
		if (round)
			assert_int_equal(send(act[0], junk, sizeof(junk), 0), sizeof(junk));
		else
			close(act[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), round);
		assert_int_equal(recv(look[0], &r, sizeof(r), 0), 0); /* its end is closed */
		close(look[0]);
		if (round)
			close(act[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(the_kernel_that_survives_a_copy_is_known),
		cmocka_unit_test(soft_offlining_reads_no_page_that_panics),
		cmocka_unit_test(hard_offlining_kills_nobody),
		cmocka_unit_test(success_is_looked_at),
		cmocka_unit_test(a_page_of_a_vm_stays),
		cmocka_unit_test(a_cpu_that_is_needed_stays),
		cmocka_unit_test(lists_of_cpus_are_read),
		cmocka_unit_test(what_there_is_is_said),
		cmocka_unit_test(it_can_do_nothing_else),
		cmocka_unit_test(one_right_is_given_up_for_good),
		cmocka_unit_test(both_end),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
