/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "replicator/session/schedule.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const what_words[] = {"test_failover", "drill", "verify"};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
#define MIN_WITHIN_S 60
#define MAX_WITHIN_S (24 * 3600)

enum option_kind { OPT_TEXT, OPT_TEXTS, OPT_NUMBER, OPT_YES_NO };
static const struct option {
	enum schedule_what what;
	const char *name;
	enum option_kind kind;
} options[] = {
	{SCHEDULE_TEST_FAILOVER, "probe", OPT_TEXTS},
	{SCHEDULE_TEST_FAILOVER, "for", OPT_NUMBER},
	{SCHEDULE_TEST_FAILOVER, "probe-timeout", OPT_NUMBER},
	{SCHEDULE_TEST_FAILOVER, "guest", OPT_TEXT},
	{SCHEDULE_TEST_FAILOVER, "address", OPT_TEXT},
	{SCHEDULE_TEST_FAILOVER, "disk-mib", OPT_NUMBER},
	{SCHEDULE_DRILL, "ping", OPT_TEXT},
	{SCHEDULE_VERIFY, "rate", OPT_NUMBER},
	{SCHEDULE_VERIFY, "repair", OPT_YES_NO},
};

const char *schedule_word(enum schedule_what what)
{
	return what < SCHEDULE_WHATS ? what_words[what] : "";
}

enum schedule_what schedule_of(const char *word)
{
	int i = 0;

	while (i < SCHEDULE_WHATS && strcmp(what_words[i], word) != 0)
		i++;
	return (enum schedule_what)i;
}

/* ---- words ---- */
/* The next word of a text, its quotes left out; a value's quotes may begin after its '='. 0: none; -EINVAL:
 * a quote is not closed, or there is no room. */
static int next_word(const char **p, char *out, size_t room)
{
	bool quoted = false;
	size_t n = 0;

	while (**p == ' ' || **p == '\t')
		(*p)++;
	if (!**p)
		return 0;
	for (; **p && (quoted || (**p != ' ' && **p != '\t')); (*p)++) {
		if (**p == '"') {
			quoted = !quoted;
			continue;
		}
		if (n + 1 >= room)
			return -EINVAL;
		out[n++] = **p;
	}
	out[n] = 0;
	return quoted ? -EINVAL : 1;
}

/* ---- when ---- */
static int take_time(const char *word, struct schedule *s, struct tv_err *e)
{
	int hour, minute, n = 0;

	if (sscanf(word, "%2d:%2d%n", &hour, &minute, &n) != 2 || word[n] || n < 4 || hour < 0 ||
	    minute < 0 || hour > 23 || minute > 59)
		return tv_fail(e, -EINVAL, "'%.40s' is no time of day (03:00)", word);
	s->minute = hour * 60 + minute;
	return 0;
}

static int take_day(const char *word, struct schedule *s, struct tv_err *e)
{
	char *end;

	if (s->every == SCHEDULE_WEEKLY) {
		for (s->day = 0; s->day < 7; s->day++)
			if (!strcasecmp(days[s->day], word))
				return 0;
		return tv_fail(e, -EINVAL, "'%.40s' is no day of the week (mon, tue, …)", word);
	}
	s->day = (int)strtol(word, &end, 10);
	if (end == word || *end || s->day < 1 || s->day > 28)
		return tv_fail(e, -EINVAL,
			       "'%.40s' is no day that each month has: a number from 1 to 28",
			       word);
	return 0;
}

static int take_within(const char *value, struct schedule *s, struct tv_err *e)
{
	char *end;
	long n = strtol(value, &end, 10);
	long unit = !strcmp(end, "h") ? 3600 : !strcmp(end, "m") ? 60 : 0;

	if (end == value || !unit || n < 0 || n > MAX_WITHIN_S || n * unit < MIN_WITHIN_S ||
	    n * unit > MAX_WITHIN_S)
		return tv_fail(e, -EINVAL, "within=%.40s: give 1m to 24h", value);
	s->within_s = (int)(n * unit);
	return 0;
}

