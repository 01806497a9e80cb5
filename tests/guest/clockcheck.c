/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clockcheck: watches the guest's clocks from every CPU, across pauses and failovers.
 *
 * One thread per CPU, pinned to it, asks the kernel for CLOCK_MONOTONIC every few milliseconds and
 * compares it with the latest time that any thread has seen before: a smaller one is a clock that
 * went backwards, on one CPU or between two. What the vDSO says is compared apart: Linux reads
 * kvmclock's page of CPU 0 there on every CPU, and until vCPU 0 has entered the guest after a
 * `cont` that page is the old one, by which the time of the pause has passed (known weakness of KVM
 * and QEMU's stop and cont, hv/README.md). The first thread also reads the steal time of all CPUs
 * (/proc/stat), which may not shrink nor grow faster than time. FILE always has one line with what
 * was seen so far (tests/lab/30-vcpus.sh reads it):
 *   reads=N backwards=N worst_back_ns=N longest_gap_ms=N steal_ms=N steal_wrong=N vdso_back=N
 * vdso_worst_ns=N usage: clockcheck FILE
 */
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EVERY_MS 5
#define MS INT64_C(1000000)
#define STEAL_SLACK_MS 1000 /* ticks are counted late */

static _Atomic int64_t latest_ns, vdso_latest_ns;
static _Atomic int64_t reads, backwards, worst_back_ns, longest_gap_ns;
static _Atomic int64_t vdso_back, vdso_worst_ns;
static int64_t steal_ms, steal_wrong;
static long cpus;

static int64_t now_ns(void)
{
	struct timespec t;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t); /* not the vDSO's */
	return (int64_t)t.tv_sec * 1000 * MS + t.tv_nsec;
}

static int64_t vdso_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void grow(_Atomic int64_t *max, int64_t v)
{
	int64_t old = atomic_load(max);

	while (v > old && !atomic_compare_exchange_weak(max, &old, v))
		;
}

/* latest_ns is read before the clock: whatever it holds was seen before this thread looks. */
static void look(void)
{
	int64_t before = atomic_load(&latest_ns), now = now_ns();

	atomic_fetch_add(&reads, 1);
	if (now < before) {
		atomic_fetch_add(&backwards, 1);
		grow(&worst_back_ns, before - now);
	} else if (before) {
		grow(&longest_gap_ns, now - before);
	}
	grow(&latest_ns, now);

	before = atomic_load(&vdso_latest_ns);
	now = vdso_ns();
	if (now < before) {
		atomic_fetch_add(&vdso_back, 1);
		grow(&vdso_worst_ns, before - now);
	}
	grow(&vdso_latest_ns, now);
}

static int64_t read_steal_ms(void)
{
	FILE *f = fopen("/proc/stat", "r");
	long long v = -1;

	if (!f || fscanf(f, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &v) != 1)
		v = -1;
	if (f)
		fclose(f);
	return v < 0 ? -1 : v * 1000 / sysconf(_SC_CLK_TCK);
}

static void look_at_steal(int64_t *at_ns)
{
	int64_t now = now_ns(), ms = read_steal_ms();

	if (ms < steal_ms || ms - steal_ms > (now - *at_ns) / MS * cpus + STEAL_SLACK_MS)
		steal_wrong++;
	steal_ms = ms;
	*at_ns = now;
}

static void report(const char *path)
{
	char tmp[256];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s.new", path);
	f = fopen(tmp, "w");
	if (!f)
		return;
	fprintf(f,
		"reads=%" PRId64 " backwards=%" PRId64 " worst_back_ns=%" PRId64
		" longest_gap_ms=%" PRId64 " steal_ms=%" PRId64 " steal_wrong=%" PRId64
		" vdso_back=%" PRId64 " vdso_worst_ns=%" PRId64 "\n",
		reads, backwards, worst_back_ns, longest_gap_ns / MS, steal_ms, steal_wrong,
		vdso_back, vdso_worst_ns);
	if (!fclose(f))
		rename(tmp, path);
}

static void pin(long cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("clockcheck: sched_setaffinity");
}

static void *watch(void *arg)
{
	pin((long)(intptr_t)arg);
	for (;;) {
		look();
		poll(NULL, 0, EVERY_MS);
	}
}

int main(int argc, char **argv)
{
	int64_t at_ns = now_ns();

	if (argc != 2)
		return 2;
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	steal_ms = read_steal_ms();
	for (long cpu = 1; cpu < cpus; cpu++) {
		pthread_t t;

		if (pthread_create(&t, NULL, watch, (void *)(intptr_t)cpu))
			return 1;
	}
	pin(0);
	for (unsigned i = 0;; i++) {
		look();
		if (i % 20 == 0) {
			look_at_steal(&at_ns);
			report(argv[1]);
		}
		poll(NULL, 0, EVERY_MS);
	}
}
