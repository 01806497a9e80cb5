/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm top. Private to cli/. Layers, each calls only those before it: top_text.c (numbers,
 * sparklines, lines of a screen), top_model.c (what is known, and its history); pure, from that to
 * lines: top_words.c, top_table.c, top_detail.c, top_view.c; top_poll.c (asks twinvmd without waiting),
 * top.c (terminal).
 *
 * Names come from peers and guests: every text is cleaned when it enters the model, so that no byte of
 * it can control a terminal or turn the direction of writing.
 */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include "common/common.h"
#include <jansson.h>

/* ---- top_text.c ---- */
enum top_style {
	TOP_PLAIN,
	TOP_DIM,
	TOP_BOLD,
	TOP_GOOD,
	TOP_WARN,
	TOP_BAD,
	TOP_TITLE,    /* of columns */
	TOP_SELECTED, /* a whole line: the others' colours are left out */
};
#define TOP_MAX_COLUMNS 400
#define TOP_MAX_SPANS 48
struct top_line {
	char text[TOP_MAX_COLUMNS * 4 + 1];
	unsigned bytes, columns, width; /* width: limit of columns */
	unsigned spans;
	struct {
		unsigned from, bytes;
		enum top_style style;
	} span[TOP_MAX_SPANS];
};
struct top_page {
	struct top_line *lines; /* the page's; top_page_dispose */
	unsigned n, room, width;
};
#define TOP_HISTORY 256
struct top_history { /* the last ones; NAN: not known then */
	float v[TOP_HISTORY];
	unsigned n; /* ever added */
};

/* Printable characters only; anything else becomes '?'. utf8 false: ASCII only. */
void top_clean(char *to, size_t room, const char *from, bool utf8);
unsigned top_columns(const char *text);
/* At most so many columns of it, the last one an ellipsis when it is cut. */
void top_cut(char *to, size_t room, const char *text, unsigned columns, bool utf8);
#define TOP_WORD 24
/* "0.8 ms", "41 ms", "2.1 s", "3m05s", "2h10m", "3d04h"; "-": not known. */
void top_duration(char out[TOP_WORD], double seconds);
/* "812 B", "1.2 MB", "34 GB"; "-": not known. per: "" or "/s". */
void top_bytes(char out[TOP_WORD], double bytes, const char *per);
/* "12:03:04", of another day "Nov 26 12:03". */
void top_clock(char out[TOP_WORD], double wall_s, double now_s);
void top_remember(struct top_history *h, double v);
/* The newest `columns` values, the newest at the right; from 0 to the largest of them, or to `floor`. */
void top_spark(char *to, size_t room, const struct top_history *h, unsigned columns, double floor,
	       bool utf8);
/* The largest of the newest; NAN: none is known. */
double top_largest(const struct top_history *h, unsigned columns);

/* A new line at the end of the page; valid until the next one. Without memory the process ends. */
struct top_line *top_line(struct top_page *p);
void top_put(struct top_line *l, enum top_style style, const char *text);
void top_printf(struct top_line *l, enum top_style style, const char *fmt, ...) TV_PRINTF(3, 4);
/* Exactly so many columns, cut or filled with blanks. */
void top_cell(struct top_line *l, enum top_style style, unsigned columns, bool right,
	      const char *text, bool utf8);
/* Blanks up to that column. */
void top_tab(struct top_line *l, unsigned column);
void top_page_dispose(struct top_page *p);

/* ---- top_model.c ---- */
struct top_event {
	double time;
	char host[64], text[400];
};
#define TOP_EVENTS 12
struct top_vm {
	char key[48]; /* id and role: what it is recognised by */
	char id[40], name[128], peer[64], state[16], reason[640], warning[640], arbiter[256];
	char mode[16], run_state[24], qemu[32], held_by[16], epoch_why[24], arbiter_state[16];
	char wanted[16], next_action[256], failover_reason[640], core[24];
	bool backup, suspended, knows_failover, failover_allowed;
	/* NAN: not known */
	double generation, pid, progress, epoch_running, epoch_committed, uncommitted_bytes,
		oldest_held_ms, pause_p50, pause_p99, pause_max, epoch_p50, epoch_target, dirty_p50,
		dirty_p99, raw_bytes, wire_bytes, disk_bytes, held, released, dropped;
	double state_since, commit_time, rtt_ms, arbiter_since, next_time, cpu, memory, disk_read,
		disk_write, net_rx, net_tx, wire_rate, standby_cpu, standby_memory;
	unsigned kept, sockets;
	struct top_history lag, pause, wire;
	double progress_first, progress_first_s; /* this copy's first sight; NAN: none */
	bool seen;				 /* in the last answer */
};
struct top {
	bool utf8;
	char host[64];
	struct top_vm *vms;
	unsigned n, room;
	double data_s;	/* when the last answer was made, by the daemon's clock; NAN: none yet */
	double got_s;	/* when it came, in seconds of this program's clock */
	double every_s; /* how often is asked */
	char away[400]; /* why there is none; "": the daemon answers */
	double away_s;	/* since when, by this program's clock */
	char events_of[40]; /* VM's id */
	struct top_event events[TOP_EVENTS];
	unsigned events_n;
	bool has_events; /* the daemon has that command */
};
/* now_s: this program's clock (tv_now_ns). -EINVAL: no answer to `status`; the model is unchanged. */
int top_take(struct top *t, const json_t *answer, double now_s) TV_MUST_CHECK;
void top_take_events(struct top *t, const char *vm_id, const json_t *answer);
void top_away(struct top *t, const char *why, double now_s);
/* The daemon's clock now. */
double top_wall(const struct top *t, double now_s);
/* Age of the newest commit, in seconds; NAN: none. As of the last answer, and as of now when the next one
 * is late: then there may be newer ones, but who knows. */
