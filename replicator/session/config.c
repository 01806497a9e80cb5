/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: a table of keys, and what checks their values. */
#include "replicator/session/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum kind { TEXT, NUMBER, MIB, YES_NO };
struct key {
	const char *name;
	enum kind kind;
	size_t offset, room; /* room: of TEXT */
	long long min, max;  /* of NUMBER and MIB */
};
/* clang-format off */
#define AT(f) .offset = offsetof(struct config, f)
#define T(n, f) {.name = (n), .kind = TEXT, AT(f), .room = sizeof(((struct config *)0)->f)}
#define Y(n, f) {.name = (n), .kind = YES_NO, AT(f)}
#define N(n, f, lo, hi) {.name = (n), .kind = NUMBER, AT(f), .min = (lo), .max = (hi)}
#define M(n, f, lo, hi) {.name = (n), .kind = MIB, AT(f), .min = (lo), .max = (hi)}
/* clang-format on */

/* All but `listen` and `peer.NAME`, which have addresses, `priority.NAME` and `probe.NAME`. */
static const struct key keys[] = {
	T("host", host),
	T("cluster", cluster),
	T("address", address),
	T("socket", socket),
	T("state_dir", state_dir),
	T("replica_dir", replica_dir),
	T("run_dir", run_dir),
	T("ca", ca),
	T("cert", cert),
	T("key", key),
	T("crl", crl),
	T("revoked", revoked),
	T("bridge", bridge),
	T("bridges", bridges),
	T("arbiter", arbiter),
	T("arbiters", arbiters),
	T("arbiter_ca", arbiter_ca),
	T("arbiter_cert", arbiter_cert),
	T("arbiter_key", arbiter_key),
	T("arbiter_user", arbiter_user),
	T("arbiter_password_file", arbiter_password),
	T("mode", mode),
	T("watchdog", watchdog),
	T("fence_command", fence_command),
	Y("fence_required", fence_required),
	Y("fence_check", fence_check),
	Y("reprotect", reprotect),
	Y("peer_commands", peer_commands),
	T("hung_qemu", hung_qemu),
	T("health_action", health_action),
	T("libvirt", libvirt),
	T("media", media),
	T("qemu_path", qemu_path),
	T("sink_user", sink_user),
	T("standby_user", standby_user),
	T("vm_users", vm_users),
	T("share_monitors", share_monitors),
	Y("replica_plaintext", replica_plaintext),
	T("dashboard", dashboard),
	T("dashboard_token_file", dashboard_token),
	T("dashboard_names", dashboard_names),
	Y("dashboard_tls", dashboard_tls),
	T("dashboard_cert", dashboard_cert),
	T("dashboard_key", dashboard_key),
	N("heartbeat_ms", heartbeat_ms, 20, 60000),
	N("maintenance_timeout_s", maintenance_timeout_s, 1, CONFIG_MAX_MAINTENANCE_S),
	N("rehearsal_reminder_days", rehearsal_reminder_days, 0, 3650),
	N("epoch_ms", epoch_ms, 1, 60000),
	N("pause_budget", pause_budget, 1, 50),
	M("staging_mib", staging_bytes, 2, 65536),
	M("cache_mib", cache_bytes, 0, 65536),
	M("files_mib", files_bytes, 0, 1 << 24),
	M("spool_mib", spool_bytes, 1, 1 << 24),
	M("reserve_mib", reserve_bytes, 0, 1 << 24),
};

const char *config_probe(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->probe_count; i++)
		if (!strcmp(c->probes[i].name, name))
			return c->probes[i].command;
	return NULL;
}

/* ---- one line ---- */

