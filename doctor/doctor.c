/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What is left is found by names: everything that twinvm makes for a VM on a host carries the VM's
 * id. First all of it is listed (scan.c), and only then twinvmd is asked which VMs it knows: it
 * knows a VM before anything of that is made, so what is listed and not known is not of a session
 * that begins at this moment. What a process uses all the same (owner.c) is of a VM that runs here
 * without protection: it is listed apart, and no command to remove it is given.
 *
 * The checks (check.c, host.c, peer.c) are of the configuration, and of what it names.
 */
#include "doctor/doctor_int.h"

#include <stdio.h>
#include <string.h>

/* 'path' for a shell. */
static void quote(const char *text, char *out, size_t room)
{
	size_t n = 0;

	out[n++] = '\'';
	for (; *text && n + 6 < room; text++) {
		if (*text == '\'') {
			memcpy(out + n, "'\\'", 3);
			n += 3;
		}
		out[n++] = *text;
	}
	out[n++] = '\'';
	out[n] = 0;
}

static json_t *removal(const char *kind, const char *path)
{
	char quoted[1200], text[1300];

	quote(path, quoted, sizeof(quoted));
	snprintf(text, sizeof(text), "%s %s",
		 !strcmp(kind, "device")   ? "ip link del"
		 : !strcmp(kind, "folder") ? "rm -r"
					   : "rm",
		 quoted);
	return json_string(text);
}

/* It is the VM's, whatever slot it has. */
static bool is_page(const char *path)
{
	size_t n = strlen(path);

	return n > 5 && !strcmp(path + n - 5, ".page");
}

static bool is_known(json_t *facts, json_t *item)
{
	const char *kind = json_string_value(json_object_get(item, "kind"));
	const char *path = json_string_value(json_object_get(item, "path"));

	if (!strcmp(kind, "device"))
		return doctor_is_known_device(facts, path);
	if (!strcmp(kind, "state") || !strcmp(kind, "generation") || is_page(path))
		return doctor_is_known_vm(facts, json_string_value(json_object_get(item, "vm")));
	return doctor_is_known(facts, json_string_value(json_object_get(item, "id")));
}

static pid_t user_of(json_t *item, char command[32])
{
	const char *kind = json_string_value(json_object_get(item, "kind"));

	command[0] = 0;
	if (!strcmp(kind, "device")) /* known from the device itself, not by whom */
		return json_is_true(json_object_get(item, "running")) ? -1 : 0;
	return doctor_user_of(json_string_value(json_object_get(item, "path")), command);
}

static void sort(json_t *items, json_t *facts, json_t *left, json_t *in_use)
{
	char command[32];
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) {
		pid_t pid;

		if (is_known(facts, item))
			continue;
		pid = user_of(item, command);
		json_object_del(item, "id");
		json_object_del(item, "running");
		if (pid) {
			json_object_set_new(item, "pid", pid > 0 ? json_integer(pid) : json_null());
			json_object_set_new(item, "command", json_string(command));
			json_array_append(in_use, item);
		} else {
			json_object_set_new(
				item, "remove",
				removal(json_string_value(json_object_get(item, "kind")),
					json_string_value(json_object_get(item, "path"))));
			json_array_append(left, item);
		}
	}
}

static void find_left(const struct doctor *d, const struct config *c, json_t *out)
{
	json_t *items = doctor_scan(c), *facts = d->ask(d->arg);
	json_t *left = json_array(), *in_use = json_array();

	if (facts)
		sort(items, facts, left, in_use);
	json_object_set_new(out, "left", left);
	json_object_set_new(out, "in_use", in_use);
	json_decref(items);
	json_decref(facts);
}

static unsigned count(json_t *checks, const char *level)
{
	unsigned n = 0;
	json_t *check;
	size_t i;

	json_array_foreach(checks, i, check)
		n += !strcmp(json_string_value(json_object_get(check, "level")), level);
	return n;
}

static void check_daemon(json_t *facts, const char *path, json_t *checks)
{
	const char *warning = json_string_value(json_object_get(facts, "warning"));

	if (!facts)
		doctor_add(checks, "twinvmd", DOCTOR_PROBLEM,
			   "it does not run here, or does not answer: start it with 'twinvmd "
			   "--config %s'; what is left of former VMs is not known without it",
			   path);
	else if (warning && *warning)
		doctor_add(checks, "twinvmd", DOCTOR_WARNING, "%s", warning);
	else
		doctor_add(checks, "twinvmd", DOCTOR_OK, "it runs");
}

json_t *doctor_examine(const struct doctor *d)
{
	static struct config c; /* large */
	json_t *out = json_object(), *checks = json_array(), *facts = d->ask(d->arg);
	const char *path = json_string_value(json_object_get(facts, "config"));
	struct tv_err e = {0};

	path = path ? path : d->config;
	json_object_set_new(out, "config", json_string(path));
	check_daemon(facts, path, checks);
	if (config_load(path, &c, &e)) {
		doctor_add(checks, "configuration", DOCTOR_PROBLEM, "%s", e.text);
		json_object_set_new(out, "host", json_string(""));
		json_object_set_new(out, "left", json_array());
		json_object_set_new(out, "in_use", json_array());
	} else {
		doctor_add(checks, "configuration", DOCTOR_OK, "%s can be used", path);
		json_object_set_new(out, "host", json_string(c.host));
		doctor_check_config(&c, checks);
		doctor_check_host(&c, checks);
		doctor_check_hardware(facts, checks);
		doctor_check_peers(&c, d->peer, checks);
		find_left(d, &c, out);
	}
	json_object_set_new(out, "warnings", json_integer(count(checks, "warning")));
	json_object_set_new(out, "problems", json_integer(count(checks, "problem")));
	json_object_set_new(out, "checks", checks);
	json_decref(facts);
	return out;
}
