/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of keys, and what a mistyped one was meant to be. */
#include "replicator/session/keys.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
#define AT(e, f) .effect = CONFIG_##e, .offset = offsetof(struct config, f)
#define T(n, e, f) {.name = (n), .kind = CONFIG_TEXT, AT(e, f), .room = sizeof(((struct config *)0)->f)}
#define Y(n, e, f) {.name = (n), .kind = CONFIG_YES_NO, AT(e, f)}
#define N(n, e, f, lo, hi) {.name = (n), .kind = CONFIG_NUMBER, AT(e, f), .min = (lo), .max = (hi)}
#define M(n, e, f, lo, hi) {.name = (n), .kind = CONFIG_MIB, AT(e, f), .min = (lo), .max = (hi)}
#define K(n, k, e) {.name = (n), .kind = CONFIG_##k, .effect = CONFIG_##e}
/* clang-format on */

const struct config_key config_keys[] = {
	T("host", RESTART, host),
	T("cluster", AT_ONCE, cluster),
	T("ca", NEXT_SESSION, ca),
	T("cert", NEXT_SESSION, cert),
	T("key", NEXT_SESSION, key),
	K("listen", LISTEN, RESTART),
	T("address", AT_ONCE, address),
	K("peer", PEER, AT_ONCE),
	T("crl", NEXT_SESSION, crl),
	T("revoked", AT_ONCE, revoked),
	T("bridge", NEXT_SESSION, bridge),
	T("bridges", NEXT_SESSION, bridges),
	T("socket", RESTART, socket),
	T("run_dir", RESTART, run_dir),
	T("state_dir", RESTART, state_dir),
	T("replica_dir", NEXT_SESSION, replica_dir),
	T("mode", AT_ONCE, mode),
	N("epoch_ms", AT_ONCE, epoch_ms, 1, 60000),
	N("pause_budget", NEXT_SESSION, pause_budget, 1, 50),
	T("arbiter", AT_ONCE, arbiter),
	T("arbiters", NEXT_SESSION, arbiters),
	T("arbiter_ca", NEXT_SESSION, arbiter_ca),
	T("arbiter_cert", NEXT_SESSION, arbiter_cert),
	T("arbiter_key", NEXT_SESSION, arbiter_key),
	T("arbiter_user", NEXT_SESSION, arbiter_user),
	T("arbiter_password_file", NEXT_SESSION, arbiter_password),
	T("media", NEXT_SESSION, media),
	T("qemu_path", NEXT_SESSION, qemu_path),
	T("sink_user", NEXT_SESSION, sink_user),
	T("standby_user", NEXT_SESSION, standby_user),
	T("vm_users", AT_ONCE, vm_users),
	T("share_monitors", AT_ONCE, share_monitors),
	Y("replica_plaintext", NEXT_SESSION, replica_plaintext),
	Y("reprotect", AT_ONCE, reprotect),
	Y("peer_commands", AT_ONCE, peer_commands),
	T("hung_qemu", NEXT_SESSION, hung_qemu),
	T("health_action", AT_ONCE, health_action),
	K("priority", PRIORITY, AT_ONCE),
	N("maintenance_timeout_s", AT_ONCE, maintenance_timeout_s, 1, CONFIG_MAX_MAINTENANCE_S),
	T("libvirt", NEXT_SESSION, libvirt),
	N("heartbeat_ms", NEXT_SESSION, heartbeat_ms, 20, 60000),
	M("staging_mib", NEXT_SESSION, staging_bytes, 2, 65536),
	M("cache_mib", NEXT_SESSION, cache_bytes, 0, 65536),
	M("files_mib", NEXT_SESSION, files_bytes, 0, 1 << 24),
	M("spool_mib", NEXT_SESSION, spool_bytes, 1, 1 << 24),
	M("reserve_mib", NEXT_SESSION, reserve_bytes, 0, 1 << 24),
	T("dashboard", AT_ONCE, dashboard),
	T("dashboard_token_file", AT_ONCE, dashboard_token),
	Y("dashboard_tls", AT_ONCE, dashboard_tls),
	T("dashboard_cert", AT_ONCE, dashboard_cert),
	T("dashboard_key", AT_ONCE, dashboard_key),
	T("dashboard_names", AT_ONCE, dashboard_names),
	K("test_failover", SCHEDULE, AT_ONCE),
	K("drill", SCHEDULE, AT_ONCE),
	K("verify", SCHEDULE, AT_ONCE),
	K("probe", PROBE, AT_ONCE),
	N("rehearsal_reminder_days", AT_ONCE, rehearsal_reminder_days, 0, 3650),
	T("fence_command", AT_ONCE, fence_command),
	Y("fence_required", AT_ONCE, fence_required),
	Y("fence_check", AT_ONCE, fence_check),
	T("watchdog", RESTART, watchdog),
	{.name = NULL},
};

