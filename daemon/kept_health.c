/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * state_dir/health.json: what errors have made of this host, over a restart of twinvmd. Written whole, and
 * as a new file, when a cause, the state or a move is new, and once a minute when more was counted. What
 * cannot be read is put aside as health.json.bad and reported; nothing else is lost by it.
 *
 * Times in it are ages, but for `saved` (s since 1970): the time that has passed since is added. A clock that
 * was set back meanwhile adds none.
 */
#include "daemon/daemon.h"
#include "daemon/health.h"
#include "daemon/moves.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VERSION 1
#define MOST_BYTES (4u << 20)
#define EVERY_NS TV_NS_PER_S
#define COUNTS_EVERY 60 /* turns */

static struct {
	struct event *tick;
	unsigned turns; /* since it was written */
} file;

static void path_of(const struct daemon *d, char *out, size_t room)
{
	snprintf(out, room, "%s/health.json", d->conf.state_dir);
}

/* ---- written ---- */
static double seconds(int64_t ns)
{
	return (double)ns / (double)TV_NS_PER_S;
}

/* Only what is not 0, by age. */
static json_t *counts(const uint32_t count[RAS_KEPT_STEPS])
{
	json_t *list = json_array();

	for (unsigned i = 0; i < RAS_KEPT_STEPS; i++)
		if (count[i])
			json_array_append_new(list,
					      json_pack("[iI]", (int)i, (json_int_t)count[i]));
	return list;
}

static void add_bucket(void *arg, const struct ras_kept_bucket *b)
{
	json_array_append_new(json_object_get(arg, "buckets"),
			      json_pack("{si so so sb sb sf so so}", "table", (int)b->table, "key",
					fields_text(b->key), "of", fields_text(b->of), "pinned",
					(int)b->pinned, "taken", (int)b->taken, "age",
					seconds(b->age_ns), "mce", counts(b->count[0]), "others",
					counts(b->count[1])));
}

static void add_cause(void *arg, const struct ras_kept_cause *c)
{
	json_array_append_new(
		json_object_get(arg, "causes"),
		json_pack("{si si sb so so sf sf sb sI}", "rule", (int)c->is.rule, "color",
			  (int)c->is.color, "until_cleared", (int)c->is.until_cleared, "what",
			  fields_text(c->is.what), "text", fields_text(c->is.sentence), "since",
			  seconds(c->is.since_ns), "last", seconds(c->is.last_ns), "has_page",
			  (int)c->has_page, "errors", (json_int_t)c->errors));
}

static void save(struct daemon *d)
{
	json_t *o = json_pack("{si sI s[] s[] so so}", "version", VERSION, "saved",
			      (json_int_t)time(NULL), "causes", "buckets", "moves", moves_keep(),
			      "weak", weak_keep());
	TV_FREE char *text = NULL;
	char path[300];

	ras_health_keep(health_judge(), tv_now_ns(), add_bucket, add_cause, o);
	text = json_dumps(o, JSON_INDENT(1));
	json_decref(o);
	path_of(d, path, sizeof(path));
	if (text)
		durable_write_later(d, path, text);
	file.turns = 0;
}

void kept_health_save(struct daemon *d, bool end)
{
	bool now, counted = health_unsaved(&now);

	if (now || (counted && (end || file.turns >= COUNTS_EVERY))) {
		health_saved();
		save(d);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	file.turns++;
	kept_health_save(arg, false);
}

/* ---- read ---- */
/* False: it is no text, or too long. */
static bool get_text(const json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (!s || !tv_copy(out, room, s))
		return false;
	tv_mend_utf8(out);
	return true;
}

/* -1: none, or more than anything can be old. */
static int64_t age_of(const json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);
	double s = json_number_value(v);

	return json_is_number(v) && s >= 0 && s <= seconds(RAS_KEPT_MOST_NS)
		       ? (int64_t)(s * (double)TV_NS_PER_S)
		       : -1;
}

static bool get_counts(const json_t *list, uint32_t count[RAS_KEPT_STEPS])
{
	json_t *pair;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > RAS_KEPT_STEPS)
		return false;
	json_array_foreach((json_t *)list, i, pair) {
		json_int_t age = json_integer_value(json_array_get(pair, 0));
		json_int_t n = json_integer_value(json_array_get(pair, 1));

		if (age < 0 || age >= (json_int_t)RAS_KEPT_STEPS || n <= 0 || n > UINT32_MAX)
			return false;
		count[age] = (uint32_t)n;
	}
	return true;
}

