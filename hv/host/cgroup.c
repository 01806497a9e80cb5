/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A group twinvm/NAME for each VM, at the top of the hierarchy: the service manager, which owns the
 * group that the daemon is in, ends what is there when it stops the daemon, and a VM must outlive
 * it. Version 2 is taken where it has a memory controller for us, else version 1.
 */
#include "hv/host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "twinvm"

static int put(const char *dir, const char *file, const char *text)
{
	char path[512];
	TV_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/*
 * Where a hierarchy is mounted: of the type, and with the word among its options (NULL: any). The
 * nth of several: another file system may be mounted over one.
 */
static bool find_mount(const char *mountinfo, const char *type, const char *word, unsigned nth,
		       char *out, size_t room)
{
	TV_FREE char *text = NULL;
	char *save = NULL;

	if (tv_read_file(mountinfo, 1u << 20, &text, NULL))
		return false;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char point[256], kind[32], options[256];
		char *rest = strstr(l, " - "), *p, *save2 = NULL;

		if (!rest || sscanf(l, "%*s %*s %*s %*s %255s", point) != 1 ||
		    sscanf(rest, " - %31s %*s %255s", kind, options) != 2 || strcmp(kind, type))
			continue;
		for (p = strtok_r(options, ",", &save2); word && p && strcmp(p, word);)
			p = strtok_r(NULL, ",", &save2);
		if ((!word || p) && nth-- == 0)
			return tv_copy(out, room, point);
	}
	return false;
}

/* Groups in which no process is any more; the kernel refuses the others. */
static void remove_old(const char *folder)
{
	struct dirent *de;
	DIR *d = opendir(folder);

	while (d && (de = readdir(d)))
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			(void)unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR);
	if (d)
		closedir(d);
}

static int make(const char *mount, const char *name, char path[256])
{
	char folder[256];

	if (snprintf(folder, sizeof(folder), "%s/" FOLDER, mount) >= (int)sizeof(folder) ||
	    snprintf(path, 256, "%s/%s", folder, name) >= 256)
		return -ENAMETOOLONG;
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -errno;
	remove_old(folder);
	return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

/* One hierarchy, one file with a limit. */
static int make_v1(const char *mountinfo, const char *controller, const char *name,
		   const char *file, const char *limit, struct hv_host_cgroup *out)
{
	char mount[256];
	int rc = -EOPNOTSUPP;

	for (unsigned i = 0;
	     rc && find_mount(mountinfo, "cgroup", controller, i, mount, sizeof(mount)); i++) {
		rc = make(mount, name, out->paths[out->n]);
		if (!rc && (rc = put(out->paths[out->n], file, limit)))
			rmdir(out->paths[out->n]);
	}
	out->n += !rc;
	return rc;
}

static int make_v2_at(const char *mount, const char *name, const char *memory,
		      const char *processes, struct hv_host_cgroup *out)
{
	char folder[280];
	int rc;

	snprintf(folder, sizeof(folder), "%s/" FOLDER, mount);
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -errno;
	/* They may be on, and may not be there: the limits' files show it. */
	for (unsigned i = 0; i < 2; i++) {
		(void)!put(i ? folder : mount, "cgroup.subtree_control", "+memory");
		(void)!put(i ? folder : mount, "cgroup.subtree_control", "+pids");
	}
	rc = make(mount, name, out->paths[0]);
	if (!rc)
		rc = put(out->paths[0], "memory.max", memory);
	if (!rc)
		rc = put(out->paths[0], "pids.max", processes);
	if (rc) {
		rmdir(out->paths[0]);
		rmdir(folder);
	} else {
		out->n = 1;
	}
	return rc;
}

static int make_v2(const char *mountinfo, const char *name, const char *memory,
		   const char *processes, struct hv_host_cgroup *out)
{
	char mount[256];
	int rc = -EOPNOTSUPP;

	for (unsigned i = 0; rc && find_mount(mountinfo, "cgroup2", NULL, i, mount, sizeof(mount));
	     i++)
		rc = make_v2_at(mount, name, memory, processes, out);
	return rc;
}

int hv_host_cgroup_new(const char *mountinfo, const char *name, uint64_t memory_bytes,
		       unsigned processes, struct hv_host_cgroup *out)
{
	char memory[32], count[16];
	int rc;

	*out = (struct hv_host_cgroup){.n = 0};
	if (!*name || strchr(name, '/') || *name == '.')
		return -EINVAL;
	snprintf(memory, sizeof(memory), "%" PRIu64, memory_bytes);
	snprintf(count, sizeof(count), "%u", processes);
	rc = make_v2(mountinfo, name, memory, count, out);
	if (!rc)
		return 0;
	rc = make_v1(mountinfo, "memory", name, "memory.limit_in_bytes", memory, out);
	/* Without this one the other limit is still of use. */
	if (!rc)
		(void)!make_v1(mountinfo, "pids", name, "pids.max", count, out);
	return rc;
}

int hv_host_cgroup_add(const struct hv_host_cgroup *g, pid_t pid)
{
	char text[16];
	int rc = 0;

	snprintf(text, sizeof(text), "%d", (int)pid);
	for (unsigned i = 0; i < g->n && !rc; i++)
		rc = put(g->paths[i], "cgroup.procs", text);
	return rc;
}

static const struct {
	const char *type, *word;
} kinds[] = {{"cgroup2", NULL}, {"cgroup", "memory"}, {"cgroup", "pids"}};

bool hv_host_cgroup_there(const char *mountinfo, const char *name)
{
	char mount[256], path[600];

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		for (unsigned k = 0;
		     find_mount(mountinfo, kinds[i].type, kinds[i].word, k, mount, sizeof(mount));
		     k++) {
			snprintf(path, sizeof(path), "%s/" FOLDER "/%s", mount, name);
			if (!access(path, F_OK))
				return true;
		}
	return false;
}

void hv_host_cgroup_remove(const char *mountinfo, const char *name)
{
	char mount[256], path[600];

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		for (unsigned k = 0;
		     find_mount(mountinfo, kinds[i].type, kinds[i].word, k, mount, sizeof(mount));
		     k++) {
			snprintf(path, sizeof(path), "%s/" FOLDER "/%s", mount, name);
			rmdir(path);
			snprintf(path, sizeof(path), "%s/" FOLDER, mount);
			rmdir(path); /* the last one's */
		}
	}
}
