/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Schedules of rehearsals, as the configuration has them (docs/CONFIG.md): when, and with which options.
 * Times are of this host's local clock. Pure: the time now is a parameter.
 */
#ifndef REPLICATOR_SESSION_SCHEDULE_H
#define REPLICATOR_SESSION_SCHEDULE_H

#include "common/common.h"

#include <jansson.h>
#include <time.h>

enum schedule_what { SCHEDULE_TEST_FAILOVER, SCHEDULE_DRILL, SCHEDULE_VERIFY, SCHEDULE_WHATS };
/* "test_failover", "drill", "verify": the keys of the configuration. _of: SCHEDULE_WHATS: no such word. */
const char *schedule_word(enum schedule_what what);
enum schedule_what schedule_of(const char *word);

enum schedule_every { SCHEDULE_NEVER, SCHEDULE_DAILY, SCHEDULE_WEEKLY, SCHEDULE_MONTHLY };
struct schedule {
	enum schedule_what what;
	char vm[128]; /* "": all that have none of their own */
	enum schedule_every every;
	int day;	   /* of the week, 0 Sunday; of the month, 1 to 28 */
	int minute;	   /* of the day */
	int within_s;	   /* how late it may begin */
	char options[512]; /* "probe=… for=…", as they were given; checked */
};
#define SCHEDULE_WITHIN_S (2 * 3600)

/*
 * "weekly sun 03:00 [within=2h] [OPTION=VALUE]…", "daily 03:00", "monthly 1 03:00", "no". A value with
 * blanks is in double quotes. what decides which options there are. -EINVAL, with a sentence.
 */
int schedule_parse(enum schedule_what what, const char *text, struct schedule *out,
		   struct tv_err *e) TV_MUST_CHECK;
/* As schedule_parse takes it; one that is the same has the same text. Cut when there is no room. */
void schedule_text(const struct schedule *s, char *out, size_t room);
/* The newest moment not after now at which it was due; the first one after now. 0: never. */
time_t schedule_last(const struct schedule *s, time_t now);
time_t schedule_next(const struct schedule *s, time_t now);
/* The options as an object of texts; one that may come several times is an array. NULL: no memory. */
json_t *schedule_options(const struct schedule *s);

#endif
