/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is connected: see visitors.h. */
#include "web/visitors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct visitor {
	bool used, stays;
	int fd;
	ino_t inode; /* the descriptor's number may be another connection's by now */
	char address[VISITOR_ADDRESS_BYTES];
	int64_t since_ns; /* of the request that is awaited */
};

struct visitors {
	struct event_base *base;
	struct event *sweep;
	struct visitor list[VISITORS_MAX];
	unsigned n;
};

struct arrival {
	struct visitors *v;
	struct bufferevent *bev;
};

static bool is_open(const struct visitor *x)
{
	struct stat st;

	return !fstat(x->fd, &st) && S_ISSOCK(st.st_mode) && st.st_ino == x->inode;
}

static void sweep(struct visitors *v)
{
	int64_t now = tv_now_ns();

	v->n = 0;
	for (unsigned i = 0; i < VISITORS_MAX; i++) {
		struct visitor *x = &v->list[i];

		if (!x->used)
			continue;
		x->used = is_open(x);
		if (x->used && !x->stays && now - x->since_ns > VISITOR_SLOW_NS)
			shutdown(x->fd, SHUT_RDWR);
		v->n += x->used;
	}
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sweep(arg);
}

static bool address_of(int fd, char *out)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	if (getpeername(fd, (struct sockaddr *)&a, &n))
		return false;
	if (a.ss_family == AF_INET)
		return inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, out,
				 VISITOR_ADDRESS_BYTES);
	return a.ss_family == AF_INET6 &&
	       inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, out,
			 VISITOR_ADDRESS_BYTES);
}

static unsigned count_address(const struct visitors *v, const char *address)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VISITORS_MAX; i++)
		n += v->list[i].used && !strcmp(v->list[i].address, address);
	return n;
}

/* False: there are too many. */
static bool admit(struct visitors *v, const struct visitor *x)
{
	if (v->n == VISITORS_MAX || count_address(v, x->address) >= VISITORS_OF_ADDRESS)
		sweep(v);
	if (count_address(v, x->address) >= VISITORS_OF_ADDRESS)
		return false;
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (!v->list[i].used) {
			v->list[i] = *x;
			v->n++;
			return true;
		}
	return false;
}

static void on_arrival(evutil_socket_t none, short what, void *arg)
{
	struct arrival *a = arg;
	struct visitor x = {.used = true, .fd = bufferevent_getfd(a->bev), .since_ns = tv_now_ns()};
	struct stat st;

	(void)none;
	(void)what;
	if (x.fd >= 0 && !fstat(x.fd, &st)) {
		x.inode = st.st_ino;
		if (!address_of(x.fd, x.address) || !admit(a->v, &x))
			shutdown(x.fd, SHUT_RDWR);
	}
	bufferevent_decref(a->bev);
	free(a);
}

int visitors_new(struct event_base *base, struct visitors **out)
{
	const struct timeval second = {1, 0};
	struct visitors *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->base = base;
	v->sweep = event_new(base, -1, EV_PERSIST, on_sweep, v);
	event_add(v->sweep, &second);
	*out = v;
	return 0;
}

void visitors_free(struct visitors *v)
{
	if (!v)
		return;
	event_free(v->sweep);
	free(v);
}

void visitors_come(struct visitors *v, struct bufferevent *bev)
{
	const struct timeval now = {0, 0};
	struct arrival *a = malloc(sizeof(*a));

	if (!a)
		return;
	*a = (struct arrival){v, bev};
	bufferevent_incref(bev);
	if (event_base_once(v->base, -1, EV_TIMEOUT, on_arrival, a, &now)) {
		bufferevent_decref(bev);
		free(a);
	}
}

static struct visitor *find(struct visitors *v, int fd)
{
	for (unsigned i = 0; i < VISITORS_MAX; i++)
		if (v->list[i].used && v->list[i].fd == fd && is_open(&v->list[i]))
			return &v->list[i];
	return NULL;
}

void visitors_asked(struct visitors *v, int fd)
{
	struct visitor *x = find(v, fd);

	if (!x)
		return;
	x->since_ns = tv_now_ns();
	x->stays = false;
}

void visitors_stays(struct visitors *v, int fd)
{
	struct visitor *x = find(v, fd);

	if (x)
		x->stays = true;
}

unsigned visitors_count(const struct visitors *v)
{
	return v->n;
}
