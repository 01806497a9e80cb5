/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events are made here, and read: see events.h. */
#include "daemon/daemon.h"
#include "daemon/events_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_BYTES 1024
#define BURST 200
#define BURST_NS (600 * TV_NS_PER_S)

/* ---- texts ---- */
/* Those of Unicode's letters that a terminal obeys: C1, and what turns the direction of text. */
static bool is_control(const unsigned char *p, size_t n)
{
	if (n == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	return n == 3 && p[0] == 0xe2 &&
	       ((p[1] == 0x80 && (p[2] >= 0xaa || p[2] == 0x8e || p[2] == 0x8f)) ||
		(p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)) &&
	       !(p[1] == 0x80 && p[2] > 0xae);
}

/* One line of UTF-8 that is safe to show, whoever wrote it. */
static void make_plain(char *text)
{
	char *p = text;
	size_t n;

	tv_mend_utf8(text);
	while ((n = tv_utf8_letter(p))) {
		unsigned char c = (unsigned char)*p;

		if (c == '\n' || c == '\t')
			*p = ' ';
		else if (c < ' ' || c == 0x7f)
			*p = '?';
		else if (is_control((const unsigned char *)p, n))
			memset(p, '?', n);
		p += n;
	}
}

json_t *events_text(const char *text)
{
	char plain[TEXT_BYTES];

	tv_copy(plain, sizeof(plain), text);
	make_plain(plain);
	return json_string(plain);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / TV_NS_PER_MS;
}

/* UTC, as RFC 3339 has it. */
static json_t *time_text(int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	char text[40];
	struct tm tm;
	size_t n;

	if (!gmtime_r(&s, &tm))
		return json_string("");
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03dZ", (int)(ms % 1000));
	return json_string(text);
}

/* ---- one event ---- */
static void set_text(json_t *o, const char *key, const char *text)
{
	if (text && *text)
		json_object_set_new(o, key, events_text(text));
}

static void set_number(json_t *o, const char *key, uint64_t n)
{
	if (n && n <= INT64_MAX)
		json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *make(const struct daemon *d, enum events_kind kind, const struct events_about *about,
		    const char *text, json_t *data)
{
	int64_t ms = now_ms();
	json_t *o = json_object();

	if (d->events)
		json_object_set_new(o, "id", json_integer((json_int_t)d->events->next_id));
	json_object_set_new(o, "time", time_text(ms));
	json_object_set_new(o, "unix_ms", json_integer(ms));
	json_object_set_new(o, "host", events_text(d->conf.host));
	json_object_set_new(o, "kind", json_string(events_kind_info(kind)->word));
	if (about) {
		set_text(o, "vm", about->vm);
		set_text(o, "vm_id", about->vm_id);
		set_text(o, "role", about->role);
		set_number(o, "generation", about->generation);
		set_number(o, "epoch", about->epoch);
		set_text(o, "peer", about->peer);
	}
	json_object_set_new(o, "text", json_string(text));
	if (data)
		json_object_set(o, "data", data);
	return o;
}

/* Never more than a line has room for: data are for programs, the text says the same. */
static char *line_of(json_t *o, size_t *n)
{
	char *line = json_dumps(o, JSON_COMPACT);

	if (line && strlen(line) + 1 >= EVENTS_LINE_BYTES) {
		free(line);
		json_object_set_new(o, "data", json_pack("{sb}", "left_out", 1));
		line = json_dumps(o, JSON_COMPACT);
	}
	*n = line ? strlen(line) : 0;
	return line;
}

static void keep(struct events *s, json_t *o)
{
	size_t n;
	char *line = line_of(o, &n);

	if (line && events_store_add(s, line, n) && s->file) {
		line[n] = '\n'; /* in the place of its 0 */
		events_file_add(s->file, line, n + 1);
	}
	free(line);
}

/* What an operator has acknowledged is not in the line: it may have happened later. */
static void show_acknowledged(json_t *o, enum events_kind kind, int64_t ms, const char *by)
{
	if (kind == EVENTS_KIND_COUNT || !events_kind_info(kind)->acknowledged)
		return;
	json_object_set_new(o, "acknowledged", ms ? time_text(ms) : json_string(""));
	set_text(o, "acknowledged_by", by);
}

/* To the journal, if there is one; and the line of the log as every other one, unless that would be a
 * second line of the journal. */
static void put_in_log(const json_t *o, enum events_kind kind, const char *text)
{
	enum events_priority p = events_kind_info(kind)->priority;

	if (events_journal_send(EVENTS_JOURNAL, o, kind) && events_journal_has_stderr())
		return;
	tv_log(p <= EVENTS_ERR ? TV_ERROR : p == EVENTS_WARN ? TV_WARN : TV_INFO, "%s", text);
}

/*
 * What others can make happen as often as they like must not push out what matters: a host that is refused
 * every few seconds is one event, and of each kind there are at most BURST in BURST_NS. The log has all.
 */
static bool is_too_much(struct events *s, enum events_kind kind, const struct events_about *about,
			const char *text)
{
	int64_t now_ns = tv_now_ns();

	if (kind == EVENTS_REFUSED || kind == EVENTS_START_REFUSED || kind == EVENTS_TRY_FAILED)
		if (events_store_repeats(s, kind, about ? about->vm_id : NULL, text))
			return true;
	if (events_kind_info(kind)->acknowledged)
		return false;
	if (!s->burst[kind].n || now_ns - s->burst[kind].since_ns > BURST_NS) {
		s->burst[kind].since_ns = now_ns;
		s->burst[kind].n = 0;
	}
	return s->burst[kind].n++ >= BURST;
}

static void add(struct daemon *d, enum events_kind kind, const struct events_about *about,
		json_t *data, const char *fmt, va_list ap)
{
	struct events *s = d->events;
	char text[TEXT_BYTES];
	bool kept;
	json_t *o;

	vsnprintf(text, sizeof(text), fmt, ap);
	make_plain(text);
	kept = s && !is_too_much(s, kind, about, text);
	o = make(d, kind, about, text, data);
	json_decref(data);
	if (!kept)
		json_object_del(o, "id");
	put_in_log(o, kind, text);
	if (kept) {
		keep(s, o);
		show_acknowledged(o, kind, 0, "");
	}
	for (unsigned i = 0; kept && i < s->listener_count; i++)
		s->listeners[i].cb(o, s->listeners[i].arg);
	json_decref(o);
}

void events_add(struct daemon *d, enum events_kind kind, const struct events_about *about,
		json_t *data, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(d, kind, about, data, fmt, ap);
	va_end(ap);
}

void events_vm(const struct vm *vm, enum events_kind kind, json_t *data, const char *fmt, ...)
{
	const struct fo_candidate *peer = &vm->saved.peer;
	struct events_about about = {.vm = vm->name,
				     .vm_id = vm->id,
				     .role = session_role_name(vm->role),
				     .peer = peer->name[0] ? peer->name : peer->address,
				     .generation = vm->saved.generation,
				     .epoch = vm->now.stats.epoch_committed};
	va_list ap;

	va_start(ap, fmt);
	add(vm->d, kind, &about, data, fmt, ap);
	va_end(ap);
}

void events_on_new(struct daemon *d, events_cb *cb, void *arg)
{
	struct events *s = d->events;

	tv_assert(s && s->listener_count < EVENTS_LISTENERS);
	s->listeners[s->listener_count].cb = cb;
	s->listeners[s->listener_count++].arg = arg;
}

/* ---- reading ---- */
static bool is_wanted(const char *vm, const char *vm_id, int64_t unix_ms, enum events_kind kind,
		      const struct events_query *q)
{
	if (q->failovers && (kind == EVENTS_KIND_COUNT || !events_kind_info(kind)->acknowledged))
		return false;
	return unix_ms >= q->since_ms &&
	       (!q->vm || !*q->vm || !strcmp(q->vm, vm) || !strcmp(q->vm, vm_id));
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

bool events_matches(const json_t *o, const struct events_query *q)
{
	return is_wanted(text_of(o, "vm"), text_of(o, "vm_id"),
			 json_integer_value(json_object_get(o, "unix_ms")),
			 events_kind_of(text_of(o, "kind")), q);
}

static json_t *show(const struct events_item *it)
{
	json_t *o = json_loads(it->line, 0, NULL);

	show_acknowledged(o, it->kind, it->acked_ms, it->acked_by);
	return o;
}

json_t *events_read(const struct daemon *d, const struct events_query *q, bool *more)
{
	unsigned limit = q->limit && q->limit < EVENTS_LIMIT ? q->limit : EVENTS_LIMIT, n = 0;
	json_t *list = json_array();
	struct events_item *it;
	unsigned skip = 0;

	if (more)
		*more = false;
	if (!d->events)
		return list;
	TAILQ_FOREACH(it, &d->events->list, link)
		if (it->id > q->after_id && is_wanted(it->vm, it->vm_id, it->unix_ms, it->kind, q))
			n++;
	if (more)
		*more = n > limit;
	if (q->newest && n > limit)
		skip = n - limit;
	n = 0;
	TAILQ_FOREACH(it, &d->events->list, link) {
		if (it->id <= q->after_id ||
		    !is_wanted(it->vm, it->vm_id, it->unix_ms, it->kind, q) || n++ < skip)
			continue;
		json_array_append_new(list, show(it));
		if (json_array_size(list) == limit)
			break;
	}
	return list;
}

uint64_t events_newest(const struct daemon *d)
{
	struct events_item *it = d->events ? TAILQ_LAST(&d->events->list, events_list) : NULL;

	return it ? it->id : 0;
}

int events_acknowledge(struct daemon *d, uint64_t id, const char *by, struct tv_err *e)
{
	struct events_item *it = d->events ? events_store_find(d->events, id) : NULL;
	struct events_about about;
	char vm[128], vm_id[33], who[EVENTS_BY_BYTES];
	json_t *data;

	if (!it)
		return tv_fail(e, -ENOENT, "no event %llu is kept on %s: see 'twinvm events'",
			       (unsigned long long)id, d->conf.host);
	if (it->kind == EVENTS_KIND_COUNT || !events_kind_info(it->kind)->acknowledged)
		return tv_fail(e, -EINVAL, "event %llu is no failover: only those are acknowledged",
			       (unsigned long long)id);
	if (it->acked_ms)
		return 0;
	/* It may be the oldest, whose place the new one takes. */
	tv_copy(vm, sizeof(vm), it->vm);
	tv_copy(vm_id, sizeof(vm_id), it->vm_id);
	about = (struct events_about){.vm = vm, .vm_id = vm_id};
	data = json_pack("{sI}", "id", (json_int_t)id);
	tv_copy(who, sizeof(who), by);
	make_plain(who);
	set_text(data, "by", who);
	events_add(d, EVENTS_ACKNOWLEDGED, &about, data,
		   "the failover of %s (event %llu) is acknowledged%s%s", vm,
		   (unsigned long long)id, *who ? " by " : "", who);
	return 0;
}
