/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that another host passes on. What comes is that host's word, not an operator's: it gets a few
 * commands, for VMs whose other host it is, in the role that the command needs here, with options of the
 * right kind and no others. The command is made anew of them and carried out as this host's own, which knows
 * by `passed_by` that it is not to be passed on again. A probe that a peer names is built in or of this
 * host's configuration: no text of a peer reaches a shell.
 */
#include "clone/clone.h"
#include "daemon/commands.h"
#include "daemon/drills.h"
#include "daemon/passing.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OF_HOST 8
#define MAX_TEXT_BYTES 256

enum kind { BOOL, INT, NUMBER, TEXT, PROBES };
struct arg {
	const char *name;
	enum kind kind;
};
#define MAX_ARGS 11
static const struct passable {
	const char *op;
	enum session_role role; /* of this host */
	struct arg args[MAX_ARGS + 1];
} passable[] = {
	{"ready", SESSION_BACKUP, {{NULL, BOOL}}},
	{"test-failover",
	 SESSION_BACKUP,
	 {{"stop", BOOL},
	  {"keep", BOOL},
	  {"wait", BOOL},
	  {"for_s", INT},
	  {"probe_s", INT},
	  {"disk_mib", INT},
	  {"guest", TEXT},
	  {"address", TEXT},
	  {"note", TEXT},
	  {"probes", PROBES}}},
	{"verify", SESSION_PRIMARY, {{"rate_mb_s", NUMBER}, {"repair", BOOL}}},
	{"drill", SESSION_PRIMARY, {{"ping", TEXT}, {"note", TEXT}, {"wait", BOOL}}},
};
#define PASSABLE (sizeof(passable) / sizeof(*passable))

json_t *passed_taken(const struct daemon *d)
{
	json_t *to = json_array();

	for (size_t i = 0; d->conf.peer_commands && i < PASSABLE; i++)
		(void)!json_array_append_new(to, json_string(passable[i].op));
	return to;
}

/* ---- what may be asked for ---- */
static bool is_plain(const json_t *v)
{
	const char *s = json_string_value(v);

	if (!s || json_string_length(v) != strlen(s) || strlen(s) > MAX_TEXT_BYTES)
		return false;
	while (*s && (unsigned char)*s >= ' ' && *s != 0x7f)
		s++;
	return !*s;
}

static bool is_probes(const json_t *v)
{
	json_t *one;
	size_t i;

	if (!json_is_array(v) || json_array_size(v) > CLONE_MAX_PROBES)
		return false;
	json_array_foreach(v, i, one)
		if (!is_plain(one))
			return false;
	return true;
}

static bool is_valid(enum kind kind, const json_t *v)
{
	switch (kind) {
	case BOOL:
		return json_is_boolean(v);
	case INT:
		return json_is_integer(v) && json_integer_value(v) >= 0 &&
		       json_integer_value(v) <= INT32_MAX;
	case NUMBER:
		return json_is_number(v) && isfinite(json_number_value(v));
	case TEXT:
		return is_plain(v);
	case PROBES:
		return is_probes(v);
	}
	return false;
}

static const struct passable *passable_of(const char *op)
{
	for (size_t i = 0; i < PASSABLE; i++)
		if (!strcmp(passable[i].op, op))
			return &passable[i];
	return NULL;
}

static const struct arg *arg_of(const struct passable *p, const char *name)
{
	for (const struct arg *a = p->args; a->name; a++)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

static int take_args(const struct daemon *d, const struct passable *p, const json_t *request,
		     json_t *to, struct tv_err *e)
{
	const struct arg *a;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)request, key, v) {
		if (!strcmp(key, "op") || !strcmp(key, "vm"))
			continue;
		a = arg_of(p, key);
		if (!a || !is_valid(a->kind, v))
			return tv_fail(e, -EINVAL,
				       "%s takes no such '%.40s' of '%s' from another "
				       "host: give the command there",
				       d->conf.host, key, p->op);
		if (json_object_set(to, key, v))
			return tv_fail(e, -ENOMEM, "no memory");
	}
	return 0;
}

/* No command of a peer's is run, and its clone gets no more room than by default. */
static int check_test(const struct daemon *d, const json_t *o, struct tv_err *e)
{
	json_t *probes = json_object_get(o, "probes"), *one;
	struct clone_probe p;
	size_t i;

	json_array_foreach(probes, i, one) {
		int rc = clone_probe_parse(json_string_value(one), &p, e);

		if (rc)
			return rc;
		if (p.kind == CLONE_COMMAND)
			return tv_fail(
				e, TV_E_REFUSED,
				"a probe's command runs as root on %s, which takes none from "
				"another host: give the command there, or name the probe in "
				"its configuration (probe.NAME = CMD) and use --probe "
				"named:NAME",
				d->conf.host);
	}
	if (json_integer_value(json_object_get(o, "disk_mib")) >
	    (json_int_t)(CLONE_DISK_BYTES >> 20))
		return tv_fail(e, TV_E_REFUSED,
			       "--disk-mib: %s takes at most %u from another host: give the "
			       "command there",
			       d->conf.host, (unsigned)(CLONE_DISK_BYTES >> 20));
	return 0;
}

/* One of which this host has that role, and the peer the other one. */
static int find_vm(struct daemon *d, const char *peer, const struct passable *p, const char *id,
		   struct vm **out, struct tv_err *e)
{
	struct vm *vm = vm_by_id(d, id);

