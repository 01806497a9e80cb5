/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is the VM to run somewhere else when its QEMU ends? Known from what QEMU reported before. With
 * -no-shutdown a VM that its guest has switched off keeps its process, for a moment or for days; a
 * reset makes it an ordinary VM again. Pure.
 */
#ifndef REPLICATOR_SOURCE_VM_END_H
#define REPLICATOR_SOURCE_VM_END_H

#include "hv/hv.h"

enum vm_end {
	VM_END_NONE,  /* nothing is known: QEMU was killed, or crashed */
	VM_END_HOST,  /* a signal, as when the host goes down: the backup is to run the VM */
	VM_END_GUEST, /* the guest switched it off: for good, it must not come back to life */
	VM_END_ORDER, /* an operator ended it: for good, too */
};
enum vm_end vm_end_after(enum vm_end before, enum hv_event ev);

static inline bool vm_end_is_for_good(enum vm_end end)
{
	return end == VM_END_GUEST || end == VM_END_ORDER;
}

#endif
