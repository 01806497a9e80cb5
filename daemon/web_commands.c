/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the dashboard's process may ask for. It reads what strangers send, so it is taken for one of them:
 * a few commands, without the options that need an operator at the host.
 */
#include "daemon/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Who acknowledges is its word. */
static void note_by(json_t *msg)
{
	char by[96];

	snprintf(by, sizeof(by), "the dashboard at %s", command_text(msg, "by", "?"));
	json_object_set_new(msg, "by", events_text(by));
}

static bool has_address(const struct config *conf, const char *host)
{
	for (unsigned i = 0; i < conf->peer_count; i++)
		if (!strcmp(conf->peers[i].name, host))
			return conf->peers[i].port != 0;
	return false;
}

/* What `twinvm protect --to` takes for a host that is a peer: its name where the configuration has its
 * address, else the address that the VM's session had last. */
static int find_host(const struct vm *vm, const char *host, char *out, size_t room,
		     struct tv_err *e)
{
	const struct fo_candidate *last = &vm->saved.last;
	const struct config *conf = &vm->d->conf;
	int rc = config_admit(host, conf, e);
	char at[REPL_ENDPOINT_ROOM];

	if (rc)
		return rc;
	if (has_address(conf, host))
		tv_copy(out, room, host);
	else if (!strcmp(last->name, host) && last->port)
		tv_copy(out, room, repl_endpoint(at, last->address, last->port));
	else
		return tv_fail(e, -EINVAL,
			       "%s knows no address of %s: protect %s with 'twinvm protect'",
			       conf->host, host, vm->name);
	return 0;
}

/* A VM that runs here and was protected before; no other QEMU of this host. backup: one of which this host
 * is the backup. */
static struct vm *known_vm(struct daemon *d, json_t *msg, bool backup, struct tv_err *e)
{
	const char *what = command_text(msg, "vm", "");
	bool several;
	struct vm *vm = vm_find(d, what, &several);

	if (vm && vm->role == (backup ? SESSION_BACKUP : SESSION_PRIMARY) &&
	    (backup || vm->saved.was_protected))
		return vm;
	if (backup) {
		(void)!tv_fail(e, TV_E_REFUSED, "%s is not the backup of a VM '%s'", d->conf.host,
			       what);
		return NULL;
	}
	(void)!tv_fail(e, TV_E_REFUSED,
		       "%s runs no VM '%s' that was protected before: the dashboard changes no "
		       "other",
		       d->conf.host, what);
	return NULL;
}

/* With everything as it was. */
static int protect_again(const struct vm *vm, json_t *msg, struct tv_err *e)
{
	static const char *const options[] = {"mode", "arbiter", "epoch_ms"};
	char to[160];
	int rc;

	rc = find_host(vm, command_text(msg, "to", ""), to, sizeof(to), e);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		json_object_del(msg, options[i]);
	json_object_set_new(msg, "to", json_string(to));
	return 0;
}

static bool is_rehearsal(const char *op)
{
	return !strcmp(op, "drill") || !strcmp(op, "test-failover");
}

/* Without options, and without waiting for its end: the page shows what becomes of it. */
static void plain_rehearsal(json_t *msg)
{
	static const char *const kept[] = {"op", "vm"};
	const char *key;
	json_t *v;
	void *next;

	json_object_foreach_safe(msg, next, key, v)
		if (strcmp(key, kept[0]) != 0 && strcmp(key, kept[1]) != 0)
			json_object_del(msg, key);
	json_object_set_new(msg, "by", json_string("dashboard"));
	json_object_set_new(msg, "wait", json_false());
}

static int prepare(struct daemon *d, const char *op, json_t *msg, struct tv_err *e)
{
	bool again = !strcmp(op, "protect");
	struct vm *vm;

	json_object_del(msg, "force");
	json_object_del(msg, "retry");
	if (!strcmp(op, "events-ack"))
		note_by(msg);
	if (!again && strcmp(op, "suspend") != 0 && strcmp(op, "resume") != 0 && !is_rehearsal(op))
		return 0;
	vm = known_vm(d, msg, !strcmp(op, "test-failover"), e);
	if (!vm)
		return TV_E_REFUSED;
	json_object_set_new(msg, "vm", json_string(vm->id));
	if (is_rehearsal(op))
		plain_rehearsal(msg);
	return again ? protect_again(vm, msg, e) : 0;
}

void web_command(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const char *const allowed[] = {"status",	 "events",	 "events-ack", "failover",
					      "protect", "suspend",	 "resume",     "unprotect",
					      "drill",	 "test-failover"};
	const char *op = command_text(msg, "op", "");
	struct tv_err e = {0};
	size_t i = 0, n = sizeof(allowed) / sizeof(*allowed);
	int rc;

	while (i < n && strcmp(allowed[i], op) != 0)
		i++;
	if (i == n) {
		command_end(c, -EPERM, "the dashboard may not ask for this");
		return;
	}
	rc = prepare(d, op, msg, &e);
	if (rc)
		command_end(c, rc, "%s", e.text);
	else
		command_run(d, c, msg);
}