	if (!vm || strcmp(vm->saved.peer.name, peer) != 0)
		return tv_fail(e, -ENOENT, "%s has no VM of that id together with %s", d->conf.host,
			       peer);
	if (vm->role != p->role)
		return tv_fail(e, TV_E_REFUSED, "%s %s %s: see 'twinvm status'", d->conf.host,
			       p->role == SESSION_PRIMARY ? "does not run" : "is not the backup of",
			       vm->name);
	*out = vm;
	return 0;
}

int passed_check(struct daemon *d, const char *peer, const json_t *request, json_t **out,
		 struct vm **vm, struct tv_err *e)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	const char *id = json_string_value(json_object_get(request, "vm"));
	const struct passable *p = passable_of(op ? op : "");
	char by[96];
	int rc;

	*out = NULL;
	if (!d->conf.peer_commands)
		return tv_fail(e, TV_E_REFUSED,
			       "%s takes no commands from other hosts (peer_commands = no): give "
			       "the command there",
			       d->conf.host);
	if (!p)
		return tv_fail(e, TV_E_REFUSED, "%s takes no such command from another host",
			       d->conf.host);
	rc = find_vm(d, peer, p, id ? id : "", vm, e);
	if (rc)
		return rc;
	snprintf(by, sizeof(by), "operator on %s", peer);
	*out = json_pack("{ss ss so so}", "op", op, "vm", (*vm)->id, "by", fields_text(by),
			 "passed_by", fields_text(peer));
	rc = *out ? take_args(d, p, request, *out, e) : tv_fail(e, -ENOMEM, "no memory");
	if (!rc && !strcmp(op, "test-failover"))
		rc = check_test(d, *out, e);
	if (rc) {
		json_decref(*out);
		*out = NULL;
	}
	return rc;
}

/* ---- one that is carried out ---- */
struct passed {
	LIST_ENTRY(passed) link;
	struct ctl *there; /* the process that has the peer's connection */
	struct ctl *here;  /* the command's client; NULL: it has been answered */
	char host[64];
};
static LIST_HEAD(, passed) list = LIST_HEAD_INITIALIZER(list);

static void reply(struct ctl *there, json_t *line)
{
	ctl_send(there, json_pack("{ss so}", "op", session_op_info(SESSION_OP_REPLY)->word, "reply",
				  line));
}

static void reply_end(struct ctl *there, int rc, const char *why)
{
	reply(there, json_pack("{sb si so}", "done", 1, "rc", rc, "error", fields_text(why)));
}

static void on_line(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct passed *p = arg;

	ctl_deaf_message(c, msg, fds, n, NULL);
	reply(p->there, json_incref(msg));
	if (!json_is_true(json_object_get(msg, "done")))
		return;
	ctl_free(c);
	p->here = NULL;
}

static void on_line_closed(struct ctl *c, void *arg)
{
	struct passed *p = arg;

	ctl_free(c);
	p->here = NULL;
	reply_end(p->there, -ECONNRESET, "the command ended without an answer");
}

/* Nobody waits there any more: as if the command's process had ended here. */
static void on_gone(struct ctl *c, void *arg)
{
	struct passed *p = arg;

	ctl_free(c);
	ctl_free(p->here);
	LIST_REMOVE(p, link);
	free(p);
}

static unsigned count_of(const char *host)
{
	struct passed *p;
	unsigned n = 0;

	LIST_FOREACH(p, &list, link)
		n += !strcmp(p->host, host);
	return n;
}

static void begin(struct daemon *d, struct passed *p, const json_t *request)
{
	static const struct ctl_ops ops = {on_line, on_line_closed};
	struct tv_err e = {0};
	json_t *made = NULL;
	struct vm *vm = NULL;
	int rc = passed_check(d, p->host, request, &made, &vm, &e);

	if (rc) {
		tv_log(TV_WARN, "a command that %s passes on is refused: %s", p->host, e.text);
		reply_end(p->there, rc, e.text);
		return;
	}
	events_vm(vm, EVENTS_COMMAND_PASSED,
		  json_pack("{sO so}", "command", json_object_get(made, "op"), "from",
			    fields_text(p->host)),
		  "%s: an operator on %s has ordered '%s'", vm->name, p->host,
		  command_text(made, "op", ""));
	rc = inner_open(d, made, &ops, p, &p->here);
	if (rc)
		reply_end(p->there, rc, tv_strerror(rc));
}

void passed_admit(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, on_gone};
	struct passed *p = NULL;
	struct session_look as;
	char address[64] = "";
	struct tv_err e = {0};
	pid_t pid;
	uid_t uid;

	if (!session_body(SESSION_OP_COMMAND, msg, &as, sizeof(as), &e) &&
	    !ctl_peer(c, &pid, &uid) && pid == as.pid && !config_admit(as.host, &d->conf, &e))
		p = calloc(1, sizeof(*p));
	if (!p) {
		ctl_close_when_sent(c);
		return;
	}
	door_registered(d, as.pid, address, sizeof(address));
	*p = (struct passed){.there = c};
	tv_copy(p->host, sizeof(p->host), as.host);
	ctl_set_arg(c, &ops, p);
	if (count_of(p->host) < MAX_OF_HOST)
		begin(d, p, json_object_get(msg, "request"));
	else
		reply_end(c, -EBUSY,
			  "too many commands of that host are under way: try again later");
	LIST_INSERT_HEAD(&list, p, link);
}
