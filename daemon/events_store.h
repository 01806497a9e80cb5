/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The insides of events*.c: what the store, the files and the journal do for events.c. */
#ifndef DAEMON_EVENTS_STORE_H
#define DAEMON_EVENTS_STORE_H

#include "daemon/events.h"

#include <sys/queue.h>

#define EVENTS_BY_BYTES 96
/* A line of the file has at most so many bytes, its end included. */
#define EVENTS_LINE_BYTES 4096

/* ---- events_file.c: two files of lines, written by a thread ---- */
struct events_file;
/* The folder is made when the first line is written. line is called for each whole line that is there,
 * oldest first, without its end; what cannot be read is logged and left out.
 * -ENOMEM, or what starting a thread gave. */
int events_file_open(const char *folder, size_t segment_bytes,
		     void (*line)(const char *text, size_t n, void *arg), void *arg,
		     struct events_file **out) TV_MUST_CHECK;
/* text, n bytes with its '\n', is copied; the thread writes it. Never waits. */
void events_file_add(struct events_file *f, const char *text, size_t n);
/* Waits at most timeout_ms until all is written; what is not by then is lost. False: that is so. NULL is
 * allowed. */
bool events_file_close(struct events_file *f, int timeout_ms);

/* ---- events_store.c: the newest events, in memory ---- */
struct events_item {
	TAILQ_ENTRY(events_item) link;
	uint64_t id;
	int64_t unix_ms, acked_ms; /* acked_ms 0: not acknowledged */
	enum events_kind kind;	   /* COUNT: a newer version's */
	uint64_t text_hash;
	char acked_by[EVENTS_BY_BYTES]; /* "": not known */
	char vm_id[33];
	char *vm, *line; /* vm: its name; line: the JSON */
	size_t bytes;
};
struct events {
	TAILQ_HEAD(events_list, events_item) list; /* the oldest first */
	size_t bytes, limit_bytes;
	uint64_t next_id;
	struct events_file *file; /* NULL: nothing is kept on disk */
	struct {
		events_cb *cb;
		void *arg;
	} listeners[EVENTS_LISTENERS];
	unsigned listener_count;
	struct {
		int64_t since_ns;
		unsigned n;
	} burst[EVENTS_KIND_COUNT];
};
/* The last event about that VM (NULL: about none) is of that kind and says the same. */
bool events_store_repeats(const struct events *s, enum events_kind kind, const char *vm_id,
			  const char *text);
/* An empty one that keeps so many bytes. NULL: no memory. */
struct events *events_store_new(size_t limit_bytes);
void events_store_free(struct events *s); /* NULL is allowed */
/* A line, as made here or as read from a file; damaged ones are passed over: false. */
bool events_store_add(struct events *s, const char *line, size_t n);
struct events_item *events_store_find(struct events *s, uint64_t id); /* NULL: not kept */

/* ---- events_journal.c: journald's native protocol ---- */
/* One datagram to the socket at path. False: nobody took it. Never waits. */
bool events_journal_send(const char *path, const json_t *o, enum events_kind kind);
/* The datagram: *bytes of it, the caller's to free. NULL: no memory. */
char *events_journal_pack(const json_t *o, enum events_kind kind, size_t *bytes);
#define EVENTS_JOURNAL "/run/systemd/journal/socket"
/* Does stderr go to the journal already? Then a line there would be a second one. */
bool events_journal_has_stderr(void);

#endif
