/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that runs here alone is protected again without being asked. Who is tried when is decided in
 * failover/reprotect.c; here are the candidates, the timer, and the beginning of a try.
 *
 * Candidates: the hosts that the arbiter knows and that are well and have room, the best first
 * (fo_choose_backup); those of the configuration's `peer` lines; and the one that the VM had last,
 * by the address that it was reached at or (an old primary) came from. With `reprotect = no` only
 * the backup that it had is waited for.
 */
#include "daemon/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS (FO_MAX_HOSTS + CONFIG_MAX_PEERS + 1)

static void add(struct fo_candidate *hosts, unsigned *n, const char *name, const char *address,
		uint16_t port)
{
	struct fo_candidate *h = &hosts[*n];

	if (*n == MAX_HOSTS || !port || !*address)
		return;
	for (unsigned i = 0; i < *n; i++)
		if (*name && !strcmp(hosts[i].name, name))
			return;
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->address, sizeof(h->address), "%s", address);
	h->port = port;
	++*n;
}

static void add_peer(struct vm *vm, struct fo_candidate *hosts, unsigned *n,
		     const struct config_peer *p)
{
	const struct config *c = &vm->d->conf;

	if (strcmp(p->name, c->host) != 0 && (c->reprotect || !strcmp(p->name, vm->last.name)))
		add(hosts, n, p->name, p->host, p->port);
}

/* Memory that the VM uses now: a host with less cannot be its backup. */
static uint64_t need_mib(const struct vm *vm)
{
	TV_FREE char *text = NULL;
	const char *p;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)vm->qemu.pid);
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
			struct fo_host unfit[FO_MAX_HOSTS], unsigned *unfit_n)
{
	const struct config *c = &vm->d->conf;
	uint64_t need = need_mib(vm);
	const struct fo_host *best;

	*unfit_n = c->reprotect ? members_seen(unfit) : 0;
	while ((best = fo_choose_backup(unfit, *unfit_n, c->host, vm->last.name, need))) {
		struct config_peer p = {0};

		snprintf(p.name, sizeof(p.name), "%s", best->name);
		for (unsigned i = 0; i < c->peer_count; i++)
			if (!strcmp(c->peers[i].name, best->name))
				p = c->peers[i]; /* what a person wrote down counts more */
		if (!p.port && config_address(best->address, p.host, sizeof(p.host), &p.port))
			p.port = 0;
		add_peer(vm, hosts, n, &p);
		unfit[best - unfit] = unfit[--*unfit_n];
	}
}

static bool is_in(const struct fo_host *hosts, unsigned n, const char *name)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(hosts[i].name, name))
			return true;
	return false;
}

static unsigned candidates(struct vm *vm, struct fo_candidate hosts[MAX_HOSTS])
{
	const struct config *c = &vm->d->conf;
	struct fo_host unfit[FO_MAX_HOSTS];
	unsigned n = 0, unfit_n;

	add_members(vm, hosts, &n, unfit, &unfit_n);
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!is_in(unfit, unfit_n, c->peers[i].name))
			add_peer(vm, hosts, &n, &c->peers[i]);
	if (!is_in(unfit, unfit_n, vm->last.name))
		add(hosts, &n, vm->last.name, vm->last.address, vm->last.port);
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
	struct fo_times t;

	fo_times_init(&t, vm->d->conf.heartbeat_ms * TV_NS_PER_MS);
	fo_reprotect_start(&vm->reprotect, &t, vm->last.name, tv_now_ns());
	arm(vm);
}

void reprotect_begun(struct vm *vm)
{
	struct fo_times t;

	vm->last.port = vm->peer_port;
	snprintf(vm->last.name, sizeof(vm->last.name), "%s", vm->peer_name);
	snprintf(vm->last.address, sizeof(vm->last.address), "%s", vm->peer_host);
	fo_times_init(&t, vm->d->conf.heartbeat_ms * TV_NS_PER_MS);
	fo_reprotect_start(&vm->reprotect, &t, vm->last.name, tv_now_ns());
	/* The operator chose the host: this try counts as the first one. */
	if (fo_reprotect_choose(&vm->reprotect, &vm->last, 1, tv_now_ns()))
		tv_log(TV_ERROR, "%s: no address to try", vm->name);
}

void reprotect_protected(struct vm *vm)
{
	snprintf(vm->last.name, sizeof(vm->last.name), "%s", vm->peer_name);
	snprintf(vm->last.address, sizeof(vm->last.address), "%s", vm->peer_host);
	vm->last.port = vm->peer_port;
	fo_reprotect_protected(&vm->reprotect, vm->peer_name);
}

static void use(struct vm *vm, const struct fo_candidate *h)
{
	snprintf(vm->peer_name, sizeof(vm->peer_name), "%s", h->name);
	snprintf(vm->peer_host, sizeof(vm->peer_host), "%s", h->address);
	vm->peer_port = h->port;
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

void reprotect_ended(struct vm *vm, enum fo_reprotect_end how)
{
	fo_reprotect_ended(&vm->reprotect, how, tv_now_ns());
	if (vm->asked.port) { /* a person has named another host meanwhile */
		use(vm, &vm->asked);
		vm->asked.port = 0;
		vm->was_protected = false;
		reprotect_begun(vm);
		begin(vm);
		return;
	}
	arm(vm);
}

void reprotect_try(struct vm *vm)
{
	struct fo_candidate hosts[MAX_HOSTS];
	unsigned n;
	int at;

	if (!vm_lives(vm)) {
		tv_log(TV_INFO, "%s has ended while it ran alone: forgotten", vm->name);
		vm_drop(vm);
		return;
	}
	if (fo_reprotect_due(&vm->reprotect) >
	    tv_now_ns()) { /* woken early, or not wanted any more */
		arm(vm);
		return;
	}
	n = candidates(vm, hosts);
	at = fo_reprotect_choose(&vm->reprotect, hosts, n, tv_now_ns());
	if (at < 0) {
		snprintf(vm->reason, sizeof(vm->reason),
			 "no host to protect it: no peer.NAME in %s, and the arbiter knows of none "
			 "that is well and has room",
			 vm->d->conf.path);
		arm(vm);
		return;
	}
	use(vm, &hosts[at]);
	tv_log(TV_INFO, "%s: looking for a backup: %s at %s:%u (try %u)", vm->name,
	       vm->peer_name[0] ? vm->peer_name : "a host", vm->peer_host, vm->peer_port,
	       vm->reprotect.tries);
	begin(vm);
}
