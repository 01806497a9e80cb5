/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two processes of one title. One has rights: it makes the trace instance, opens what must be opened as
 * root, and at the end removes the instance; in between it only waits. Its child gives up all rights and
 * reads. Both end when the daemon does. The daemon kills the one with rights if need be: its child goes
 * with it, and what is left of the instance is removed by the next one's start.
 */
#include "hardware/hardware.h"
#include "hardware/counters.h"
#include "hardware/gather.h"
#include "hardware/instance.h"
#include "hardware/missed.h"
#include "hardware/pipes.h"
#include "replicator/session/session.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define MAX_FILES (2 * HW_MAX_CPUS + 64)
#define LOOK_MS 1000	  /* at what waits, and for the daemon to see that this lives */
#define COUNTERS_EVERY 30 /* looks */
#define STATS_BYTES 4096

struct watcher { /* one a process */
	struct hw_instance x;
	struct hw_pipes *pipes;
	struct hw_gather gather;
	struct hw_missed missed;
	uint64_t lost; /* events, as of the last look at the counters */
	struct event_base *base;
	struct ctl *c;
	struct event *look, *soon;
	json_t *counters; /* as they were sent last */
	unsigned looks;
};

/* ---- what is sent ---- */
static void send_faults(struct watcher *w)
{
	int64_t now = tv_now_ns();

	if (hw_gather_due(&w->gather, now))
		ctl_send(w->c, hw_gather_take(&w->gather, now));
}

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_faults(arg);
}

/* The rest of the page first: what follows in it may be the same. */
static void on_fault(void *arg, const struct ras_fault *f, int64_t at_ns)
{
	struct watcher *w = arg;

	hw_missed_event(&w->missed, f);
	hw_gather_add(&w->gather, f, at_ns);
	event_active(w->soon, 0, 0);
}

static uint64_t overrun(const struct hw_instance *x)
{
	char text[STATS_BYTES];
	uint64_t sum = 0;
	ssize_t r;

	for (unsigned cpu = 0; cpu < x->cpus; cpu++) {
		if (x->stats[cpu] < 0 || (r = pread(x->stats[cpu], text, sizeof(text) - 1, 0)) <= 0)
			continue;
		text[r] = '\0';
		sum += hw_number_after(text, "overrun") + hw_number_after(text, "dropped events");
	}
	return sum;
}

static json_t *counters(const struct watcher *w)
{
	const struct ras_counts *c = ras_reader_counts(w->x.reader);
	json_t *o = hw_counters("/proc/meminfo", HW_EDAC_DIR, HW_PCI_DIR);
	uint64_t records = 0;

	for (int s = 0; s < RAS_SRC_COUNT; s++)
		records += c->records[s];
	json_object_set_new(o, "overrun", json_integer((json_int_t)overrun(&w->x)));
	json_object_set_new(o, "lost", json_integer((json_int_t)c->lost));
	json_object_set_new(o, "broken_pages", json_integer((json_int_t)c->broken_pages));
	json_object_set_new(
		o, "malformed",
		json_integer((json_int_t)(c->malformed + c->strangers +
					  (w->pipes ? hw_pipes_empty_records(w->pipes) : 0))));
	json_object_set_new(o, "records", json_integer((json_int_t)records));
	return o;
}

static void on_missed(void *arg, const struct ras_fault *f)
{
	struct watcher *w = arg;

	hw_gather_add(&w->gather, f, tv_now_ns());
}

/* Where events tell of everything, the counters only confirm it. */
static void look_at_missed(struct watcher *w, const json_t *now)
{
	uint64_t lost = (uint64_t)(json_integer_value(json_object_get(now, "overrun")) +
				   json_integer_value(json_object_get(now, "lost")) +
				   json_integer_value(json_object_get(now, "broken_pages")));
	unsigned complete = 0;

	for (int s = 0; lost == w->lost && s < RAS_SRC_COUNT; s++)
		complete |= (unsigned)w->x.source[s].there << s;
	w->lost = lost;
	hw_missed_look(&w->missed, now, complete, on_missed, w);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct watcher *w = arg;
	json_t *now;

	(void)fd;
	(void)what;
	send_faults(w);
	if (w->looks++ % COUNTERS_EVERY == 0) {
		now = counters(w);
		look_at_missed(w, now);
		if (!json_equal(now, w->counters))
			ctl_send(w->c, json_incref(now));
		json_decref(w->counters);
		w->counters = now;
	}
	ctl_send(w->c, json_pack("{ss}", "op", "lives"));
}