static bool put_bucket(const json_t *o, int64_t passed_ns)
{
	struct ras_kept_bucket b = {.pinned = json_is_true(json_object_get(o, "pinned")),
				    .taken = json_is_true(json_object_get(o, "taken")),
				    .age_ns = age_of(o, "age")};
	json_int_t table = json_integer_value(json_object_get(o, "table"));

	b.table = table >= 0 && table < 100 ? (unsigned)table : UINT32_MAX;
	return get_text(o, "key", b.key, sizeof(b.key)) && get_text(o, "of", b.of, sizeof(b.of)) &&
	       get_counts(json_object_get(o, "mce"), b.count[0]) &&
	       get_counts(json_object_get(o, "others"), b.count[1]) &&
	       ras_health_put_bucket(health_judge(), &b, tv_now_ns(), passed_ns);
}

static bool put_cause(const json_t *o, int64_t passed_ns)
{
	json_int_t rule = json_integer_value(json_object_get(o, "rule"));
	json_int_t color = json_integer_value(json_object_get(o, "color"));
	json_int_t errors = json_integer_value(json_object_get(o, "errors"));
	struct ras_kept_cause c = {
		.is = {.rule = rule > 0 && rule < RAS_RULE_COUNT ? (enum ras_rule)rule
								 : RAS_RULE_NONE,
		       .color = color >= 0 && color <= RAS_RED ? (enum ras_color)color : RAS_GREY,
		       .until_cleared = json_is_true(json_object_get(o, "until_cleared")),
		       .since_ns = age_of(o, "since"),
		       .last_ns = age_of(o, "last")},
		.has_page = json_is_true(json_object_get(o, "has_page")),
		.errors = errors > 0 && errors < UINT32_MAX ? (unsigned)errors : 0};

	return get_text(o, "what", c.is.what, sizeof(c.is.what)) &&
	       get_text(o, "text", c.is.sentence, sizeof(c.is.sentence)) &&
	       ras_health_put_cause(health_judge(), &c, tv_now_ns(), passed_ns);
}

/* Entries that could not be read. */
static unsigned restore(const json_t *o)
{
	json_int_t saved = json_integer_value(json_object_get(o, "saved"));
	int64_t passed_s = (int64_t)time(NULL) - saved, passed_ns;
	unsigned bad = 0;
	json_t *one;
	size_t i;

	if (passed_s < 0 || passed_s > RAS_KEPT_MOST_NS / TV_NS_PER_S)
		passed_s = 0;
	passed_ns = passed_s * TV_NS_PER_S;
	json_array_foreach(json_object_get(o, "buckets"), i, one)
		bad += !put_bucket(one, passed_ns);
	json_array_foreach(json_object_get(o, "causes"), i, one)
		bad += !put_cause(one, passed_ns);
	moves_restore(json_object_get(o, "moves"));
	weak_restore(json_object_get(o, "weak"));
	return bad;
}

static void unread(struct daemon *d, const char *path, const char *why)
{
	char aside[310];

	snprintf(aside, sizeof(aside), "%s.bad", path);
	if (rename(path, aside))
		tv_copy(aside, sizeof(aside), path);
	events_add(d, EVENTS_HEALTH_UNREAD, NULL,
		   json_pack("{so so}", "path", events_text(aside), "reason", events_text(why)),
		   "what was known of this host's hardware before twinvmd was started cannot be "
		   "read: %s; it is in %s now, and errors are counted anew",
		   why, aside);
}

static void load(struct daemon *d)
{
	TV_FREE char *text = NULL;
	char path[300], why[120];
	unsigned bad;
	json_t *o;
	int rc;

	path_of(d, path, sizeof(path));
	rc = tv_read_file(path, MOST_BYTES, &text, NULL);
	if (rc == -ENOENT)
		return;
	o = rc ? NULL : json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!o || json_integer_value(json_object_get(o, "version")) != VERSION) {
		unread(d, path,
		       rc  ? tv_strerror(rc)
		       : o ? "it is of another version"
			   : "it is no JSON");
		json_decref(o);
		return;
	}
	bad = restore(o);
	json_decref(o);
	if (!bad)
		return;
	snprintf(why, sizeof(why), "%u of its entries say what cannot be", bad);
	unread(d, path, why);
}

void kept_health_start(struct daemon *d)
{
	const struct timeval every = tv_timeval(EVERY_NS);

	load(d);
	health_restored();
	file.tick = event_new(d->base, -1, EV_PERSIST, on_tick, d);
	event_add(file.tick, &every);
}
