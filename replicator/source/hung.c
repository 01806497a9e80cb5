/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The source: a QEMU that hangs, by its process (SIGSTOP) or by its storage: it owes the answer to a
 * command for longer than anything that works takes.
 *
 * hung_qemu = wait: it is reported, and waited for. Nothing is lost: no output leaves, no epoch is
 * taken, the backup keeps the last one, and takes over if this host dies meanwhile.
 *
 * hung_qemu = failover: after hung_ns it is killed, and the backup takes over as after any end of
 * QEMU's process. Only so is it certain that it does not continue here later. A thread that waits
 * in the kernel (dead storage) keeps the process from ending; but after SIGKILL none of its threads
 * returns to its own code, and what it had sent is held here and dropped: GONE_NS later it counts
 * as ended.
 */
#include "replicator/source/source_int.h"

#include <stdio.h>

#define GONE_NS TV_NS_PER_S
#define LOG_NS TV_NS_PER_S
#define OWED_NS (10 * TV_NS_PER_MS)  /* most answers come within one */
#define LOOK_NS (200 * TV_NS_PER_MS) /* QEMU does not report every change of its run state */

/* One line a second at most: somebody may stop the VM and let it run a thousand times. */
void src_log_state(struct source *s, int64_t now_ns)
{
	const struct hv_run_state *state = s->vm.state;

	if (now_ns - s->vm.logged_ns < LOG_NS) {
		s->vm.unlogged++;
		return;
	}
	if (s->vm.unlogged)
		tv_log(TV_INFO,
		       "%s: it stood still %u times more since then; its run state now: %s",
		       s->job.vm_name, s->vm.unlogged, state->name);
	else
		tv_log(TV_INFO, "%s: %s (%s)", s->job.vm_name, state->why, state->name);
	s->vm.unlogged = 0;
	s->vm.logged_ns = now_ns;
}

void src_look(struct source *s, int64_t now_ns)
{
	if (s->vm.unlogged)
		src_log_state(s, now_ns);
	if (!s->vm.stopped || s->vm.looking || s->end.leaving || now_ns - s->vm.looked_ns < LOOK_NS)
		return;
	s->vm.looked_ns = now_ns;
	s->vm.looking = true;
	cap_post(s->cap, CAP_LOOK, 0);
}

static bool is_hung(struct source *s, int64_t now_ns, int64_t *for_ns)
{
	int64_t asked_ns =
		s->vm.attached && s->hold.held && !s->end.leaving ? cap_asked_ns(s->cap) : 0;

	/* A VM that waits inside an epoch for a slow link waits for us. */
	if (!asked_ns || s->stream.blocked)
		return false;
	*for_ns = now_ns - asked_ns;
	return *for_ns > s->times.commit_deadline_ns;
}

static void take_over(struct source *s, int64_t now_ns)
{
	int rc;

	if (s->vm.killed_ns) {
		if (now_ns - s->vm.killed_ns > GONE_NS)
			src_event(s, FO_PE_VM_DIED);
		return;
	}
	if (s->vm.kill_failed)
		return;
	rc = cap_kill_vm(s->cap);
	if (rc) {
		/* It may continue: nobody else may run the VM, and it is waited for. */
		s->vm.kill_failed = true;
		tv_log(TV_ERROR, "%s: %s: its QEMU cannot be killed, so the VM stays here: %s",
		       s->job.vm_name, s->vm.hung.text, tv_strerror(rc));
		return;
	}
	s->vm.killed_ns = now_ns;
	tv_log(TV_ERROR, "%s: %s: its QEMU is killed, and the backup is to run it", s->job.vm_name,
	       s->vm.hung.text);
}

/* See disks.c: a write that waits for a commit must not be what keeps QEMU from answering. */
static void let_answer(struct source *s, int64_t now_ns)
{
	int64_t asked_ns = s->vm.attached && s->disks ? cap_asked_ns(s->cap) : 0;

	if (s->disks)
		disks_owed(s->disks, asked_ns && now_ns - asked_ns > OWED_NS);
}

void src_watch_qemu(struct source *s, int64_t now_ns)
{
	bool was = s->vm.hung.text[0];
	int64_t for_ns;
	const char *why;

	let_answer(s, now_ns);
	if (!is_hung(s, now_ns, &for_ns)) {
		if (was)
			tv_log(TV_INFO, "%s: QEMU answers again", s->job.vm_name);
		s->vm.hung.text[0] = '\0';
		return;
	}
	why = cap_stuck(s->cap);
	snprintf(s->vm.hung.text, sizeof(s->vm.hung.text),
		 "QEMU (pid %d) has not answered for %lld s%s%s", (int)s->job.vm_pid,
		 (long long)(for_ns / TV_NS_PER_S), *why ? ": " : "", why);
	if (!was)
		tv_log(TV_WARN, "%s: %s", s->job.vm_name, s->vm.hung.text);
	if (s->p.state == FO_P_PROTECTED && config_fails_over_hung(&s->job.conf) &&
	    for_ns > s->times.hung_ns)
		take_over(s, now_ns);
}
