/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's loop: two listening sockets, signals, and the end. */
#include "daemon/autoprotect.h"
#include "daemon/daemon.h"
#include "daemon/drills.h"
#include "daemon/ready.h"
#include "daemon/rehearsals.h"
#include "daemon/verify.h"
#include "daemon/schedules.h"
#include "daemon/health.h"
#include "daemon/last_boot.h"
#include "daemon/moves.h"
#include "daemon/passing.h"
#include "daemon/clones.h"
#include "daemon/cluster.h"
#include "daemon/retire.h"
#include "daemon/roster.h"
#include "daemon/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Commands are root's; a sink, which has rights of its own, may only register. */
static bool may_command(const struct ctl *c)
{
	pid_t pid;
	uid_t uid;

	return !ctl_peer(c, &pid, &uid) && uid == geteuid();
}

static void first_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct daemon *d = arg;

	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (session_op_of(msg) == SESSION_OP_REGISTER)
		register_replicator(d, c, msg);
	else if (session_op_of(msg) == SESSION_OP_LOOK)
		onlookers_admit(d, c, msg);
	else if (session_op_of(msg) == SESSION_OP_COMMAND)
		passed_admit(d, c, msg);
	else if (may_command(c))
		command_run(d, c, msg);
	else
		ctl_close_when_sent(c);
}

static void stranger_closed(struct ctl *c, void *arg)
{
	(void)arg;
	ctl_free(c);
}

static void on_ctl(evutil_socket_t fd, short what, void *arg)
{
	static const struct ctl_ops ops = {first_message, stranger_closed};
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct daemon *d = arg;
	struct ctl *c;

	(void)what;
	if (conn >= 0 && ctl_new(d->base, conn, &ops, d, &c))
		tv_log(TV_ERROR, "no memory for a control connection");
}

static void on_peer(evutil_socket_t fd, short what, void *arg)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)what;
	if (conn >= 0)
		door_accept(arg, conn);
}

/* What a backup session waited for has ended. */
static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	register_waiting(arg);
}

static void on_chld(evutil_socket_t sig, short what, void *arg)
{
	int status;
	pid_t pid;

	(void)sig;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!clones_exit(pid) && !web_exit(pid, status) && !hardware_exit(pid, status) &&
		    !keeper_exit(pid) && !roster_exit(pid, status))
			supervise_child_exit(arg, pid, status);
}

static void on_term(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)sig;
	(void)what;
	events_add(d, EVENTS_DAEMON_STOPPED, NULL, NULL,
		   "twinvmd stops; protected VMs and their replicators keep running");
	kept_health_save(d, true);
	event_base_loopbreak(d->base);
}

static void on_hup(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)sig;
	(void)what;
	if (!reload_read(d))
		return;
	members_conf(&d->conf);
	cluster_conf(d);
	roster_conf(d);
	onlookers_conf(d);
	folders_give(&d->conf);
	web_conf();
}

static int listen_ctl(struct daemon *d, struct tv_err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char lock[128], folder[108];
	char *slash;
	int rc;

	tv_copy(folder, sizeof(folder), d->conf.socket);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = 0;
		rc = tv_mkdirs(folder);
		if (rc)
			return tv_fail(e, rc, "%s: %s", folder, tv_strerror(rc));
	}
	/* The lock, not the socket, shows whether another daemon lives: a socket outlives its
	 * owner. */
	snprintf(lock, sizeof(lock), "%s.lock", d->conf.socket);
	d->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX | LOCK_NB))
		return tv_fail(e, -errno,
			       errno == EWOULDBLOCK ? "another twinvmd serves %s"
						    : "lock for %s failed",
			       d->conf.socket);
	unlink(d->conf.socket);
	memcpy(a.sun_path, d->conf.socket, sizeof(a.sun_path));
	d->socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->socket_fd < 0)
		return tv_fail(e, -errno, "socket: %s", strerror(errno));
	umask(0077);
	if (bind(d->socket_fd, (struct sockaddr *)&a, sizeof(a)) || listen(d->socket_fd, 64))
		return tv_fail(e, -errno, "%s: %s", d->conf.socket, strerror(errno));
	return 0;
}

