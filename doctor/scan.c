/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What carries a VM's id on this host: files in the three folders, and network devices. */
#include "doctor/doctor_int.h"

#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIGITS "0123456789"
#define HEX DIGITS "abcdef"
#define ID_CHARS 32

/*
 * The VM's id at the front of a name, with the slot's number where it has one: "ID-1" of
 * "ID-1-0.raw", "ID" of "ID-0.raw", "ID-1" of "ID-1.state". False: it has none.
 */
static bool id_of(const char *name, char id[40])
{
	size_t slot = strspn(name, HEX) == ID_CHARS ? ID_CHARS : 0, disk;

	if (!slot)
		return false;
	snprintf(id, 40, "%.32s", name);
	if (name[slot] != '-')
		return true;
	disk = slot + 1 + strspn(name + slot + 1, DIGITS);
	/* One number before .raw is the disk's. */
	if (disk > slot + 1 && disk - slot < 6 && strcmp(name + disk, ".raw") != 0)
		snprintf(id, 40, "%.*s", (int)disk, name);
	return true;
}

/* With what a folder has in it. */
static uint64_t bytes_in(const char *path, const struct stat *st)
{
	uint64_t sum = (uint64_t)st->st_blocks * 512;
	char below[1200];
	struct dirent *ent;
	struct stat in;
	DIR *dir;

	dir = S_ISDIR(st->st_mode) ? opendir(path) : NULL;
	while (dir && (ent = readdir(dir))) {
		snprintf(below, sizeof(below), "%s/%s", path, ent->d_name);
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, "..") && !lstat(below, &in))
			sum += bytes_in(below, &in);
	}
	if (dir)
		closedir(dir);
	return sum;
}

static json_t *time_text(time_t at)
{
	char text[32];
	struct tm tm;

	gmtime_r(&at, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

struct place {
	const char *kind; /* NULL: folder or file, whatever it is */
	const char *text;
};

static void add_file(json_t *items, const char *folder, const char *name, const struct place *p)
{
	char path[900], id[40], vm[33];
	struct stat st;
	bool dir;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (!id_of(name, id) || lstat(path, &st))
		return;
	snprintf(vm, sizeof(vm), "%.32s", id);
	dir = S_ISDIR(st.st_mode);
	json_array_append_new(items, json_pack("{ss ss ss ss sI so ss}", "kind",
					       dir	 ? "folder"
					       : p->kind ? p->kind
							 : "file",
					       "path", path, "vm", vm, "id", id, "bytes",
					       (json_int_t)bytes_in(path, &st), "since",
					       time_text(st.st_mtime), "text", p->text));
}

static void scan_folder(json_t *items, const char *folder, const struct place *p)
{
	DIR *dir = opendir(folder);
	struct dirent *ent;

	while (dir && (ent = readdir(dir)))
		add_file(items, folder, ent->d_name, p);
	if (dir)
		closedir(dir);
}

static void scan_state(json_t *items, const char *state_dir, const char *below,
		       const struct place *p)
{
	char folder[300];

	snprintf(folder, sizeof(folder), "%s/%s", state_dir, below);
	scan_folder(items, folder, p);
}

/* Made by twinvm: tv and six digits of the id (a tap), tb and eight (a plug queue's). */
static bool is_made_for_a_vm(const char *name)
{
	if (!strncmp(name, "tv", 2))
		return strspn(name + 2, HEX) >= 6;
	return !strncmp(name, "tb", 2) && strspn(name + 2, HEX) == 8 && name[10] == 'p';
}

static void scan_devices(json_t *items)
{
	TV_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *all = if_nameindex();

	for (struct if_nameindex *i = all; i && i->if_name; i++) {
		struct ifreq r = {0};
		bool tap = i->if_name[1] == 'v';

		if (!is_made_for_a_vm(i->if_name))
			continue;
		tv_copy(r.ifr_name, sizeof(r.ifr_name), i->if_name);
		/* A tap runs while a process has it open. */
		if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r))
			continue;
		json_array_append_new(
			items,
			json_pack("{ss ss ss ss sI sn ss sb}", "kind", "device", "path", i->if_name,
				  "vm", "", "id", "", "bytes", (json_int_t)0, "since", "text",
				  tap ? "tap of a standby, or of a VM that failed over to this host"
				      : "queue that held a VM's output",
				  "running", tap && r.ifr_flags & IFF_RUNNING));
	}
	if (all)
		if_freenameindex(all);
}

json_t *doctor_scan(const struct config *c)
{
	static const struct place
		images = {NULL, "image or state of a replica, or disk of a VM "
				"that failed over to this host"},
		run = {NULL, "sockets, log and notes of a standby, or of a VM "
			     "that failed over to this host"},
		vms = {"state", "a VM's file that twinvmd has not read"},
		kept = {"state", "note of a stopped QEMU that twinvmd has not "
				 "read"},
		gens = {"generation", "highest generation of a VM: keeps an old host of it from "
				      "running it again; of use until the VM is gone for good"};
	json_t *items = json_array();

	scan_folder(items, c->replica_dir, &images);
	scan_folder(items, c->run_dir, &run);
	scan_state(items, c->state_dir, "vms", &vms);
	scan_state(items, c->state_dir, "kept", &kept);
	scan_state(items, c->state_dir, "generations", &gens);
	scan_devices(items);
	return items;
}
