/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: reads it, and checks the values. */
#include "replicator/session/config.h"
#include "replicator/session/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A file that is read. A mistake does not end it: what follows is read as well, so that all of them are
 * shown at once.
 */
struct reader {
	struct config *c;
	unsigned lines[CONFIG_MAX_KEYS]; /* where each key was set last; 0: nowhere */
	unsigned line;			 /* that is read; 0: none, it is about the whole file */
	struct config_vm *vm;		 /* whose section it is in; NULL: in none */
	bool skips;			 /* the section is none that is known */
	int rc;				 /* of the first mistake */
	config_mistake_cb *cb;
	void *arg;
};

static void mistake(struct reader *r, unsigned line, int rc, const struct tv_err *what)
{
	struct tv_err e = *what;

	if (line)
		tv_fail_prefix(&e, rc, "%s:%u", r->c->path, line);
	else
		tv_fail_prefix(&e, rc, "%s", r->c->path);
	if (!r->rc)
		r->rc = rc;
	r->cb(r->arg, rc, &e);
}

/* ---- one line ---- */
static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = 0;
	return s;
}

static int set_peer(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	struct config_peer p;

	if (c->peer_count == CONFIG_MAX_PEERS)
		return tv_fail(e, -EINVAL, "more than %d peers", CONFIG_MAX_PEERS);
	if (!*name)
		return tv_fail(e, -EINVAL, "'peer.' has no name of a host");
	if (!tv_copy(p.name, sizeof(p.name), name))
		return tv_fail(e, -EINVAL, "name of peer '%s' is too long", name);
	p.host[0] = 0;
	p.port = 0;
	if (strcmp(value, "-") != 0 && config_address(value, p.host, sizeof(p.host), &p.port))
		return tv_fail(e, -EINVAL, "'%s' is not HOST:PORT, or '-'", value);
	c->peers[c->peer_count++] = p;
	return 0;
}

static int set_priority(struct config *c, const char *vm, const char *value, struct tv_err *e)
{
	struct config_priority *p = &c->priorities[c->priority_count];
	char *rest;
	long n = strtol(value, &rest, 10);

	if (c->priority_count == CONFIG_MAX_PRIORITIES)
		return tv_fail(e, -EINVAL, "more than %d priorities", CONFIG_MAX_PRIORITIES);
	if (!vm[0] || !tv_copy(p->vm, sizeof(p->vm), vm))
		return tv_fail(e, -EINVAL, "'priority.%s' has no name of a VM", vm);
	if (*rest || rest == value || n < 0 || n > FO_PRIORITY_MOST)
		return tv_fail(e, -ERANGE, "'priority.%s' must be a number from 0 to %d", vm,
			       FO_PRIORITY_MOST);
	p->priority = (int)n;
	c->priority_count++;
	return 0;
}

static int set_probe(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	struct config_probe *p = &c->probes[c->probe_count];

	if (c->probe_count == CONFIG_MAX_PROBES)
		return tv_fail(e, -EINVAL, "more than %d probes", CONFIG_MAX_PROBES);
	if (!name[0] || !tv_copy(p->name, sizeof(p->name), name))
		return tv_fail(e, -EINVAL, "'probe.%.40s' needs a name of at most %zu bytes", name,
			       sizeof(p->name) - 1);
	if (config_probe(c, name))
		return tv_fail(e, -EINVAL, "there are two of 'probe.%s'", name);
	if (!value[0] || !tv_copy(p->command, sizeof(p->command), value))
		return tv_fail(e, -EINVAL, "'probe.%s' needs a command of at most %zu bytes", name,
			       sizeof(p->command) - 1);
	c->probe_count++;
	return 0;
}

