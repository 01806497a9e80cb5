/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices. The number of devices in front must be the same on both sides, so no option
 * disappears; only what is behind them moves: what others connect to or read becomes a socket or
 * file in the standby's own folder, what belongs to the primary's host alone (terminals, connections to a server,
 * pipes) becomes null. So nothing that a peer names is opened, and none has to be refused.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static bool is_server(const struct hv_keyval *kv)
{
	return hv_keyval_is_on(kv, "server");
}

static bool fits_socket(struct hv_rewrite *rw, const char *path)
{
	struct sockaddr_un a;

	if (!path)
		return false;
	if (strlen(path) < sizeof(a.sun_path))
		return true;
	hv_rw_fail(rw, -ENAMETOOLONG, "the socket name %s is longer than %zu bytes", path,
		   sizeof(a.sun_path) - 1);
	return false;
}

/* What follows "unix:" or "tcp:" in the short form. NULL: failed or null is meant. */
static char *short_socket(struct hv_rewrite *rw, const char *option, const char *arg, bool is_unix)
{
	struct hv_keyval kv;
	char *path = NULL;

	if (!hv_rw_parse(rw, &kv, option, arg, "path"))
		return NULL;
	if (is_server(&kv)) {
		path = hv_rw_local(rw, is_unix ? hv_keyval_get(&kv, "path") : option + 1,
				   is_unix ? "" : ".sock");
		if (!fits_socket(rw, path)) {
			free(path);
			path = NULL;
		}
	}
	hv_keyval_dispose(&kv);
	return path;
}

static bool starts(const char *s, const char *prefix, const char **rest)
{
	size_t n = strlen(prefix);

	if (strncmp(s, prefix, n))
		return false;
	*rest = s + n;
	return true;
}

void hv_rw_serial(struct hv_rewrite *rw, const char *option, const char *arg)
{
	TV_FREE char *path = NULL, *escaped = NULL;
	const char *rest = arg;

	/* The monitor that shared the terminal is gone; the device stays. */
	starts(arg, "mon:", &arg);
	hv_rw_put(rw, option);
	if (!strcmp(arg, "none") || !strcmp(arg, "null") || !strncmp(arg, "vc", 2) ||
	    !strncmp(arg, "chardev:", 8) || !strcmp(arg, "msmouse")) {
		hv_rw_put(rw, arg);
	} else if (starts(arg, "file:", &rest)) {
		path = hv_rw_local(rw, rest, "");
		hv_rw_putf(rw, "file:%s", path ? path : "");
	} else if (starts(arg, "unix:", &rest) || starts(arg, "tcp:", &rest) ||
		   starts(arg, "telnet:", &rest) || starts(arg, "websocket:", &rest) ||
		   starts(arg, "tn3270:", &rest)) {
		path = short_socket(rw, option, rest, !strncmp(arg, "unix:", 5));
		escaped = path ? hv_keyval_escape(path) : NULL;
		if (escaped)
			hv_rw_putf(rw, "unix:%s,server=on,wait=off", escaped);
		else
			hv_rw_put(rw, "null");
	} else {
		hv_rw_put(rw, "null");
	}
}

/* Where it logs to on this host; NULL: nowhere, or failed. One that came in as a descriptor has no
 * name of its own. */
static char *log_file(struct hv_rewrite *rw, const struct hv_keyval *kv)
{
	const char *log = hv_keyval_get(kv, "logfile");
	bool no_name = log && !strncmp(log, "/dev/fdset/", 11);

	if (!log)
		return NULL;
	return no_name ? hv_rw_local(rw, hv_keyval_get(kv, "id"), ".log")
		       : hv_rw_local(rw, log, "");
}

/* A fresh back end with the old one's id and multiplexer: what else it had belongs to the host. */
static void put_backend(struct hv_rewrite *rw, const char *option, const struct hv_keyval *old,
			const char *backend, const char *path)
{
	static const char *const keep[] = {"id", "mux", "logappend"};
	TV_FREE char *log_path = log_file(rw, old);
	struct hv_keyval kv = {0};

	hv_rw_set(rw, &kv, "backend", backend);
	for (unsigned i = 0; i < sizeof(keep) / sizeof(*keep); i++) {
		const char *v = hv_keyval_get(old, keep[i]);

		if (v)
			hv_rw_set(rw, &kv, keep[i], *v ? v : "on");
	}
	if (log_path)
		hv_rw_set(rw, &kv, "logfile", log_path);
	if (path)
		hv_rw_set(rw, &kv, "path", path);
	if (!strcmp(backend, "socket")) {
		hv_rw_set(rw, &kv, "server", "on");
		hv_rw_set(rw, &kv, "wait", "off");
	}
	if (!strcmp(backend, "file") && hv_keyval_get(old, "append"))
		hv_rw_set(rw, &kv, "append", hv_keyval_is_on(old, "append") ? "on" : "off");
	hv_rw_put_keyval(rw, option, &kv);
	hv_keyval_dispose(&kv);
}

/* One that stays as it is, but for its log. */
static void put_same(struct hv_rewrite *rw, const char *option, struct hv_keyval *kv,
		     const struct hv_allow *allow)
{
	TV_FREE char *local = NULL;
	char what[128];

	snprintf(what, sizeof(what), "%s %s", option, allow->name);
	if (!hv_rw_keys_ok(rw, kv, allow->keys, what))
		return;
	local = log_file(rw, kv);
	if (local)
		hv_rw_set(rw, kv, "logfile", local);
	hv_rw_put_keyval(rw, option, kv);
}

void hv_rw_chardev(struct hv_rewrite *rw, const char *option, const char *arg)
{
	const char *backend, *id, *path;
	TV_FREE char *local = NULL;
	struct hv_keyval kv;

	if (!hv_rw_parse(rw, &kv, option, arg, "backend"))
		return;
	backend = hv_keyval_get(&kv, "backend");
	id = hv_keyval_get(&kv, "id");
	path = hv_keyval_get(&kv, "path");
	if (!backend || !id) {
		hv_rw_fail(rw, TV_E_REFUSED, "option -chardev %.200s names no back end or no id",
			   arg);
	} else if (!strcmp(id, HV_QMP_CHARDEV)) {
		/* Of a VM that was a standby itself. The new one gets its own. */
	} else if (hv_rw_tpm_chardev(rw, &kv)) {
		/* it is written, or refused */
	} else if (hv_allow(HV_ALLOW_CHARDEV, backend)) {
		put_same(rw, option, &kv, hv_allow(HV_ALLOW_CHARDEV, backend));
	} else if (!strcmp(backend, "file") && path) {
		local = hv_rw_local(rw, path, "");
		put_backend(rw, option, &kv, "file", local);
	} else if (!strcmp(backend, "socket") && is_server(&kv)) {
		local = path ? hv_rw_local(rw, path, "") : hv_rw_local(rw, id, ".sock");
		if (fits_socket(rw, local))
			put_backend(rw, option, &kv, "socket", local);
	} else {
		put_backend(rw, option, &kv, "null", NULL);
	}
	hv_keyval_dispose(&kv);
}