double top_lag(const struct top *t, const struct top_vm *vm, double now_s);
/* 0 all is well, 1 something to know, 2 a copy is made or the copy may not count, 3 not protected. */
unsigned top_severity(const struct top *t, const struct top_vm *vm, double now_s);
/* Another host has a copy, gets one, or is this VM's primary. */
bool top_has_peer(const struct top_vm *vm);
/* Seconds left of the first copy; NAN: not known. */
double top_left(const struct top_vm *vm, double wall_s);
/* No answer for long enough that what is shown may be wrong. */
bool top_is_stale(const struct top *t, double now_s);
void top_dispose(struct top *t);

/* ---- top_words.c ---- */
enum top_sort {
	TOP_BY_PROBLEM,
	TOP_BY_NAME,
	TOP_BY_LAG,
	TOP_BY_PAUSE,
	TOP_BY_WIRE,
	TOP_BY_CPU,
	TOP_SORTS
};
struct top_screen {
	unsigned width, height; /* height 0: all lines, without selection and keys */
	double now_s;
	enum top_sort sort;
	bool problems, help, detail;
	char selected[48]; /* key; "": the first */
	unsigned first;	   /* line of the list, or of the detail, that is shown first */
	double interval_s;
};
const char *top_sort_name(enum top_sort s);
/* The VMs in the order of the screen, those that it shows; out takes t->n. Returns how many. */
unsigned top_order(const struct top *t, const struct top_screen *s, const struct top_vm **out);
/* What all views have. */
const char *top_shape(const struct top_vm *vm, bool utf8);
const char *top_arrow(const struct top_vm *vm, bool utf8);
enum top_style top_state_style(const struct top *t, const struct top_vm *vm, double now_s);
/* Its state with a mark, which says the same as the colour. */
void top_state_text(const struct top *t, const struct top_vm *vm, double now_s, char out[TOP_WORD]);
/* "If hostA died now: ..." */
void top_sentence(const struct top *t, const struct top_vm *vm, double now_s, char *out,
		  size_t room);

/* ---- top_table.c ---- */
#define TOP_COLUMNS 15
struct top_layout {
	unsigned w[TOP_COLUMNS]; /* of each column; 0: not shown */
};
struct top_layout top_lay_out(const struct top *t, const struct top_screen *s);
void top_titles(const struct top *t, const struct top_layout *l, struct top_page *page);
void top_row(const struct top *t, const struct top_screen *s, const struct top_vm *vm,
	     const struct top_layout *l, bool selected, struct top_page *page);

/* ---- top_detail.c, top_view.c ---- */
/* The whole screen. Moves s->first so that the selection is seen. */
void top_view(const struct top *t, struct top_screen *s, struct top_page *out);
/* The part of one VM, without the header. */
void top_detail(const struct top *t, const struct top_vm *vm, const struct top_screen *s,
		struct top_page *out);
/* ---- top_poll.c ---- */
struct top_poll {
	int fd; /* -1: no question is open */
	struct tv_buf got;
	double since_s;
	bool events; /* what was asked: of a VM, or status */
	char vm_id[40];
};
/* Asks; never waits. -errno: the daemon is away. */
int top_ask(struct top_poll *p, const char *socket, const char *events_of,
	    double now_s) TV_MUST_CHECK;
/* Reads what has come. 1: *answer is the caller's; 0: not yet; -errno, -EPROTO: no answer. */
int top_read(struct top_poll *p, json_t **answer) TV_MUST_CHECK;
void top_poll_end(struct top_poll *p);

#endif
