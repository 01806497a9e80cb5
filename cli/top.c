/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm top: the terminal, keys and time; what is drawn: top_view.c. */
#include "cli/cli.h"
#include "cli/top.h"

#include <curses.h>
#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_S 0.25 /* ages grow between two answers */
#define ANSWER_S 2.0
#define ESCAPE 27

static const struct option options[] = {{"interval", required_argument, NULL, 'i'},
					{"once", no_argument, NULL, 'o'},
					{"ascii", no_argument, NULL, 'a'},
					CLI_COMMON_OPTIONS,
					{NULL, 0, NULL, 0}};

struct ui {
	struct cli *c;
	struct top t;
	struct top_screen s;
	struct top_poll poll;
	double next_ask_s, next_draw_s;
	bool colour, ask_events, end;
};

static double now_s(void)
{
	return (double)tv_now_ns() / TV_NS_PER_S;
}

/* ---- asking ---- */
static const char *selected_id(struct ui *u, char id[40])
{
	for (unsigned i = 0; i < u->t.n; i++)
		if (!strcmp(u->t.vms[i].key, u->s.selected)) {
			tv_copy(id, 40, u->t.vms[i].id);
			return id;
		}
	return NULL;
}

static void away(struct ui *u, int rc)
{
	/* -EAGAIN: too many questions wait already. */
	bool hangs = rc == -ETIMEDOUT || rc == -EAGAIN;
	char why[400];

	if (hangs)
		snprintf(why, sizeof(why), "twinvmd does not answer at %s", u->c->socket);
	else
		snprintf(why, sizeof(why), "twinvmd is away: %s: %s", u->c->socket,
			 tv_strerror(rc));
	top_away(&u->t, why, now_s());
	top_poll_end(&u->poll);
}

static void ask(struct ui *u, double now)
{
	char id[40];
	const char *of = u->ask_events && u->s.detail ? selected_id(u, id) : NULL;
	int rc = top_ask(&u->poll, u->c->socket, of, now);

	u->ask_events = !u->ask_events && u->s.detail;
	u->next_ask_s = now + (u->ask_events ? 0.1 : u->s.interval_s);
	if (rc)
		away(u, rc);
}

static void hear(struct ui *u, double now)
{
	json_t *answer = NULL;
	int rc = top_read(&u->poll, &answer);

	if (!rc) {
		if (now - u->poll.since_s > ANSWER_S)
			away(u, -ETIMEDOUT);
		return;
	}
	if (rc > 0 && u->poll.events)
		top_take_events(&u->t, u->poll.vm_id, answer);
	else if (rc > 0)
		rc = top_take(&u->t, answer, now);
	json_decref(answer);
	if (rc < 0)
		away(u, rc);
	top_poll_end(&u->poll);
	u->next_draw_s = now;
}

/* ---- drawing ---- */
static attr_t look_of(const struct ui *u, enum top_style style)
{
	switch (style) {
	case TOP_DIM:
		return A_DIM;
	case TOP_BOLD:
		return A_BOLD;
	case TOP_GOOD:
		return u->colour ? (attr_t)COLOR_PAIR(1) : A_NORMAL;
	case TOP_WARN:
		return u->colour ? (attr_t)COLOR_PAIR(2) : A_BOLD;
	case TOP_BAD:
		return A_BOLD | (u->colour ? (attr_t)COLOR_PAIR(3) : A_NORMAL);
	case TOP_TITLE:
		return A_UNDERLINE;
	case TOP_SELECTED:
		return A_REVERSE;
	default:
		return A_NORMAL;
	}
}

static void draw_line(const struct ui *u, int y, const struct top_line *l)
{
	unsigned at = 0;

	move(y, 0);
	for (unsigned i = 0; i < l->spans; i++) {
		attrset(A_NORMAL);
		addnstr(l->text + at, (int)(l->span[i].from - at));
		attrset(look_of(u, l->span[i].style));
		addnstr(l->text + l->span[i].from, (int)l->span[i].bytes);
		at = l->span[i].from + l->span[i].bytes;
	}
	attrset(A_NORMAL);
	addnstr(l->text + at, (int)(l->bytes - at));
}

