/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/qemu/cmdline.h"
#include "common/common.h"

#include <ctype.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool hv_arg_is(const char *arg, const char *option)
{
	if (*arg != '-')
		return false;
	arg += arg[1] == '-' ? 2 : 1;
	return !strcmp(arg, option);
}

/* Copies one part up to a single comma, undoing ",,"; returns what follows it, or NULL. */
static const char *next_part(const char *p, char *part, size_t room)
{
	size_t n = 0;

	for (; *p; p++) {
		if (*p == ',') {
			if (p[1] != ',')
				break;
			p++;
		}
		if (n + 1 < room)
			part[n++] = *p;
	}
	part[n] = '\0';
	return *p ? p + 1 : NULL;
}

static bool json_get(const char *arg, const char *key, char *out, size_t room)
{
	json_t *j = json_loads(arg, 0, NULL), *v = json_object_get(j, key);
	bool found = true;

	if (json_is_string(v))
		snprintf(out, room, "%s", json_string_value(v));
	else if (json_is_boolean(v))
		snprintf(out, room, "%s", json_is_true(v) ? "on" : "off");
	else if (json_is_integer(v))
		snprintf(out, room, "%lld", (long long)json_integer_value(v));
	else
		found = false;
	json_decref(j);
	return found;
}

static bool part_matches(const char *part, bool first, const char *implied, const char *key,
			 const char **value)
{
	const char *eq = strchr(part, '=');

	if (eq && (size_t)(eq - part) == strlen(key) && !strncmp(part, key, strlen(key))) {
		*value = eq + 1;
		return true;
	}
	if (eq)
		return false;
	if (first && (!*key || (implied && !strcmp(key, implied)))) {
		*value = part;
		return true;
	}
	if (*key && !strcmp(part, key)) {
		*value = "on";
		return true;
	}
	if (*key && !strncmp(part, "no", 2) && !strcmp(part + 2, key)) {
		*value = "off";
		return true;
	}
	return false;
}

bool hv_opt_get(const char *arg, const char *implied, const char *key, char *out, size_t room)
{
	bool first = true, found = false;
	char part[4096];

	if (*arg == '{')
		return json_get(arg, *key ? key : implied ? implied : "", out, room);
	/* The last one counts, as in QEMU. */
	while (arg) {
		const char *value;

		arg = next_part(arg, part, sizeof(part));
		if (part_matches(part, first, implied, key, &value)) {
			snprintf(out, room, "%s", value);
			found = true;
		}
		first = false;
	}
	return found;
}

void hv_cmdline_name(char *const *argv, char *out, size_t room)
{
	*out = '\0';
	for (unsigned i = 1; argv[i] && argv[i + 1]; i++)
		if (hv_arg_is(argv[i], "name"))
			hv_opt_get(argv[++i], "guest", "guest", out, room);
	tv_mend_utf8(out); /* it goes into JSON and to peers; and it may have been cut */
}

int hv_cmdline_number(char *const *argv)
{
	static const char folder[] = "/qemu-server/";
	int found = 0;

	for (unsigned i = 1; argv[i] && argv[i + 1]; i++) {
		const char *p = NULL, *end = "";
		char *stop;
		long n;

		if (hv_arg_is(argv[i], "id")) {
			p = argv[i + 1];
		} else if (hv_arg_is(argv[i], "pidfile") && (p = strstr(argv[i + 1], folder))) {
			p += sizeof(folder) - 1;
			end = ".pid";
		}
		if (!p || *p < '1' || *p > '9')
			continue;
		n = strtol(p, &stop, 10);
		if (!strcmp(stop, end) && n <= INT_MAX)
			found = (int)n;
	}
	return found;
}

int hv_cmdline_domain(char *const *argv)
{
	static const char folder[] = "/var/lib/libvirt/qemu/domain-";

	for (unsigned i = 1; argv[i]; i++) {
		const char *p = strstr(argv[i], folder);
		char *end;
		long id;

		if (!p || p[sizeof(folder) - 1] < '1' || p[sizeof(folder) - 1] > '9')
			continue;
		id = strtol(p + sizeof(folder) - 1, &end, 10);
		if (*end == '-' && id <= INT_MAX)
			return (int)id;
	}
	return 0;
}

