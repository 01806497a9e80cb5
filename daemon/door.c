/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: connections of hosts that are not known yet
 *
 * A connection goes through two states before its process registers:
 *
 *   silent     nothing has arrived. It costs a descriptor here, and no process. It ends after
 *              DOOR_SILENT_NS, or when its first bytes are not the head of a TLS handshake.
 *   handshake  it has a process, the sink, which does TLS and everything after it. The sink gives a
 *              handshake DOOR_HANDSHAKE_MS, and closes its end of a pipe (the latch) once the
 *              certificate is a peer's. Then it may take its time for the Hello.
 *
 * TLS is not done here: openssl would parse bytes of anybody in the process that all VMs of this
 * host need. Nor is it done in one process for all connections: an established TLS session cannot
 * be handed to the sink that is to use it. So the handshake is where the session will be, and what
 * is cheap is to get there: no process exists for a connection that sends nothing.
 *
 * Slots are counted by source address. Each peer's address (of the configuration, of the arbiter's
 * members, of the VMs' other hosts) has slots of its own; all other addresses share a few. When
 * there is no free slot, the oldest connection in that state is ended: a peer sends its first
 * bytes within a round trip and ends its handshake within milliseconds, so the oldest is the one
 * that is least likely a peer. Only an authenticated connection is never ended. So connections of
 * other addresses never cost a peer its slot, and those that come from a peer's own address (a local
 * user there) would have to fill all slots anew within every few milliseconds.
 *
 * Limits: descriptors DOOR_SILENT_OTHERS + peers * DOOR_SILENT_EACH; processes DOOR_CHILDREN_OTHERS
 * + peers * DOOR_CHILDREN_PEER. The log gets at most one line a second about all of them.
 */
#include "daemon/daemon.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOOR_SILENT_NS (3 * TV_NS_PER_S)
#define DOOR_SILENT_EACH 16	/* of one address */
#define DOOR_SILENT_OTHERS 64	/* of all that are no peer's together */
#define DOOR_CHILDREN_EACH 2	/* of one address that is no peer's */
#define DOOR_CHILDREN_OTHERS 8	/* of all that are no peer's together */
#define DOOR_CHILDREN_PEER 32	/* of one peer's address: VMs that it protects begin at once */
#define DOOR_LOG_NS TV_NS_PER_S /* one line in this time */
#define TLS_HEAD_BYTES 5
#define TLS_HANDSHAKE 22

struct caller {
	TAILQ_ENTRY(caller) link; /* in d->callers, the oldest first */
	struct daemon *d;
	char address[64];
	bool peer;	  /* the address is a peer's */
	int fd;		  /* silent: the connection; else -1 */
	int latch;	  /* handshake: end of file when the sink closes its end; else -1 */
	struct event *ev; /* of fd, then of latch */
	pid_t pid;	  /* 0: silent */
	bool authentic;	  /* the certificate is a peer's, or the process has ended */
	bool ended;	  /* killed: its exit has not been seen yet */
};

/* ---- addresses ---- */

/* As numbers, without scope; an IPv4 address in IPv6 is IPv4. -EINVAL: a name. */
static int canonical(const char *text, uint8_t out[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	char plain[64];

	if (!tv_copy(plain, sizeof(plain), text))
		return -EINVAL;
	plain[strcspn(plain, "%")] = 0;
	memcpy(out, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, plain, out + sizeof(mapped)) == 1)
		return 0;
	return inet_pton(AF_INET6, plain, out) == 1 ? 0 : -EINVAL;
}

static bool is_same(const char *a, const char *b)
{
	uint8_t x[16], y[16];

	return !canonical(a, x) && !canonical(b, y) && !memcmp(x, y, sizeof(x));
}

static bool is_members(const struct config *c, const char *address)
{
	struct fo_host seen[FO_MAX_HOSTS];
	unsigned n = members_seen(seen);
	struct tv_err why;
	char host[128];
	uint16_t port;

	for (unsigned i = 0; i < n; i++)
		if (!config_admit(seen[i].name, c, &why) &&
		    !config_address(seen[i].address, host, sizeof(host), &port) &&
		    is_same(host, address))
			return true;
	return false;
}

static bool is_peers(struct daemon *d, const char *address)
{
	struct vm *vm;

	for (unsigned i = 0; i < d->conf.peer_count; i++)
		if (is_same(d->conf.peers[i].host, address))
			return true;
	TAILQ_FOREACH(vm, &d->vms, link)
		if (is_same(vm->saved.peer.address, address) ||
		    is_same(vm->saved.last.address, address))
			return true;
	return is_members(&d->conf, address);
}

static void address_of(int fd, char *out, size_t room)
{
	struct sockaddr_storage ss = {0};
	const struct sockaddr_in6 *a6 = (const void *)&ss;
	socklen_t n = sizeof(ss);
	char text[NI_MAXHOST] = "?";

	if (getpeername(fd, (struct sockaddr *)&ss, &n))
		ss.ss_family = AF_UNSPEC;
	if (ss.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a6->sin6_addr))
		inet_ntop(AF_INET, a6->sin6_addr.s6_addr + 12, text, sizeof(text));
	else if (ss.ss_family == AF_INET || ss.ss_family == AF_INET6)
		/* With its scope (%eth0): a link-local address is none without it. */
		(void)!getnameinfo((struct sockaddr *)&ss, n, text, sizeof(text), NULL, 0,
				   NI_NUMERICHOST);
	tv_copy(out, room, text);
}

/* ---- slots ---- */

static void forget(struct caller *c)
{
	TAILQ_REMOVE(&c->d->callers, c, link);
	if (c->ev)
		event_free(c->ev);
	tv_close_fd(&c->fd);
	tv_close_fd(&c->latch);
	free(c);
}

