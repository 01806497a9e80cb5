/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line of the VM as it is now: what was plugged in, added or removed while it ran,
 * written as if it had been started so. Private to hv/attach.
 */
#ifndef HV_ATTACH_LIVE_H
#define HV_ATTACH_LIVE_H

#include "hv/qemu/qemu.h"

struct hv_words { /* a command line that grows; NULL-terminated, the words are its own */
	char **w;
	unsigned n, room;
	int rc; /* -ENOMEM: a word was lost */
};
/* word is taken over; NULL: there was no memory for it. */
void hv_words_put(struct hv_words *w, char *word);
void hv_words_free(struct hv_words *w);

/* What QEMU says. Each part may be made up by a test; one that is NULL changes nothing. */
struct hv_live {
	/*
	 * Users' devices: [{"id": "" for none, "anon": its number among those (absent with an id),
	 * "path": QOM path, "driver": type, "parent": QOM path of its bus or "", "at": {where it is,
	 * and its back ends}, "new": true when it is not on the command line, and then "props": {what
	 * differs from a plain one}}]
	 */
	json_t *devices;
	json_t *objects;  /* {id: {"qom-type": .., ..}} */
	json_t *block;	  /* query-block */
	json_t *nodes;	  /* query-named-block-nodes */
	json_t *chardevs; /* query-chardev */
	json_t *cpus;	  /* query-hotpluggable-cpus */
	char *network;	  /* info network */
};

/* ---- live_ask.c ---- */
/* Asks a QEMU for all of it; some milliseconds. */
int hv_live_ask(struct hv_qmp *q, char *const *argv, struct hv_live *out,
		struct tv_err *e) TV_MUST_CHECK;
void hv_live_dispose(struct hv_live *l);

/* ---- live_line.c: pure ---- */
struct hv_live_line;
/* Takes a command line apart and finds each of its devices among live->devices; those that are not
 * on it get "new". NULL: no memory. argv stays the caller's and must outlive it. */
struct hv_live_line *hv_live_match(char *const *argv, const struct hv_live *live);
/* The first option "-NAME" with this id that is still there: its argument, or NULL. */
const char *hv_live_find(const struct hv_live_line *line, const char *option, const char *id);
/* The words of the line without what is gone, with room behind them; -ENOMEM. */
int hv_live_words(struct hv_live_line *line, const struct hv_live *live, struct hv_words *out);
void hv_live_line_free(struct hv_live_line *line);

/* ---- live_put.c: pure ---- */
/* The whole of it: *out is a vector of words that hv_words_free releases. TV_E_REFUSED names a device
 * that cannot be described. */
int hv_live_argv(char *const *argv, const struct hv_live *live, struct hv_words *out,
		 struct tv_err *e) TV_MUST_CHECK;

#endif
