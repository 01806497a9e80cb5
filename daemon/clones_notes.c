/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a test failover the next daemon must find: a note in run_dir, which is gone when the host has been
 * started again, as its processes are; images in state_dir, which are not.
 */
#include "daemon/clones_int.h"
#include "daemon/cluster.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "test-"
#define ID_BYTES 32
#define NOTE_BYTES 4096

double clones_lag(const struct clone_test *t)
{
	json_t *list = cluster_json(t->d);
	double lag_ms = clones_lag_of(list, t->order.vm_id);

	json_decref(list);
	return lag_ms;
}

static void path_of(const struct config *c, const char *vm_id, char *out, size_t room)
{
	struct clone_names n;

	clone_names(c, vm_id, &n);
	snprintf(out, room, "%s.json", n.dir);
}

void clones_note(const struct clone_test *t)
{
	json_t *o = json_pack("{ss si sI sI sI}", "vm", t->order.vm, "pid", (int)t->world.pid,
			      "start", (json_int_t)t->world.start_ticks, "net",
			      (json_int_t)t->world.net, "pids", (json_int_t)t->world.pids);
	TV_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	char path[300];
	int rc;

	json_decref(o);
	path_of(&t->d->conf, t->order.vm_id, path, sizeof(path));
	rc = text ? tv_write_file(path, text, strlen(text)) : 0;
	if (rc)
		tv_log(TV_WARN, "%s: no note of its test failover: %s: %s", t->order.vm, path,
		       tv_strerror(rc));
}

void clones_note_remove(const struct clone_test *t)
{
	char path[300];

	path_of(&t->d->conf, t->order.vm_id, path, sizeof(path));
	(void)unlink(path);
}

static uint64_t number_of(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

static void read_note(const struct config *c, const char *vm_id, char *name, size_t room,
		      struct clone_world *w)
{
	TV_FREE char *text = NULL;
	char path[300];
	json_t *o = NULL;

	path_of(c, vm_id, path, sizeof(path));
	if (!tv_read_file(path, NOTE_BYTES, &text, NULL))
		o = json_loads(text, 0, NULL);
	*w = (struct clone_world){.pid = (pid_t)number_of(o, "pid"),
				  .start_ticks = number_of(o, "start"),
				  .net = number_of(o, "net"),
				  .pids = number_of(o, "pids")};
	if (!tv_copy(name, room, json_string_value(json_object_get(o, "vm"))) || !*name)
		tv_copy(name, room, vm_id);
	json_decref(o);
}

/* test-ID, whatever follows. */
static bool is_ours(const char *file, char id[ID_BYTES + 1])
{
	const char *at = file + strlen(MARK);

	return !strncmp(file, MARK, strlen(MARK)) && strspn(at, "0123456789abcdef") == ID_BYTES &&
	       tv_copy_n(id, ID_BYTES + 1, at, ID_BYTES);
}

static void each_in(struct daemon *d, const char *folder,
		    void (*cb)(struct daemon *d, const char *vm_id, const char *name,
			       const struct clone_world *w))
{
	DIR *dir = opendir(folder);
	struct dirent *de;

	while (dir && (de = readdir(dir))) {
		char id[ID_BYTES + 1], name[128];
		struct clone_world w;

		if (!is_ours(de->d_name, id))
			continue;
		read_note(&d->conf, id, name, sizeof(name), &w);
		cb(d, id, name, &w);
	}
	if (dir)
		closedir(dir);
}

void clones_each_noted(struct daemon *d, void (*cb)(struct daemon *d, const char *vm_id,
						    const char *name, const struct clone_world *w))
{
	struct clone_names n;

	clone_names(&d->conf, "", &n);
	each_in(d, d->conf.run_dir, cb);
	each_in(d, n.images, cb);
}
