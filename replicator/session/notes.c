/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What twinvmd believes about a standby: see notes.h. */
#include "replicator/session/notes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_BYTES 256

static void path_of(const char *dir, const char *kind, char out[300])
{
	snprintf(out, 300, "%s.%s", dir, kind);
}

/* One short write, not synced: a promotion waits for it. */
static int put(const char *dir, const char *kind, const char *text)
{
	char path[300];
	TV_CLOSE int fd = -1;

	path_of(dir, kind, path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : tv_write_all(fd, text, strlen(text));
}

static bool get(const char *dir, const char *kind, char text[NOTE_BYTES])
{
	char path[300];
	TV_CLOSE int fd = -1;
	struct stat st;
	ssize_t n;

	path_of(dir, kind, path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return false;
	n = read(fd, text, NOTE_BYTES - 1);
	if (n <= 0 || text[n - 1] != '\n')
		return false;
	text[n - 1] = '\0';
	return true;
}

int standby_note(const char *dir, const struct standby_note *n)
{
	char text[NOTE_BYTES];

	snprintf(text, sizeof(text), "%d %" PRIu64 " %s\n", (int)n->pid, n->start_ticks, n->qmp);
	return put(dir, "standby", text);
}

bool standby_noted(const char *dir, struct standby_note *out)
{
	char text[NOTE_BYTES];
	int pid, end = 0;

	*out = (struct standby_note){0};
	if (!get(dir, "standby", text) ||
	    sscanf(text, "%d %" SCNu64 " %n", &pid, &out->start_ticks, &end) != 2 || !end ||
	    pid <= 0 || !tv_copy(out->qmp, sizeof(out->qmp), text + end))
		return false;
	out->pid = pid;
	return true;
}

int promotion_note(const char *dir, uint64_t generation)
{
	char text[NOTE_BYTES];

	snprintf(text, sizeof(text), "%" PRIu64 "\n", generation);
	return put(dir, "promoted", text);
}

uint64_t promotion_noted(const char *dir)
{
	char text[NOTE_BYTES];

	return get(dir, "promoted", text) ? strtoull(text, NULL, 10) : 0;
}

static void start_path(const char *run_dir, const char *uuid, char out[300])
{
	snprintf(out, 300, "%.200s/start-%.36s", run_dir, uuid);
}

int start_note(const char *run_dir, const char *uuid)
{
	char path[300], text[NOTE_BYTES];

	if (strlen(uuid) != 36 || strspn(uuid, "0123456789abcdef-") != 36)
		return -EINVAL;
	start_path(run_dir, uuid, path);
	snprintf(text, sizeof(text), "%d %" PRIu64 "\n", (int)getpid(),
		 tv_pid_start_ticks(getpid()));
	return put(path, "note", text);
}

void start_note_end(const char *run_dir, const char *uuid)
{
	char dir[300], path[300];

	start_path(run_dir, uuid, dir);
	path_of(dir, "note", path);
	unlink(path);
}

bool start_noted(const char *run_dir, const char *uuid)
{
	char path[300], text[NOTE_BYTES];
	uint64_t start_ticks;
	int pid;

	start_path(run_dir, uuid, path);
	return get(path, "note", text) && sscanf(text, "%d %" SCNu64, &pid, &start_ticks) == 2 &&
	       pid > 0 && tv_pid_start_ticks(pid) == start_ticks;
}

static bool is_own(const char *path, const char *uuid)
{
	json_t *o = json_load_file(path, 0, NULL);
	const char *its = json_string_value(json_object_get(o, "uuid"));
	bool own = json_is_true(json_object_get(o, "own")) && its && !strcmp(its, uuid);

	json_decref(o);
	return own;
}

bool own_noted(const char *state_dir, const char *uuid)
{
	char folder[256], path[600];
	struct dirent *de;
	bool own = false;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%.200s/elsewhere", state_dir);
	dir = opendir(folder);
	while (!own && dir && (de = readdir(dir))) {
		size_t n = strlen(de->d_name);

		snprintf(path, sizeof(path), "%s/%s", folder, de->d_name);
		own = n == 37 && !strcmp(de->d_name + 32, ".json") && is_own(path, uuid);
	}
	if (dir)
		closedir(dir);
	return own;
}

void notes_forget(const char *dir)
{
	char path[300];

	path_of(dir, "standby", path);
	unlink(path);
	path_of(dir, "promoted", path);
	unlink(path);
}
