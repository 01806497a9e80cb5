/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the daemon says. A snapshot comes in pieces: "snapshot" with all but the VMs, "vm" for each
 * of them, "self" and "other" with what this host and the others know, "end"; only a whole one takes the place of the last. Each piece is a line, which bounds
 * it.
 */
#include "web/feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_VMS 4096
#define IDLE_NS (2 * TV_NS_PER_S)  /* between two snapshots while nobody looks: daemon/web.c */
#define LOOKS_NS (5 * TV_NS_PER_S) /* the same */
#define AGAIN_NS TV_NS_PER_S

struct feed {
	struct ctl *c;
	struct feed_ops ops;
	void *arg;
	json_t *whole, *coming;
	int64_t whole_ns;
	int64_t looks_ns; /* when the daemon got the last report that somebody looks */
	uint64_t number;
};

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	const char *op = json_string_value(json_object_get(msg, "op"));
	struct feed *f = arg;
	json_t *vms, *vm;

	(void)c;
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (!op)
		return;
	if (!strcmp(op, "snapshot")) {
		json_decref(f->coming);
		f->coming = json_copy(msg);
		json_object_del(f->coming, "op");
		json_object_set_new(f->coming, "vms", json_array());
		json_object_set_new(f->coming, "others", json_array());
	} else if (!strcmp(op, "vm") && f->coming) {
		vms = json_object_get(f->coming, "vms");
		vm = json_object_get(msg, "vm");
		if (json_array_size(vms) < MAX_VMS && !json_array_append(vms, vm))
			json_object_set(vm, "tally", json_object_get(msg, "tally"));
	} else if (!strcmp(op, "self") && f->coming) {
		json_object_set(f->coming, "self", json_object_get(msg, "view"));
	} else if (!strcmp(op, "other") && f->coming) {
		json_array_append(json_object_get(f->coming, "others"),
				  json_object_get(msg, "other"));
	} else if (!strcmp(op, "end") && f->coming) {
		json_decref(f->whole);
		f->whole = f->coming;
		f->coming = NULL;
		f->whole_ns = tv_now_ns();
		f->number++;
		if (f->ops.snapshot)
			f->ops.snapshot(f->arg);
		ctl_send(f->c, json_pack("{ss}", "op", "seen"));
	} else if (!strcmp(op, "event") && f->ops.event) {
		f->ops.event(json_object_get(msg, "event"), f->arg);
	}
}

static void on_closed(struct ctl *c, void *arg)
{
	struct feed *f = arg;

	(void)c;
	f->ops.closed(f->arg);
}

int feed_new(struct event_base *base, int fd, const struct feed_ops *ops, void *arg,
	     struct feed **out)
{
	static const struct ctl_ops ctl = {on_message, on_closed};
	struct feed *f = calloc(1, sizeof(*f));

	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	*f = (struct feed){.ops = *ops, .arg = arg};
	*out = f;
	return ctl_new(base, fd, &ctl, f, &f->c);
}

json_t *feed_snapshot(const struct feed *f)
{
	return f->whole;
}

uint64_t feed_number(const struct feed *f)
{
	return f->number;
}

int64_t feed_age_ns(const struct feed *f)
{
	return f->whole ? tv_now_ns() - f->whole_ns : INT64_MAX;
}

bool feed_is_stale(const struct feed *f)
{
	bool looks = f->looks_ns && tv_now_ns() - f->looks_ns < LOOKS_NS;

	return feed_age_ns(f) > FEED_STALE_NS + (looks ? 0 : IDLE_NS);
}

void feed_look(struct feed *f)
{
	int64_t now_ns = tv_now_ns();

	if (f->looks_ns && now_ns - f->looks_ns < AGAIN_NS)
		return;
	f->looks_ns = now_ns;
	ctl_send(f->c, json_pack("{ss}", "op", "looks"));
}

void feed_hand_over(struct feed *f, int fd)
{
	ctl_send_fds(f->c, json_pack("{ss}", "op", "command"), &fd, 1);
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	ctl_free(f->c);
	json_decref(f->whole);
	json_decref(f->coming);
	free(f);
}
