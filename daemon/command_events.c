/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm events: those that are kept, oldest first, a page at a time; with `follow`, what comes then, on the
 * same connection, for as long as the other end reads it. twinvm events --ack: an operator has seen one.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FOLLOWERS 16

struct follower {
	LIST_ENTRY(follower) link;
	struct ctl *c;
	char vm[128];
};
static LIST_HEAD(follower_list, follower) followers = LIST_HEAD_INITIALIZER(followers);
static const struct events *followed; /* which they get */

static void on_closed(struct ctl *c, void *arg)
{
	struct follower *f = arg;

	LIST_REMOVE(f, link);
	ctl_free(c);
	free(f);
}

static void on_new(const json_t *o, void *arg)
{
	struct follower *f;

	(void)arg;
	LIST_FOREACH(f, &followers, link) {
		const struct events_query q = {.vm = f->vm};

		if (events_matches(o, &q))
			ctl_send(f->c, json_pack("{s:[O]}", "events", o));
	}
}

/* c gets what comes from now on. */
static int follow(struct daemon *d, struct ctl *c, const char *vm, struct tv_err *e)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_closed};
	struct follower *f;
	unsigned n = 0;

	LIST_FOREACH(f, &followers, link)
		n++;
	if (n >= MAX_FOLLOWERS || !d->events)
		return tv_fail(e, -EBUSY, "%u others follow the events of %s: no more can", n,
			       d->conf.host);
	f = calloc(1, sizeof(*f));
	if (!f)
		return tv_fail(e, -ENOMEM, "no memory");
	f->c = c;
	tv_copy(f->vm, sizeof(f->vm), vm);
	if (followed != d->events)
		events_on_new(d, on_new, NULL);
	followed = d->events;
	LIST_INSERT_HEAD(&followers, f, link);
	ctl_set_arg(c, &ops, f);
	return 0;
}

/* The VM's id, when this host knows the VM; else what was asked for, if an event has it. False: it was
 * answered that there is nothing. */
static bool find_vm(struct daemon *d, struct ctl *c, json_t *msg, const char **out)
{
	const char *what = command_text(msg, "vm", "");
	const struct events_query q = {.vm = what, .limit = 1};
	bool several;
	struct vm *vm = *what ? vm_find(d, what, &several) : NULL;
	json_t *any;

	*out = what;
	if (!*what)
		return true;
	any = events_read(d, &q, NULL);
	if (json_array_size(any)) {
		json_decref(any);
		return true;
	}
	json_decref(any);
	if (vm) {
		*out = vm->id;
		return true;
	}
	command_end(c, -ENOENT, "no VM '%s' is known to %s, and no event of one is kept", what,
		    d->conf.host);
	return false;
}

static uint64_t number(const json_t *msg, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(msg, key));

	return n > 0 ? (uint64_t)n : 0;
}

void command_events(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct events_query q = {
		.after_id = number(msg, "after_id"),
		.since_ms = (int64_t)number(msg, "since_ms"),
		.limit = number(msg, "limit") > EVENTS_LIMIT ? 0 : (unsigned)number(msg, "limit"),
		.newest = json_is_true(json_object_get(msg, "newest")),
	};
	bool more, stays = json_is_true(json_object_get(msg, "follow"));
	struct tv_err e;
	json_t *list;
	int rc;

	if (!find_vm(d, c, msg, &q.vm))
		return;
	/* Of an earlier life of this host, whose events are gone: all there are. */
	if (q.after_id > events_newest(d))
		q.after_id = 0;
	list = events_read(d, &q, &more);
	if (stays && (!more || q.newest)) {
		rc = follow(d, c, q.vm, &e);
		if (rc) {
			json_decref(list);
			command_end(c, rc, "%s", e.text);
			return;
		}
		ctl_send(c, json_pack("{so}", "events", list));
		return;
	}
	ctl_send(c, json_pack("{sb si ss sb so}", "done", 1, "rc", 0, "host", d->conf.host, "more",
			      more, "events", list));
	ctl_close_when_sent(c);
}

void command_events_ack(struct daemon *d, struct ctl *c, json_t *msg)
{
	struct tv_err e = {0};
	int rc = events_acknowledge(d, number(msg, "id"), command_text(msg, "by", ""), &e);

	command_end(c, rc, "%s", e.text);
}
