/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The newest events, in memory: as lines of JSON, with what they are looked for by. */
#include "daemon/daemon.h"
#include "daemon/events_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ENDING_MS 1000

struct events *events_store_new(size_t limit_bytes)
{
	struct events *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	TAILQ_INIT(&s->list);
	s->limit_bytes = limit_bytes;
	s->next_id = 1;
	return s;
}

static void drop_oldest(struct events *s)
{
	struct events_item *it = TAILQ_FIRST(&s->list);

	TAILQ_REMOVE(&s->list, it, link);
	s->bytes -= it->bytes;
	free(it->vm);
	free(it->line);
	free(it);
}

void events_store_free(struct events *s)
{
	while (s && !TAILQ_EMPTY(&s->list))
		drop_oldest(s);
	free(s);
}

struct events_item *events_store_find(struct events *s, uint64_t id)
{
	struct events_item *it;

	TAILQ_FOREACH_REVERSE(it, &s->list, events_list, link)
	if (it->id <= id)
		return it->id == id ? it : NULL;
	return NULL;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* FNV-1a */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3;
	return h;
}

bool events_store_repeats(const struct events *s, enum events_kind kind, const char *vm_id,
			  const char *text)
{
	const struct events_item *it;

	TAILQ_FOREACH_REVERSE(it, &s->list, events_list, link)
	if (!strcmp(it->vm_id, vm_id ? vm_id : ""))
		return it->kind == kind && it->text_hash == hash(text);
	return false;
}

/* An acknowledgement is an event as well: by those, they outlive the daemon. */
static void note_acknowledged(struct events *s, const struct events_item *by, const json_t *o)
{
	json_t *data = json_object_get(o, "data"), *of = json_object_get(data, "id");
	struct events_item *it = events_store_find(s, (uint64_t)json_integer_value(of));

	if (!it)
		return;
	it->acked_ms = by->unix_ms;
	tv_copy(it->acked_by, sizeof(it->acked_by), text_of(data, "by"));
}

/* -1: no event that could follow those before it. */
static int fill(const struct events *s, struct events_item *it, const json_t *o)
{
	json_int_t id = json_integer_value(json_object_get(o, "id"));

	it->unix_ms = json_integer_value(json_object_get(o, "unix_ms"));
	if (id <= 0 || (uint64_t)id < s->next_id || id == INT64_MAX || it->unix_ms <= 0 ||
	    !*text_of(o, "kind") || !*text_of(o, "text"))
		return -1;
	it->id = (uint64_t)id;
	it->kind = events_kind_of(text_of(o, "kind"));
	it->text_hash = hash(text_of(o, "text"));
	tv_copy(it->vm_id, sizeof(it->vm_id), text_of(o, "vm_id"));
	it->vm = strdup(text_of(o, "vm"));
	return it->vm ? 0 : -1;
}

bool events_store_add(struct events *s, const char *line, size_t n)
{
	json_t *o = n < EVENTS_LINE_BYTES ? json_loadb(line, n, 0, NULL) : NULL;
	struct events_item *it = calloc(1, sizeof(*it));

	if (!o || !it || fill(s, it, o) || !(it->line = strndup(line, n))) {
		if (it)
			free(it->vm);
		free(it);
		json_decref(o);
		return false;
	}
	it->bytes = n + 1;
	TAILQ_INSERT_TAIL(&s->list, it, link);
	s->bytes += it->bytes;
	s->next_id = it->id + 1;
	if (it->kind == EVENTS_ACKNOWLEDGED)
		note_acknowledged(s, it, o);
	json_decref(o);
	while (s->bytes > s->limit_bytes)
		drop_oldest(s);
	return true;
}

/* ---- the start and the end ---- */
struct loading {
	struct events *s;
	unsigned bad;
};

static void on_line(const char *text, size_t n, void *arg)
{
	struct loading *l = arg;

	/* An empty one is the end of a torn line. */
	if (n && !events_store_add(l->s, text, n))
		l->bad++;
}

/* Greater than any that an earlier daemon gave, also where the last of those never came to the disk, or
 * its folder was removed: by the clock. */
static uint64_t first_id(const struct events *s)
{
	time_t now = time(NULL);

	return now > 0 && (uint64_t)now > s->next_id ? (uint64_t)now : s->next_id;
}

void events_start(struct daemon *d)
{
	struct events *s = events_store_new(2 * (size_t)EVENTS_SEGMENT_BYTES);
	struct loading l = {.s = s};
	char folder[256];
	int rc;

	if (!s)
		abort(); /* as vm_new */
	snprintf(folder, sizeof(folder), "%s/events", d->conf.state_dir);
	rc = events_file_open(folder, EVENTS_SEGMENT_BYTES, on_line, &l, &s->file);
	if (rc)
		tv_log(TV_ERROR, "events are not kept on disk: %s", tv_strerror(rc));
	if (l.bad)
		tv_log(TV_WARN, "%s: %u lines are damaged and left out", folder, l.bad);
	s->next_id = first_id(s);
	d->events = s;
}

void events_stop(struct daemon *d)
{
	struct events *s = d->events;

	d->events = NULL;
	if (s && !events_file_close(s->file, ENDING_MS))
		tv_log(TV_WARN, "the last events are not on disk");
	events_store_free(s);
}