void hv_cmdline_uuid(char *const *argv, char out[HV_UUID_ROOM])
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	const char *given = "";
	bool fits = true;

	for (unsigned i = 1; argv[i] && argv[i + 1]; i++)
		if (hv_arg_is(argv[i], "uuid"))
			given = argv[++i];
	*out = '\0';
	if (strlen(given) != sizeof(form) - 1)
		return;
	for (size_t i = 0; i < sizeof(form); i++) {
		fits &= form[i] == 'x' ? isxdigit((unsigned char)given[i]) != 0
				       : given[i] == form[i];
		out[i] = (char)tolower((unsigned char)given[i]);
	}
	if (!fits)
		*out = '\0';
}

static bool own_fd(const char *arg, const char *id, char *out, size_t room)
{
	char fd[16];

	return !strcmp(id, HV_QMP_CHARDEV) && hv_opt_get(arg, "backend", "fd", fd, sizeof(fd)) &&
	       snprintf(out, room, "fd:%s", fd) > 0;
}

/* Does QEMU listen there? Where it is the client, a manager's daemon is at the other end. */
static bool listens(const char *arg, const char *implied)
{
	char v[64];

	return hv_opt_get(arg, implied, "server", v, sizeof(v)) &&
	       (!strcmp(v, "on") || !strcmp(v, "yes") || !strcmp(v, "true") || !strcmp(v, "y"));
}

/* The path of -chardev socket,id=ID,path=P,server=on; empty for other kinds (fd=, host=), but for
 * our own: whoever else handed a monitor over keeps it for himself, as libvirt does. */
static bool chardev_path(char *const *argv, const char *id, char *out, size_t room)
{
	char v[4096];

	for (unsigned i = 1; argv[i] && argv[i + 1]; i++) {
		if (!hv_arg_is(argv[i], "chardev"))
			continue;
		i++;
		if (hv_opt_get(argv[i], "backend", "id", v, sizeof(v)) && !strcmp(v, id) &&
		    hv_opt_get(argv[i], "backend", "backend", v, sizeof(v)) && !strcmp(v, "socket"))
			return (listens(argv[i], "backend") &&
				hv_opt_get(argv[i], "backend", "path", out, room)) ||
			       own_fd(argv[i], id, out, room);
	}
	return false;
}

static bool qmp_of_mon(char *const *argv, const char *arg, char *out, size_t room)
{
	char v[4096];

	if (!hv_opt_get(arg, "chardev", "mode", v, sizeof(v)) || strcmp(v, "control"))
		return false;
	return hv_opt_get(arg, "chardev", "chardev", v, sizeof(v)) &&
	       chardev_path(argv, v, out, room);
}

static bool qmp_of_arg(char *const *argv, const char *arg, char *out, size_t room)
{
	if (!strncmp(arg, "chardev:", 8))
		return chardev_path(argv, arg + 8, out, room);
	if (strncmp(arg, "unix:", 5) || !listens(arg, NULL))
		return false;
	arg += 5;
	if (!strncmp(arg, "path=", 5))
		arg += 5;
	next_part(arg, out, room);
	return *out != '\0';
}

bool hv_cmdline_qmp(char *const *argv, unsigned nth, char *out, size_t room)
{
	for (unsigned i = 1; argv[i] && argv[i + 1]; i++) {
		bool found = false;

		if (hv_arg_is(argv[i], "qmp") || hv_arg_is(argv[i], "qmp-pretty"))
			found = qmp_of_arg(argv, argv[++i], out, room);
		else if (hv_arg_is(argv[i], "mon"))
			found = qmp_of_mon(argv, argv[++i], out, room);
		if (found && nth-- == 0)
			return true;
	}
	*out = '\0';
	return false;
}
