/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /metrics has, as tables (metrics_table.c). Private to web/. */
#ifndef WEB_METRICS_TABLE_H
#define WEB_METRICS_TABLE_H

#include "replicator/session/session.h"

enum metrics_type { METRICS_GAUGE, METRICS_COUNTER, METRICS_HISTOGRAM };
/* Of which VMs there is a series. */
enum when {
	ALWAYS = 0,
	PROTECTED = 1, /* only of a VM that is protected and not suspended */
	PRIMARY = 2,
	SYNCING = 4,
	FRESH = 8, /* of the host: only while twinvmd reports */
};
/* Where the value is, and which labels it has beside the VM's. */
enum shape {
	NUMBER, /* a number; a boolean counts 0 or 1 */
	WORD,	/* 1 when it is the word, 0 when it is another; without one there is no series */
	WORDS,	/* 1 for one of the words, 0 for the others; the label is the word */
	EACH,	/* an object: a number for each of its names, which are the label */
	OF,	/* a number; the label's value is another field */
	ITEMS,	/* an array of objects: a number of each, and the label's value, are its fields */
	LIST,	/* a histogram */
	INFO,	/* 1; the labels are fields */
};
#define METRICS_WORDS 6
struct family {
	const char *name; /* without _total; NULL: the table's end */
	enum metrics_type type;
	unsigned when;
	enum shape shape;
	const char *field; /* of the VM's status, or of the snapshot; a.b: b of the object a */
	double scale;
	const char *help;
	const char *label;		  /* WORDS, EACH, OF */
	const char *words[METRICS_WORDS]; /* WORD: one; WORDS, INFO: to the first NULL; OF: a field;
				    ITEMS: the number, the label */
	const int64_t *edges_us;	  /* LIST */
};
extern const struct family metrics_of_host[], metrics_of_vm[];

#define METRICS_UP "twinvm_daemon_up"
#define METRICS_UP_HELP "Does twinvmd report what it knows? Without it nothing else is here."

const char *metrics_type_name(enum metrics_type type);
/* What a series' name has and its family's has not. */
const char *metrics_ending(const struct family *f);

#endif