static void draw(struct ui *u, double now)
{
	struct top_page page = {0};

	u->s.width = COLS > 0 ? (unsigned)COLS : 80;
	u->s.height = LINES > 0 ? (unsigned)LINES : 24;
	u->s.now_s = now;
	top_view(&u->t, &u->s, &page);
	erase();
	for (unsigned i = 0; i < page.n && i < u->s.height; i++)
		draw_line(u, (int)i, &page.lines[i]);
	refresh();
	top_page_dispose(&page);
	u->next_draw_s = now + DRAW_S;
}

/* ---- keys ---- */
static void select_vm(struct ui *u, long by)
{
	const struct top_vm **order = calloc(u->t.n + 1, sizeof(*order));
	long n = order ? top_order(&u->t, &u->s, order) : 0, at = 0;

	for (long i = 0; i < n; i++)
		if (!strcmp(order[i]->key, u->s.selected))
			at = i;
	at += by;
	at = at < 0 ? 0 : at >= n ? n - 1 : at;
	if (n)
		tv_copy(u->s.selected, sizeof(u->s.selected), order[at]->key);
	free(order);
}

static void move_by(struct ui *u, long by)
{
	long first = (long)u->s.first + by;

	if (u->s.detail)
		u->s.first = first < 0 ? 0 : (unsigned)first;
	else
		select_vm(u, by);
}

static void show_detail(struct ui *u, bool on)
{
	select_vm(u, 0);
	u->s.detail = on;
	u->s.first = 0;
	u->ask_events = on;
	u->next_ask_s = on ? 0 : u->next_ask_s;
}

static bool moved(struct ui *u, int key)
{
	long page = u->s.height > 8 ? (long)u->s.height - 6 : 2;

	switch (key) {
	case KEY_UP:
	case 'k':
		move_by(u, -1);
		return true;
	case KEY_DOWN:
	case 'j':
		move_by(u, 1);
		return true;
	case KEY_PPAGE:
		move_by(u, -page);
		return true;
	case KEY_NPAGE:
	case ' ':
		move_by(u, page);
		return true;
	case KEY_HOME:
	case 'g':
		move_by(u, -1000000);
		return true;
	case KEY_END:
	case 'G':
		move_by(u, 1000000);
		return true;
	default:
		return false;
	}
}

static void on_key(struct ui *u, int key)
{
	u->next_draw_s = 0;
	if (key == KEY_RESIZE)
		return;
	if (u->s.help) {
		u->s.help = false;
		return;
	}
	if (moved(u, key))
		return;
	switch (key) {
	case 'q':
		u->end = !u->s.detail;
		show_detail(u, false);
		break;
	case ESCAPE:
	case KEY_BACKSPACE:
	case KEY_LEFT:
		show_detail(u, false);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
	case KEY_RIGHT:
		show_detail(u, u->t.n > 0);
		break;
	case '?':
	case 'h':
		u->s.help = true;
		u->s.first = 0;
		break;
	case 's':
		u->s.sort = (u->s.sort + 1) % TOP_SORTS;
		break;
	case 'p':
		u->s.problems = !u->s.problems;
		break;
	case 'r':
		u->next_ask_s = 0;
		break;
	default:
		break;
	}
}

/* ---- the loop ---- */
static void wait_for(struct ui *u, double now)
{
	struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
			       {.fd = u->poll.fd, .events = POLLIN}};
	double next = u->next_draw_s;

	if (u->poll.fd < 0 && u->next_ask_s < next)
		next = u->next_ask_s;
	if (next > now)
		(void)poll(fds, 2,
			   (int)((next - now) * 1e3) + 1); /* EINTR: the window has a new size */
	if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL))
		u->end = true; /* the terminal is gone */
}

static void turn(struct ui *u)
{
	double now = now_s();
	int key;

	if (u->poll.fd >= 0)
		hear(u, now);
	if (u->poll.fd < 0 && now >= u->next_ask_s)
		ask(u, now);
	if (now >= u->next_draw_s)
		draw(u, now);
	wait_for(u, now_s());
	while (!u->end && (key = getch()) != ERR)
		on_key(u, key);
}

