/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: read at the start, and again at SIGHUP. What is bound or open (CONFIG_RESTART) stays
 * as it was at the start, here and for the processes that this daemon starts (job.c); replicators read the
 * file when they start, so that the rest counts for the next session, or at once.
 */
#include "daemon/daemon.h"
#include "daemon/reload.h"

#include <stdio.h>
#include <string.h>

#define SHOWN 24 /* changes */

/* ---- mistakes ---- */
struct mistakes {
	unsigned n;
	struct tv_err first;
};

static void on_mistake(void *arg, int rc, const struct tv_err *e)
{
	struct mistakes *m = arg;

	(void)rc;
	if (!m->n++)
		m->first = *e;
}

static void print_mistake(void *arg, int rc, const struct tv_err *e)
{
	on_mistake(arg, rc, e);
	fprintf(stderr, "twinvmd: %s\n", e->text);
}

/* As config_read; certificates that cannot be used are a mistake as well. */
static int read_all(const char *path, struct config *c, config_mistake_cb *cb, struct mistakes *m)
{
	struct tv_err e = {0};
	int rc = config_read(path, c, cb, m);

	if (!c->ca[0] || !c->cert[0] || !c->key[0])
		return rc;
	if (config_check_tls(c, &e))
		cb(m, -EINVAL, &e);
	return m->n ? -EINVAL : 0;
}

int reload_first(struct daemon *d, const char *path, struct tv_err *e)
{
	struct mistakes m = {0};
	int rc = config_read(path, &d->conf, print_mistake, &m);

	return rc ? tv_fail(e, rc, "not started: %u mistake%s in the configuration", m.n,
			    m.n > 1 ? "s" : "")
		  : 0;
}

int reload_check_main(const char *path)
{
	static struct config c; /* large */
	struct mistakes m = {0};

	if (read_all(path, &c, print_mistake, &m)) {
		fprintf(stderr, "twinvmd: %s: %u mistake%s\n", path, m.n, m.n > 1 ? "s" : "");
		return 1;
	}
	printf("%s: no mistakes\n", path);
	return 0;
}

/* ---- changes ---- */
static void add_text(char *out, size_t room, const char *text)
{
	size_t n = strlen(out);

	if (n + strlen(text) < room)
		memcpy(out + n, text, strlen(text) + 1);
}

/* "; HEADING: key, key"; nothing when no key is of that kind. */
static void add_keys(char *out, size_t room, const char *heading, enum config_effect effect,
		     const struct config_change *ch, unsigned n)
{
	bool any = false;

	for (unsigned i = 0; i < n; i++) {
		if (ch[i].effect != effect)
			continue;
		add_text(out, room, any ? ", " : heading);
		add_text(out, room, ch[i].key);
		any = true;
	}
}

static json_t *data_of(const struct config_change *ch, unsigned n)
{
	static const char *const words[] = {
		[CONFIG_AT_ONCE] = "at-once",
		[CONFIG_NEXT_SESSION] = "next-session",
		[CONFIG_RESTART] = "restart",
	};
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(
			list, json_pack("{so so so ss}", "key", events_text(ch[i].key), "from",
					events_text(ch[i].from), "to", events_text(ch[i].to),
					"effect", words[ch[i].effect]));
	return json_pack("{so}", "changes", list);
}

static unsigned running(const struct daemon *d)
{
	struct vm *vm;
	unsigned n = 0;

	TAILQ_FOREACH(vm, &d->vms, link)
		n += vm->phase == VM_RUNNING;
	return n;
}

static void tell(struct daemon *d, const struct config_change *ch, unsigned n)
{
	unsigned shown = n < SHOWN ? n : SHOWN, sessions = running(d);
	char text[900] = "", heading[120];

	if (!n) {
		events_add(d, EVENTS_CONFIG_RELOADED, NULL, data_of(ch, 0),
			   "configuration read again: no key has changed");
		return;
	}
	add_keys(text, sizeof(text), "; in use: ", CONFIG_AT_ONCE, ch, shown);
	if (sessions)
		snprintf(heading, sizeof(heading),
			 "; for the next session (%u run%s with what they began with): ", sessions,
			 sessions > 1 ? "" : "s");
	else
		snprintf(heading, sizeof(heading), "; for the next session: ");
	add_keys(text, sizeof(text), heading, CONFIG_NEXT_SESSION, ch, shown);
	add_keys(text, sizeof(text), "; only after a restart of twinvmd: ", CONFIG_RESTART, ch,
		 shown);
	if (n > shown)
		add_text(text, sizeof(text), "; and others");
	events_add(d, EVENTS_CONFIG_RELOADED, NULL, data_of(ch, shown),
		   "configuration read again: %u key%s changed%s", n, n > 1 ? "s have" : " has",
		   text);
	for (unsigned i = 0; i < shown; i++)
		tv_log(TV_INFO, "configuration: %s was '%s' and is '%s'%s", ch[i].key, ch[i].from,
		       ch[i].to,
		       ch[i].effect == CONFIG_RESTART ? ", after a restart of twinvmd" : "");
}

bool reload_read(struct daemon *d)
{
	static struct config fresh; /* large */
	struct config_change ch[SHOWN];
	struct mistakes m = {0};
	unsigned n;

	if (read_all(d->conf.path, &fresh, on_mistake, &m)) {
		char more[400] = "";

		if (m.n > 1)
			snprintf(more, sizeof(more),
				 " (and %u more: twinvmd --check --config %s shows them)", m.n - 1,
				 d->conf.path);
		events_add(d, EVENTS_CONFIG_REFUSED, NULL, NULL,
			   "%s%s; the old configuration stays in use", m.first.text, more);
		return false;
	}
	n = config_changes(&d->conf, &fresh, ch, SHOWN);
	config_keep(&d->conf, &fresh);
	d->conf = fresh;
	tell(d, ch, n);
	return true;
}