static int set_peer(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	struct config_peer p;

	if (c->peer_count == CONFIG_MAX_PEERS)
		return tv_fail(e, -EINVAL, "more than %d peers", CONFIG_MAX_PEERS);
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

/* "drill", "drill.VM". -ENOENT: it is no such key. */
static int set_if_schedule(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	size_t n = strcspn(name, ".");
	char word[32];

	if (!tv_copy_n(word, sizeof(word), name, n) || schedule_of(word) == SCHEDULE_WHATS ||
	    (name[n] && !name[n + 1]))
		return -ENOENT;
	return set_schedule(c, schedule_of(word), name[n] ? name + n + 1 : "", value, e);
}

static int set_listen(struct config *c, const char *value, struct tv_err *e)
{
	if (config_address(value, c->listen_host, sizeof(c->listen_host), &c->listen_port))
		return tv_fail(e, -EINVAL, "'%s' is not ADDRESS:PORT", value);
	return 0;
}

static int set_yes_no(const struct key *k, const char *value, bool *to, struct tv_err *e)
{
	*to = !strcmp(value, "yes");
	if (!*to && strcmp(value, "no") != 0)
		return tv_fail(e, -EINVAL, "'%s' must be yes or no", k->name);
	return 0;
}

static int set_number(const struct key *k, const char *value, void *to, struct tv_err *e)
{
	char *rest;
	long long v;

	errno = 0;
	v = strtoll(value, &rest, 10);
	if (errno || *rest || rest == value || v < k->min || v > k->max)
		return tv_fail(e, -ERANGE, "'%s' must be a number from %lld to %lld", k->name,
			       k->min, k->max);
	if (k->kind == NUMBER)
		*(int *)to = (int)v;
	else
		*(uint64_t *)to = (uint64_t)v << 20;
	return 0;
}

static int set_key(struct config *c, const struct key *k, const char *value, struct tv_err *e)
{
	void *to = (char *)c + k->offset;

	switch (k->kind) {
	case TEXT:
		if (!tv_copy(to, k->room, value))
			return tv_fail(e, -EINVAL, "value of '%s' is too long", k->name);
		return 0;
	case YES_NO:
		return set_yes_no(k, value, to, e);
	case NUMBER:
	case MIB:
		return set_number(k, value, to, e);
	}
	return 0;
}

static int set(struct config *c, const char *name, const char *value, struct tv_err *e)
{
	int rc;

	if (!strncmp(name, "peer.", 5))
		return set_peer(c, name + 5, value, e);
	if (!strncmp(name, "priority.", 9))
		return set_priority(c, name + 9, value, e);
	if (!strncmp(name, "probe.", 6))
		return set_probe(c, name + 6, value, e);
	if (!strcmp(name, "listen"))
		return set_listen(c, value, e);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!strcmp(keys[i].name, name))
			return set_key(c, &keys[i], value, e);
	rc = set_if_schedule(c, name, value, e);
	return rc == -ENOENT ? tv_fail(e, -EINVAL, "unknown key '%s'", name) : rc;
}

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

/* `# comment`, `key = value`, or nothing. */
static int read_line(struct config *c, char *line, struct tv_err *e)
{
	char *key = trim(line), *eq = strchr(key, '=');

	if (!*key || *key == '#')
		return 0;
	if (!eq)
		return tv_fail(e, -EINVAL, "'key = value' expected");
	*eq = 0;
	return set(c, trim(key), trim(eq + 1), e);
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
			     .maintenance_timeout_s = 120,
			     .epoch_ms = 25,
			     .pause_budget = 10,
			     .mode = "adaptive",
			     .dashboard = CONFIG_DEFAULT_DASHBOARD,
			     .hung_qemu = "wait",
			     .health_action = "act",
			     .libvirt = "auto",
			     .reprotect = true,
			     .peer_commands = true,
			     .rehearsal_reminder_days = 180,
			     .staging_bytes = 64u << 20,
			     .cache_bytes = 32u << 20,
			     .files_bytes = UINT64_C(16) << 30,
			     .spool_bytes = UINT64_C(16) << 30,
			     .reserve_bytes = UINT64_C(512) << 20};
	tv_copy(c->path, sizeof(c->path), path);
	gethostname(c->host, sizeof(c->host) - 1);
}

/* Defaults that depend on other keys. */
static int derive(struct config *c, struct tv_err *e)
{
	bool any = !strcmp(c->listen_host, "0.0.0.0") || !strcmp(c->listen_host, "::");
	const char *h = any ? c->host : c->listen_host; /* others cannot connect to a wildcard */
	int n = 0;

	if (!c->replica_dir[0])
		n = snprintf(c->replica_dir, sizeof(c->replica_dir), "%s/disks", c->state_dir);
	if (n >= (int)sizeof(c->replica_dir))
		return tv_fail(e, -ENAMETOOLONG, "%s: state_dir is too long", c->path);
	if (!c->address[0])
		snprintf(c->address, sizeof(c->address), strchr(h, ':') ? "[%s]:%u" : "%s:%u", h,
			 c->listen_port);
	return config_cluster(c, set_peer, e);
}

static int check_certificates(const struct config *c, struct tv_err *e)
{
	const char *missing = !c->ca[0] ? "ca" : !c->cert[0] ? "cert" : !c->key[0] ? "key" : NULL;

	if (missing)
		return tv_fail(e, -EINVAL,
			       "%s: '%s' is missing: hosts authenticate each other with "
			       "certificates of one CA, which 'twinvm cluster init' makes",
			       c->path, missing);
	return 0;
}