static json_t *sources(const struct hw_instance *x, bool cec, bool mce)
{
	static const char *const names[][2] = {
#define ROW(name, event, what) {event, what},
		RAS_SOURCES(ROW)
#undef ROW
	};
	json_t *list = json_array();

	for (int s = 0; s < RAS_SRC_COUNT; s++)
		json_array_append_new(list, json_pack("{ss ss sb ss}", "name", names[s][0], "what",
						      names[s][1], "there", x->source[s].there,
						      "why", x->source[s].why));
	return json_pack("{ss so ss sb sb sb}", "op", "sources", "sources", list, "trace", x->why,
			 "cec", cec, "mce", mce, "intel", hw_is_intel("/proc/cpuinfo"));
}

/* ---- its life ---- */
static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	(void)msg;
	ctl_deaf_message(c, msg, fds, n, arg);
}

static void on_closed(struct ctl *c, void *arg)
{
	struct watcher *w = arg;

	(void)c;
	event_base_loopbreak(w->base);
}

static int start(struct watcher *w, int fd)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	const struct timeval every = tv_timeval(LOOK_MS * TV_NS_PER_MS);

	w->base = event_base_new();
	if (!w->base || ctl_new(w->base, fd, &ops, w, &w->c))
		return -ENOMEM;
	w->soon = event_new(w->base, -1, 0, on_soon, w);
	w->look = event_new(w->base, -1, EV_PERSIST, on_look, w);
	if (!w->soon || !w->look || event_add(w->look, &every))
		return -ENOMEM;
	return 0;
}

/* The child: without rights from here on. */
static int watch(struct watcher *w, int fd, pid_t parent)
{
	const bool cec = !access(HW_DEBUG_RAS_DIR "/cec", F_OK),
		   mce = !access(HW_MACHINECHECK_DIR, F_OK);
	int rc = sandbox_drop(NOBODY, NOBODY, 0);
	struct ras_cpu cpu;

	if (rc) {
		tv_log(TV_ERROR, "what watches the hardware cannot give up its rights: %s",
		       tv_strerror(rc));
		return 1;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 1;
	if (start(w, fd)) {
		tv_log(TV_ERROR, "no memory to watch the hardware");
		return 1;
	}
	ctl_send(w->c, sources(&w->x, cec, mce));
	cpu = hw_cpu("/proc/cpuinfo");
	w->pipes = hw_pipes_new(w->base, w->x.reader, w->x.raw, w->x.cpus, &cpu, on_fault, w);
	on_look(-1, 0, w);
	event_base_dispatch(w->base);
	return 0;
}

static pid_t child;

static void on_term(int sig)
{
	kill(child, sig);
}

/* The parent: until the child has ended; then nobody has the instance open. */
static int await(struct watcher *w)
{
	const struct sigaction act = {.sa_handler = on_term};
	sigset_t term;
	int status;

	hw_instance_close(&w->x);
	sigaction(SIGTERM, &act, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	hw_instance_remove(&w->x);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int hardware_main(const char *job_text, int fd)
{
	static struct watcher w; /* outlives every callback */
	const struct rlimit files = {MAX_FILES, MAX_FILES};
	struct tv_err e = {0};
	sigset_t term, before;
	struct job j;
	char tag[80];
	pid_t self = getpid();

	signal(SIGPIPE, SIG_IGN);
	if (job_from_text(job_text, &j, &e)) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s hardware", j.conf.host);
	tv_log_init(tag);
	setrlimit(RLIMIT_NOFILE, &files);
	hw_instance_open(&w.x);
	if (!w.x.reader)
		return 1;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		_exit(watch(&w, fd, self));
	}
	close(fd);
	if (child > 0)
		return await(&w);
	hw_instance_close(&w.x);
	hw_instance_remove(&w.x);
	return 1;
}
