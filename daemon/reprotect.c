/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that runs here alone is protected again without being asked. Who is tried when is decided in
 * failover/reprotect.c; here are the candidates, the timer, and the beginning of a try.
 *
 * Candidates: the hosts that the arbiter knows and that are well and have room, the best first
 * (fo_choose_backup); those of the configuration's `peer` lines; and the one that the VM had last,
 * all of them unless their hardware is known to be yellow or red, or they are in maintenance. The last is found
 * by the address that it was reached at or (an old primary) came from. All of them must have a `peer`
 * line, which may leave the address to the arbiter. With `reprotect = no` only
 * the backup that it had is waited for.
 */
#include "daemon/away.h"
#include "daemon/cluster.h"
#include "daemon/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS (FO_MAX_HOSTS + CONFIG_MAX_PEERS + 1)

struct fo_candidate reprotect_candidate(const struct config_peer *p)
{
	struct fo_candidate c = {.port = p->port};

	tv_copy(c.name, sizeof(c.name), p->name);
	tv_copy(c.address, sizeof(c.address), p->host);
	return c;
}

/* Its hardware fails, or it is in maintenance: then e has it. */
static bool is_unfit(const struct vm *vm, const struct fo_candidate *h, struct tv_err *e)
{
	const char *why;
	enum fo_health health = cluster_health(vm->d, h, &why);

	if (cluster_maintenance(vm->d, h)) {
		tv_fail(e, 0, "%s is in maintenance: it is no backup before that is over",
			h->name[0] ? h->name : h->address);
		return true;
	}
	if (fo_is_well(health))
		return false;
	tv_fail(e, 0,
		"the hardware of %s is %s%s%s: it is no backup by itself before 'twinvm health "
		"--clear' there",
		h->name[0] ? h->name : h->address, fo_health_name(health), *why ? ": " : "", why);
	return true;
}

static void add(struct vm *vm, struct fo_candidate *hosts, unsigned *n,
		const struct fo_candidate *h, struct tv_err *why)
{
	if (*n == MAX_HOSTS || !h->port || !h->address[0] || is_unfit(vm, h, why))
		return;
	for (unsigned i = 0; i < *n; i++)
		if (h->name[0] && !strcmp(hosts[i].name, h->name))
			return;
	hosts[(*n)++] = *h;
}

/* Others would be refused in the handshake (replicator/session/access.c). */
static bool is_peer(const struct vm *vm, const char *name)
{
	struct tv_err why;

	return !name[0] || !config_admit(name, &vm->d->conf, &why);
}

static void add_peer(struct vm *vm, struct fo_candidate *hosts, unsigned *n,
		     const struct config_peer *p, struct tv_err *why)
{
	const struct config *c = &vm->d->conf;
	struct fo_candidate h = reprotect_candidate(p);

	if (is_peer(vm, p->name) && strcmp(p->name, c->host) != 0 &&
	    (c->reprotect || !strcmp(p->name, vm->saved.last.name)))
		add(vm, hosts, n, &h, why);
}

/* Memory that the VM uses now: a host with less cannot be its backup. */
static uint64_t need_mib(const struct vm *vm)
{
	TV_FREE char *text = NULL;
	const char *p;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)vm->saved.qemu.pid);
	if (tv_read_file(path, 1 << 16, &text, NULL))
		return 0;
	p = strstr(text, "VmRSS:");
	return p ? strtoull(p + strlen("VmRSS:"), NULL, 10) >> 10 : 0;
}

/*
 * Those that the arbiter knows, the best first; *unfit becomes those of them that must not be the
 * backup (health, memory), whatever else is known of them.
 */
static void add_members(struct vm *vm, struct fo_candidate *hosts, unsigned *n,
			struct fo_host unfit[FO_MAX_HOSTS], unsigned *unfit_n, struct tv_err *why)
{
	const struct config *c = &vm->d->conf;
	uint64_t need = need_mib(vm);
	const struct fo_host *best;

	*unfit_n = c->reprotect ? members_seen(unfit) : 0;
	while ((best = fo_choose_backup(unfit, *unfit_n, c->host, vm->saved.last.name, need))) {
		struct config_peer p = {0};

		tv_copy(p.name, sizeof(p.name), best->name);
		for (unsigned i = 0; i < c->peer_count; i++)
			if (!strcmp(c->peers[i].name, best->name) && c->peers[i].port)
				p = c->peers[i]; /* what the operator configured counts more */
		if (!p.port && config_address(best->address, p.host, sizeof(p.host), &p.port))
			p.port = 0;
		add_peer(vm, hosts, n, &p, why);
		unfit[best - unfit] = unfit[--*unfit_n];
	}
	for (unsigned i = 0; i < *unfit_n; i++) {
		struct fo_candidate h = {0};

		tv_copy(h.name, sizeof(h.name), unfit[i].name);
		if (strcmp(h.name, c->host) != 0)
			(void)is_unfit(vm, &h, why);
	}
}

static bool is_in(const struct fo_host *hosts, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(hosts[i].name, name))
			return true;
	return false;
}

