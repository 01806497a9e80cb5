/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moments as people write them: see common.h. */
#include "common/common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS_PER_S 1000

/* "10m": so long before now. */
static int ago(const char *text, int64_t now_ms, int64_t *out_ms)
{
	static const struct {
		const char *unit;
		int64_t s;
	} units[] = {{"s", 1}, {"m", 60}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
	size_t digits = strspn(text, "0123456789");
	int64_t n;

	if (!digits || digits > 9)
		return -EINVAL;
	n = strtoll(text, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (n > now_ms / MS_PER_S / units[i].s)
			return -EINVAL;
		*out_ms = now_ms - n * units[i].s * MS_PER_S;
		return 0;
	}
	return -EINVAL;
}

/* Midnight so many days before today, by the local clock. */
static int midnight(int days, int64_t now_ms, int64_t *out_ms)
{
	time_t now = (time_t)(now_ms / MS_PER_S), t;
	struct tm tm;

	if (!localtime_r(&now, &tm))
		return -EINVAL;
	tm.tm_mday -= days;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	tm.tm_isdst = -1;
	t = mktime(&tm);
	*out_ms = (int64_t)t * MS_PER_S;
	return t < 0 ? -EINVAL : 0;
}

/* Exactly so many digits, and at most max. Moves *p behind them; false: they are not there. */
static bool digits(const char **p, int count, int max, int *out)
{
	*out = 0;
	for (int i = 0; i < count; i++, ++*p) {
		if (**p < '0' || **p > '9')
			return false;
		*out = *out * 10 + (**p - '0');
	}
	return *out <= max;
}

static bool letter(const char **p, const char *any)
{
	if (!**p || !strchr(any, **p))
		return false;
	++*p;
	return true;
}

/* 14:05, 14:05:30, 14:05:30.250; *ms: the fraction. */
static bool clock_time(const char **p, struct tm *tm, int *ms)
{
	int unit = 100;

	*ms = 0;
	if (!digits(p, 2, 23, &tm->tm_hour) || !letter(p, ":") || !digits(p, 2, 59, &tm->tm_min))
		return false;
	if (!letter(p, ":"))
		return true;
	if (!digits(p, 2, 60, &tm->tm_sec))
		return false;
	if (!letter(p, ".,"))
		return true;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; ++*p, unit /= 10)
		*ms += (**p - '0') * unit;
	return true;
}

/* Z, +01:00, -0530, or nothing: the local clock. */
static bool zone(const char **p, bool *local, int *offset_s)
{
	int sign = **p == '-' ? -1 : 1, h, m;

	*offset_s = 0;
	*local = !**p;
	if (*local || letter(p, "Zz"))
		return true;
	if (!letter(p, "+-") || !digits(p, 2, 14, &h))
		return false;
	(void)letter(p, ":");
	if (!digits(p, 2, 59, &m))
		return false;
	*offset_s = sign * (h * 3600 + m * 60);
	return true;
}

static int to_ms(struct tm *tm, int ms, const char *p, int64_t *out_ms)
{
	struct tm same = *tm;
	int offset_s;
	bool local;
	time_t t;

	if (!zone(&p, &local, &offset_s) || *p)
		return -EINVAL;
	tm->tm_isdst = -1;
	t = local ? mktime(tm) : timegm(tm);
	/* The 31st of a month that has 30 would be another day. */
	if (tm->tm_mday != same.tm_mday || t < 0)
		return -EINVAL;
	*out_ms = ((int64_t)t - offset_s) * MS_PER_S + ms;
	return *out_ms < 0 ? -EINVAL : 0;
}

static int date(const char *p, int64_t *out_ms)
{
	struct tm tm = {0};
	int ms = 0;

	if (!digits(&p, 4, 9999, &tm.tm_year) || !letter(&p, "-") ||
	    !digits(&p, 2, 12, &tm.tm_mon) || !letter(&p, "-") || !digits(&p, 2, 31, &tm.tm_mday) ||
	    tm.tm_year < 1970 || !tm.tm_mon || !tm.tm_mday)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	if (*p && (!letter(&p, "Tt ") || !clock_time(&p, &tm, &ms)))
		return -EINVAL;
	return to_ms(&tm, ms, p, out_ms);
}

/* "14:05": of today. */
static int today_at(const char *p, int64_t now_ms, int64_t *out_ms)
{
	time_t now = (time_t)(now_ms / MS_PER_S);
	struct tm tm;
	int ms;

	if (!localtime_r(&now, &tm))
		return -EINVAL;
	tm.tm_sec = 0;
	if (!clock_time(&p, &tm, &ms))
		return -EINVAL;
	return to_ms(&tm, ms, p, out_ms);
}

int tv_when(const char *text, int64_t now_ms, int64_t *out_ms)
{
	int64_t ms;
	int rc;

	if (!strcmp(text, "now")) {
		ms = now_ms;
		rc = 0;
	} else if (!strcmp(text, "today")) {
		rc = midnight(0, now_ms, &ms);
	} else if (!strcmp(text, "yesterday")) {
		rc = midnight(1, now_ms, &ms);
	} else {
		rc = ago(text, now_ms, &ms);
		if (rc)
			rc = date(text, &ms);
		if (rc)
			rc = today_at(text, now_ms, &ms);
	}
	if (!rc)
		*out_ms = ms;
	return rc;
}
