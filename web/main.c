/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process: what needs rights first, then none, then the loop. */
#include "web/web.h"
#include "sandbox/sandbox.h"
#include "web/http.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534
#define NICE 10 /* replication goes first */
#define MAX_FILES 1024

static void on_daemon_gone(void *arg)
{
	struct web *w = arg;

	event_base_loopbreak(w->base);
}

static void on_snapshot(void *arg)
{
	struct web *w = arg;

	history_add(w->history, feed_snapshot(w->feed), (double)time(NULL));
	stream_snapshot(w->stream);
}

/* When memory is short: this process, before any VM. */
static void first_victim(void)
{
	TV_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "800", 3) != 3)
		tv_log(TV_DEBUG, "oom_score_adj cannot be set");
}

static int set_up(struct web *w, const char *job_text, struct tv_err *e)
{
	const struct rlimit files = {MAX_FILES, MAX_FILES};
	struct job j;
	int rc = job_from_text(job_text, &j, e);

	if (rc)
		return rc;
	w->conf = j.conf;
	rc = config_dashboard(&w->conf, &w->at, e);
	if (!rc)
		rc = auth_new(w->conf.dashboard_token, &w->auth, e);
	if (!rc)
		rc = http_bind(w, e);
	if (rc)
		return rc;
	first_victim();
	setpriority(PRIO_PROCESS, 0, NICE);
	setrlimit(RLIMIT_NOFILE, &files);
	rc = sandbox_drop(NOBODY, NOBODY, SANDBOX_SERVES);
	return rc ? tv_fail(e, rc, "the dashboard's process cannot give up its rights: %s",
			    tv_strerror(rc))
		  : 0;
}

int web_main(const char *job_text, int feed_fd)
{
	static const struct feed_ops ops = {.snapshot = on_snapshot, .closed = on_daemon_gone};
	static struct web web; /* outlives every callback */
	struct web *w = &web;
	struct tv_err e = {0};
	char tag[80];

	signal(SIGPIPE, SIG_IGN);
	if (set_up(w, job_text, &e)) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s dashboard", w->conf.host);
	tv_log_init(tag);
	/* A daemon that ended before this is found by the end of its socket. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w->base = event_base_new();
	if (!w->base || stream_new(w, &w->stream) || history_new(&w->history) ||
	    feed_new(w->base, feed_fd, &ops, w, &w->feed) || http_start(w)) {
		tv_log(TV_ERROR, "no memory for the dashboard");
		return 1;
	}
	tv_log(TV_INFO, "dashboard on %s://%s%s%s:%u", w->tls ? "https" : "http",
	       strchr(w->at.host, ':') ? "[" : "", w->at.host, strchr(w->at.host, ':') ? "]" : "",
	       w->at.port);
	event_base_dispatch(w->base);
	return 0;
}
