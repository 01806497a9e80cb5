/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading /proc: a process's command line, links and memory map. root is "/proc", or a made-up
 * folder in tests. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_PROC_H
#define HV_QEMU_PROC_H

#include "common/common.h"

/* The NULL-terminated command line; one allocation, freed with free(). NULL when it is gone. */
char **hv_proc_argv(const char *root, pid_t pid);
/* Where ROOT/PID/what points to; false when it cannot be read. */
bool hv_proc_link(const char *root, pid_t pid, const char *what, char *out, size_t room);
/* The path that a UNIX socket of a process is bound to, by its descriptor; false when it has none. */
bool hv_proc_socket(const char *root, pid_t pid, int fd, char *out, size_t room);
/* The real user of a process; false when it cannot be read. */
bool hv_proc_uid(const char *root, pid_t pid, uid_t *uid);
/* Is it a QEMU system emulator, by its executable or, where that is hidden, by argv[0]? */
bool hv_proc_is_qemu(const char *root, pid_t pid, char *const *argv);

/*
 * A process's memory, opened once by whoever has the right to: with these any process can use it.
 * -1: not open.
 */
struct hv_proc_fds {
	int mem;  /* /proc/PID/mem, also to be written */
	int maps; /* /proc/PID/maps */
	int exe;  /* its program */
};
#define HV_PROC_FDS_NONE ((struct hv_proc_fds){.mem = -1, .maps = -1, .exe = -1})
int hv_proc_open(pid_t pid, struct hv_proc_fds *out) TV_MUST_CHECK;
void hv_proc_close(struct hv_proc_fds *fds);

struct hv_map { /* one line of /proc/PID/maps */
	uint64_t start, end, offset;
	bool readable, writable, shared;
	const char *path; /* "" anonymous; points into struct hv_maps */
};
struct hv_maps {
	struct hv_map *map;
	unsigned n;
	char *text;
};
int hv_maps_parse(const char *text, struct hv_maps *out) TV_MUST_CHECK;
int hv_maps_read(pid_t pid, struct hv_maps *out) TV_MUST_CHECK;
/* The same from an open /proc/PID/maps, as it is now. */
int hv_maps_read_fd(int fd, struct hv_maps *out) TV_MUST_CHECK;
void hv_maps_dispose(struct hv_maps *m);
/* Is [start, start + bytes) wholly inside readable mappings without a gap? */
bool hv_maps_cover(const struct hv_maps *m, uint64_t start, uint64_t bytes);
const struct hv_map *hv_maps_at(const struct hv_maps *m, uint64_t addr);

#endif
