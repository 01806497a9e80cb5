/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose is it? By the VMs that twinvmd knows, and by the processes of this host. */
#include "doctor/doctor_int.h"
#include "netbuffer/netbuffer.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAMES_BYTES 65536

/* The names that a VM of twinvmd's has here; slot -1: none but its id. */
static void names_of(json_t *vm, struct slot_names *out)
{
	const char *id = json_string_value(json_object_get(vm, "id"));
	json_int_t slot = json_integer_value(json_object_get(vm, "slot"));

	slot_names(id ? id : "", slot < 0 ? 0 : (unsigned)slot, out);
	if (slot < 0)
		out->tap_prefix[0] = 0;
}

static bool any(json_t *facts, bool (*is)(json_t *vm, const char *name), const char *name)
{
	static const char *const lists[] = {"vms", "kept"};
	json_t *vm;
	size_t i;

	for (size_t l = 0; l < 2; l++)
		json_array_foreach(json_object_get(facts, lists[l]), i, vm)
			if (is(vm, name))
				return true;
	return false;
}

static bool has_id(json_t *vm, const char *name)
{
	struct slot_names n;

	names_of(vm, &n);
	return !strcmp(n.id, name);
}

/* A tap's name is its prefix and a number. A plug queue's device has digits of the id itself. */
static bool has_device(json_t *vm, const char *name)
{
	const char *id = json_string_value(json_object_get(vm, "id"));
	struct slot_names n;
	size_t len;

	names_of(vm, &n);
	len = strlen(n.tap_prefix);
	if (len && !strncmp(name, n.tap_prefix, len) && name[len] &&
	    strspn(name + len, "0123456789") == strlen(name + len))
		return true;
	return id && !strncmp(name, "tb", 2) && !strncmp(name + 2, id, NB_PLUG_ID_DIGITS);
}

static bool is_vm(json_t *vm, const char *vm_id)
{
	const char *id = json_string_value(json_object_get(vm, "id"));

	return id && !strcmp(id, vm_id);
}

bool doctor_is_known(json_t *facts, const char *id)
{
	return any(facts, has_id, id);
}

bool doctor_is_known_device(json_t *facts, const char *name)
{
	return any(facts, has_device, name);
}

bool doctor_is_known_vm(json_t *facts, const char *vm_id)
{
	return any(facts, is_vm, vm_id);
}

/* ---- processes ---- */
static bool has_argument(const char *proc, const char *path)
{
	TV_FREE char *text = NULL;
	char file[64];
	size_t n;

	snprintf(file, sizeof(file), "/proc/%s/cmdline", proc);
	return !tv_read_file(file, NAMES_BYTES, &text, &n) && memmem(text, n, path, strlen(path));
}

static bool has_open(const char *proc, const char *path)
{
	char folder[64], link[350], target[1024];
	size_t len = strlen(path);
	struct dirent *ent;
	bool found = false;
	DIR *dir;

	snprintf(folder, sizeof(folder), "/proc/%s/fd", proc);
	dir = opendir(folder);
	while (!found && dir && (ent = readdir(dir))) {
		ssize_t n;

		snprintf(link, sizeof(link), "%s/%s", folder, ent->d_name);
		n = readlink(link, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = 0;
		found = !strncmp(target, path, len) && (!target[len] || target[len] == '/');
	}
	if (dir)
		closedir(dir);
	return found;
}

static void name_of(const char *proc, char command[32])
{
	TV_FREE char *text = NULL;
	char file[64];

	command[0] = 0;
	snprintf(file, sizeof(file), "/proc/%s/comm", proc);
	if (!tv_read_file(file, 64, &text, NULL))
		snprintf(command, 32, "%.*s", (int)strcspn(text, "\n"), text);
}

pid_t doctor_user_of(const char *path, char command[32])
{
	DIR *dir = opendir("/proc");
	struct dirent *ent;
	pid_t pid = 0;

	while (!pid && dir && (ent = readdir(dir))) {
		pid_t this = (pid_t)atoi(ent->d_name);

		if (this <= 0 || this == getpid() ||
		    (!has_argument(ent->d_name, path) && !has_open(ent->d_name, path)))
			continue;
		pid = this;
		name_of(ent->d_name, command);
	}
	if (dir)
		closedir(dir);
	return pid;
}
