/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a page of the standby's memory that this host has lost
 *
 * The kernel takes a page with a memory error away from all who have it. Who touches it then gets a
 * SIGBUS where the page is mapped (main RAM), and EIO or EFAULT through a file (other blocks, in QEMU's
 * memory). A standby with such a page is none any more: what it held is nowhere else on this host.
 * What is known of it stays here, once in a process, as a process has one standby.
 *
 * The thread that applies asks for the signal as soon as the kernel knows (PR_MCE_KILL_EARLY), not
 * only when the page is touched: a page that no epoch writes again would else be found by the VM, after a
 * promotion. Such a signal only makes a note. One that comes from an access ends the work that made it:
 * hv_standby_guard returns in its place. In between are copies and LZ4, which hold no lock; the memory of what
 * that work had allocated is lost, in a process that ends its session for it.
 *
 * A signal for any other memory of this process is not ours: the process dies of it, as it would without us.
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>

#define NONE UINT64_MAX

static struct {
	_Atomic(uintptr_t) from, to; /* main RAM, as it is mapped; 0: it is not */
	atomic_uint_fast64_t offset; /* of the page that was lost first; NONE */
	const char *_Atomic block;   /* its block: of main_name or of block_name */
	char main_name[sizeof(((struct hv_block *)0)->name)];
	char block_name[sizeof(((struct hv_block *)0)->name)];
} lost = {.offset = NONE};
static _Thread_local sigjmp_buf *landing; /* of this thread's work; NULL: none is under way */

/* Also from the signal. */
static void note(const char *block, uint64_t offset)
{
	uint_fast64_t none = NONE;

	if (!atomic_load(&lost.block))
		atomic_store(&lost.block, block);
	atomic_compare_exchange_strong(&lost.offset, &none,
				       offset & ~(uint64_t)(TV_PAGE_BYTES - 1));
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr, from = atomic_load(&lost.from);
	bool early = info->si_code == BUS_MCEERR_AO;

	(void)context;
	if (from && at >= from && at < atomic_load(&lost.to)) {
		note(lost.main_name, at - from);
		if (early)
			return;
		if (landing)
			siglongjmp(*landing, 1);
	}
	if (!early) /* the access is made again, and ends the process */
		signal(sig, SIG_DFL);
}

void hv_standby_watch_map(const struct hv_standby *sb)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	const struct hv_block *b = &sb->blocks[sb->main_block];

	tv_copy(lost.main_name, sizeof(lost.main_name), b->name);
	atomic_store(&lost.block, NULL);
	atomic_store(&lost.offset, NONE);
	atomic_store(&lost.to, (uintptr_t)sb->map + b->bytes);
	atomic_store(&lost.from, (uintptr_t)sb->map);
	sigemptyset(&sa.sa_mask);
	sigaction(SIGBUS, &sa, NULL);
	/* A kernel that knows no memory failure does not know this either. */
	(void)!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

void hv_standby_unwatch_map(void)
{
	atomic_store(&lost.from, 0);
	atomic_store(&lost.to, 0);
}

int hv_standby_lose(const struct hv_block *b, uint64_t offset)
{
	if (!atomic_load(&lost.block))
		tv_copy(lost.block_name, sizeof(lost.block_name), b->name);
	note(lost.block_name, offset);
	return TV_E_POISON;
}

bool hv_standby_lost(struct tv_err *e)
{
	uint64_t offset = atomic_load(&lost.offset);

	if (offset == NONE)
		return false;
	tv_fail(e, TV_E_POISON,
		"a memory error of this host: the page at 0x%llx of the standby's RAM block %s is lost",
		(unsigned long long)offset, atomic_load(&lost.block));
	return true;
}

int hv_standby_guard(int (*work)(void *arg), void *arg)
{
	sigjmp_buf here, *before = landing;
	int rc;

	if (sigsetjmp(here, 1)) {
		landing = before;
		return TV_E_POISON;
	}
	landing = &here;
	rc = work(arg);
	landing = before;
	return rc;
}