/* vm: "": all. */
static int set_schedule(struct config *c, enum schedule_what what, const char *vm,
			const char *value, struct tv_err *e)
{
	struct schedule *s = &c->schedules[c->schedule_count];
	int rc;

	for (unsigned i = 0; i < c->schedule_count; i++)
		if (c->schedules[i].what == what && !strcmp(c->schedules[i].vm, vm))
			return tv_fail(e, -EINVAL, "%s has a schedule of %s already",
				       *vm ? vm : "each VM", schedule_word(what));
	if (c->schedule_count == CONFIG_MAX_SCHEDULES)
		return tv_fail(e, -EINVAL, "more than %d schedules", CONFIG_MAX_SCHEDULES);
	rc = schedule_parse(what, value, s, e);
	if (rc)
		return tv_fail_prefix(e, rc, "%s", schedule_word(what));
	if (!tv_copy(s->vm, sizeof(s->vm), vm))
		return tv_fail(e, -EINVAL, "name of VM '%s' is too long", vm);
	c->schedule_count++;
	return 0;
}

static int set_listen(struct config *c, const char *value, struct tv_err *e)
{
	if (config_address(value, c->listen_host, sizeof(c->listen_host), &c->listen_port))
		return tv_fail(e, -EINVAL, "'%s' is not ADDRESS:PORT", value);
	return 0;
}

static int set_yes_no(const struct config_key *k, const char *value, bool *to, struct tv_err *e)
{
	*to = !strcmp(value, "yes");
	if (!*to && strcmp(value, "no") != 0)
		return tv_fail(e, -EINVAL, "'%s' must be yes or no", k->name);
	return 0;
}

static int set_number(const struct config_key *k, const char *value, void *to, struct tv_err *e)
{
	char *rest;
	long long v;

	errno = 0;
	v = strtoll(value, &rest, 10);
	if (errno || *rest || rest == value || v < k->min || v > k->max)
		return tv_fail(e, -ERANGE, "'%s' must be a number from %lld to %lld", k->name,
			       k->min, k->max);
	if (k->kind == CONFIG_NUMBER)
		*(int *)to = (int)v;
	else
		*(uint64_t *)to = (uint64_t)v << 20;
	return 0;
}

/* base: of the key's offset. */
static int set_key(struct config *c, void *base, const struct config_key *k, const char *name,
		   const char *value, struct tv_err *e)
{
	const char *rest = config_key_rest(name);
	void *to = (char *)base + k->offset;

	switch (k->kind) {
	case CONFIG_TEXT:
		if (!tv_copy(to, k->room, value))
			return tv_fail(e, -EINVAL, "value of '%s' is too long", k->name);
		return 0;
	case CONFIG_YES_NO:
		return set_yes_no(k, value, to, e);
	case CONFIG_NUMBER:
	case CONFIG_MIB:
		return set_number(k, value, to, e);
	case CONFIG_LISTEN:
		return set_listen(c, value, e);
	case CONFIG_PEER:
		return set_peer(c, rest, value, e);
	case CONFIG_PRIORITY:
		return set_priority(c, rest, value, e);
	case CONFIG_PROBE:
		return set_probe(c, rest, value, e);
	case CONFIG_SCHEDULE:
		return set_schedule(c, schedule_of(k->name), rest, value, e);
	}
	return 0;
}

static int set(struct reader *r, const char *name, const char *value, struct tv_err *e)
{
	const struct config_key *k = config_key_of(config_keys, name);
	char meant[160];

	if (k && (!strchr(name, '.') || *config_key_rest(name) || k->kind != CONFIG_SCHEDULE)) {
		r->lines[k - config_keys] = r->line;
		return set_key(r->c, r->c, k, name, value, e);
	}
	config_key_nearest(config_keys, name, meant, sizeof(meant));
	return tv_fail(e, -EINVAL, "unknown key '%s'%s", name, meant);
}

