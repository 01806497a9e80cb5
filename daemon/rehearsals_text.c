/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rehearsals of one VM as a text, and checked when it is read: see rehearsals.h. */
#include "daemon/events.h"
#include "daemon/rehearsals_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TIME_S 1e11 /* thousands of years */

/* ---- words and fields ---- */
static const char *const kind_words[] = {"test-failover", "drill", "verify", "snapshot"};
static const char *const result_words[] = {"running", "passed", "failed", "refused", "cut short"};

static int index_of(const char *const *words, int n, const char *word)
{
	int i = 0;

	while (i < n && strcmp(words[i], word) != 0)
		i++;
	return i;
}

static const char *kind_word(int v)
{
	return v >= 0 && v < REHEARSAL_KINDS ? kind_words[v] : "unknown";
}

static int kind_value(const char *word)
{
	return index_of(kind_words, REHEARSAL_KINDS, word);
}

const char *rehearsal_key(enum rehearsal_kind kind)
{
	return kind == REHEARSAL_TEST_FAILOVER ? "test_failover" : kind_word((int)kind);
}

static const char *result_word(int v)
{
	return v >= 0 && v < REHEARSAL_RESULTS ? result_words[v] : "unknown";
}

static int result_value(const char *word)
{
	return index_of(result_words, REHEARSAL_RESULTS, word);
}

const struct field_words rehearsal_kind_words = {kind_word, kind_value};
const struct field_words rehearsal_result_words = {result_word, result_value};

#define R(member, kind, unit, meaning) FIELD(struct rehearsal, member, kind, unit, meaning)
static const struct field list[] = {
	R(id, U64, "", "only grows, for this VM on this host"),
	FIELD_ENUM(struct rehearsal, kind, &rehearsal_kind_words,
		   "test-failover, drill, verify, snapshot"),
	FIELD_ENUM(struct rehearsal, result, &rehearsal_result_words,
		   "running, passed, failed, refused, cut short"),
	R(started, F64, "s since 1970", "when it began"),
	{.name = "ended",
	 .kind = FIELD_F64,
	 .offset = offsetof(struct rehearsal, ended),
	 .room_bytes = sizeof(double),
	 .unit = "s since 1970",
	 .meaning = "left out while it runs",
	 .optional = true,
	 .sparse = true},
	R(generation, U64, "", "of the VM; 0: not known"),
	R(epoch, U64, "", "that was rehearsed; 0: not known, or none"),
	R(by, TEXT, "", "operator, schedule or dashboard"),
	R(reason, TEXT, "", "why it failed, or what was found"),
	R(note, TEXT, "", "the operator's own"),
};
const struct fields rehearsal_fields = FIELDS("rehearsal", list);

/* ---- in memory ---- */
static void plain(char *text, size_t room)
{
	json_t *t = events_text(text);

	tv_copy(text, room, json_string_value(t));
	json_decref(t);
}

void past_make_plain(struct rehearsal *r)
{
	plain(r->by, sizeof(r->by));
	plain(r->reason, sizeof(r->reason));
	plain(r->note, sizeof(r->note));
}

void past_remove_at(struct past *h, unsigned i)
{
	json_decref(h->list[i].figures);
	memmove(&h->list[i], &h->list[i + 1], (h->n - i - 1) * sizeof(h->list[0]));
	h->n--;
}

const struct rehearsal *past_newest(const struct past *h, enum rehearsal_kind kind,
				    enum rehearsal_result result, bool any_end)
{
	for (unsigned i = h->n; i-- > 0;) {
		const struct rehearsal *r = &h->list[i];

		if (r->kind == kind &&
		    (r->result == result || (any_end && r->result != REHEARSAL_RUNNING)))
			return r;
	}
	return NULL;
}

/* One that nothing is shown of but in the whole history. */
static bool may_go(const struct past *h, const struct rehearsal *r)
{
	return r->result != REHEARSAL_RUNNING &&
	       past_newest(h, r->kind, REHEARSAL_PASSED, false) != r &&
	       past_newest(h, r->kind, REHEARSAL_PASSED, true) != r;
}

struct rehearsal *past_append(struct past *h)
{
	unsigned i = 0;

	if (h->n == REHEARSALS_KEPT) {
		while (i < h->n && !may_go(h, &h->list[i]))
			i++;
		past_remove_at(h, i < h->n ? i : 0);
	}
	h->list[h->n] = (struct rehearsal){0};
	return &h->list[h->n++];
}

/* ---- as a text ---- */
json_t *rehearsal_json(const struct rehearsal *r, bool figures)
{
	json_t *o = fields_write(&rehearsal_fields, r);

	if (o && figures && r->figures)
		(void)!json_object_set(o, "figures", r->figures);
	return o;
}

static bool is_time(double s)
{
	return s >= 0 && s < MAX_TIME_S;
}

size_t past_bytes_of(const json_t *v)
{
	return json_dumpb(v, NULL, 0, JSON_COMPACT);
}

static bool read_one(const json_t *o, struct rehearsal *r)
{
	json_t *figures = json_object_get(o, "figures");

	*r = (struct rehearsal){.ended = NAN};
	if (fields_read(&rehearsal_fields, o, r, NULL) || r->kind >= REHEARSAL_KINDS ||
	    r->result >= REHEARSAL_RESULTS || !is_time(r->started) || !r->id ||
	    (r->result == REHEARSAL_RUNNING) != isnan(r->ended) ||
	    (!isnan(r->ended) && !is_time(r->ended)) ||
	    (figures &&
	     (!json_is_object(figures) || past_bytes_of(figures) > REHEARSAL_FIGURES_BYTES)))
		return false;
	past_make_plain(r);
	r->figures = json_incref(figures);
	return true;
}

/* What is damaged is passed over; the count is returned. */
unsigned past_read(const char *text, struct past *h)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *one;
	struct rehearsal r;
	unsigned bad = !json_is_array(json_object_get(o, "list"));
	size_t i;

	json_array_foreach(json_object_get(o, "list"), i, one) {
		if (!read_one(one, &r) || r.id < h->next) {
			bad++;
			json_decref(r.figures);
			continue;
		}
		*past_append(h) = r;
		h->next = r.id + 1;
	}
	h->since = json_number_value(json_object_get(o, "since"));
	if (!is_time(h->since))
		h->since = 0;
	json_decref(o);
	return bad;
}

char *past_write(const struct past *h)
{
	json_t *o = json_pack("{sf s:[]}", "since", h->since, "list"),
	       *l = json_object_get(o, "list");
	char *text;

	for (unsigned i = 0; i < h->n; i++)
		(void)!json_array_append_new(l, rehearsal_json(&h->list[i], true));
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return text;
}
