/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/session/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum kind { TEXT, INT, U64, PORT, PID };
static const struct field {
	const char *name;
	enum kind kind;
	size_t offset, room;
} fields[] = {
#define T(f)                                                                    \
	{                                                                       \
#f, TEXT, offsetof(struct job, f), sizeof(((struct job *)0)->f) \
	}
#define F(f, k)                                   \
	{                                         \
#f, k, offsetof(struct job, f), 0 \
	}
	T(conf.path),
	T(vm_id),
	T(vm_name),
	T(vm_qmp),
	T(peer_name),
	T(peer_host),
	T(mode),
	T(arbiter),
	T(session),
	F(vm_pid, PID),
	F(vm_start_ticks, U64),
	F(peer_port, PORT),
	F(epoch_ms, INT),
	F(generation, U64),
};
#define FIELDS (sizeof(fields) / sizeof(*fields))

char *job_to_text(const struct job *j)
{
	json_t *o = json_object();
	char *text;

	for (size_t i = 0; i < FIELDS; i++) {
		const struct field *f = &fields[i];
		const void *p = (const char *)j + f->offset;
		json_t *v = NULL;

		switch (f->kind) {
		case TEXT:
			v = json_string(p);
			break;
		case INT:
			v = json_integer(*(const int *)p);
			break;
		case U64:
			v = json_integer((json_int_t) * (const uint64_t *)p);
			break;
		case PORT:
			v = json_integer(*(const uint16_t *)p);
			break;
		case PID:
			v = json_integer(*(const pid_t *)p);
			break;
		}
		json_object_set_new(o, f->name, v);
	}
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

static int set_field(struct job *j, const struct field *f, const json_t *v)
{
	void *p = (char *)j + f->offset;
	json_int_t n = json_integer_value(v);

	if (f->kind == TEXT) {
		if (!json_is_string(v) || json_string_length(v) >= f->room)
			return -EINVAL;
		snprintf(p, f->room, "%s", json_string_value(v));
		return 0;
	}
	if (!json_is_integer(v) || n < 0)
		return -EINVAL;
	switch (f->kind) {
	case INT:
		*(int *)p = (int)n;
		break;
	case U64:
		*(uint64_t *)p = (uint64_t)n;
		break;
	case PORT:
		*(uint16_t *)p = (uint16_t)n;
		break;
	case PID:
		*(pid_t *)p = (pid_t)n;
		break;
	case TEXT:
		break;
	}
	return 0;
}

int job_from_text(const char *text, struct job *j, struct tv_err *e)
{
	json_t *o = json_loads(text, 0, NULL);
	int rc = 0;

	memset(j, 0, sizeof(*j));
	for (size_t i = 0; i < FIELDS && !rc; i++)
		if (set_field(j, &fields[i], json_object_get(o, fields[i].name)))
			rc = tv_fail(e, -EINVAL, "job: field '%s' is wrong", fields[i].name);
	json_decref(o);
	if (!rc) {
		char path[sizeof(j->conf.path)];

		snprintf(path, sizeof(path), "%s", j->conf.path);
		rc = config_load(path, &j->conf, e);
	}
	return rc;
}

void job_claim(const struct job *j, struct fo_claim *c)
{
	*c = (struct fo_claim){.generation = j->generation};
	snprintf(c->vm_id, sizeof(c->vm_id), "%s", j->vm_id);
	snprintf(c->self, sizeof(c->self), "%s", j->conf.host);
	snprintf(c->peer, sizeof(c->peer), "%s", j->peer_name);
	snprintf(c->session, sizeof(c->session), "%s", j->session);
}

int job_dir(const struct config *c, const char *vm_id, char *out, size_t room)
{
	if (snprintf(out, room, "%s/%s", c->run_dir, vm_id) >= (int)room)
		return -ENAMETOOLONG;
	return tv_mkdirs(out);
}

struct report {
	struct event_base *base;
	char path[108];
	struct report_ops ops;
	struct ctl *ctl;
	struct event *retry;
};

static void try_connect(evutil_socket_t fd, short what, void *arg);

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct report *r = arg;

	(void)c;
	(void)fds;
	(void)n;
	r->ops.message(r, msg, r->ops.arg);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct report *r = arg;
	struct timeval soon = {0, 200000};

	ctl_free(c);
	r->ctl = NULL;
	tv_log(TV_WARN, "twinvmd is gone; going on without it until it is back");
	event_add(r->retry, &soon);
}

static void try_connect(evutil_socket_t fd, short what, void *arg)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct timeval soon = {0, 200000};
	struct report *r = arg;

	(void)fd;
	(void)what;
	if (ctl_connect(r->base, r->path, &ops, r, &r->ctl, NULL)) {
		event_add(r->retry, &soon);
		return;
	}
	r->ops.connected(r, r->ops.arg);
}

int report_new(struct event_base *base, const char *socket_path, const struct report_ops *ops,
	       struct report **out)
{
	struct report *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	*r = (struct report){.base = base, .ops = *ops};
	snprintf(r->path, sizeof(r->path), "%s", socket_path);
	r->retry = event_new(base, -1, 0, try_connect, r);
	if (!r->retry) {
		free(r);
		return -ENOMEM;
	}
	*out = r;
	event_active(r->retry, EV_TIMEOUT, 0);
	return 0;
}

void report_send_fds(struct report *r, json_t *msg, const int *fds, unsigned n)
{
	if (r->ctl)
		ctl_send_fds(r->ctl, msg, fds, n);
	else
		json_decref(msg);
}

void report_send(struct report *r, json_t *msg)
{
	report_send_fds(r, msg, NULL, 0);
}

void report_flush(struct report *r)
{
	if (r->ctl)
		ctl_flush(r->ctl, 1000);
}

void report_free(struct report *r)
{
	if (!r)
		return;
	event_free(r->retry);
	ctl_free(r->ctl);
	free(r);
}

void job_raise_priority(void)
{
	/* Without the right to do so it works all the same, only less punctually under load. */
	if (setpriority(PRIO_PROCESS, 0, -15))
		tv_log(TV_DEBUG, "setpriority: %s", strerror(errno));
}