/* A flood must not fill the log. */
static void note(struct daemon *d, const char *address, const char *why)
{
	int64_t now = tv_now_ns();

	d->door_unlogged++;
	if (now - d->door_logged_ns < DOOR_LOG_NS)
		return;
	tv_log(TV_WARN, "connection from %s ended: %s%s", address, why,
	       d->door_unlogged > 1 ? " (and others since the last such line)" : "");
	d->door_logged_ns = now;
	d->door_unlogged = 0;
}

static void give_way(struct caller *c, const char *why)
{
	note(c->d, c->address, why);
	if (!c->pid) {
		forget(c);
		return;
	}
	kill(c->pid, SIGKILL);
	c->ended = true; /* continued in door_child_exit() */
}

/* Two callers that use slots of one kind: of an address, or (shared) of all that are no peer's. */
static bool is_alike(const struct caller *a, const struct caller *b, bool shared)
{
	return !a->pid == !b->pid && a->peer == b->peer &&
	       (shared || !strcmp(a->address, b->address));
}

/* Its first bytes are here, and have not been looked at yet: it is silent no more. */
static bool has_head(const struct caller *c)
{
	uint8_t head[TLS_HEAD_BYTES];

	return !c->pid &&
	       recv(c->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT) == (ssize_t)sizeof(head);
}

/* Makes room for c among at most `most` callers, itself included. False: there is none. */
static bool make_room(struct caller *c, bool children, bool shared, unsigned most)
{
	struct caller *o, *oldest = NULL, like = *c;
	unsigned n = 1;

	like.pid = children;
	TAILQ_FOREACH(o, &c->d->callers, link) {
		if (o == c || o->ended || !is_alike(o, &like, shared))
			continue;
		n++;
		if (!oldest && !o->authentic && !has_head(o))
			oldest = o;
	}
	if (n <= most)
		return true;
	if (!oldest)
		return false;
	give_way(oldest, children ? "its handshake was not complete when others came"
				  : "it was silent when others came");
	return true;
}

static bool has_silent_slot(struct caller *c)
{
	return make_room(c, false, false, DOOR_SILENT_EACH) &&
	       (c->peer || make_room(c, false, true, DOOR_SILENT_OTHERS));
}

static bool has_child_slot(struct caller *c)
{
	if (c->peer)
		return make_room(c, true, false, DOOR_CHILDREN_PEER);
	return make_room(c, true, false, DOOR_CHILDREN_EACH) &&
	       make_room(c, true, true, DOOR_CHILDREN_OTHERS);
}

/* ---- what happens to one, in order ---- */

static void on_latch(evutil_socket_t fd, short what, void *arg)
{
	struct caller *c = arg;

	(void)fd;
	(void)what;
	c->authentic = true;
	event_free(c->ev);
	c->ev = NULL;
	tv_close_fd(&c->latch);
}

static int start_sink(struct caller *c, struct tv_err *e)
{
	int latch[2], one = 1, rc;

	if (pipe2(latch, O_CLOEXEC))
		return tv_fail(e, -errno, "pipe: %s", strerror(errno));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	rc = spawn_sink(c->d, c->fd, latch[1], &c->pid, e);
	close(latch[1]);
	c->latch = latch[0];
	if (rc)
		return rc;
	tv_close_fd(&c->fd);
	event_free(c->ev);
	c->ev = event_new(c->d->base, c->latch, EV_READ, on_latch, c);
	event_add(c->ev, NULL);
	return 0;
}

static void on_first_bytes(evutil_socket_t fd, short what, void *arg)
{
	struct caller *c = arg;
	uint8_t head[TLS_HEAD_BYTES];
	ssize_t n = recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	struct tv_err e = {0};

	if (what & EV_TIMEOUT) {
		note(c->d, c->address, "it was silent");
		forget(c);
	} else if (n != (ssize_t)sizeof(head) || head[0] != TLS_HANDSHAKE || head[1] != 3) {
		note(c->d, c->address, n > 0 ? "it does not use TLS" : "it sent nothing");
		forget(c);
	} else if (!has_child_slot(c)) {
		note(c->d, c->address, "too many of its sessions have not registered");
		forget(c);
	} else if (start_sink(c, &e)) {
		tv_log(TV_ERROR, "connection from %s: %s", c->address, e.text);
		forget(c);
	}
}

void door_accept(struct daemon *d, int fd)
{
	struct timeval tv = tv_timeval(DOOR_SILENT_NS);
	struct caller *c = calloc(1, sizeof(*c));
	int head = TLS_HEAD_BYTES;

	if (!c) {
		close(fd);
		return;
	}
	*c = (struct caller){.d = d, .fd = fd, .latch = -1};
	address_of(fd, c->address, sizeof(c->address));
	c->peer = is_peers(d, c->address);
	TAILQ_INSERT_TAIL(&d->callers, c, link);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &head, sizeof(head));
	c->ev = event_new(d->base, fd, EV_READ, on_first_bytes, c);
	if (!c->ev || event_add(c->ev, &tv) || !has_silent_slot(c))
		forget(c);
}

static struct caller *by_pid(struct daemon *d, pid_t pid)
{
	struct caller *c;

	TAILQ_FOREACH(c, &d->callers, link)
		if (pid && c->pid == pid)
			return c;
	return NULL;
}

void door_registered(struct daemon *d, pid_t pid, char *address, size_t room)
{
	struct caller *c = by_pid(d, pid);

	if (!c || c->ended)
		return;
	tv_copy(address, room, c->address);
	forget(c);
}

void door_child_exit(struct daemon *d, pid_t pid)
{
	struct caller *c = by_pid(d, pid);

	if (c)
		forget(c);
}
