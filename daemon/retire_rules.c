/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a part be taken out of service now? Pure. A page in use is moved by the kernel, which reads it: a kernel
 * before 6.11 panics if it fails meanwhile, so there only what nobody reads is taken. A page that has lost
 * data is not read at all: it is taken when it is free.
 */
#include "daemon/retire.h"

static enum retire_do answer(enum retire_do what, const char *text, const char **why)
{
	*why = text;
	return what;
}

static enum retire_do lost_page(const struct retire_page *p, const char **why)
{
	switch (p->owner) {
	case RAS_OWNER_VM:
		return answer(p->owner_protected ? RETIRE_WAIT : RETIRE_LATER,
			      "it is a VM's, which has to leave it first", why);
	case RAS_OWNER_STANDBY:
		return answer(RETIRE_LATER, "it is a standby's, which has to end first", why);
	case RAS_OWNER_SELF:
	case RAS_OWNER_PROCESS:
		return answer(RETIRE_LATER, "a process has it, which would be killed", why);
	default:
		break;
	}
	if (p->page == KP_PAGE_FREE || p->page == KP_PAGE_CLEAN)
		return answer(RETIRE_HARD, "", why);
	return answer(RETIRE_LATER, "the kernel uses it", why);
}

static enum retire_do weak_page(const struct retire_page *p, const char **why)
{
	if (p->owner == RAS_OWNER_VM && p->owner_protected)
		return answer(RETIRE_WAIT, "it is a VM's, which has to leave it first", why);
	if (kp_may_soft(p->page, p->copy_recovers))
		return answer(RETIRE_SOFT, "", why);
	if (p->page == KP_PAGE_HUGE)
		return answer(RETIRE_NEVER, "a huge page of hugetlbfs would go as a whole", why);
	if (!p->copy_recovers)
		return answer(RETIRE_LATER,
			      "it is in use, and this kernel would panic if it failed while it is "
			      "moved (Linux 6.11 does not)",
			      why);
	return answer(RETIRE_LATER, "its use is not known", why);
}

enum retire_do retire_page_rule(const struct retire_page *p, const char **why)
{
	if (!p->looked)
		return answer(RETIRE_LATER, "it cannot be seen whose it is", why);
	if (p->page == KP_PAGE_TAKEN)
		return answer(RETIRE_DONE, "", why);
	if (p->page == KP_PAGE_NONE)
		return answer(RETIRE_NEVER, "it is no memory of this host", why);
	if (!p->takes_pages)
		return answer(RETIRE_NEVER, "this kernel takes no pages out of service", why);
	if (p->dimm_taken >= RETIRE_DIMM_PAGES)
		return answer(RETIRE_NEVER,
			      "8 pages of its DIMM are out of service: the DIMM is to be replaced",
			      why);
	return p->uncorrected ? lost_page(p, why) : weak_page(p, why);
}

enum retire_do retire_core_rule(const struct retire_core *c, const char **why)
{
	if (!c->stops_cpus || !c->known)
		return answer(RETIRE_NEVER, "this kernel takes no such CPU out of service", why);
	if (c->weak_cores > 1)
		return answer(RETIRE_NEVER,
			      "more cores than this one are weak: it may be what they share", why);
	if (c->has_cpu0)
		return answer(RETIRE_NEVER, "CPU 0 cannot be taken out of service", why);
	if (!c->cpus)
		return answer(RETIRE_DONE, "", why);
	if (c->online < c->cpus + 1 || c->online - c->cpus < c->needed)
		return answer(RETIRE_LATER, "its VMs and standbys need as many CPUs as there are",
			      why);
	if (c->pinned)
		return answer(RETIRE_WAIT, "a VM is bound to it, which has to leave first", why);
	return answer(RETIRE_CPUS, "", why);
}

int64_t retire_pause_ns(unsigned tries)
{
	static const int pauses_s[] = {1, 2, 5, 15, 60, 300, 900, 3600};

	return tries < sizeof(pauses_s) / sizeof(*pauses_s) ? pauses_s[tries] * TV_NS_PER_S : -1;
}
