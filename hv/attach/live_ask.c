/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a VM is made of now, asked of QEMU: the devices that were made by -device and device_add
 * (/machine/peripheral and peripheral-anon), where each is, and of those that the command line does
 * not have every property that differs from a plain device's.
 */
#include "hv/attach/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHILD "child<"

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* 1 and *v; 0 there is no such property, or it cannot be read; or negative. */
static int get(struct hv_qmp *q, const char *path, const char *property, json_t **v,
	       struct tv_err *e)
{
	int rc = hv_qmp_cmd(q, "qom-get",
			    json_pack("{s:s, s:s}", "path", path, "property", property), v,
			    HV_CMD_MS, e);

	return rc == TV_E_QMP ? 0 : rc ? rc : 1;
}

/* "child<pc-dimm>" -> "pc-dimm" */
static bool child_type(json_t *member, char *out, size_t room)
{
	const char *type = text(member, "type");
	size_t n = strlen(type);

	return !strncmp(type, CHILD, strlen(CHILD)) && n > strlen(CHILD) + 1 &&
	       tv_copy_n(out, room, type + strlen(CHILD), n - strlen(CHILD) - 1);
}

/* A PCI device's place as people write it; QEMU takes that in any version. */
static json_t *pci_addr(json_t *v)
{
	json_int_t fn = json_integer_value(v);

	return json_sprintf("0x%x.0x%x", (unsigned)fn >> 3 & 31, (unsigned)fn & 7);
}

static bool is_pci(json_t *dev)
{
	return *text(dev, "parent");
}

/* ---- where it is ---- */

/* The port of a USB device is known to `info qtree` only: "addr 0.1, port 1.2, speed 480, ...". */
static void add_port(const struct hv_devs *devs, json_t *dev, json_t *at)
{
	const char *id = text(dev, "id"), *driver = text(dev, "driver");
	const struct hv_dev *found = NULL;
	const char *port;
	char v[32];

	for (unsigned i = 0; i < devs->n; i++) {
		const struct hv_dev *d = &devs->dev[i];

		/* Without an id its name is not its own: it must be the only one of its kind. */
		if (strcmp(d->driver, driver) || (*id && strcmp(d->name, id)))
			continue;
		if (found)
			return;
		found = d;
	}
	port = found ? memmem(found->props, found->props_bytes, ", port ", 7) : NULL;
	if (!port)
		return;
	port += 7;
	tv_copy_n(v, sizeof(v), port, strspn(port, "0123456789."));
	json_object_set_new(at, "port", json_string(v));
}

static int ask_place(struct hv_qmp *q, const struct hv_devs *devs, json_t *dev, struct tv_err *e)
{
	static const char *const keys[] = {"netdev",  "chardev", "drive", "mac",  "addr", "channel",
					   "scsi-id", "lun",	 "nr",	  "slot", "unit"};
	json_t *at = json_object(), *v = NULL;
	int rc = get(q, text(dev, "path"), "parent_bus", &v, e);

	json_object_set_new(dev, "at", at);
	if (rc < 0)
		return rc;
	json_object_set_new(dev, "parent",
			    json_string(rc && json_is_string(v) ? json_string_value(v) : ""));
	json_decref(v);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		v = NULL;
		rc = get(q, text(dev, "path"), keys[i], &v, e);
		if (rc < 0)
			return rc;
		if (rc && !strcmp(keys[i], "addr") && is_pci(dev)) {
			json_object_set_new(at, keys[i], pci_addr(v));
			json_decref(v);
		} else if (rc) {
			json_object_set_new(at, keys[i], v);
		}
	}
	add_port(devs, dev, at);
	return 0;
}

/* "device[3]" -> 3; -1: the device has an id */
static json_int_t anon_number(const char *name)
{
	unsigned n;
	int end = 0;

	return sscanf(name, "device[%u]%n", &n, &end) == 1 && !name[end] ? (json_int_t)n : -1;
}

static int ask_children(struct hv_qmp *q, const struct hv_devs *devs, const char *folder, bool anon,
			json_t *out, struct tv_err *e)
{
	json_t *list = NULL, *m;
	char driver[128];
	size_t i;
	int rc = hv_qmp_cmd(q, "qom-list", json_pack("{s:s}", "path", folder), &list, HV_CMD_MS, e);

	json_array_foreach(list, i, m) {
		const char *name = text(m, "name");
		json_t *dev;

		if (rc || !child_type(m, driver, sizeof(driver)))
			continue;
		dev = json_pack("{s:s, s:s, s:o}", "id", anon ? "" : name, "driver", driver, "path",
				json_sprintf("%s/%s", folder, name));
		if (anon)
			json_object_set_new(dev, "anon", json_integer(anon_number(name)));
		json_array_append_new(out, dev);
		rc = ask_place(q, devs, dev, e);
	}
	json_decref(list);
	return rc;
}

static int ask_devices(struct hv_qmp *q, struct hv_live *out, struct tv_err *e)
{
	struct hv_devs devs;
	int rc = hv_devs_read(q, &devs, e);

	out->devices = json_array();
	if (!rc)
		rc = ask_children(q, &devs, "/machine/peripheral", false, out->devices, e);
	if (!rc)
		rc = ask_children(q, &devs, "/machine/peripheral-anon", true, out->devices, e);
	hv_devs_dispose(&devs);
	return rc;
}

/* ---- what it is ---- */

/*
 * Does a property say something about the device that a plain one would not have? Links go to
 * objects, or stay inside the machine. A romfile without a folder is the driver's own, and the
 * default of a bootindex is -1. Of the others a number without a default is what the device has come
 * to be (the size of a pc-dimm; busnr, from QEMU 10), and cannot be set.
 */
