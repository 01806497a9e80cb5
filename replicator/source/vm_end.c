/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/source/vm_end.h"

enum vm_end vm_end_after(enum vm_end before, enum hv_event ev)
{
	switch (ev) {
	case HV_EV_SHUTDOWN_GUEST:
		return VM_END_GUEST;
	case HV_EV_SHUTDOWN_ORDER:
		return VM_END_ORDER;
	case HV_EV_SHUTDOWN_HOST:
		/* The process of a VM that is switched off: libvirt ends it by a signal. */
		return vm_end_is_for_good(before) ? before : VM_END_HOST;
	case HV_EV_RESET:
	case HV_EV_RESUME:
	case HV_EV_LOST: /* maybe one of these: a copy too many is better than none */
		return VM_END_NONE;
	case HV_EV_STOP:
	case HV_EV_PANIC:
	case HV_EV_STATE:
	case HV_EV_MEDIA:
	case HV_EV_POISON:
	case HV_EV_POISON_RESET:
	case HV_EV_POISON_QEMU:
	case HV_EV_OTHER:
		break;
	}
	return before;
}
