/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would a failover succeed now? See ready.h. A VM of which this host is the backup is looked at every
 * LOOK_NS; fence_command is asked every FENCE_NS of them, and when an operator or a rehearsal asks. What the
 * process found is kept; what this daemon knows itself is judged as it is at the moment.
 */
#include "daemon/cluster.h"
#include "daemon/passing.h"
#include "daemon/commands.h"
#include "daemon/health.h"
#include "daemon/ready.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_NS (10 * TV_NS_PER_S)
#define LOOK_NS (60 * TV_NS_PER_S)
#define FENCE_NS (15 * 60 * TV_NS_PER_S)
#define MAX_LOOKS 16
#define MAX_ASKED 8 /* that wait for one look */

struct vm_ready {
	struct ready_look look;
	int64_t at_ns, fence_ns; /* 0: never */
	char session[33];	 /* that it was made in */
};

/* A process that looks. */
struct look {
	LIST_ENTRY(look) link;
	char id[33], session[33];
	pid_t pid;
	int fd;
	bool fence;
	unsigned n;
	struct {
		ready_cb *cb;
		void *arg;
	} asked[MAX_ASKED];
};
static LIST_HEAD(look_list, look) looks = LIST_HEAD_INITIALIZER(looks);
static struct event *tick;

/* ---- a look ---- */
static struct look *look_of(const struct vm *vm)
{
	struct look *l;

	LIST_FOREACH(l, &looks, link)
		if (!strcmp(l->id, vm->id))
			return l;
	return NULL;
}

/* The last one of this session; NULL: none yet. Record, taps and images of another session are others. */
static const struct vm_ready *last_look(const struct vm *vm)
{
	return vm->ready && !strcmp(vm->ready->session, vm->saved.session) ? vm->ready : NULL;
}

static int begin(struct vm *vm, bool fence, struct look **out, struct tv_err *e)
{
	struct look *l;
	unsigned n = 0;
	int rc;

	LIST_FOREACH(l, &looks, link)
		n++;
	if (n >= MAX_LOOKS)
		return tv_fail(e, -EBUSY, "%s looks at %u other VMs", vm->d->conf.host, n);
	l = calloc(1, sizeof(*l));
	if (!l)
		abort(); /* as vm_new */
	tv_copy(l->id, sizeof(l->id), vm->id);
	tv_copy(l->session, sizeof(l->session), vm->saved.session);
	l->fence = fence;
	l->fd = memfd_create("ready", MFD_CLOEXEC);
	rc = l->fd < 0 ? tv_fail(e, -errno, "no file for what is found")
		       : spawn_ready(vm, fence, l->fd, &l->pid, e);
	if (rc) {
		tv_close_fd(&l->fd);
		free(l);
		return rc;
	}
	LIST_INSERT_HEAD(&looks, l, link);
	*out = l;
	return 0;
}

/* What it wrote; false: it is damaged, or it was ended at its limit. */
static bool read_look(const struct look *l, struct ready_look *out)
{
	char text[8192];
	ssize_t n = pread(l->fd, text, sizeof(text) - 1, 0);
	json_t *o = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	struct tv_err e = {0};
	int rc = fields_read(&ready_look_fields, o, out, &e);

	json_decref(o);
	return !rc;
}

static void keep(struct vm *vm, const struct look *l, struct ready_look *fresh)
{
	struct vm_ready *r = vm->ready;
	int64_t now = tv_now_ns();

	if (!r)
		r = vm->ready = calloc(1, sizeof(*r));
	if (!r)
		abort();
	if (!l->fence) {
		fresh->fence_asked = r->look.fence_asked;
		fresh->fence_status = r->look.fence_status;
		tv_copy(fresh->fence_text, sizeof(fresh->fence_text), r->look.fence_text);
	} else {
		r->fence_ns = now;
	}
	r->look = *fresh;
	r->at_ns = now;
	tv_copy(r->session, sizeof(r->session), l->session);
}

