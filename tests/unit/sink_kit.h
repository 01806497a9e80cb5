/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sink without a standby, and the daemon that it reports to. */
#ifndef SINK_KIT_H
#define SINK_KIT_H

#include "replicator/sink/sink_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static Twinvm__Hello good_hello(void)
{
	static char id[] = "0123456789abcdef0123456789abcdef", name[] = "vm1", arbiter[] = "none";
	Twinvm__Hello h = TWINVM__HELLO__INIT;

	h.vm_id = h.session = id;
	h.vm_name = name;
	h.arbiter = arbiter;
	h.heartbeat_ms = 100;
	h.generation = 1;
	return h;
}

struct bed {
	struct sink s;
	int fd; /* of the daemon: it listens */
	struct ctl *daemon;
	struct session_register reg;
	struct session_stats stats;
	struct session_end end;
	struct session_hardware hardware;
	unsigned n[SESSION_OP_COUNT];
	char path[64];
};

static void at_daemon(struct ctl *c, json_t *msg, const int *fds, unsigned nfds, void *arg)
{
	struct bed *b = arg;
	struct tv_err e = {0};
	enum session_op op = session_op_of(msg);
	int rc = 0;

	(void)c;
	(void)fds;
	assert_int_equal(nfds, 0);
	if (op == SESSION_OP_REGISTER)
		rc = session_body(op, msg, &b->reg, sizeof(b->reg), &e);
	else if (op == SESSION_OP_STATS)
		rc = session_body(op, msg, &b->stats, sizeof(b->stats), &e);
	else if (op == SESSION_OP_HARDWARE)
		rc = session_body(op, msg, &b->hardware, sizeof(b->hardware), &e);
	else if (op == SESSION_OP_DONE)
		rc = session_body(op, msg, &b->end, sizeof(b->end), &e);
	if (rc)
		fail_msg("%s", e.text);
	b->n[op]++;
}

static void at_daemon_closed(struct ctl *c, void *arg)
{
	(void)c;
	(void)arg;
}

static const struct ctl_ops daemon_ops = {at_daemon, at_daemon_closed};

static void no_order(struct report *r, json_t *msg, void *arg)
{
	(void)r;
	(void)msg;
	(void)arg;
}

/* A sink that has received its Hello and is connected to its daemon. */
static void bed_open(struct bed *b)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct report_ops ops = {sink_introduce, no_order, &b->s};
	Twinvm__Hello h = good_hello();
	int fd;

	memset(b, 0, sizeof(*b));
	snprintf(b->path, sizeof(b->path), "/tmp/twinvm-sink-test-%d", getpid());
	strcpy(a.sun_path, b->path);
	b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unlink(b->path);
	assert_int_equal(bind(b->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->fd, 1), 0);
	b->s.base = event_base_new();
	fo_times_init(&b->s.times, 100 * TV_NS_PER_MS);
	fo_backup_init(&b->s.b, &b->s.times, &sink_engine_ops, &b->s, 7, false);
	strcpy(b->s.job.vm_id, h.vm_id);
	strcpy(b->s.job.session, h.session);
	strcpy(b->s.job.vm_name, h.vm_name);
	strcpy(b->s.job.peer.name, "hostA");
	b->s.job.generation = 7;
	b->s.hello = true;
	assert_int_equal(report_new(b->s.base, b->path, &ops, &b->s.report), 0);
	event_base_loop(b->s.base, EVLOOP_ONCE);
	fd = accept4(b->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ctl_new(b->s.base, fd, &daemon_ops, b, &b->daemon), 0);
}

static void bed_run(struct bed *b, enum session_op op, unsigned n)
{
	while (b->n[op] < n)
		event_base_loop(b->s.base, EVLOOP_ONCE);
}

static void bed_close(struct bed *b)
{
	report_free(b->s.report);
	ctl_free(b->daemon);
	event_base_free(b->s.base);
	close(b->fd);
	unlink(b->path);
}

#endif