static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return !(no && *no) && has_colors();
}

static int live(struct ui *u)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (!screen)
		return cli_fail(u->c, EXIT_FAILED,
				"this terminal (TERM=%s) cannot be used: try 'twinvm top --once'",
				getenv("TERM") ? getenv("TERM") : "");
	cbreak();
	noecho();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(50);
	u->colour = wants_colour();
	if (u->colour) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_GREEN, -1);
		init_pair(2, COLOR_YELLOW, -1);
		init_pair(3, COLOR_RED, -1);
	}
	while (!u->end)
		turn(u);
	endwin();
	delscreen(screen);
	return EXIT_OK;
}

/* ---- one table ---- */
static unsigned columns_of_output(const struct cli *c)
{
	const char *text = getenv("COLUMNS");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	if (n < 20 || n > TOP_MAX_COLUMNS)
		n = c->terminal ? 80 : 132;
	return (unsigned)n;
}

static void print_table(struct ui *u)
{
	struct top_page page = {0};

	u->s.width = columns_of_output(u->c);
	u->s.height = 0;
	u->s.now_s = now_s();
	top_view(&u->t, &u->s, &page);
	for (unsigned i = 0; i < page.n; i++) {
		struct top_line *l = &page.lines[i];

		while (l->bytes && l->text[l->bytes - 1] == ' ')
			l->text[--l->bytes] = 0;
		puts(l->text);
	}
	top_page_dispose(&page);
}

static int once(struct ui *u)
{
	json_t *last = NULL;
	int rc = cli_call(u->c, json_pack("{ss}", "op", "status"), NULL, &last);

	if (!rc && u->c->json) {
		json_object_del(last, "done");
		json_object_del(last, "rc");
		cli_print(u->c, json_incref(last));
	} else if (!rc && top_take(&u->t, last, now_s())) {
		rc = cli_fail(u->c, EXIT_FAILED,
			      "the answer of twinvmd cannot be read: are twinvm "
			      "and twinvmd of one version?");
	} else if (!rc) {
		print_table(u);
	}
	json_decref(last);
	return rc;
}

static int run(struct cli *c, int argc, char **argv)
{
	struct ui u = {.c = c, .poll = {.fd = -1}, .s = {.interval_s = 1}};
	bool one = !c->terminal || !isatty(STDIN_FILENO), ascii = false;
	int opt, rc;
	char *end;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'i') {
			u.s.interval_s = strtod(optarg, &end);
			if (*end || !(u.s.interval_s >= 0.2 && u.s.interval_s <= 3600))
				return cli_usage(&cmd_top);
		} else if (opt == 'o') {
			one = true;
		} else if (opt == 'a') {
			ascii = true;
		} else {
			rc = cli_common_option(c, &cmd_top, opt);
			if (rc >= 0)
				return rc;
		}
	}
	if (optind < argc)
		return cli_usage(&cmd_top);
	setlocale(LC_CTYPE, "");
	u.t.utf8 = !ascii && !strcmp(nl_langinfo(CODESET), "UTF-8");
	u.t.data_s = NAN;
	u.t.every_s = u.s.interval_s;
	rc = one || c->json ? once(&u) : live(&u);
	top_poll_end(&u.poll);
	top_dispose(&u.t);
	return rc;
}

const struct subcommand cmd_top = {
	"top",
	"[--once] [--interval SECONDS] [--ascii]",
	"a live view of this host's VMs and standbys, problems first",
	"  --once              prints one table and ends; so it does where stdout is no terminal\n"
	"  --interval SECONDS  between two questions to twinvmd: 0.2 to 3600 (1)\n"
	"  --ascii             no other characters, whatever the locale is\n"
	"  --json              once: an object with host, time and vms (as 'twinvm status --json')\n\n"
	"Keys: ? shows them. NO_COLOR in the environment turns colours off; each of them is a word\n"
	"and a sign as well.\n",
	run,
};
