/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * labagent: runs commands in a lab host (tests/lib/lab.sh).
 *
 *   labagent serve PORT
 *       Process 1 of a lab host: reaps, and takes one command per TCP connection.
 *   labagent run ADDRESS PORT [--log FILE | --tty] COMMAND...
 *       Runs COMMAND there in the same working folder ("/" if it is not there). Output comes here,
 *       the exit status is the command's (128 plus the signal that killed it), input is empty.
 *       --log: a background program: its output is appended to FILE there, its process id there is
 *       printed, and labagent ends. --tty: on a terminal, with input. 255: the host is not (or no
 *       longer) there.
 *   labagent tsc
 *       Prints how fast this machine's TSC counts, in kHz. An emulated host's is the same one.
 *
 * One connection per command needs no multiplexing, and TCP's keepalive detects a host that is
 * gone: 60 s without any answer, so that a host frozen for some seconds keeps its commands. The
 * connection's end is the command's hang-up (SIGHUP to its process group).
 *
 * On the wire: frames of be32 type, be32 length, bytes. Client: one 'A' frame (words ended by NUL:
 * mode, folder, log, command...), then 'I' (input). Server: 'O', 'E' (output, errors), 'P' (process
 * id), 'X' (exit status), the last three as decimal text. Both ends are ours and on a network of
 * their own; lengths are capped all the same.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MAX_FRAME_BYTES (128 * 1024)
#define PIECE_BYTES (32 * 1024)
#define MAX_WORDS 512
#define CANNOT 255

struct words {
	const char *mode, *folder, *log;
	char *argv[MAX_WORDS];
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "labagent: %s: %s\n", what, strerror(errno));
	exit(CANNOT);
}

