/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small steps of every rewriter: adding words, naming files, paths. A step after a failure does
 * nothing (hv_rewrite.rc).
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hv_rw_fail(struct hv_rewrite *rw, int rc, const char *fmt, ...)
{
	va_list ap;

	if (rw->rc)
		return;
	rw->rc = rc;
	if (!rw->e)
		return;
	va_start(ap, fmt);
	vsnprintf(rw->e->text, sizeof(rw->e->text), fmt, ap);
	va_end(ap);
}

void hv_rw_deny(struct hv_rewrite *rw, const char *remedy, const char *fmt, ...)
{
	const char *peer = rw->conf->peer ? rw->conf->peer : "the other host";
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	hv_rw_fail(rw, TV_E_REFUSED, "%.100s asks for %s: not allowed on this host; %s", peer, what,
		   remedy && *remedy ? remedy : "start the VM without");
}

static void deny_key(struct hv_rewrite *rw, const char *what, const char *key)
{
	hv_rw_deny(rw, NULL, "%.200s with %.100s=", what, key);
}

bool hv_rw_keys_ok(struct hv_rewrite *rw, const struct hv_keyval *kv, const char *keys,
		   const char *what)
{
	const char *key;
	json_t *v;

	json_object_foreach(kv->json, key, v)
		if (!hv_allow_word(keys, key))
			deny_key(rw, what, key);
	for (unsigned i = 0; i < kv->n; i++)
		if (!hv_allow_word(keys, kv->pairs[i].key))
			deny_key(rw, what, kv->pairs[i].key);
	return !rw->rc;
}

static void no_memory(struct hv_rewrite *rw)
{
	hv_rw_fail(rw, -ENOMEM, "no memory for the standby's command line");
}

void hv_rw_put_owned(struct hv_rewrite *rw, char *word)
{
	if (!word)
		no_memory(rw);
	if (!rw->rc && rw->n + 1 >= rw->room) {
		unsigned room = rw->room ? 2 * rw->room : 64;
		char **p = realloc(rw->out, room * sizeof(*p));

		if (p) {
			rw->out = p;
			rw->room = room;
		} else {
			no_memory(rw);
		}
	}
	if (rw->rc) {
		free(word);
		return;
	}
	rw->out[rw->n++] = word;
	rw->out[rw->n] = NULL;
}

void hv_rw_put(struct hv_rewrite *rw, const char *word)
{
	hv_rw_put_owned(rw, strdup(word));
}

void hv_rw_putf(struct hv_rewrite *rw, const char *fmt, ...)
{
	char *word = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&word, fmt, ap) < 0)
		word = NULL;
	va_end(ap);
	hv_rw_put_owned(rw, word);
}

void hv_rw_keep(struct hv_rewrite *rw, const char *option, const char *arg)
{
	hv_rw_put(rw, option);
	if (arg)
		hv_rw_put(rw, arg);
}

void hv_rw_put_keyval(struct hv_rewrite *rw, const char *option, const struct hv_keyval *kv)
{
	hv_rw_put(rw, option);
	hv_rw_put_owned(rw, hv_keyval_print(kv));
}

void hv_rw_set(struct hv_rewrite *rw, struct hv_keyval *kv, const char *key, const char *value)
{
	if (!rw->rc && hv_keyval_set(kv, key, value))
		no_memory(rw);
}

bool hv_rw_parse(struct hv_rewrite *rw, struct hv_keyval *kv, const char *option, const char *arg,
		 const char *implied)
{
	int rc = rw->rc ? rw->rc : hv_keyval_parse(kv, arg, implied);

	if (rc == -EINVAL)
		hv_rw_fail(rw, TV_E_REFUSED, "option -%s: \"%s\" is not valid JSON",
			   option + (*option == '-'), arg);
	else if (rc)
		no_memory(rw);
	return !rc;
}

static bool is_taken(struct hv_rewrite *rw, const char *name)
{
	for (unsigned i = 0; i < rw->n_names; i++)
		if (!strcmp(rw->names[i], name))
			return true;
	return false;
}

char *hv_rw_local(struct hv_rewrite *rw, const char *path, const char *suffix)
{
	const char *base = path ? strrchr(path, '/') : NULL;
	char name[256], *full = NULL;

	base = base ? base + 1 : path;
	if (!base || !*base || *base == '.')
		base = "device";
	snprintf(name, sizeof(name), "%.200s%s", base, suffix);
	for (unsigned i = 2; is_taken(rw, name); i++)
		snprintf(name, sizeof(name), "%.200s-%u%s", base, i, suffix);
	if (rw->n_names == HV_REWRITE_NAMES) {
		hv_rw_fail(rw, TV_E_REFUSED, "the VM has more than %d sockets and log files",
			   HV_REWRITE_NAMES);
		return NULL;
	}
	rw->names[rw->n_names] = strdup(name);
	if (!rw->names[rw->n_names] ||
	    asprintf(&full, "%s/" HV_HOST_FOLDER_NAME "/%s", rw->conf->dir, name) < 0) {
		no_memory(rw);
		return NULL;
	}
	rw->n_names++;
	return full;
}

/* "nbd://host/x", "fat:rw:dir", "json:{...}": a colon before the first slash. */
static bool has_protocol(const char *path)
{
	return path[strcspn(path, ":/")] == ':';
}

char *hv_rw_path(struct hv_rewrite *rw, const char *path)
{
	char *full = NULL;

	if (!*path || *path == '/' || !rw->cwd || has_protocol(path))
		full = strdup(path);
	else if (asprintf(&full, "%s/%s", strcmp(rw->cwd, "/") ? rw->cwd : "", path) < 0)
		full = NULL;
	if (!full)
		no_memory(rw);
	return full;
}