static unsigned candidates(struct vm *vm, struct fo_candidate hosts[MAX_HOSTS], struct tv_err *why)
{
	const struct config *c = &vm->d->conf;
	struct fo_host unfit[FO_MAX_HOSTS];
	unsigned n = 0, unfit_n;

	add_members(vm, hosts, &n, unfit, &unfit_n, why);
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!is_in(unfit, unfit_n, c->peers[i].name))
			add_peer(vm, hosts, &n, &c->peers[i], why);
	if (!is_in(unfit, unfit_n, vm->saved.last.name) && is_peer(vm, vm->saved.last.name))
		add(vm, hosts, &n, &vm->saved.last, why);
	return n;
}

static void arm(struct vm *vm)
{
	int64_t due = fo_reprotect_due(&vm->reprotect), now = tv_now_ns();

	if (due != INT64_MAX)
		vm_timer(vm, due > now ? due - now : 0);
}

void reprotect_start(struct vm *vm)
{
	struct fo_times t = daemon_times(vm->d);

	fo_reprotect_start(&vm->reprotect, &t, vm->saved.last.name, tv_now_ns());
	arm(vm);
}

void reprotect_begun(struct vm *vm)
{
	struct fo_times t = daemon_times(vm->d);

	vm->saved.last = vm->saved.peer;
	fo_reprotect_start(&vm->reprotect, &t, vm->saved.last.name, tv_now_ns());
	/* The operator chose the host: this try counts as the first one. */
	if (fo_reprotect_choose(&vm->reprotect, &vm->saved.last, 1, tv_now_ns()))
		tv_log(TV_ERROR, "%s: no address to try", vm->name);
}

void reprotect_protected(struct vm *vm)
{
	vm->saved.last = vm->saved.peer;
	fo_reprotect_protected(&vm->reprotect, vm->saved.peer.name, tv_now_ns());
}

static void begin(struct vm *vm)
{
	struct tv_err e = {0};

	if (!vm_start_source(vm, &e))
		return;
	tv_log(TV_ERROR, "%s: %s", vm->name, e.text);
	fo_reprotect_ended(&vm->reprotect, FO_REPROTECT_FAILED, tv_now_ns());
	arm(vm);
}

/* Not tried at once: status says why. */
static void explain_wait(struct vm *vm, int64_t now_ns)
{
	const struct fo_reprotect *k = &vm->reprotect;

	if (k->losses < 2 || !k->on)
		return;
	snprintf(vm->saved.reason, sizeof(vm->saved.reason),
		 "the link to %s was lost %u times in %lld s: next try in %.1f s",
		 vm->saved.last.name[0] ? vm->saved.last.name : vm->saved.last.address, k->losses,
		 (long long)((now_ns - k->since_ns + TV_NS_PER_S - 1) / TV_NS_PER_S),
		 (double)(k->due_ns - now_ns) / TV_NS_PER_S);
	tv_log(TV_WARN, "%s: %s", vm->name, vm->saved.reason);
}

void reprotect_ended(struct vm *vm, enum fo_reprotect_end how)
{
	int64_t now_ns = tv_now_ns();

	fo_reprotect_ended(&vm->reprotect, how, now_ns);
	if (how == FO_REPROTECT_LOST)
		explain_wait(vm, now_ns);
	if (vm->asked.port) { /* the operator has named another host meanwhile */
		vm->saved.peer = vm->asked;
		vm->asked.port = 0;
		vm->saved.was_protected = false;
		vm->by_operator = true;
		reprotect_begun(vm);
		begin(vm);
		return;
	}
	arm(vm);
}

/* The first try of a row is an event; the others, every few seconds, are lines of the log. */
static void sought(struct vm *vm)
{
	const struct fo_candidate *p = &vm->saved.peer;
	const char *name = p->name[0] ? p->name : "a host";
	unsigned n = vm->reprotect.tries;
	char at[REPL_ENDPOINT_ROOM];

	repl_endpoint(at, p->address, p->port);
	if (n > 1)
		tv_log(TV_INFO, "%s: looking for a backup: %s at %s (try %u)", vm->name, name, at,
		       n);
	else
		events_vm(vm, EVENTS_BACKUP_SOUGHT, NULL,
			  "%s: looking for a backup: %s at %s (try %u)", vm->name, name, at, n);
}

void reprotect_try(struct vm *vm)
{
	struct fo_candidate hosts[MAX_HOSTS];
	struct tv_err unfit = {0};
	unsigned n;
	int at;

	if (!vm_lives(vm)) {
		if (away_look(vm)) {
			reprotect_start(vm);
		} else if (!away_begin(vm)) {
			events_vm(vm, EVENTS_VM_ENDED, NULL,
				  "%s has ended while it ran alone: forgotten", vm->name);
			vm_drop(vm);
		}
		return;
	}
	if (fo_reprotect_due(&vm->reprotect) >
	    tv_now_ns()) { /* woken early, or not wanted any more */
		arm(vm);
		return;
	}
	n = candidates(vm, hosts, &unfit);
	at = fo_reprotect_choose(&vm->reprotect, hosts, n, tv_now_ns());
	vm->by_operator = false;
	if (at < 0 && unfit.text[0]) {
		tv_copy(vm->saved.reason, sizeof(vm->saved.reason), unfit.text);
		arm(vm);
		return;
	}
	if (at < 0) {
		snprintf(vm->saved.reason, sizeof(vm->saved.reason),
			 "no host to protect it: of the peer.NAME lines in %s none has an address, "
			 "or is known to the arbiter as well and with room",
			 vm->d->conf.path);
		arm(vm);
		return;
	}
	vm->saved.peer = hosts[at];
	sought(vm);
	begin(vm);
}
