/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby has the devices that the VM had when it was described. A device that is plugged in or
 * unplugged later makes the two differ, and no event reports it (DEVICE_DELETED does the one
 * half): an epoch from then on would not load, or would lack memory that nobody tracks. So before an
 * epoch counts two things are looked at:
 *
 *   - the names of the sections in its state against those of the first one. That is true of the
 *     moment of the capture, and costs some 20 us;
 *   - QEMU's lists of users' devices against those from before the description. Some devices have
 *     no section: memory, and a virtio-serial port, which is a part of its bus's. Asked on every
 *     epoch of a VM that can be given memory, else when the sections differ, when the size of a
 *     serial bus's has changed, and once a second.
 *
 * A list of sections may be wrong (sections.c): such a change ends a session for nothing, once.
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_NS TV_NS_PER_S
#define LIST_LIMIT_BYTES (1u << 20)

struct hv_watch {
	json_t *devices; /* {QOM path: driver} */
	bool slots;
	struct tv_buf first, now; /* lists of sections; first is empty before an epoch */
	size_t serial_bytes;
	int64_t asked_ns;
};

/* Adds the devices of one of QEMU's folders. */
static int add_devices(struct hv_qmp *q, const char *folder, json_t *out, struct tv_err *e)
{
	json_t *list = NULL, *m;
	size_t i;
	int rc = hv_qmp_cmd(q, "qom-list", json_pack("{s:s}", "path", folder), &list, HV_CMD_MS, e);

	json_array_foreach(list, i, m) {
		const char *name = json_string_value(json_object_get(m, "name"));
		const char *type = json_string_value(json_object_get(m, "type"));
		size_t n = type ? strlen(type) : 0;
		char path[512];

		if (!name || n < 8 || strncmp(type, "child<", 6))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, name);
		json_object_set_new(out, path, json_stringn(type + 6, n - 7));
	}
	json_decref(list);
	return rc;
}

static int ask(struct hv_qmp *q, json_t **out, struct tv_err *e)
{
	int rc;

	*out = json_object();
	rc = add_devices(q, "/machine/peripheral", *out, e);
	return rc ? rc : add_devices(q, "/machine/peripheral-anon", *out, e);
}

int hv_watch_begin(struct hv_vm *vm, bool slots, struct tv_err *e)
{
	hv_watch_end(vm);
	vm->watch = calloc(1, sizeof(*vm->watch));
	if (!vm->watch)
		return tv_fail(e, -ENOMEM, "no memory");
	vm->watch->slots = slots;
	tv_buf_init(&vm->watch->first, LIST_LIMIT_BYTES);
	tv_buf_init(&vm->watch->now, LIST_LIMIT_BYTES);
	return ask(vm->qmp, &vm->watch->devices, e);
}

void hv_watch_end(struct hv_vm *vm)
{
	if (!vm->watch)
		return;
	json_decref(vm->watch->devices);
	tv_buf_dispose(&vm->watch->first);
	tv_buf_dispose(&vm->watch->now);
	free(vm->watch);
	vm->watch = NULL;
}

/* The first of a list's devices that is not in the other, or not of that kind there. */
static bool one_missing(json_t *list, json_t *other, char *out, size_t room)
{
	const char *path;
	json_t *driver;

	json_object_foreach(list, path, driver) {
		const char *name = strrchr(path, '/') + 1;

		if (json_equal(driver, json_object_get(other, path)))
			continue;
		if (!strncmp(name, "device[", 7))
			snprintf(out, room, "a device %s", json_string_value(driver));
		else
			snprintf(out, room, "device %.100s (%.100s)", name,
				 json_string_value(driver));
		return true;
	}
	return false;
}

static int plugged(struct tv_err *e, const char *name)
{
	return tv_fail(e, TV_E_CHANGED, "%s was plugged in: the VM gets a new standby, with it",
		       name);
}

static int unplugged(struct tv_err *e, const char *name)
{
	return tv_fail(e, TV_E_CHANGED, "%s was unplugged: the VM gets a new standby, without it",
		       name);
}

static int check_devices(struct hv_vm *vm, struct tv_err *e)
{
	struct hv_watch *w = vm->watch;
	json_t *now = NULL;
	char name[256];
	int rc = ask(vm->qmp, &now, e);

	w->asked_ns = tv_now_ns();
	if (!rc && one_missing(now, w->devices, name, sizeof(name)))
		rc = plugged(e, name);
	else if (!rc && one_missing(w->devices, now, name, sizeof(name)))
		rc = unplugged(e, name);
	json_decref(now);
	return rc;
}

int hv_devices_look(struct hv_vm *vm, struct tv_err *e)
{
	return vm->watch ? check_devices(vm, e) : 0;
}

static int check_sections(const struct hv_watch *w, struct tv_err *e)
{
	const char *first = (const char *)w->first.data, *now = (const char *)w->now.data;
	char name[HV_SECTION_NAME_BYTES];

	if (hv_sections_missing(now, first, name, sizeof(name)))
		return plugged(e, name);
	if (hv_sections_missing(first, now, name, sizeof(name)))
		return unplugged(e, name);
	return 0;
}

/* What all virtio-serial buses take in a state. */
static size_t serial_size(const void *state, size_t bytes)
{
	struct hv_sections s = {.p = state, .bytes = bytes};
	size_t sum = 0;

	while (hv_sections_next(&s) > 0)
		if (strstr(s.name, "/virtio-console#"))
			sum += s.size;
	return sum;
}

int hv_devices_check(struct hv_vm *vm, const void *state, size_t bytes, struct tv_err *e)
{
	struct hv_watch *w = vm->watch;
	bool read, differ, due;
	size_t serial;
	int rc = 0;

	if (!w)
		return 0;
	w->now.bytes = 0;
	read = !hv_sections_list(state, bytes, &w->now);
	differ = read && w->first.bytes &&
		 (w->now.bytes != w->first.bytes ||
		  memcmp(w->now.data, w->first.data, w->now.bytes) != 0);
	serial = serial_size(state, bytes);
	due = !w->first.bytes || w->slots || differ || serial != w->serial_bytes ||
	      tv_now_ns() - w->asked_ns >= ASK_NS;
	w->serial_bytes = serial;
	if (due)
		rc = check_devices(vm, e);
	if (!rc && differ)
		rc = check_sections(w, e);
	if (!rc && read && !w->first.bytes) {
		struct tv_buf empty = w->first;

		w->first = w->now;
		w->now = empty;
	}
	return rc;
}