bool ready_exit(struct daemon *d, pid_t pid, int status)
{
	struct ready_look fresh = {0};
	struct ready_list list = {0};
	struct look *l;
	struct vm *vm;

	LIST_FOREACH(l, &looks, link)
		if (l->pid == pid)
			break;
	if (!l)
		return false;
	LIST_REMOVE(l, link);
	vm = vm_by_id(d, l->id);
	if (vm && !status && read_look(l, &fresh))
		keep(vm, l, &fresh);
	else if (vm)
		tv_log(TV_WARN, "%s: it could not be looked at whether a failover would succeed",
		       vm->name);
	if (!vm || !last_look(vm) || !ready_of(vm, &list))
		list.n = 0;
	for (unsigned i = 0; i < l->n; i++)
		l->asked[i].cb(d, l->id, &list, l->asked[i].arg);
	close(l->fd);
	free(l);
	return true;
}

static bool is_backup(const struct vm *vm)
{
	return vm->role == SESSION_BACKUP && vm->phase == VM_RUNNING && vm->now.rep;
}

int ready_ask(struct vm *vm, ready_cb *cb, void *arg, struct tv_err *e)
{
	struct look *l = look_of(vm);
	int rc;

	if (!is_backup(vm))
		return tv_fail(e, TV_E_REFUSED, "%s is not the backup of %s", vm->d->conf.host,
			       vm->name);
	if (!l || !l->fence) {
		rc = begin(vm, true, &l, e);
		if (rc)
			return rc;
	}
	if (l->n == MAX_ASKED)
		return tv_fail(e, -EBUSY, "%u others ask whether %s can fail over", l->n, vm->name);
	l->asked[l->n].cb = cb;
	l->asked[l->n++].arg = arg;
	return 0;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(TICK_NS);
	struct daemon *d = arg;
	int64_t now = tv_now_ns();
	struct tv_err e = {0};
	struct look *l;
	struct vm *vm;

	(void)fd;
	(void)what;
	event_add(tick, &tv);
	TAILQ_FOREACH(vm, &d->vms, link) {
		const struct vm_ready *r = last_look(vm);
		bool fence = !r || !r->fence_ns || now - r->fence_ns >= FENCE_NS;

		if (!is_backup(vm) || strcmp(vm->now.stats.state, "protected") != 0 ||
		    look_of(vm) || (r && now - r->at_ns < LOOK_NS))
			continue;
		if (begin(vm, fence, &l, &e))
			tv_log(TV_WARN, "%s: %s", vm->name, e.text);
	}
}

void ready_start(struct daemon *d)
{
	struct timeval tv = tv_timeval(TV_NS_PER_S);

	tick = evtimer_new(d->base, on_tick, d);
	if (tick)
		event_add(tick, &tv);
}

/* ---- the list ---- */
bool ready_of(const struct vm *vm, struct ready_list *out)
{
	const struct session_stats *s = &vm->now.stats;
	const struct config *c = &vm->d->conf;
	const char *host_why, *peer_why;
	bool answers = false;
	struct ready_facts f;
	double silent_s;

	if (vm->role != SESSION_BACKUP)
		return false;
	silent_s = (double)(tv_now_ns() - vm->now.stats_ns) / (double)TV_NS_PER_S;
	(void)cluster_peer_vm(vm->d, vm->saved.peer.name, vm->id, &answers, NULL);
	f = (struct ready_facts){
		.vm = vm->name,
		.host = c->host,
		.peer = vm->saved.peer.name,
		.session = vm->saved.session,
		.generation = vm->saved.generation,
		.epoch = s->epoch_committed,
		.arbiter = vm_has_arbiter(vm),
		.fence = c->fence_command[0],
		.fence_decides = c->fence_required,
		.fence_checks = c->fence_check,
		.whole = is_backup(vm) && !strcmp(s->state, "protected"),
		.state = s->state[0] ? s->state : "without a session",
		.kept = !strcmp(s->core, fo_backup_state_name(FO_B_KEPT)),
		.silent_s = silent_s,
		.contact_s = s->contact_for_ms > 0 ? silent_s + s->contact_for_ms / 1e3 : NAN,
		.peer_health = cluster_health(vm->d, &vm->saved.peer, &peer_why),
		.peer_health_why = peer_why,
		.peer_answers = answers,
		.peer_away = cluster_maintenance(vm->d, &vm->saved.peer),
		.reprotect = c->reprotect,
		.look = last_look(vm) ? &last_look(vm)->look : NULL,
	};
	(void)health_state(&host_why);
	f.health = health_of_host();
	f.health_why = host_why;
	ready_judge(&f, out);
	return true;
}

