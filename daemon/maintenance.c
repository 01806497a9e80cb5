/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_dir/maintenance.json: this host gives its VMs away and takes none. It is there for as long as that
 * lasts. A shutdown begins it with the name of its boot: a daemon of a later boot removes it. One that an
 * operator began outlives every boot.
 *
 * A file that cannot be read is put aside and reported, and the host is not in maintenance: no VM is moved
 * for what nobody may have asked for.
 */
#include "daemon/maintenance.h"
#include "daemon/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define MOST_BYTES 4096

static void path_of(const struct daemon *d, char *out, size_t room)
{
	snprintf(out, room, "%s/maintenance.json", d->conf.state_dir);
}

/* "": not known. */
static void read_boot(const char *path, char *out, size_t room)
{
	TV_FREE char *text = NULL;

	out[0] = '\0';
	if (!tv_read_file(path ? path : BOOT_ID, 128, &text, NULL))
		tv_copy_n(out, room, text, strcspn(text, "\n"));
}

static bool parse(const char *text, struct maintenance *to)
{
	json_t *o = json_loads(text, 0, NULL);
	json_int_t since = json_integer_value(json_object_get(o, "since"));
	const char *boot = json_string_value(json_object_get(o, "boot"));
	bool ok = since > 0 && boot && tv_copy(to->boot, sizeof(to->boot), boot);

	to->since_s = since;
	to->until_boot = json_is_true(json_object_get(o, "until_boot"));
	json_decref(o);
	return ok;
}

static int save(struct daemon *d, const struct maintenance *m, struct tv_err *e)
{
	json_t *o = json_pack("{sI sb ss}", "since", (json_int_t)m->since_s, "until_boot",
			      (int)m->until_boot, "boot", m->boot);
	TV_FREE char *text = json_dumps(o, JSON_INDENT(1));
	char path[300];

	json_decref(o);
	if (!text)
		return tv_fail(e, -ENOMEM, "no memory");
	path_of(d, path, sizeof(path));
	return durable_write(d, path, text, e);
}

static void ended(struct daemon *d, const char *why)
{
	unsigned moved = d->maintenance.moved;

	d->maintenance = (struct maintenance){0};
	events_add(d, EVENTS_MAINTENANCE_OFF, NULL, json_pack("{si}", "moved", (int)moved),
		   "%s takes VMs again: %s", d->conf.host, why);
}

void maintenance_load(struct daemon *d, const char *boot_id)
{
	struct maintenance m = {0};
	TV_FREE char *text = NULL;
	char path[300], bad[310], boot[40];
	struct tv_err e = {0};
	int rc;

	d->maintenance = m;
	path_of(d, path, sizeof(path));
	rc = tv_read_file(path, MOST_BYTES, &text, NULL);
	if (rc == -ENOENT)
		return;
	if (rc || !parse(text, &m)) {
		snprintf(bad, sizeof(bad), "%s.bad", path);
		tv_log(TV_ERROR, "%s cannot be read (%s): this host is not in maintenance; %s %s",
		       path, rc ? tv_strerror(rc) : "not what twinvmd writes",
		       rename(path, bad) ? "look at it, and remove" : "it is kept as", bad);
		return;
	}
	d->maintenance = m;
	read_boot(boot_id, boot, sizeof(boot));
	if (!m.until_boot || (*boot && !strcmp(boot, m.boot)))
		return;
	if (durable_remove(d, path, &e)) /* tried again by itself */
		tv_log(TV_WARN, "%s", e.text);
	ended(d, "it was booted");
}

bool maintenance_is(const struct daemon *d)
{
	return d->maintenance.since_s;
}

int maintenance_begin(struct daemon *d, bool until_boot, struct tv_err *e)
{
	struct maintenance m = d->maintenance;
	bool fresh = !m.since_s;
	int rc;

	if (!fresh && (until_boot || !m.until_boot))
		return 0;
	if (fresh) {
		m.since_s = (int64_t)time(NULL);
		read_boot(NULL, m.boot, sizeof(m.boot));
	}
	m.until_boot = until_boot;
	rc = save(d, &m, e);
	if (rc)
		return rc;
	d->maintenance = m;
	events_add(d, EVENTS_MAINTENANCE_ON, NULL, json_pack("{sb}", "until_boot", (int)until_boot),
		   "%s gives its VMs away and takes none, until %s", d->conf.host,
		   until_boot ? "its next boot" : "'twinvm maintenance off'");
	return 0;
}

int maintenance_end(struct daemon *d, struct tv_err *e)
{
	char path[300];
	int rc;

	if (!d->maintenance.since_s)
		return 0;
	path_of(d, path, sizeof(path));
	rc = durable_remove(d, path, e);
	ended(d, "an operator has ended its maintenance");
	return rc;
}

void maintenance_refusal(const struct daemon *d, struct tv_err *e)
{
	const char *self = d->conf.host;

	if (d->maintenance.until_boot)
		tv_fail(e, 0, "%s goes down: it takes no VM before it is booted again", self);
	else
		tv_fail(e, 0,
			"%s is in maintenance: it takes no VM before 'twinvm maintenance "
			"off' there",
			self);
}

void maintenance_moved(struct daemon *d)
{
	d->maintenance.moved++;
}

json_t *maintenance_json(const struct daemon *d)
{
	const struct maintenance *m = &d->maintenance;

	return m->since_s ? json_pack("{sI sb si}", "since", (json_int_t)m->since_s, "until_boot",
				      (int)m->until_boot, "moved", (int)m->moved)
			  : NULL;
}
