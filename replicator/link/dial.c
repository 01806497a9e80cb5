/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dialling: look the name up (libevent's evdns, which reads /etc/hosts and /etc/resolv.conf), then
 * try each address in turn. Numeric addresses need no evdns at all.
 *
 * Everything that ends something happens in the zero-time timer `turn`, so that evdns is never
 * freed from inside its own callback, and the user's callback never comes from inside dial_start.
 * There is no time-out here: the connection's handshake timer covers the dial too.
 */
#include "replicator/link/dial.h"
#include "replicator/link/link.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/dns.h>
#include <event2/util.h>

#define MAX_ADDRESSES 8

struct address {
	struct sockaddr_storage sa;
	socklen_t bytes;
};

struct dial {
	struct event_base *base;
	struct event *turn;	/* zero timer: the next step */
	struct event *writable; /* the connect under way */
	struct evdns_base *dns; /* during a look-up only */
	struct evdns_getaddrinfo_request *request;
	char host[256];
	uint16_t port;
	struct address addresses[MAX_ADDRESSES];
	unsigned count, next;
	int fd, rc;
	int lookup_error; /* EVUTIL_EAI_* */
	bool orphan;	  /* dial_free came; only evdns keeps this alive */
	dial_done *done;
	void *arg;
};

static void turn_soon(struct dial *d)
{
	struct timeval now = {0, 0};

	event_add(d->turn, &now);
}

static void close_attempt(struct dial *d)
{
	if (d->writable)
		event_free(d->writable);
	d->writable = NULL;
	tv_close_fd(&d->fd);
}

static void destroy(struct dial *d)
{
	close_attempt(d);
	if (d->dns)
		evdns_base_free(d->dns, 0);
	if (d->turn)
		event_free(d->turn);
	free(d);
}

static void take_addresses(struct dial *d, const struct addrinfo *ai)
{
	for (; ai && d->count < MAX_ADDRESSES; ai = ai->ai_next) {
		struct address *a = &d->addresses[d->count];

		if (ai->ai_addrlen > sizeof(a->sa))
			continue;
		memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
		a->bytes = ai->ai_addrlen;
		d->count++;
	}
}

/* ---- the look-up ---- */

static void looked_up(int error, struct evutil_addrinfo *ai, void *arg)
{
	struct dial *d = arg;

	d->request = NULL;
	d->lookup_error = error;
	if (!error)
		take_addresses(d, ai);
	if (ai)
		evutil_freeaddrinfo(ai);
	turn_soon(d);
}

static int start_lookup(struct dial *d, struct tv_err *e)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct evdns_getaddrinfo_request *request;
	char service[8];

	/*
	 * Not EVDNS_BASE_INITIALIZE_NAMESERVERS: with it a host without a usable resolv.conf gets
	 * no evdns at all, and then even the names in /etc/hosts would not work.
	 */
	d->dns = evdns_base_new(d->base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	if (!d->dns)
		return tv_fail(e, -ENOMEM, "cannot look up host '%s': no memory", d->host);
	evdns_base_resolv_conf_parse(d->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	snprintf(service, sizeof(service), "%u", d->port);
	d->lookup_error = EVUTIL_EAI_FAIL;
	request = evdns_getaddrinfo(d->dns, d->host, service, &hints, looked_up, d);
	/* NULL: looked_up has come already, or (memory) never will. */
	d->request = request;
	if (!request)
		turn_soon(d);
	return 0;
}

static bool numeric(struct dial *d)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *ai = NULL;
	char service[8];

	snprintf(service, sizeof(service), "%u", d->port);
	if (getaddrinfo(d->host, service, &hints, &ai))
		return false;
	take_addresses(d, ai);
	freeaddrinfo(ai);
	return d->count > 0;
}

/* ---- connecting ---- */

static void finish(struct dial *d, int fd, int rc, const char *why)
{
	d->done(fd, rc, why, d->arg);
}

static void give_up(struct dial *d)
{
	char why[512], at[REPL_ENDPOINT_ROOM];
	int rc = d->rc ? d->rc : -EHOSTUNREACH;

	if (!d->count)
		snprintf(why, sizeof(why), "cannot find the address of host '%s': %s", d->host,
			 evutil_gai_strerror(d->lookup_error));
	else if (rc == -ECONNREFUSED)
		snprintf(why, sizeof(why), "%s refused the connection: is twinvmd running there?",
			 repl_endpoint(at, d->host, d->port));
	else
		snprintf(why, sizeof(why), "cannot connect to %s: %s",
			 repl_endpoint(at, d->host, d->port), strerror(-rc));
	finish(d, -1, rc, why);
}

static void succeed(struct dial *d)
{
	int fd = d->fd;

	d->fd = -1;
	close_attempt(d);
	finish(d, fd, 0, NULL);
}

static void connected(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	socklen_t n = sizeof(int);
	int error = 0;

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n))
		error = errno;
	if (!error) {
		succeed(d);
		return;
	}
	d->rc = -error;
	close_attempt(d);
	turn_soon(d);
}

/* True when this address is being tried; false when it cannot be, with d->rc set. */
static bool try_address(struct dial *d, const struct address *a)
{
	d->fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0 ||
	    (connect(d->fd, (const struct sockaddr *)&a->sa, a->bytes) && errno != EINPROGRESS)) {
		d->rc = -errno;
		close_attempt(d);
		return false;
	}
	d->writable = event_new(d->base, d->fd, EV_WRITE, connected, d);
	if (!d->writable || event_add(d->writable, NULL)) {
		d->rc = -ENOMEM;
		close_attempt(d);
		return false;
	}
	return true;
}

static void take_turn(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;

	(void)fd, (void)what;
	if (d->dns)
		evdns_base_free(d->dns, 0);
	d->dns = NULL;
	if (d->orphan) {
		destroy(d);
		return;
	}
	while (d->next < d->count)
		if (try_address(d, &d->addresses[d->next++]))
			return;
	give_up(d);
}

int dial_start(struct event_base *base, const char *host, uint16_t port, dial_done *done, void *arg,
	       struct dial **out, struct tv_err *e)
{
	struct dial *d;
	int rc = 0;

	*out = NULL;
	if (!*host || strlen(host) >= sizeof(d->host))
		return tv_fail(e, -EINVAL, "'%.40s' is not a host name or address", host);
	d = calloc(1, sizeof(*d));
	if (!d)
		return tv_fail(e, -ENOMEM, "cannot connect to %s: no memory", host);
	*d = (struct dial){.base = base, .port = port, .fd = -1, .done = done, .arg = arg};
	strcpy(d->host, host);
	d->turn = evtimer_new(base, take_turn, d);
	if (!d->turn)
		rc = tv_fail(e, -ENOMEM, "cannot connect to %s: no memory", host);
	else if (numeric(d))
		turn_soon(d);
	else
		rc = start_lookup(d, e);
	if (rc)
		destroy(d);
	else
		*out = d;
	return rc;
}

bool dial_is_looking_up(const struct dial *d)
{
	return d && d->request;
}

void dial_free(struct dial *d)
{
	if (!d)
		return;
	if (!d->dns) {
		destroy(d);
		return;
	}
	/* evdns calls back even for a cancelled request, and only then may its base go. */
	d->orphan = true;
	if (d->request)
		evdns_getaddrinfo_cancel(d->request);
}