/* clang-format off */
#define AT_VM(f) .effect = CONFIG_AT_ONCE, .offset = offsetof(struct config_vm, f)
#define VT(n, f) {.name = (n), .kind = CONFIG_TEXT, AT_VM(f), .room = sizeof(((struct config_vm *)0)->f)}
#define VY(n, f) {.name = (n), .kind = CONFIG_YES_NO, AT_VM(f)}
#define VN(n, f, lo, hi) {.name = (n), .kind = CONFIG_NUMBER, AT_VM(f), .min = (lo), .max = (hi)}
/* clang-format on */

const struct config_key config_vm_keys[] = {
	VY("autoprotect", autoprotect),
	VT("backup", backup),
	VT("mode", mode),
	VN("epoch_ms", epoch_ms, 1, 60000),
	VN("priority", priority, 0, FO_PRIORITY_MOST),
	{.name = NULL},
};

static bool has_rest(const struct config_key *k)
{
	return k->kind == CONFIG_PEER || k->kind == CONFIG_PRIORITY || k->kind == CONFIG_PROBE ||
	       k->kind == CONFIG_SCHEDULE;
}

static bool needs_rest(const struct config_key *k)
{
	return has_rest(k) && k->kind != CONFIG_SCHEDULE;
}

const char *config_key_rest(const char *name)
{
	const char *point = strchr(name, '.');

	return point ? point + 1 : "";
}

const struct config_key *config_key_of(const struct config_key *table, const char *name)
{
	size_t n = strcspn(name, ".");

	for (const struct config_key *k = table; k->name; k++)
		if (strlen(k->name) == n && !memcmp(k->name, name, n))
			return name[n] ? (has_rest(k) ? k : NULL) : needs_rest(k) ? NULL : k;
	return NULL;
}

/* ---- did you mean ...? ---- */
#define LONGEST 48

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

/* Letters to be put in, left out, replaced, or swapped with the next one. */
static unsigned distance(const char *a, size_t an, const char *b, size_t bn)
{
	unsigned rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *row = rows[2];

	for (unsigned j = 0; j <= bn; j++)
		last[j] = j;
	for (size_t i = 1; i <= an; i++) {
		unsigned *spare = before;

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= bn; j++) {
			row[j] = least(last[j] + 1, row[j - 1] + 1,
				       last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < row[j])
				row[j] = before[j - 2] + 1;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[bn];
}

/* How far the key is from what was written; UINT32_MAX: too far to be meant. */
static unsigned far_from(const char *key, const char *name, size_t n)
{
	size_t key_n = strlen(key), shorter = n < key_n ? n : key_n;
	unsigned d;

	if (n > LONGEST || key_n > LONGEST)
		return UINT32_MAX;
	d = distance(name, n, key, key_n);
	if (d > 2 && shorter >= 4 && !strncasecmp(key, name, shorter)) /* epoch: epoch_ms */
		return 2;
	return d <= (n > 5 ? n / 3 : 1) ? d : UINT32_MAX;
}

void config_key_nearest(const struct config_key *table, const char *name, char *out, size_t room)
{
	size_t n = strcspn(name, ".");
	unsigned best_d = UINT32_MAX;
	const struct config_key *best = NULL;

	out[0] = 0;
	for (const struct config_key *k = table; k->name; k++) {
		unsigned d = name[n] && !has_rest(k) ? UINT32_MAX : far_from(k->name, name, n);

		if (d < best_d) {
			best_d = d;
			best = k;
		}
	}
	if (best)
		snprintf(out, room, "; did you mean '%s%s%s'?", best->name,
			 name[n] || needs_rest(best) ? "." : "",
			 name[n] && name[n + 1]	       ? name + n + 1
			 : name[n] || needs_rest(best) ? "NAME"
						       : "");
}
