/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `twinvm-libvirt qmp`: a domain's QMP on a socket, by libvirt's passthrough.
 *
 * One thread does all: it takes a command from the socket, has libvirt send it, and writes what
 * comes. Another only waits for the other end of the socket to close, and ends the process: the
 * first may wait for libvirt then, which may wait for QEMU, or up to 30 s for another client's job
 * on the domain.
 *
 * Order. libvirtd learns of events and answers in the order in which QEMU sent them, but passes
 * events on by its main loop and answers by a worker thread, so an answer may overtake events that
 * came before it. When libvirtd's worker has an answer, the events before it are in a queue whose
 * timer is due. The main loop serves that timer at the latest in the round in which it reads our next
 * call, or while a worker already answers that call. The answer to the call after that was
 * begun in a later round. So after two calls that do nothing, all events have arrived that QEMU sent
 * before the answer; and some, perhaps, that it sent after it: hv/ is built for that. In this process
 * an event is queued, too, when its message is read, and the queue's timer was due before the one of
 * flush() is set.
 */
#include "lv/lv_int.h"
#include "lv/qmp_text.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OUR_FD 3
#define MOST_COMMAND_BYTES (1u << 20)
/* A libvirtd that hangs holds up a VM's output: its connection ends. libvirt's own keepalive was not
 * seen to end a call that is under way, so a thread makes one that does nothing all the time. */
#define PING_MS 2000
#define LOOK_MS 1000
#define HUNG_LOOKS 9
#define KEEPALIVE_S 2
#define KEEPALIVES 3
/* The other end is a program that reads: a hanging one is ended by its daemon. */
#define SEND_S 10

struct relay {
	virConnectPtr c;
	virDomainPtr d;
	int pidfd;
	struct tv_buf in;
	int fd; /* that came with the command at the end of in, or -1 */
	bool readable, flushed;
	int timer;
};

static atomic_bool pinged;
static atomic_uint looks; /* of watch_end since the last answer */

static void *watch_end(void *arg)
{
	struct pollfd p = {OUR_FD, POLLRDHUP, 0};

	(void)arg;
	while (poll(&p, 1, LOOK_MS) <= 0)
		if (pinged && ++looks > HUNG_LOOKS) {
			tv_log(TV_WARN, "libvirtd hangs: the connection ends");
			break;
		}
	_exit(LV_EXIT_OK);
}

/* Looks are counted, not seconds: a process that was itself held up counts one. */
static void *ping(void *arg)
{
	unsigned long version;

	for (;;) {
		(void)virConnectGetLibVersion(arg, &version);
		looks = 0;
		pinged = true;
		poll(NULL, 0, PING_MS);
	}
	return NULL;
}

static void put(const char *text)
{
	size_t n = strlen(text), done = 0;

	while (done < n) {
		ssize_t r = send(OUR_FD, text + done, n - done, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			_exit(LV_EXIT_FAILED);
		done += (size_t)r;
	}
}

/* The connection ends: with libvirtd, or with what it is about. Never silently. */
static _Noreturn void finish(const char *why)
{
	tv_log(TV_WARN, "%s", why);
	_exit(LV_EXIT_OK);
}

/* ---- libvirt's callbacks ---- */
static void on_event(virConnectPtr c, virDomainPtr d, const char *event, long long seconds,
		     unsigned micros, const char *details, void *arg)
{
	TV_FREE char *text = lv_event_text(event, details, seconds, micros);

	(void)c;
	(void)d;
	(void)arg;
	if (!text)
		finish("no memory for an event: the connection ends");
	put(text);
}

static void on_close(virConnectPtr c, int reason, void *arg)
{
	(void)c;
	(void)reason;
	(void)arg;
	finish("libvirtd has closed the connection");
}

static void on_input(int watch, int fd, int events, void *arg)
{
	(void)watch;
	(void)fd;
	(void)events;
	((struct relay *)arg)->readable = true;
}

static void on_timer(int timer, void *arg)
{
	((struct relay *)arg)->flushed = true;
	virEventUpdateTimeout(timer, -1);
}

static void run_loop(void)
{
	if (virEventRunDefaultImpl() < 0)
		finish("libvirt's event loop has failed");
}

/* Every event that has been read is written. */
static void flush(struct relay *r)
{
	r->flushed = false;
	virEventUpdateTimeout(r->timer, 0);
	while (!r->flushed)
		run_loop();
}

/* ---- a command ---- */
static bool qemu_lives(const struct relay *r)
{
	struct pollfd p = {r->pidfd, POLLIN, 0};

	return poll(&p, 1, 0) == 0;
}

/* Its answer without an id, to be freed. */
static char *ask(struct relay *r, const char *command, int fd)
{
	unsigned n_out = 0, n_in = fd >= 0;
	int *out_fds = NULL, rc;
	char *answer = NULL, reason[512], id[64], *text = NULL;

	/* The domain may be another process by now, and libvirt would ask that one. */
	if (!qemu_lives(r))
		finish("the VM's QEMU has ended");
	rc = virDomainQemuMonitorCommandWithFiles(r->d, command, n_in, n_in ? &fd : NULL, &n_out,
						  &out_fds, &answer, 0);
	for (unsigned i = 0; out_fds && i < n_out; i++)
		close(out_fds[i]);
	free(out_fds);
	if (rc < 0) {
		snprintf(reason, sizeof(reason), "libvirt: %s", virGetLastErrorMessage());
		if (virConnectIsAlive(r->c) != 1)
			finish(reason);
		tv_mend_utf8(reason);
		return lv_refusal(reason);
	}
	if (!qemu_lives(r))
		finish("the VM's QEMU has ended");
	rc = lv_take_id(answer, id, sizeof(id), &text);
	free(answer);
	return rc ? lv_refusal("libvirt's answer is no QMP") : text;
}

/* See the head of this file. */
static void let_events_pass(struct relay *r)
{
	unsigned long version;

	for (unsigned i = 0; i < 2; i++)
		if (virConnectGetLibVersion(r->c, &version) < 0 && virConnectIsAlive(r->c) != 1)
			finish("libvirtd has closed the connection");
	flush(r);
}

static void serve(struct relay *r, const char *line, int fd)
{
	TV_FREE char *command = NULL, *answer = NULL, *text = NULL;
	char id[64], name[64];
	int rc = lv_take_id(line, id, sizeof(id), &command);

	if (rc)
		finish("what came is no QMP command");
	if (lv_command_name(command, name, sizeof(name)) && !strcmp(name, "qmp_capabilities"))
		answer = strdup("{\"return\":{}}");
	else
		answer = ask(r, command, fd);
	let_events_pass(r);
	text = answer ? lv_put_id(answer, id) : NULL;
	if (!text)
		finish("no memory for an answer: the connection ends");
	put(text);
	put("\n");
}

/*
 * Takes in what waits. A descriptor belongs to what was sent with it, which ends what is received at
 * once: to the command that is begun last.
 */
static void take_in(struct relay *r)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl;
	char part[16384];
	struct iovec iov = {part, sizeof(part)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = ctl.buf,
			   .msg_controllen = sizeof(ctl.buf)};
	ssize_t n = recvmsg(OUR_FD, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		_exit(LV_EXIT_OK);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			tv_close_fd(&r->fd);
			memcpy(&r->fd, CMSG_DATA(c), sizeof(int));
		}
	if (tv_buf_add(&r->in, part, (size_t)n))
		finish("a QMP command is too long");
}

