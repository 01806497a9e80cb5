/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has changed in a configuration that is read again, and when it counts. */
#include "replicator/session/config.h"
#include "replicator/session/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A value as the file has it; of a key with a name: of that one. "": not set. base: of its offset. */
static void value_text(const struct config *c, const void *base, const struct config_key *k,
		       const char *rest, char *out, size_t room)
{
	const void *at = (const char *)base + k->offset;
	char where[REPL_ENDPOINT_ROOM];

	out[0] = 0;
	switch (k->kind) {
	case CONFIG_TEXT:
		snprintf(out, room, "%s", (const char *)at);
		return;
	case CONFIG_YES_NO:
		snprintf(out, room, "%s", *(const bool *)at ? "yes" : "no");
		return;
	case CONFIG_NUMBER:
		if (*(const int *)at >= 0)
			snprintf(out, room, "%d", *(const int *)at);
		return;
	case CONFIG_MIB:
		snprintf(out, room, "%" PRIu64, *(const uint64_t *)at >> 20);
		return;
	case CONFIG_LISTEN:
		tv_copy(out, room, repl_endpoint(where, c->listen_host, c->listen_port));
		return;
	case CONFIG_PEER:
		for (unsigned i = c->peer_count; i-- > 0;)
			if (!strcmp(c->peers[i].name, rest))
				tv_copy(out, room,
					c->peers[i].port ? repl_endpoint(where, c->peers[i].host,
									 c->peers[i].port)
							 : "-");
		return;
	case CONFIG_PRIORITY:
		for (unsigned i = 0; i < c->priority_count; i++)
			if (!strcmp(c->priorities[i].vm, rest))
				snprintf(out, room, "%d", c->priorities[i].priority);
		return;
	case CONFIG_PROBE:
		if (config_probe(c, rest))
			snprintf(out, room, "%s", config_probe(c, rest));
		return;
	case CONFIG_SCHEDULE:
		for (unsigned i = 0; i < c->schedule_count; i++)
			if (c->schedules[i].what == schedule_of(k->name) &&
			    !strcmp(c->schedules[i].vm, rest))
				schedule_text(&c->schedules[i], out, room);
		return;
	}
}

struct changes {
	const struct config *old, *fresh;
	struct config_change *out;
	unsigned n, max;
};

static void note(struct changes *l, const struct config_key *k, const char *key, const char *from,
		 const char *to)
{
	struct config_change *ch;

	if (!strcmp(from, to))
		return;
	if (l->n < l->max) {
		ch = &l->out[l->n];
		ch->effect = k->effect;
		tv_copy(ch->key, sizeof(ch->key), key);
		tv_copy(ch->from, sizeof(ch->from), from);
		tv_copy(ch->to, sizeof(ch->to), to);
	}
	l->n++;
}

static void compare(struct changes *l, const struct config_key *k, const char *rest)
{
	char from[2048], to[2048], key[192];

	value_text(l->old, l->old, k, rest, from, sizeof(from));
	value_text(l->fresh, l->fresh, k, rest, to, sizeof(to));
	snprintf(key, sizeof(key), "%s%s%s", k->name, *rest ? "." : "", rest);
	note(l, k, key, from, to);
}

/* One of them may be missing. */
static void compare_vm(struct changes *l, const struct config_vm *old,
		       const struct config_vm *fresh)
{
	static const struct config_vm none = {.priority = -1};
	const char *name = old ? old->name : fresh->name;
	char from[256], to[256], key[192];

	for (const struct config_key *k = config_vm_keys; k->name; k++) {
		value_text(l->old, old ? old : &none, k, "", from, sizeof(from));
		value_text(l->fresh, fresh ? fresh : &none, k, "", to, sizeof(to));
		snprintf(key, sizeof(key), "[vm %s] %s", name, k->name);
		note(l, k, key, from, to);
	}
}

static void compare_vms(struct changes *l)
{
	for (unsigned i = 0; i < l->old->vm_count; i++)
		compare_vm(l, &l->old->vms[i], config_vm(l->fresh, l->old->vms[i].name));
	for (unsigned i = 0; i < l->fresh->vm_count; i++)
		if (!config_vm(l->old, l->fresh->vms[i].name))
			compare_vm(l, NULL, &l->fresh->vms[i]);
}

/* The i-th name that a configuration has for a key; NULL: no more. */
static const char *name_of(const struct config *c, const struct config_key *k, unsigned i)
{
	if (k->kind == CONFIG_PEER)
		return i < c->peer_count ? c->peers[i].name : NULL;
	if (k->kind == CONFIG_PRIORITY)
		return i < c->priority_count ? c->priorities[i].vm : NULL;
	if (k->kind == CONFIG_PROBE)
		return i < c->probe_count ? c->probes[i].name : NULL;
	for (unsigned j = 0; j < c->schedule_count; j++)
		if (c->schedules[j].what == schedule_of(k->name) && i-- == 0)
			return c->schedules[j].vm;
	return NULL;
}

static bool is_among(const struct config *c, const struct config_key *k, unsigned n,
		     const char *name)
{
	const char *other;

	for (unsigned i = 0; i < n && (other = name_of(c, k, i)); i++)
		if (!strcmp(other, name))
			return true;
	return false;
}

static void compare_names(struct changes *l, const struct config_key *k)
{
	const char *name;

	for (unsigned i = 0; (name = name_of(l->old, k, i)); i++)
		if (!is_among(l->old, k, i, name))
			compare(l, k, name);
	for (unsigned i = 0; (name = name_of(l->fresh, k, i)); i++)
		if (!is_among(l->fresh, k, i, name) && !is_among(l->old, k, UINT32_MAX, name))
			compare(l, k, name);
}

unsigned config_changes(const struct config *old, const struct config *fresh,
			struct config_change *out, unsigned max)
{
	struct changes l = {.old = old, .fresh = fresh, .out = out, .max = max};

	for (const struct config_key *k = config_keys; k->name; k++)
		if (k->kind == CONFIG_PEER || k->kind == CONFIG_PRIORITY ||
		    k->kind == CONFIG_PROBE || k->kind == CONFIG_SCHEDULE)
			compare_names(&l, k);
		else
			compare(&l, k, "");
	compare_vms(&l);
	return l.n;
}

void config_keep(const struct config *old, struct config *fresh)
{
	for (const struct config_key *k = config_keys; k->name; k++)
		if (k->effect == CONFIG_RESTART && k->kind == CONFIG_TEXT)
			memcpy((char *)fresh + k->offset, (const char *)old + k->offset, k->room);
	tv_copy(fresh->listen_host, sizeof(fresh->listen_host), old->listen_host);
	fresh->listen_port = old->listen_port;
	/* What was derived from these had room before. */
	if (config_derive(fresh, NULL))
		tv_copy(fresh->replica_dir, sizeof(fresh->replica_dir), old->replica_dir);
}