/* ---- options ---- */
static const struct option *find_option(enum schedule_what what, const char *name)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (options[i].what == what && !strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

static bool is_number(const char *s)
{
	return *s && strspn(s, "0123456789") == strlen(s) && strlen(s) < 10 && atoi(s) > 0;
}

static int check_option(enum schedule_what what, const char *name, const char *value,
			struct tv_err *e)
{
	const struct option *o = find_option(what, name);

	if (!o)
		return tv_fail(e, -EINVAL, "%s has no option '%.40s'", schedule_word(what), name);
	if (!*value || (o->kind == OPT_NUMBER && !is_number(value)) ||
	    (o->kind == OPT_YES_NO && strcmp(value, "yes") != 0 && strcmp(value, "no") != 0))
		return tv_fail(e, -EINVAL, "%s=%.60s: give %s", name, value,
			       o->kind == OPT_NUMBER   ? "a number above 0"
			       : o->kind == OPT_YES_NO ? "yes or no"
						       : "a value");
	return 0;
}

static int take_options(const char *p, struct schedule *s, struct tv_err *e)
{
	char word[sizeof(s->options)], *eq;
	const char *kept = p;
	int rc;

	while ((rc = next_word(&p, word, sizeof(word))) > 0) {
		eq = strchr(word, '=');
		if (!eq)
			return tv_fail(e, -EINVAL, "'%.60s' is no OPTION=VALUE", word);
		*eq = 0;
		rc = !strcmp(word, "within") ? take_within(eq + 1, s, e)
					     : check_option(s->what, word, eq + 1, e);
		if (rc)
			return rc;
	}
	if (rc || !tv_copy(s->options, sizeof(s->options), kept))
		return tv_fail(e, -EINVAL, "a quote is not closed, or the options are too long");
	return 0;
}

int schedule_parse(enum schedule_what what, const char *text, struct schedule *out,
		   struct tv_err *e)
{
	static const char *const everies[] = {"no", "daily", "weekly", "monthly"};
	char word[40];
	int rc;

	*out = (struct schedule){.what = what, .within_s = SCHEDULE_WITHIN_S};
	if (next_word(&text, word, sizeof(word)) <= 0)
		return tv_fail(e, -EINVAL, "daily, weekly, monthly or no is expected");
	for (out->every = SCHEDULE_NEVER; out->every <= SCHEDULE_MONTHLY; out->every++)
		if (!strcmp(everies[out->every], word))
			break;
	if (out->every > SCHEDULE_MONTHLY)
		return tv_fail(e, -EINVAL, "'%.40s' must be daily, weekly, monthly or no", word);
	if (out->every == SCHEDULE_NEVER)
		return next_word(&text, word, sizeof(word))
			       ? tv_fail(e, -EINVAL, "nothing may follow 'no'")
			       : 0;
	if (out->every != SCHEDULE_DAILY) {
		if (next_word(&text, word, sizeof(word)) <= 0)
			return tv_fail(e, -EINVAL, "a day is missing after %s",
				       everies[out->every]);
		rc = take_day(word, out, e);
		if (rc)
			return rc;
	}
	if (next_word(&text, word, sizeof(word)) <= 0)
		return tv_fail(e, -EINVAL, "a time of day is missing (03:00)");
	rc = take_time(word, out, e);
	return rc ? rc : take_options(text, out, e);
}

json_t *schedule_options(const struct schedule *s)
{
	const char *p = s->options;
	json_t *to = json_object(), *list;
	char word[sizeof(s->options)], *eq;
	const struct option *o;

	while (next_word(&p, word, sizeof(word)) > 0) {
		eq = strchr(word, '=');
		if (!eq)
			continue;
		*eq = 0;
		o = find_option(s->what, word);
		if (!o)
			continue;
		if (o->kind != OPT_TEXTS) {
			json_object_set_new(to, word,
					    o->kind == OPT_NUMBER   ? json_integer(atoi(eq + 1))
					    : o->kind == OPT_YES_NO ? json_boolean(eq[1] == 'y')
								    : json_string(eq + 1));
			continue;
		}
		list = json_object_get(to, word);
		if (!list) {
			list = json_array();
			json_object_set_new(to, word, list);
		}
		json_array_append_new(list, json_string(eq + 1));
	}
	return to;
}

/* ---- the calendar ---- */
/* That many days after the day of now, at the schedule's time; 0: it is not due on that day. */
static time_t on_day(const struct schedule *s, time_t now, int days_after)
{
	struct tm tm;

	if (!localtime_r(&now, &tm))
		return 0;
	tm.tm_mday += days_after;
	tm.tm_hour = s->minute / 60;
	tm.tm_min = s->minute % 60;
	tm.tm_sec = 0;
	tm.tm_isdst = -1;
	now = mktime(&tm);
	if (now == (time_t)-1 || (s->every == SCHEDULE_WEEKLY && tm.tm_wday != s->day) ||
	    (s->every == SCHEDULE_MONTHLY && tm.tm_mday != s->day))
		return 0;
	return now;
}

time_t schedule_last(const struct schedule *s, time_t now)
{
	time_t t;

	for (int day = 1; s->every != SCHEDULE_NEVER && day > -33; day--) {
		t = on_day(s, now, day);
		if (t && t <= now)
			return t;
	}
	return 0;
}

time_t schedule_next(const struct schedule *s, time_t now)
{
	time_t t;

	for (int day = -1; s->every != SCHEDULE_NEVER && day < 33; day++) {
		t = on_day(s, now, day);
		if (t > now)
			return t;
	}
	return 0;
}

void schedule_text(const struct schedule *s, char *out, size_t room)
{
	static const char *const every[] = {"no", "daily", "weekly", "monthly"};
	char day[8] = "";

	if (s->every == SCHEDULE_NEVER) {
		tv_copy(out, room, every[SCHEDULE_NEVER]);
		return;
	}
	if (s->every == SCHEDULE_WEEKLY)
		snprintf(day, sizeof(day), " %s", days[s->day]);
	else if (s->every == SCHEDULE_MONTHLY)
		snprintf(day, sizeof(day), " %d", s->day);
	snprintf(out, room, "%s%s %02d:%02d within=%dm%s%s", every[s->every], day, s->minute / 60,
		 s->minute % 60, s->within_s / 60, *s->options ? " " : "", s->options);
}