static int put(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		p = (const char *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

static int get(int fd, void *p, size_t n)
{
	while (n) {
		ssize_t r = read(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return -1;
		p = (char *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

static int put_frame(int fd, char type, const void *p, size_t n)
{
	uint32_t head[2] = {htonl((uint32_t)type), htonl((uint32_t)n)};

	return put(fd, head, sizeof(head)) || put(fd, p, n) ? -1 : 0;
}

/* Into buf, MAX_FRAME_BYTES and a NUL; returns the length or -1. */
static ssize_t get_frame(int fd, char *type, char *buf)
{
	uint32_t head[2], n;

	if (get(fd, head, sizeof(head)))
		return -1;
	n = ntohl(head[1]);
	*type = (char)ntohl(head[0]);
	if (n > MAX_FRAME_BYTES || get(fd, buf, n))
		return -1;
	buf[n] = 0;
	return (ssize_t)n;
}

static int put_number(int fd, char type, int number)
{
	char text[16];

	return put_frame(fd, type, text, (size_t)snprintf(text, sizeof(text), "%d", number));
}

static void keep_alive(int fd)
{
	int on = 1, idle_s = 20, every_s = 10, times = 4;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof(every_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
}

/* ---- in the host ---- */

static int parse(char *text, ssize_t n, struct words *w)
{
	const char *first[3];
	char *end = text + n;
	int k = 0, args = 0;

	for (char *p = text; p < end; p += strlen(p) + 1) {
		if (k < 3)
			first[k++] = p;
		else if (args < MAX_WORDS - 1)
			w->argv[args++] = p;
		else
			return -1;
	}
	w->argv[args] = NULL;
	if (!args)
		return -1;
	w->mode = first[0];
	w->folder = first[1];
	w->log = first[2];
	return 0;
}

__attribute__((noreturn)) static void become(const struct words *w)
{
	close_range(3, ~0u, 0);
	if (chdir(w->folder) && chdir("/"))
		_exit(126);
	execvp(w->argv[0], w->argv);
	fprintf(stderr, "labagent: %s: %s\n", w->argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Its own session; outputs to the two descriptors given, no input. */
static pid_t start(const struct words *w, int out, int err)
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY);

		setsid();
		if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
			_exit(126);
		become(w);
	}
	return pid;
}

static void background(int sock, const struct words *w)
{
	int log = open(w->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	pid_t pid;

	if (log < 0) {
		put_frame(sock, 'E', "cannot open the log\n", 20);
		put_number(sock, 'X', 126);
		return;
	}
	pid = start(w, log, log);
	put_number(sock, 'P', pid);
	put_number(sock, 'X', 0);
}

/* Passes on one piece of output; false at its end. */
static bool relay(int from, int sock, char type)
{
	char buf[PIECE_BYTES];
	ssize_t n = read(from, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && !put_frame(sock, type, buf, (size_t)n);
}

/*
 * Until the program has ended. What it left in the background may hold its outputs open for ever:
 * the program's end counts, then what is in the pipes is still passed on.
 */
static void foreground(int sock, int out, int err, int in, pid_t pid)
{
	static char buf[MAX_FRAME_BYTES + 1];
	struct pollfd p[3] = {{out, POLLIN, 0}, {err, POLLIN, 0}, {sock, POLLIN, 0}};
	int status = 0;
	bool ended = false;

	while (p[0].fd >= 0 || p[1].fd >= 0 || !ended) {
		int n = poll(p, 3, ended ? 0 : 50);

		if (ended && n <= 0)
			break;
		for (int i = 0; i < 2; i++)
			if (p[i].revents && !relay(p[i].fd, sock, i ? 'E' : 'O'))
				p[i].fd = -1;
		if (p[2].revents) {
			char type;
			ssize_t got = get_frame(sock, &type, buf);

			if (got < 0) {
				kill(-pid, SIGHUP);
				return;
			}
			if (in >= 0 && put(in, buf, (size_t)got))
				in = -1;
		}
		if (!ended)
			ended = waitpid(pid, &status, WNOHANG) == pid;
	}
	put_number(sock, 'X', WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void serve_one(int sock)
{
	static char buf[MAX_FRAME_BYTES + 1];
	struct words w;
	char type;
	int out[2], err[2], master;
	ssize_t n = get_frame(sock, &type, buf);
	pid_t pid;

	if (n < 0 || type != 'A' || parse(buf, n, &w))
		return;
	if (!strcmp(w.mode, "log")) {
		background(sock, &w);
		return;
	}
	if (!strcmp(w.mode, "tty")) {
		pid = forkpty(&master, NULL, NULL, NULL);
		if (pid == 0)
			become(&w);
		foreground(sock, master, -1, master, pid);
		return;
	}
	if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return;
	pid = start(&w, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	foreground(sock, out[0], err[0], -1, pid);
}

__attribute__((noreturn)) static void serve(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int on = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN); /* process 1: nobody is left a zombie */
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 64))
		die("listening");
	for (;;) {
		int c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		pid_t pid = c < 0 ? -1 : fork();

		if (pid == 0) {
			signal(SIGCHLD, SIG_DFL);
			signal(SIGPIPE, SIG_DFL);
			keep_alive(c);
			serve_one(c);
			_exit(0);
		}
		if (c >= 0)
			close(c);
	}
}

/* ---- outside ---- */

static int dial(const char *address, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval limit = {.tv_sec = 10};
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &a.sin_addr) != 1) {
		errno = EINVAL;
		die(address);
	}
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* of connect, too */
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)))
		die(address);
	keep_alive(s);
	return s;
}

static void add_word(char *buf, size_t *n, const char *word)
{
	size_t bytes = strlen(word) + 1;

	if (*n + bytes > MAX_FRAME_BYTES) {
		errno = E2BIG;
		die("command");
	}
	memcpy(buf + *n, word, bytes);
	*n += bytes;
}

static struct termios terminal;
static void restore_terminal(void)
{
	tcsetattr(0, TCSANOW, &terminal);
}
static bool raw_terminal(void)
{
	struct termios raw;

	if (tcgetattr(0, &terminal))
		return false;
	raw = terminal;
	cfmakeraw(&raw);
	atexit(restore_terminal);
	return tcsetattr(0, TCSANOW, &raw) == 0;
}

static int client(int s, bool input)
{
	static char buf[MAX_FRAME_BYTES + 1];
	struct pollfd p[2] = {{s, POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}};
	char type;
	ssize_t n;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die("poll");
		if (p[1].revents) {
			n = read(0, buf, PIECE_BYTES);
			if (n <= 0 || put_frame(s, 'I', buf, (size_t)n))
				p[1].fd = -1;
		}
		if (!p[0].revents)
			continue;
		n = get_frame(s, &type, buf);
		if (n < 0) {
			fprintf(stderr, "labagent: the host is gone\n");
			return CANNOT;
		}
		if (type == 'X')
			return atoi(buf);
		if (put(type == 'E' ? 2 : 1, buf, (size_t)n))
			return CANNOT;
		if (type == 'P' && put(1, "\n", 1))
			return CANNOT;
	}
}

static int run(int argc, char **argv)
{
	static char buf[MAX_FRAME_BYTES];
	char folder[4096];
	const char *mode = "run", *log = "";
	size_t n = 0;
	int i = 2, s;

	if (argc > i + 1 && !strcmp(argv[i], "--log")) {
		mode = "log";
		log = argv[i + 1];
		i += 2;
	} else if (argc > i && !strcmp(argv[i], "--tty")) {
		mode = "tty";
		i++;
	}
	if (argc <= i || !getcwd(folder, sizeof(folder)))
		die("run needs a command");
	add_word(buf, &n, mode);
	add_word(buf, &n, folder);
	add_word(buf, &n, log);
	for (; i < argc; i++)
		add_word(buf, &n, argv[i]);
	s = dial(argv[0], atoi(argv[1]));
	if (put_frame(s, 'A', buf, n))
		die(argv[0]);
	return client(s, !strcmp(mode, "tty") && raw_terminal());
}

struct moment {
	int64_t ns, tsc;
};

/* The clock and the TSC at one time: of some tries the one that was interrupted least. */
static struct moment look_at_clocks(void)
{
	struct moment best = {0};
	int64_t best_ticks = INT64_MAX;

	for (int i = 0; i < 1000; i++) {
		int64_t before = (int64_t)__rdtsc(), after;
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC_RAW, &t);
		after = (int64_t)__rdtsc();
		if (after - before >= best_ticks)
			continue;
		best_ticks = after - before;
		best.ns = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
		best.tsc = before + best_ticks / 2;
	}
	return best;
}

static int print_tsc_khz(void)
{
	struct moment a = look_at_clocks(), b;

	poll(NULL, 0, 100);
	b = look_at_clocks();
	printf("%.0f\n", (double)(b.tsc - a.tsc) * 1e6 / (double)(b.ns - a.ns));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	if (argc > 4 && !strcmp(argv[1], "run"))
		return run(argc - 2, argv + 2);
	if (argc == 2 && !strcmp(argv[1], "tsc"))
		return print_tsc_khz();
	fprintf(stderr, "usage: labagent serve PORT | tsc |\n"
			"       labagent run ADDRESS PORT [--log FILE | --tty] COMMAND...\n");
	return 2;
}
