/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hv/qemu/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CMDLINE_LIMIT (1u << 20)
#define MAPS_LIMIT (64u << 20)
#define READ_BYTES (64u << 10)

char **hv_proc_argv(const char *root, pid_t pid)
{
	TV_FREE char *text = NULL;
	char path[512], **argv, *copy;
	size_t n = 0, args = 0, k = 0;

	snprintf(path, sizeof(path), "%s/%d/cmdline", root, (int)pid);
	if (tv_read_file(path, CMDLINE_LIMIT, &text, &n) || !n)
		return NULL;
	for (size_t i = 0; i < n; i++)
		args += text[i] == '\0';
	/* The last argument may lack its NUL; tv_read_file put one there. */
	args += text[n - 1] != '\0';
	argv = malloc((args + 1) * sizeof(*argv) + n + 1);
	if (!argv)
		return NULL;
	copy = (char *)(argv + args + 1);
	memcpy(copy, text, n);
	copy[n] = '\0';
	for (char *p = copy; k < args; p += strlen(p) + 1)
		argv[k++] = p;
	argv[k] = NULL;
	return argv;
}

bool hv_proc_link(const char *root, pid_t pid, const char *what, char *out, size_t room)
{
	char path[512];
	ssize_t r;

	snprintf(path, sizeof(path), "%s/%d/%s", root, (int)pid, what);
	r = readlink(path, out, room - 1);
	if (r < 0)
		return false;
	out[r] = '\0';
	return true;
}

bool hv_proc_socket(const char *root, pid_t pid, int fd, char *out, size_t room)
{
	char what[32], link[64], path[512], *save = NULL;
	TV_FREE char *text = NULL;
	unsigned long want, inode;

	snprintf(what, sizeof(what), "fd/%d", fd);
	snprintf(path, sizeof(path), "%s/%d/net/unix", root, (int)pid);
	if (!hv_proc_link(root, pid, what, link, sizeof(link)) ||
	    sscanf(link, "socket:[%lu]", &want) != 1 || tv_read_file(path, MAPS_LIMIT, &text, NULL))
		return false;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		int at = 0;

		/* Num RefCount Protocol Flags Type St Inode Path */
		if (sscanf(l, "%*s %*s %*s %*s %*s %*s %lu %n", &inode, &at) == 1 &&
		    inode == want && at && l[at] == '/')
			return tv_copy(out, room, l + at);
	}
	return false;
}

/* Not the owner of ROOT/PID: that is root for every process that may not be traced. */
bool hv_proc_uid(const char *root, pid_t pid, uid_t *uid)
{
	TV_FREE char *text = NULL;
	unsigned value;
	char path[512], *p;

	snprintf(path, sizeof(path), "%s/%d/status", root, (int)pid);
	if (tv_read_file(path, 1u << 16, &text, NULL) || !(p = strstr(text, "\nUid:")) ||
	    sscanf(p, "\nUid: %u", &value) != 1)
		return false;
	*uid = value;
	return true;
}

static bool is_qemu_name(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	return !strncmp(base, "qemu-system-", 12) || !strncmp(base, "qemu-kvm", 8) ||
	       !strcmp(base, "kvm");
}

bool hv_proc_is_qemu(const char *root, pid_t pid, char *const *argv)
{
	char exe[4096];

	if (hv_proc_link(root, pid, "exe", exe, sizeof(exe)))
		return is_qemu_name(exe);
	return argv && argv[0] && is_qemu_name(argv[0]);
}

int hv_proc_open(pid_t pid, struct hv_proc_fds *out)
{
	static const struct {
		const char *name;
		int flags;
	} files[] = {{"mem", O_RDWR}, {"maps", O_RDONLY}, {"exe", O_RDONLY}};
	int *fd[] = {&out->mem, &out->maps, &out->exe};
	char path[64];
	int rc = 0;

	*out = HV_PROC_FDS_NONE;
	for (unsigned i = 0; i < sizeof(files) / sizeof(*files) && !rc; i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i].name);
		*fd[i] = open(path, files[i].flags | O_CLOEXEC);
		rc = *fd[i] < 0 ? -errno : 0;
	}
	if (rc)
		hv_proc_close(out);
	return rc;
}

void hv_proc_close(struct hv_proc_fds *fds)
{
	tv_close_fd(&fds->mem);
	tv_close_fd(&fds->maps);
	tv_close_fd(&fds->exe);
}

static bool parse_line(char *line, struct hv_map *m)
{
	char perm[8];
	int at = 0;

	*m = (struct hv_map){0};
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &m->start, &m->end,
		   perm, &m->offset, &at) < 4 ||
	    !at || m->end <= m->start)
		return false;
	m->readable = perm[0] == 'r';
	m->writable = perm[1] == 'w';
	m->shared = perm[3] == 's';
	m->path = line + at;
	return true;
}

int hv_maps_parse(const char *text, struct hv_maps *out)
{
	unsigned lines = 1;
	char *p, *next;

	*out = (struct hv_maps){0};
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	out->text = strdup(text);
	out->map = calloc(lines, sizeof(*out->map));
	if (!out->text || !out->map) {
		hv_maps_dispose(out);
		return -ENOMEM;
	}
	for (p = out->text; p && *p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		if (parse_line(p, &out->map[out->n]))
			out->n++;
	}
	return 0;
}

int hv_maps_read(pid_t pid, struct hv_maps *out)
{
	TV_FREE char *text = NULL;
	char path[64];
	int rc;

	*out = (struct hv_maps){0};
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	rc = tv_read_file(path, MAPS_LIMIT, &text, NULL);
	return rc ? rc : hv_maps_parse(text, out);
}

int hv_maps_read_fd(int fd, struct hv_maps *out)
{
	struct tv_buf text;
	int rc = 0;

	*out = (struct hv_maps){0};
	tv_buf_init(&text, MAPS_LIMIT);
	while (!rc) {
		ssize_t r;

		rc = tv_buf_reserve(&text, READ_BYTES);
		if (rc)
			break;
		r = pread(fd, text.data + text.bytes, READ_BYTES, (off_t)text.bytes);
		if (r < 0 && errno != EINTR)
			rc = -errno;
		if (r == 0)
			break;
		text.bytes += r > 0 ? (size_t)r : 0;
	}
	if (!rc)
		rc = tv_buf_add(&text, "", 1);
	if (!rc)
		rc = hv_maps_parse((char *)text.data, out);
	tv_buf_dispose(&text);
	return rc;
}

void hv_maps_dispose(struct hv_maps *m)
{
	free(m->map);
	free(m->text);
	*m = (struct hv_maps){0};
}

const struct hv_map *hv_maps_at(const struct hv_maps *m, uint64_t addr)
{
	for (unsigned i = 0; i < m->n; i++)
		if (addr >= m->map[i].start && addr < m->map[i].end)
			return &m->map[i];
	return NULL;
}

bool hv_maps_cover(const struct hv_maps *m, uint64_t start, uint64_t bytes)
{
	uint64_t end = start + bytes;

	if (end < start)
		return false;
	while (start < end) {
		const struct hv_map *v = hv_maps_at(m, start);

		if (!v || !v->readable)
			return false;
		start = v->end;
	}
	return true;
}