/* The commands that are there as a whole; one ends with a newline. */
static void serve_all(struct relay *r)
{
	for (;;) {
		char *end = memchr(r->in.data, '\n', r->in.bytes);
		size_t n = end ? (size_t)(end - (char *)r->in.data) + 1 : 0;
		bool last = n == r->in.bytes;

		if (!n)
			return;
		*end = '\0';
		if (strspn((char *)r->in.data, " \t\r") + 1 < n)
			serve(r, (char *)r->in.data, last ? r->fd : -1);
		if (last)
			tv_close_fd(&r->fd);
		memmove(r->in.data, r->in.data + n, r->in.bytes - n);
		r->in.bytes -= n;
	}
}

/* ---- beginning ---- */

static int begin(struct relay *r, const char *uuid, pid_t pid)
{
	int status = LV_EXIT_FAILED;

	if (virEventRegisterDefaultImpl() < 0)
		return lv_say_virt("libvirt's event loop");
	r->c = lv_connect(&status);
	r->d = r->c ? lv_domain(r->c, uuid, &status) : NULL;
	if (!r->d)
		return status;
	r->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (r->pidfd < 0)
		return lv_say(LV_EXIT_GONE, "the VM (pid %d) has ended", (int)pid);
	status = lv_check_process(r->d, pid);
	if (status)
		return status;
	r->timer = virEventAddTimeout(-1, on_timer, r, NULL);
	if (r->timer < 0 ||
	    virEventAddHandle(OUR_FD, VIR_EVENT_HANDLE_READABLE, on_input, r, NULL) < 0 ||
	    virConnectRegisterCloseCallback(r->c, on_close, NULL, NULL) < 0 ||
	    virConnectSetKeepAlive(r->c, KEEPALIVE_S, KEEPALIVES) < 0 ||
	    virConnectDomainQemuMonitorEventRegister(r->c, r->d, NULL, on_event, NULL, NULL, 0) < 0)
		return lv_say_virt("events of libvirt's domain %s", virDomainGetName(r->d));
	return LV_EXIT_OK;
}

int lv_qmp_main(int argc, char **argv)
{
	struct timeval most = {SEND_S, 0};
	struct relay r = {.pidfd = -1, .fd = -1};
	pthread_t watcher, pinger;
	pid_t child;

	if (argc != 3)
		return lv_say(LV_EXIT_USAGE, "usage: " LV_PROGRAM " qmp UUID PID");
	child = fork();
	if (child)
		return child < 0 ? LV_EXIT_FAILED : LV_EXIT_OK;
	lv_say_to(OUR_FD);
	tv_buf_init(&r.in, MOST_COMMAND_BYTES);
	if (setsockopt(OUR_FD, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) ||
	    pthread_create(&watcher, NULL, watch_end, NULL))
		return lv_say(LV_EXIT_FAILED, "a process for QMP: %s", strerror(errno));
	if (begin(&r, argv[1], (pid_t)atoi(argv[2])))
		return LV_EXIT_FAILED; /* what the caller gets is the line */
	if (pthread_create(&pinger, NULL, ping, r.c))
		return lv_say(LV_EXIT_FAILED, "a thread for libvirt: %s", strerror(errno));
	put("0\n{\"QMP\":{\"version\":{},\"capabilities\":[]}}\n");
	for (;;) {
		r.readable = false;
		run_loop();
		if (r.readable) {
			take_in(&r);
			serve_all(&r);
		}
	}
}