static int listen_peers(struct daemon *d, struct tv_err *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST,
				 .ai_socktype = SOCK_STREAM},
			*ai;
	char port[8], at[REPL_ENDPOINT_ROOM];
	int one = 1, r;

	snprintf(port, sizeof(port), "%u", d->conf.listen_port);
	r = getaddrinfo(d->conf.listen_host, port, &hints, &ai);
	if (r)
		return tv_fail(e, -EINVAL, "listen = %s: %s", d->conf.listen_host, gai_strerror(r));
	d->listen_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(d->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = d->listen_fd < 0 || bind(d->listen_fd, ai->ai_addr, ai->ai_addrlen) ||
	    listen(d->listen_fd, 64);
	freeaddrinfo(ai);
	return r ? tv_fail(e, -errno, "listening on %s: %s",
			   repl_endpoint(at, d->conf.listen_host, d->conf.listen_port),
			   strerror(errno))
		 : 0;
}

static int set_up(struct daemon *d, const char *config_path, struct tv_err *e)
{
	int rc = reload_first(d, config_path, e);

	if (!rc)
		rc = folders_make(&d->conf, e);
	if (!rc)
		rc = listen_ctl(d, e);
	return rc ? rc : listen_peers(d, e);
}

static void watch(struct daemon *d)
{
	d->accept_ctl = event_new(d->base, d->socket_fd, EV_READ | EV_PERSIST, on_ctl, d);
	d->accept_peer = event_new(d->base, d->listen_fd, EV_READ | EV_PERSIST, on_peer, d);
	d->admit = event_new(d->base, -1, 0, on_admit, d);
	d->chld = evsignal_new(d->base, SIGCHLD, on_chld, d);
	d->term = evsignal_new(d->base, SIGTERM, on_term, d);
	d->intr = evsignal_new(d->base, SIGINT, on_term, d);
	d->hup = evsignal_new(d->base, SIGHUP, on_hup, d);
	event_add(d->accept_ctl, NULL);
	event_add(d->accept_peer, NULL);
	event_add(d->chld, NULL);
	event_add(d->term, NULL);
	event_add(d->intr, NULL);
	event_add(d->hup, NULL);
}

int daemon_main(const char *config_path)
{
	static struct daemon daemon_state; /* outlives every callback */
	struct daemon *d = &daemon_state;
	struct tv_err e = {0};
	char tag[80], at[REPL_ENDPOINT_ROOM];

	signal(SIGPIPE, SIG_IGN);
	clones_begin(); /* before this process gives up the right that the maker keeps */
	keeper_start();
	TAILQ_INIT(&d->vms);
	TAILQ_INIT(&d->kept);
	TAILQ_INIT(&d->proxies);
	TAILQ_INIT(&d->waiting);
	TAILQ_INIT(&d->looking);
	TAILQ_INIT(&d->asked);
	TAILQ_INIT(&d->elsewhere);
	TAILQ_INIT(&d->may_start);
	TAILQ_INIT(&d->callers);
	if (set_up(d, config_path, &e)) {
		fprintf(stderr, "twinvmd: %s\n", e.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s twinvmd", d->conf.host);
	tv_log_init(tag);
	d->base = event_base_new();
	events_start(d);
	keeper_attach(d);
	d->began_ms = cluster_now_ms();
	watch(d);
	/* Not the end: the VMs that are known still need this daemon. */
	if (config_check_tls(&d->conf, &e))
		tv_log(TV_ERROR, "%s; until then no VM can be protected, here or by this host",
		       e.text);
	folders_give(&d->conf);
	if (members_start(&d->conf))
		tv_log(TV_WARN, "no thread to announce this host: other hosts do not find it");
	registry_load(d);
	verify_start(d);
	kept_load(d);
	proxies_load(d);
	elsewhere_load(d);
	maintenance_load(d, NULL);
	kept_health_start(d);
	last_boot_start(d, NULL);
	clones_load(d);
	supervise_loaded(d);
	watchdog_start(d);
	hung_start(d);
	vitals_start(d);
	ready_start(d);
	inner_start(command_run);
	drills_start(d);
	schedules_start(d);
	roster_start(d);
	autoprotect_start(d);
	cluster_start(d);
	notify_start(d);
	web_start(d);
	hardware_start(d);
	moves_start(d);
	retire_start(d, health_taken);
	events_add(d, EVENTS_DAEMON_STARTED, NULL, json_pack("{si}", "pid", (int)getpid()),
		   "twinvmd is ready: %s, peers on %s, commands on %s", d->conf.host,
		   repl_endpoint(at, d->conf.listen_host, d->conf.listen_port), d->conf.socket);
	event_base_dispatch(d->base);
	notify_stop();
	watchdog_stop(d);
	unlink(d->conf.socket);
	rehearsals_stop(d);
	events_stop(d);
	return 0;
}
