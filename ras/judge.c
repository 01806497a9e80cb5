/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ras/judge.h"

bool judge_is_counted(const struct ras_fault *f)
{
	return f->severity == RAS_CORRECTED;
}

static enum ras_rule of_device(const struct ras_fault *f)
{
	return f->device_fails ? RAS_RULE_DEVICE_FAILS : RAS_RULE_DEVICE_ERROR;
}

/* memory_failure_event does not say whether somebody has used the data: the less is taken, and a
 * machine check or QEMU that says more is joined with it. */
static enum ras_rule of_vm(const struct ras_fault *f)
{
	if (f->severity == RAS_DEFERRED)
		return RAS_RULE_VM_DEFERRED;
	if (f->severity == RAS_OPTIONAL || f->source == RAS_SRC_MF)
		return RAS_RULE_VM_OPTIONAL;
	return RAS_RULE_VM_REQUIRED;
}

static enum ras_rule of_page(const struct ras_fault *f)
{
	bool still_used = f->result == RAS_RESULT_IGNORED || f->result == RAS_RESULT_FAILED;

	switch (f->owner) {
	case RAS_OWNER_VM:
		return of_vm(f);
	case RAS_OWNER_STANDBY:
		return RAS_RULE_STANDBY_PAGE;
	case RAS_OWNER_SELF:
		return RAS_RULE_OWN_PAGE;
	case RAS_OWNER_PROCESS:
		return RAS_RULE_OTHER_PROCESS;
	case RAS_OWNER_KERNEL:
		return RAS_RULE_KERNEL_PAGE;
	case RAS_OWNER_FREE:
		return RAS_RULE_FREE_PAGE;
	default:
		return still_used ? RAS_RULE_KERNEL_PAGE : RAS_RULE_OWNER_UNKNOWN;
	}
}

enum ras_rule judge_rule(const struct ras_fault *f)
{
	if (f->severity == RAS_NOTHING)
		return RAS_RULE_NONE;
	if (f->part == RAS_PART_DEVICE)
		return of_device(f);
	if (f->source == RAS_SRC_FIRMWARE || (f->by_firmware && !f->has_page))
		return RAS_RULE_FIRMWARE_RECORD;
	if (f->severity == RAS_FATAL)
		return RAS_RULE_HOST_DIED;
	return ras_uncorrected(f->severity) && f->has_page ? of_page(f) : RAS_RULE_OWNER_UNKNOWN;
}

enum ras_color judge_color(enum ras_rule rule, const struct ras_fault *f)
{
	if (rule == RAS_RULE_FIRMWARE_RECORD)
		return ras_uncorrected(f->severity) ? RAS_RED : RAS_YELLOW;
	if (rule == RAS_RULE_DEVICE_ERROR &&
	    (f->owner == RAS_OWNER_VM || f->owner == RAS_OWNER_SELF))
		return RAS_RED;
	return ras_row(rule)->color;
}

bool judge_is_page(enum ras_rule rule)
{
	switch (rule) {
	case RAS_RULE_VM_DEFERRED:
	case RAS_RULE_VM_OPTIONAL:
	case RAS_RULE_VM_REQUIRED:
	case RAS_RULE_FREE_PAGE:
	case RAS_RULE_OTHER_PROCESS:
	case RAS_RULE_KERNEL_PAGE:
	case RAS_RULE_STANDBY_PAGE:
	case RAS_RULE_OWN_PAGE:
	case RAS_RULE_OWNER_UNKNOWN:
		return true;
	default:
		return false;
	}
}

static bool is_vm(enum ras_rule rule)
{
	return rule >= RAS_RULE_VM_DEFERRED && rule <= RAS_RULE_VM_REQUIRED;
}

enum ras_rule judge_join(enum ras_rule old, enum ras_rule now)
{
	if (is_vm(old) && is_vm(now))
		return now > old ? now : old;
	return old == RAS_RULE_OWNER_UNKNOWN ? now : old;
}

bool judge_second_is_red(enum ras_rule rule)
{
	return rule == RAS_RULE_OTHER_PROCESS || rule == RAS_RULE_OWNER_UNKNOWN;
}
