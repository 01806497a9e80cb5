/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small files of state_dir, from which the next daemon knows what this one knew. What a promise
 * depends on is written before the promise is made, or it is not made (durable_write). What has
 * happened already, on a disk that is full or read-only now, is kept in memory, tried again until
 * it is written, and shown by status meanwhile (durable_write_later, durable_remove).
 *
 * Bounded: one entry for each path, and a VM has at most four of them.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_NS (2 * TV_NS_PER_S)

struct unwritten {
	LIST_ENTRY(unwritten) link;
	char path[300];
	char *text; /* NULL: to be removed */
	int rc;	    /* of the last try */
};

static struct unwritten *find(const struct daemon *d, const char *path)
{
	struct unwritten *u;

	LIST_FOREACH(u, &d->unwritten, link)
		if (!strcmp(u->path, path))
			return u;
	return NULL;
}

/* Done at last. */
static void drop(struct daemon *d, struct unwritten *u, const char *what)
{
	events_add(d, EVENTS_STATE_WRITTEN, NULL, json_pack("{so}", "path", events_text(u->path)),
		   "%s is %s now", u->path, what);
	LIST_REMOVE(u, link);
	free(u->text);
	free(u);
}

/* text: NULL: the file is to go. */
static int carry_out(const char *path, const char *text)
{
	int rc;

	if (text)
		return tv_write_file(path, text, strlen(text));
	/* A file system that is read-only refuses before it looks. */
	rc = unlink(path) ? -errno : tv_sync_folder_of(path);
	return rc && access(path, F_OK) ? 0 : rc;
}

static void arm(struct daemon *d);

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct unwritten *u, *next;

	(void)fd;
	(void)what;
	for (u = LIST_FIRST(&d->unwritten); u; u = next) {
		next = LIST_NEXT(u, link);
		u->rc = carry_out(u->path, u->text);
		if (!u->rc)
			drop(d, u, u->text ? "written" : "removed");
	}
	if (!LIST_EMPTY(&d->unwritten))
		arm(d);
}

static void arm(struct daemon *d)
{
	struct timeval tv = tv_timeval(AGAIN_NS);

	if (!d->write_again)
		d->write_again = evtimer_new(d->base, on_again, d);
	event_add(d->write_again, &tv);
}

static void remember(struct daemon *d, const char *path, const char *text, int rc)
{
	struct unwritten *u = find(d, path);

	if (!u) {
		u = calloc(1, sizeof(*u));
		if (!u)
			abort(); /* as vm_new */
		tv_copy(u->path, sizeof(u->path), path);
		LIST_INSERT_HEAD(&d->unwritten, u, link);
		events_add(d, EVENTS_STATE_UNWRITTEN, NULL,
			   json_pack("{so si}", "path", events_text(path), "rc", rc),
			   "%s cannot be %s: %s; tried again until it can: a restart of twinvmd "
			   "before would not know of it",
			   path, text ? "written" : "removed", tv_strerror(rc));
	}
	free(u->text);
	u->text = text ? strdup(text) : NULL;
	if (text && !u->text)
		abort();
	u->rc = rc;
	arm(d);
}

int durable_write(struct daemon *d, const char *path, const char *text, struct tv_err *e)
{
	int rc = carry_out(path, text);
	struct unwritten *u = find(d, path);

	if (rc)
		return tv_fail(e, rc,
			       "%s on %s cannot be written (%s): make room there, or mount it "
			       "writable",
			       path, d->conf.host, tv_strerror(rc));
	if (u)
		drop(d, u, "written");
	return 0;
}

void durable_write_later(struct daemon *d, const char *path, const char *text)
{
	struct tv_err e;
	int rc = durable_write(d, path, text, &e);

	if (rc)
		remember(d, path, text, rc);
}

int durable_remove(struct daemon *d, const char *path, struct tv_err *e)
{
	int rc = carry_out(path, NULL);
	struct unwritten *u = find(d, path);

	if (rc) {
		remember(d, path, NULL, rc);
		return tv_fail(e, rc, "%s on %s cannot be removed (%s)", path, d->conf.host,
			       tv_strerror(rc));
	}
	if (u)
		drop(d, u, "removed");
	return 0;
}

const char *durable_unwritten(const struct daemon *d, const char *path)
{
	const struct unwritten *u = find(d, path);

	return u ? u->text : NULL;
}

void durable_warning(const struct daemon *d, char *out, size_t room)
{
	const struct unwritten *u = LIST_FIRST(&d->unwritten);

	out[0] = 0;
	if (u)
		snprintf(out, room,
			 "%s on %s cannot be %s (%s): make room there, or mount it writable; until "
			 "then a restart of twinvmd would not know the state of this host's VMs",
			 u->path, d->conf.host, u->text ? "written" : "removed",
			 tv_strerror(u->rc));
}
