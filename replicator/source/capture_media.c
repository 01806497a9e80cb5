/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The capture thread: another medium in a drive, or another size of a disk. The standby was started
 * with what was there: an epoch with another medium's device state must not count, so the session
 * ends, and the next one describes the VM anew.
 *
 * An event says when a tray has moved. It was sent before QEMU answered the stop of an epoch that was
 * captured after the change, so cap_epoch finds it before that epoch counts. Drives without a tray
 * (floppies) have no event, nor has a disk that was resized: these are asked for once a second. QEMU
 * refuses to resize a disk that is mirrored, so that one is a second look only. A disk that is
 * unplugged is found by its devices, with each epoch; its mirror ends first, and would be the reason.
 */
#include "replicator/source/capture_int.h"

#define LOOK_NS TV_NS_PER_S

int cap_media_due_ms(const struct cap *c)
{
	int64_t left;

	if (!c->vm || c->gone || c->cut || c->changed)
		return -1;
	left = c->looked_ns + LOOK_NS - tv_now_ns();
	return left <= 0 ? 0 : (int)(left / TV_NS_PER_MS) + 1;
}

/* A disk that is unplugged takes its mirror along, and the target's end is seen before any device's. */
static bool is_disk_gone(struct cap *c, struct tv_err *e)
{
	if (c->looked_disks || hv_disks_ok(c->vm))
		return false;
	c->looked_disks = true;
	return hv_devices_look(c->vm, e) == TV_E_CHANGED;
}

static bool is_changed(struct cap *c, struct tv_err *e)
{
	if (is_disk_gone(c, e))
		return true;
	if (!c->look_media && cap_media_due_ms(c) > 0)
		return false;
	c->look_media = false;
	c->looked_ns = tv_now_ns();
	/* what QEMU does not answer is found by the next epoch */
	return hv_media_changed(c->vm, e) > 0;
}

bool cap_media_ok(struct cap *c)
{
	struct tv_err e = {0};

	if (c->changed)
		return false;
	if (!c->vm || c->gone || c->cut || !is_changed(c, &e))
		return true;
	c->changed = true;
	cap_fail(c, TV_E_CHANGED, &e, "the VM was changed");
	return false;
}
