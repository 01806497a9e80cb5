/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks of a whole configuration: each is about one key, whose line a mistake is shown with. */
#include "replicator/session/keys.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int check_mode(const struct config *c, struct tv_err *e)
{
	enum pace_mode mode;

	return pace_mode_parse(c->mode, &mode)
		       ? tv_fail(e, -EINVAL, "mode must be adaptive, remus or kemari, not '%s'",
				 c->mode)
		       : 0;
}

static int check_hung(const struct config *c, struct tv_err *e)
{
	return strcmp(c->hung_qemu, "wait") != 0 && !config_fails_over_hung(c)
		       ? tv_fail(e, -EINVAL, "hung_qemu must be wait or failover, not '%s'",
				 c->hung_qemu)
		       : 0;
}

static int check_health(const struct config *c, struct tv_err *e)
{
	return !config_health_acts(c) && strcmp(c->health_action, "warn") != 0
		       ? tv_fail(e, -EINVAL, "health_action must be act or warn, not '%s'",
				 c->health_action)
		       : 0;
}

static int check_libvirt(const struct config *c, struct tv_err *e)
{
	return !config_has_libvirt(c) && strcmp(c->libvirt, "no") != 0
		       ? tv_fail(e, -EINVAL, "libvirt must be auto or no, not '%s'", c->libvirt)
		       : 0;
}

static int check_listen(const struct config *c, struct tv_err *e)
{
	return config_is_number(c->listen_host)
		       ? 0
		       : tv_fail(e, -EINVAL,
				 "listen = %s: an address of this host by number is needed, or "
				 "0.0.0.0 or [::]",
				 c->listen_host);
}

static int check_arbiter(const struct config *c, struct tv_err *e)
{
	struct fo_arbiter_conf ac = config_arbiter(c, NULL);
	int rc = fo_arbiter_check_url(c->arbiter, &ac, e);

	return rc ? tv_fail_prefix(e, rc, "arbiter") : 0;
}

static int check_fence_command(const struct config *c, struct tv_err *e)
{
	return c->fence_command[0] && access(c->fence_command, X_OK)
		       ? tv_fail(e, -ENOENT, "fence_command %s is not an executable program",
				 c->fence_command)
		       : 0;
}

static int check_watchdog(const struct config *c, struct tv_err *e)
{
	return c->watchdog[0] && access(c->watchdog, W_OK)
		       ? tv_fail(e, -ENOENT,
				 "watchdog %s is not writable (without such hardware, 'modprobe "
				 "softdog' makes /dev/watchdog)",
				 c->watchdog)
		       : 0;
}

static int check_standby_user(const struct config *c, struct tv_err *e)
{
	return !c->standby_user[0] || !strcmp(c->standby_user, "root")
		       ? tv_fail(e, -EINVAL,
				 "standby_user must name a user other than root: what runs as it "
				 "is the guests of other hosts")
		       : 0;
}

static int check_fence_required(const struct config *c, struct tv_err *e)
{
	return c->fence_required && !c->fence_command[0]
		       ? tv_fail(e, -EINVAL, "fence_required needs a fence_command")
		       : 0;
}

static int check_fence_check(const struct config *c, struct tv_err *e)
{
	return c->fence_check && !c->fence_command[0]
		       ? tv_fail(e, -EINVAL, "fence_check needs a fence_command")
		       : 0;
}

/* Words: NAME, or PRIMARYS=OURS; as hv/host/taps.c takes them. */
static int check_bridges(const struct config *c, struct tv_err *e)
{
	for (const char *p = c->bridges; *p; p += strspn(p, " ,:")) {
		size_t n = strcspn(p, " ,:"), theirs = strcspn(p, " ,:=");
		size_t ours = theirs < n ? n - theirs - 1 : theirs;

		if (n && (!theirs || !ours || theirs > 15 || ours > 15 ||
			  (theirs < n && memchr(p + theirs + 1, '=', ours))))
			return tv_fail(
				e, -EINVAL,
				"bridges: '%.*s' is neither a bridge nor PRIMARYS=OURS, each of "
				"at most 15 characters",
				(int)n, p);
		p += n;
	}
	return 0;
}

static int check_dashboard(const struct config *c, struct tv_err *e)
{
	struct config_dashboard at;

	return config_dashboard(c, &at, e);
}

int config_check_vm(const struct config *c, const struct config_vm *vm, struct tv_err *e)
{
	struct config_peer peer;
	enum pace_mode mode;

	if (vm->mode[0] && pace_mode_parse(vm->mode, &mode))
		return tv_fail(e, -EINVAL, "mode must be adaptive, remus or kemari, not '%s'",
			       vm->mode);
	if (vm->backup[0] && strcmp(vm->backup, c->host) != 0)
		return config_peer(c, vm->backup, &peer, e);
	if (vm->autoprotect && !config_vm_backup(c, vm->name))
		return tv_fail(e, -EINVAL,
			       "autoprotect needs a backup: there is not exactly one peer");
	return 0;
}

const struct config_check config_checks[] = {
	{"listen", check_listen},
	{"bridges", check_bridges},
	{"mode", check_mode},
	{"arbiter", check_arbiter},
	{"hung_qemu", check_hung},
	{"health_action", check_health},
	{"libvirt", check_libvirt},
	{"fence_command", check_fence_command},
	{"fence_required", check_fence_required},
	{"fence_check", check_fence_check},
	{"watchdog", check_watchdog},
	{"standby_user", check_standby_user},
	{"dashboard", check_dashboard},
	{NULL, NULL},
};