static json_t *of_backup(const struct vm *vm)
{
	struct ready_list list;
	json_t *o = ready_of(vm, &list) ? ready_json(&list) : NULL;

	if (!o)
		return NULL;
	(void)!json_object_set_new(o, "host", fields_text(vm->d->conf.host));
	if (vm->ready)
		(void)!json_object_set_new(o, "time", json_real(shown_wall_s(vm->ready->at_ns)));
	return o;
}

/* Of a peer: only what is of the right kind is shown. */
static json_t *of_peer(const struct vm *vm)
{
	bool answers;
	json_t *o = json_object_get(
		cluster_peer_vm(vm->d, vm->saved.peer.name, vm->id, &answers, NULL), "ready");

	return answers && json_is_boolean(json_object_get(o, "ready")) &&
			       json_is_array(json_object_get(o, "checks"))
		       ? json_incref(o)
		       : NULL;
}

json_t *ready_status(const struct vm *vm)
{
	if (strcmp(vm->now.stats.state, "protected") != 0 || vm->phase != VM_RUNNING)
		return NULL;
	if (vm->role != SESSION_BACKUP)
		return of_peer(vm);
	/* Before the first look there is no verdict: nothing stands against what nobody has seen. */
	return last_look(vm) ? of_backup(vm) : NULL;
}

/* ---- twinvm test-failover VM --check ---- */
struct asker {
	struct ctl *c; /* NULL: nobody waits any more */
};

static void asker_closed(struct ctl *c, void *arg)
{
	struct asker *a = arg;

	ctl_free(c);
	a->c = NULL;
}

static void answer(struct ctl *c, json_t *ready)
{
	ctl_send(c, json_pack("{sb si so}", "done", 1, "rc", 0, "ready", ready));
	ctl_close_when_sent(c);
}

static void on_looked(struct daemon *d, const char *vm_id, const struct ready_list *l, void *arg)
{
	struct asker *a = arg;
	struct vm *vm = vm_by_id(d, vm_id);

	if (a->c)
		ctl_set_arg(a->c, &ctl_deaf, NULL);
	if (a->c && vm && is_backup(vm) && l->n)
		answer(a->c, of_backup(vm));
	else if (a->c && vm && is_backup(vm))
		command_end(
			a->c, -EIO,
			"it could not be looked at whether a failover would succeed: the log of "
			"twinvmd has the reason");
	else if (a->c)
		command_end(a->c, TV_E_GONE, "this host is not the VM's backup any more");
	free(a);
}

void command_ready(struct daemon *d, struct ctl *c, json_t *msg)
{
	static const struct ctl_ops ops = {ctl_deaf_message, asker_closed};
	struct vm *vm = command_vm(d, c, msg);
	struct tv_err e = {0};
	struct asker *a;
	json_t *o;
	int rc;

	if (!vm || (vm->role == SESSION_PRIMARY && pass_on(vm, c, msg)))
		return;
	if (vm->role == SESSION_PRIMARY) {
		o = ready_status(vm);
		if (o)
			answer(c, o);
		else
			command_end(c, TV_E_REFUSED,
				    "%s: its backup has not reported whether a failover would "
				    "succeed (%s)",
				    vm->name,
				    strcmp(vm->now.stats.state, "protected") != 0
					    ? "it is not protected"
					    : vm->saved.peer.name);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		abort();
	a->c = c;
	rc = ready_ask(vm, on_looked, a, &e);
	if (rc) {
		free(a);
		command_end(c, rc, "%s", e.text);
		return;
	}
	ctl_set_arg(c, &ops, a);
}
