/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices, defaults for devices, and objects: what is in the tables of hv/qemu/drivers.c and
 * allow.c stays, all else is refused.
 */
#include "hv/standby/rewrite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A property of a device; a romfile is firmware, and other files of the host are not for a peer. */
static char *device_value(struct hv_rewrite *rw, const char *option, const char *driver,
			  const char *key, const char *value)
{
	if (hv_allow_word(hv_device_denied, key))
		hv_rw_deny(rw, NULL, "%s %.100s with %.100s=", option, driver, key);
	else if (!strcmp(key, "romfile") && value && *value)
		return hv_rw_firmware(rw, value);
	return NULL;
}

static bool is_driver_ok(struct hv_rewrite *rw, const char *option, const char *driver)
{
	const struct hv_driver *d = hv_driver(driver);

	if (d->class == HV_DRIVER_FINE || d->class == HV_DRIVER_LISTED)
		return true;
	hv_rw_deny(rw, d->remedy, "%s %.200s", option, driver);
	return false;
}

static void device_json(struct hv_rewrite *rw, const char *option, const char *driver, json_t *o)
{
	const char *key;
	json_t *v;
	void *it;

	for (it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		TV_FREE char *path = NULL;

		key = json_object_iter_key(it);
		v = json_object_iter_value(it);
		path = device_value(rw, option, driver, key, json_string_value(v));
		if (path)
			json_object_iter_set_new(o, it, json_string(path));
	}
}

static void device_pairs(struct hv_rewrite *rw, const char *option, const char *driver,
			 struct hv_keyval *kv)
{
	for (unsigned i = 0; i < kv->n; i++) {
		struct hv_pair *p = &kv->pairs[i];
		char *path = device_value(rw, option, driver, p->key, p->value);

		if (path) {
			free(p->value);
			p->value = path;
		}
		if (strchr(p->key, ','))
			hv_rw_deny(rw, NULL, "%s with %.100s", option, p->key);
	}
}

void hv_rw_device(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *driver;
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "driver"))
		return;
	driver = hv_keyval_get(&kv, "driver");
	if (!driver) {
		hv_rw_deny(rw, NULL, "%s %.200s without a driver", option, arg);
	} else if (is_driver_ok(rw, option, driver)) {
		hv_rw_device_now(rw, &kv);
		device_json(rw, option, driver, kv.json);
		device_pairs(rw, option, driver, &kv);
		hv_rw_put_keyval(rw, option, &kv);
	}
	hv_keyval_dispose(&kv);
}

/* ---- -global ---- */

/* "driver.property=value", or a list with these three keys where a driver has a dot in its name. */
static bool split_global(const char *arg, char driver[64], char property[64], const char **value)
{
	int at = 0;

	if (sscanf(arg, "%63[^.=].%63[^=]%n", driver, property, &at) < 2 || arg[at] != '=')
		return false;
	*value = arg + at + 1;
	return true;
}

static void put_global(struct hv_rewrite *rw, const char *option, const char *driver,
		       const char *property, const char *value)
{
	TV_FREE char *path = NULL;
	struct hv_keyval kv = {0};

	/* Ours is appended at the end; a VM that was promoted once has it already. */
	if (!strcmp(driver, "migration") && !strcmp(property, "send-configuration"))
		return;
	if (!hv_allow(HV_ALLOW_GLOBAL, driver) && !is_driver_ok(rw, option, driver))
		return;
	path = device_value(rw, option, driver, property, value);
	hv_rw_set(rw, &kv, "driver", driver);
	hv_rw_set(rw, &kv, "property", property);
	hv_rw_set(rw, &kv, "value", path ? path : value);
	hv_rw_put_keyval(rw, option, &kv);
	hv_keyval_dispose(&kv);
}

void hv_rw_global(struct hv_rewrite *rw, const char *option, const char *arg)
{
	char driver[64], property[64];
	const char *value, *d, *p, *v;
	struct hv_keyval kv;

	if (split_global(arg, driver, property, &value)) {
		put_global(rw, option, driver, property, value);
		return;
	}
	if (!hv_rw_parse(rw, &kv, option, arg, NULL))
		return;
	d = hv_keyval_get(&kv, "driver");
	p = hv_keyval_get(&kv, "property");
	v = hv_keyval_get(&kv, "value");
	if (!d || !p || !v)
		hv_rw_deny(rw, NULL, "%s %.200s", option, arg);
	else
		put_global(rw, option, d, p, v);
	hv_keyval_dispose(&kv);
}

/* ---- -object ---- */
static bool is_main_type(const char *type)
{
	return !strcmp(type, "memory-backend-ram") || !strcmp(type, "memory-backend-memfd") ||
	       !strcmp(type, "memory-backend-file");
}

/* The host's own sources of random numbers; reading another file would hand it to the guest. */
static bool is_random(const char *file)
{
	return !file || !strcmp(file, "/dev/urandom") || !strcmp(file, "/dev/random") ||
	       !strcmp(file, "/dev/hwrng");
}

static void put_object(struct hv_rewrite *rw, const char *option, const struct hv_keyval *kv,
		       const char *type)
{
	const struct hv_allow *allow = hv_allow(HV_ALLOW_OBJECT, type);
	const char *file = hv_keyval_get(kv, "filename");
	char what[128];

	if (!allow || allow->remedy) {
		hv_rw_deny(rw, allow ? allow->remedy : NULL, "%s %.200s", option, type);
		return;
	}
	if (!allow->keys)
		return;
	snprintf(what, sizeof(what), "%s %.100s", option, type);
	if (!hv_rw_keys_ok(rw, kv, allow->keys, what))
		return;
	if (!strcmp(type, "rng-random") && !is_random(file))
		hv_rw_deny(rw, "use /dev/urandom", "%s with filename=%.200s", what, file);
	hv_rw_put_keyval(rw, option, kv);
}

/* Main memory's is replaced at the end (hv_rw_ram_finish). */
void hv_rw_object(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *type, *id;
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "qom-type"))
		return;
	type = hv_keyval_get(&kv, "qom-type");
	id = hv_keyval_get(&kv, "id");
	if (!type || !id)
		hv_rw_fail(rw, TV_E_REFUSED, "option -object %.200s names no type or no id", arg);
	else if (strcmp(id, rw->main_id) || strncmp(type, "memory-backend-", 15))
		put_object(rw, option, &kv, type);
	else if (!is_main_type(type))
		hv_rw_deny(rw, NULL, "main memory of type %.200s", type);
	hv_keyval_dispose(&kv);
}