static bool is_telling(json_t *prop, json_t *v)
{
	const char *name = text(prop, "name"), *type = text(prop, "type");
	json_t *plain = json_object_get(prop, "default-value");

	if (!strncmp(type, CHILD, strlen(CHILD)))
		return false;
	if (!strncmp(type, "link<", 5))
		return !strncmp(json_string_value(v) ? json_string_value(v) : "", "/objects/", 9);
	if (!strcmp(name, "romfile"))
		return !json_string_length(v) || strchr(json_string_value(v), '/');
	if (!strcmp(name, "bootindex"))
		return json_integer_value(v) >= 0;
	return plain ? !json_equal(plain, v) : json_string_length(v) > 0;
}

static void add_prop(json_t *props, json_t *dev, const char *name, const char *type, json_t *v)
{
	if (!strncmp(type, "link<", 5))
		json_object_set_new(props, name,
				    json_string(strrchr(json_string_value(v), '/') + 1));
	else if (!strcmp(name, "addr") && is_pci(dev) && json_is_integer(v))
		json_object_set_new(props, name, pci_addr(v));
	else
		json_object_set(props, name, v);
}

static int ask_props(struct hv_qmp *q, json_t *dev, struct tv_err *e)
{
	json_t *list = NULL, *props = json_object(), *p;
	size_t i;
	int rc;

	json_object_set_new(dev, "props", props);
	rc = hv_qmp_cmd(q, "device-list-properties",
			json_pack("{s:s}", "typename", text(dev, "driver")), &list, HV_CMD_MS, e);
	json_array_foreach(list, i, p) {
		json_t *v = NULL;

		if (rc < 0 || !strncmp(text(p, "type"), CHILD, strlen(CHILD)))
			continue;
		rc = get(q, text(dev, "path"), text(p, "name"), &v, e);
		if (rc > 0 && is_telling(p, v))
			add_prop(props, dev, text(p, "name"), text(p, "type"), v);
		json_decref(v);
	}
	json_decref(list);
	return rc < 0 ? rc : 0;
}

static bool is_cpu(json_t *dev)
{
	size_t n = strlen(text(dev, "driver"));

	return n > 4 && !strcmp(text(dev, "driver") + n - 4, "-cpu");
}

/* Of those that the command line does not have. What a CPU is, query-hotpluggable-cpus says. */
static int ask_new(struct hv_qmp *q, char *const *argv, struct hv_live *out, struct tv_err *e)
{
	struct hv_live_line *line = hv_live_match(argv, out);
	json_t *dev;
	size_t i;
	int rc = line ? 0 : tv_fail(e, -ENOMEM, "no memory for the VM's command line");

	json_array_foreach(out->devices, i, dev)
		if (!rc && json_is_true(json_object_get(dev, "new")) && !is_cpu(dev))
			rc = ask_props(q, dev, e);
	hv_live_line_free(line);
	return rc;
}

/* ---- objects ---- */
static int ask_objects(struct hv_qmp *q, struct hv_live *out, struct tv_err *e)
{
	json_t *list = NULL, *m;
	char type[128], path[512];
	size_t i;
	int rc = hv_qmp_cmd(q, "qom-list", json_pack("{s:s}", "path", "/objects"), &list, HV_CMD_MS,
			    e);

	out->objects = json_object();
	json_array_foreach(list, i, m) {
		const char *key;
		json_t *o, *v = NULL;

		if (rc < 0 || !child_type(m, type, sizeof(type)))
			continue;
		o = json_pack("{s:s, s:s}", "qom-type", type, "id", text(m, "name"));
		json_object_set_new(out->objects, text(m, "name"), o);
		key = !strncmp(type, "memory-backend-", 15) ? "size"
		      : !strcmp(type, "rng-random")	    ? "filename"
							    : NULL;
		if (!key)
			continue;
		snprintf(path, sizeof(path), "/objects/%s", text(m, "name"));
		rc = get(q, path, key, &v, e);
		if (rc > 0)
			json_object_set(o, key, v);
		json_decref(v);
	}
	json_decref(list);
	return rc < 0 ? rc : 0;
}

int hv_live_ask(struct hv_qmp *q, char *const *argv, struct hv_live *out, struct tv_err *e)
{
	int rc;

	*out = (struct hv_live){0};
	rc = hv_qmp_cmd(q, "query-block", NULL, &out->block, HV_CMD_MS, e);
	if (!rc)
		rc = hv_qmp_cmd(q, "query-named-block-nodes", NULL, &out->nodes, HV_CMD_MS, e);
	if (!rc)
		rc = hv_qmp_cmd(q, "query-chardev", NULL, &out->chardevs, HV_CMD_MS, e);
	if (!rc)
		rc = hv_qmp_hmp(q, "info network", &out->network, HV_CMD_MS, e);
	if (!rc)
		rc = ask_objects(q, out, e);
	if (!rc)
		rc = hv_qmp_cmd(q, "query-hotpluggable-cpus", NULL, &out->cpus, HV_CMD_MS, e);
	if (rc == TV_E_QMP && !out->cpus) /* a machine that has none */
		rc = 0;
	if (!rc)
		rc = ask_devices(q, out, e);
	if (!rc)
		rc = ask_new(q, argv, out, e);
	if (rc)
		hv_live_dispose(out);
	return rc;
}

void hv_live_dispose(struct hv_live *l)
{
	json_decref(l->devices);
	json_decref(l->objects);
	json_decref(l->block);
	json_decref(l->nodes);
	json_decref(l->chardevs);
	json_decref(l->cpus);
	free(l->network);
	*l = (struct hv_live){0};
}