/* In the section of a VM. */
static int set_of_vm(struct reader *r, const char *name, const char *value, struct tv_err *e)
{
	const struct config_key *k = config_key_of(config_vm_keys, name);
	char meant[160];

	if (k)
		return set_key(r->c, r->vm, k, name, value, e);
	config_key_nearest(config_vm_keys, name, meant, sizeof(meant));
	return tv_fail(e, -EINVAL, "unknown key '%s' in [vm %s]%s", name, r->vm->name,
		       meant[0]				  ? meant
		       : config_key_of(config_keys, name) ? ": it belongs above the first section"
							  : "");
}

/* name: what is between the brackets. */
static int begin_section(struct reader *r, char *name, struct tv_err *e)
{
	struct config *c = r->c;
	struct config_vm *vm = &c->vms[c->vm_count];

	r->vm = NULL;
	r->skips = true;
	if (strncmp("vm", name, 2) != 0 || !isspace((unsigned char)name[2]) || !*trim(name + 2))
		return tv_fail(e, -EINVAL, "unknown section '[%s]': [vm NAME] expected", name);
	name = trim(name + 2);
	if (config_vm(c, name))
		return tv_fail(e, -EINVAL, "there is a section [vm %s] already, in line %u", name,
			       config_vm(c, name)->line);
	if (c->vm_count == CONFIG_MAX_VMS)
		return tv_fail(e, -EINVAL, "more than %d sections", CONFIG_MAX_VMS);
	*vm = (struct config_vm){.priority = -1, .line = r->line};
	if (!tv_copy(vm->name, sizeof(vm->name), name))
		return tv_fail(e, -EINVAL, "name of VM '%s' is too long", name);
	c->vm_count++;
	r->vm = vm;
	r->skips = false;
	return 0;
}

/* `# comment`, `[vm NAME]`, `key = value`, or nothing. */
static int read_line(struct reader *r, char *line, struct tv_err *e)
{
	char *key = trim(line), *eq = strchr(key, '=');

	if (!*key || *key == '#')
		return 0;
	if (*key == '[' && key[strlen(key) - 1] == ']') {
		key[strlen(key) - 1] = 0;
		return begin_section(r, trim(key + 1), e);
	}
	if (r->skips)
		return 0;
	if (!eq)
		return tv_fail(e, -EINVAL, "'key = value' expected");
	*eq = 0;
	return r->vm ? set_of_vm(r, trim(key), trim(eq + 1), e)
		     : set(r, trim(key), trim(eq + 1), e);
}

/* ---- the whole file ---- */

static void set_defaults(struct config *c, const char *path)
{
	*c = (struct config){.listen_host = "0.0.0.0",
			     .listen_port = CONFIG_DEFAULT_PORT,
			     .socket = "/run/twinvm/twinvmd.sock",
			     .state_dir = "/var/lib/twinvm",
			     .run_dir = "/run/twinvm",
			     .standby_user = "twinvm-vm",
			     .arbiter = "none",
			     .sink_user = "twinvm",
			     .media = CONFIG_DEFAULT_MEDIA,
			     .share_monitors = CONFIG_DEFAULT_SHARE_MONITORS,
			     .qemu_path = CONFIG_DEFAULT_QEMU_PATH,
			     .heartbeat_ms = 100,
			     .epoch_ms = 25,
			     .mode = "adaptive",
			     .dashboard = CONFIG_DEFAULT_DASHBOARD,
			     .hung_qemu = "wait",
			     .health_action = "act",
			     .libvirt = "auto",
			     .reprotect = true,
			     .peer_commands = true,
			     .maintenance_timeout_s = 120,
			     .pause_budget = 10,
			     .rehearsal_reminder_days = 180,
			     .staging_bytes = 64u << 20,
			     .cache_bytes = 32u << 20,
			     .files_bytes = UINT64_C(16) << 30,
			     .spool_bytes = UINT64_C(16) << 30,
			     .reserve_bytes = UINT64_C(512) << 20};
	tv_copy(c->path, sizeof(c->path), path);
	gethostname(c->host, sizeof(c->host) - 1);
}

