/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other host's side of a drill: a peer's view has a VM that it wants back. That is a peer's word, so
 * little follows from it: the VM must have come from that peer by a planned switch within RETURN_NS, must
 * have the generation that it got by it, and must be protected by that very peer now. Then it is given back,
 * by a planned switch as an operator orders one; MAX_TRIES times at most. Where that is wrong the worst that
 * comes of it is such a switch, to the host that had the VM a moment before.
 */
#include "daemon/cluster.h"
#include "daemon/drills.h"

#include <string.h>

#define RETURN_NS (3600 * TV_NS_PER_S)
#define AGAIN_NS (5 * TV_NS_PER_S)
#define MAX_TRIES 3
#define MAX_CAME 64

/* VMs that have come by a planned switch; the oldest is forgotten. */
static struct came {
	char id[33], from[64];
	uint64_t generation;
	int64_t at_ns, tried_ns;
	unsigned tries;
} came[MAX_CAME];
static unsigned next;

static struct came *came_of(const char *vm_id)
{
	for (unsigned i = 0; i < MAX_CAME; i++)
		if (came[i].id[0] && !strcmp(came[i].id, vm_id))
			return &came[i];
	return NULL;
}

static void add(const struct vm *vm, const char *from, int64_t at_ns)
{
	struct came *x = came_of(vm->id);

	if (!x)
		x = &came[next++ % MAX_CAME];
	*x = (struct came){.generation = vm->saved.generation, .at_ns = at_ns};
	tv_copy(x->id, sizeof(x->id), vm->id);
	tv_copy(x->from, sizeof(x->from), from);
}

void drill_back_note(const struct vm *vm)
{
	add(vm, vm->saved.peer.name, tv_now_ns());
}

void drill_back_start(struct daemon *d)
{
	const struct events_query q = {.limit = MAX_CAME, .newest = true, .failovers = true};
	json_t *list = events_read(d, &q, NULL), *o;
	size_t i;

	json_array_foreach(list, i, o) {
		const char *id = json_string_value(json_object_get(o, "vm_id"));
		const char *from = json_string_value(json_object_get(o, "peer"));
		const char *cause =
			json_string_value(json_object_get(json_object_get(o, "data"), "cause"));
		json_int_t at_ms = json_integer_value(json_object_get(o, "unix_ms"));
		int64_t age_ns = (cluster_now_ms() - at_ms) * TV_NS_PER_MS;
		const struct vm *vm = id ? vm_by_id(d, id) : NULL;

		if (vm && from && cause && !strcmp(cause, "planned") && age_ns >= 0 &&
		    age_ns < RETURN_NS &&
		    (uint64_t)json_integer_value(json_object_get(o, "generation")) ==
			    vm->saved.generation)
			add(vm, from, tv_now_ns() - age_ns);
	}
	json_decref(list);
}

static bool may_return(const struct vm *vm, const struct came *x)
{
	int64_t now = tv_now_ns();

	return now - x->at_ns < RETURN_NS && vm->saved.generation == x->generation &&
	       vm->role == SESSION_PRIMARY && vm->phase == VM_RUNNING && vm->now.rep &&
	       !vm->waiter && !strcmp(vm->now.stats.state, "protected") &&
	       !strcmp(vm->saved.peer.name, x->from) && x->tries < MAX_TRIES &&
	       (!x->tries || now - x->tried_ns >= AGAIN_NS);
}

static bool is_wanted(const json_t *wish, const struct came *x)
{
	const char *id = json_string_value(json_object_get(wish, "id"));
	json_t *generation = json_object_get(wish, "generation");

	return id && !strcmp(id, x->id) && json_is_integer(generation) &&
	       (uint64_t)json_integer_value(generation) == x->generation;
}

void drill_back_wishes(struct daemon *d, const char *peer, const json_t *wishes)
{
	struct came *x;
	struct vm *vm;
	json_t *w;
	size_t i;

	for (x = came; x < came + MAX_CAME; x++) {
		vm = x->id[0] && !strcmp(x->from, peer) ? vm_by_id(d, x->id) : NULL;
		json_array_foreach(wishes, i, w) {
			if (!vm || !is_wanted(w, x) || !may_return(vm, x))
				continue;
			x->tries++;
			x->tried_ns = tv_now_ns();
			tv_log(TV_INFO, "%s goes back to %s: its drill", vm->name, x->from);
			if (inner_run(d, json_pack("{ss ss}", "op", "failover", "vm", vm->id), NULL,
				      NULL))
				tv_log(TV_WARN, "%s: the switch back could not be ordered",
				       vm->name);
		}
	}
}

void drill_back_look(struct daemon *d)
{
	for (unsigned i = 0; i < MAX_CAME; i++)
		if (came[i].id[0])
			drill_back_wishes(d, came[i].from, cluster_peer_drills(d, came[i].from));
}