bool config_fails_over_hung(const struct config *c)
{
	return !strcmp(c->hung_qemu, "failover");
}

bool config_health_acts(const struct config *c)
{
	return !strcmp(c->health_action, "act");
}

int config_priority(const struct config *c, const char *vm)
{
	for (unsigned i = c->priority_count; i-- > 0;) /* the last line counts */
		if (!strcmp(c->priorities[i].vm, vm))
			return c->priorities[i].priority;
	return FO_PRIORITY_DEFAULT;
}

bool config_has_libvirt(const struct config *c)
{
	return !strcmp(c->libvirt, "auto");
}

static int check(const struct config *c, struct tv_err *e)
{
	struct config_dashboard at;
	enum pace_mode mode;

	if (pace_mode_parse(c->mode, &mode))
		return tv_fail(e, -EINVAL, "%s: mode must be adaptive, remus or kemari, not '%s'",
			       c->path, c->mode);
	if (strcmp(c->hung_qemu, "wait") != 0 && !config_fails_over_hung(c))
		return tv_fail(e, -EINVAL, "%s: hung_qemu must be wait or failover, not '%s'",
			       c->path, c->hung_qemu);
	if (!config_health_acts(c) && strcmp(c->health_action, "warn") != 0)
		return tv_fail(e, -EINVAL, "%s: health_action must be act or warn, not '%s'",
			       c->path, c->health_action);
	if (!config_has_libvirt(c) && strcmp(c->libvirt, "no") != 0)
		return tv_fail(e, -EINVAL, "%s: libvirt must be auto or no, not '%s'", c->path,
			       c->libvirt);
	if (c->fence_command[0] && access(c->fence_command, X_OK))
		return tv_fail(e, -ENOENT, "%s: fence_command %s is not an executable program",
			       c->path, c->fence_command);
	if (c->watchdog[0] && access(c->watchdog, W_OK))
		return tv_fail(e, -ENOENT,
			       "%s: watchdog %s is not writable (without such hardware, 'modprobe "
			       "softdog' makes /dev/watchdog)",
			       c->path, c->watchdog);
	if (!c->standby_user[0] || !strcmp(c->standby_user, "root"))
		return tv_fail(e, -EINVAL,
			       "%s: standby_user must name a user other than root: what runs as it "
			       "is the guests of other hosts",
			       c->path);
	if (c->fence_required && !c->fence_command[0])
		return tv_fail(e, -EINVAL, "%s: fence_required needs a fence_command", c->path);
	if (c->fence_check && !c->fence_command[0])
		return tv_fail(e, -EINVAL, "%s: fence_check needs a fence_command", c->path);
	return config_dashboard(c, &at, e);
}

int config_load(const char *path, struct config *out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	char *line;
	int n = 0, rc;

	set_defaults(out, path);
	rc = tv_read_file(path, 1 << 20, &text, NULL);
	if (rc)
		return tv_fail(e, rc, "configuration %s: %s", path, tv_strerror(rc));
	for (char *p = text; (line = strsep(&p, "\n"));) {
		n++;
		rc = read_line(out, line, e);
		if (rc)
			return tv_fail_prefix(e, rc, "%s:%d", path, n);
	}
	rc = derive(out, e);
	if (!rc)
		rc = check_certificates(out, e);
	if (!rc)
		rc = config_check_secrets(out, e);
	return rc ? rc : check(out, e);
}

/* ---- what others make of it ---- */

struct fo_arbiter_conf config_arbiter(const struct config *c, const struct fo_times *t)
{
	return (struct fo_arbiter_conf){.times = t,
					.ca = c->arbiter_ca,
					.cert = c->arbiter_cert,
					.key = c->arbiter_key,
					.user = c->arbiter_user,
					.password_file = c->arbiter_password};
}

int config_peer(const struct config *c, const char *name, struct config_peer *out, struct tv_err *e)
{
	for (unsigned i = 0; i < c->peer_count; i++)
		if (!strcmp(c->peers[i].name, name)) {
			*out = c->peers[i];
			return out->port ? 0
					 : tv_fail(e, -EINVAL,
						   "peer.%s in %s has no address: give HOST:PORT",
						   name, c->path);
		}
	out->name[0] = 0; /* any configured peer */
	if (config_address(name, out->host, sizeof(out->host), &out->port))
		return tv_fail(
			e, -EINVAL,
			"'%s' is neither a configured peer (peer.NAME = HOST:PORT in %s) nor "
			"HOST:PORT",
			name, c->path);
	return 0;
}