int config_derive(struct config *c, struct tv_err *e)
{
	bool any = !strcmp(c->listen_host, "0.0.0.0") || !strcmp(c->listen_host, "::");
	const char *h = any ? c->host : c->listen_host; /* others cannot connect to a wildcard */
	int n = 0;

	if (!c->own_replica_dir)
		n = snprintf(c->replica_dir, sizeof(c->replica_dir), "%s/disks", c->state_dir);
	if (n >= (int)sizeof(c->replica_dir))
		return tv_fail(e, -ENAMETOOLONG, "state_dir is too long");
	if (!c->own_address)
		repl_endpoint(c->address, h, c->listen_port);
	return 0;
}

/* ---- checks of the whole ---- */
static unsigned line_of(const struct reader *r, const char *key)
{
	return r->lines[config_key_of(config_keys, key) - config_keys];
}

static const char *text_of(const struct config *c, const char *key)
{
	return (const char *)c + config_key_of(config_keys, key)->offset;
}

static void check_vms(struct reader *r)
{
	const struct config *c = r->c;

	for (unsigned i = 0; i < c->vm_count; i++) {
		struct tv_err e = {0};
		int rc = config_check_vm(c, &c->vms[i], &e);

		if (rc) {
			tv_fail_prefix(&e, rc, "[vm %s]", c->vms[i].name);
			mistake(r, c->vms[i].line, rc, &e);
		}
	}
}

static void check_whole(struct reader *r)
{
	static const char *const needed[] = {"ca", "cert", "key"};
	static const char *const secrets[] = {"key", "arbiter_key", "arbiter_password_file",
					      "dashboard_key", "dashboard_token_file"};
	struct tv_err e = {0};
	int rc;

	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (!*text_of(r->c, needed[i])) {
			tv_fail(&e, -EINVAL,
				"'%s' is missing: hosts authenticate each other with certificates "
				"of one CA, which 'twinvm cluster init' makes",
				needed[i]);
			mistake(r, line_of(r, needed[i]), -EINVAL, &e);
		}
	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
		rc = config_check_secret(secrets[i], text_of(r->c, secrets[i]), &e);
		if (rc)
			mistake(r, line_of(r, secrets[i]), rc, &e);
	}
	rc = config_derive(r->c, &e);
	if (rc)
		mistake(r, line_of(r, "state_dir"), rc, &e);
	for (const struct config_check *k = config_checks; k->key; k++) {
		rc = k->check(r->c, &e);
		if (rc)
			mistake(r, line_of(r, k->key), rc, &e);
	}
	check_vms(r);
}

int config_read(const char *path, struct config *out, config_mistake_cb *cb, void *arg)
{
	struct reader r = {.c = out, .cb = cb, .arg = arg};
	TV_FREE char *text = NULL;
	struct tv_err e = {0};
	char *line;
	int rc;

	set_defaults(out, path);
	rc = tv_read_file(path, 1 << 20, &text, NULL);
	if (rc) {
		tv_fail(&e, rc, "configuration %s: %s", path, tv_strerror(rc));
		cb(arg, rc, &e);
		return rc;
	}
	for (char *p = text; (line = strsep(&p, "\n"));) {
		r.line++;
		rc = read_line(&r, line, &e);
		if (rc)
			mistake(&r, r.line, rc, &e);
	}
	out->own_address = out->address[0];
	out->own_replica_dir = out->replica_dir[0];
	rc = config_cluster(out, set_peer, &e);
	if (rc)
		mistake(&r, line_of(&r, "cluster"), rc, &e);
	check_whole(&r);
	return r.rc;
}

/* The first one is enough for a program. */
static void first_mistake(void *arg, int rc, const struct tv_err *e)
{
	struct tv_err *to = arg;

	(void)rc;
	if (to && !to->text[0])
		*to = *e;
}

int config_load(const char *path, struct config *out, struct tv_err *e)
{
	if (e)
		e->text[0] = 0;
	return config_read(path, out, first_mistake, e);
}
