/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long did a VM not answer, as its network sees it? A process sends ARP probes (RFC 5227: no address of
 * its own is needed, and none is taken) from this host's bridge, every EVERY_MS, and notes when the VM
 * answers. Its answers are held until they are committed, as all that the VM sends: so the gap is what a
 * client behind this bridge would see.
 */
#include "daemon/drills.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVERY_MS 10

/* ---- the process ---- */
struct probe {
	unsigned char to[6], from[6];
	uint16_t type;
	uint16_t hw, proto;
	unsigned char hw_len, proto_len;
	uint16_t op;
	unsigned char sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
} __attribute__((packed));

struct watch {
	int sock, fd;
	struct probe probe;
	int64_t last_ns; /* when the last answer came, or the stretch began */
	struct pinger_gap gap;
};

static int open_socket(const char *bridge, struct watch *w)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP)};
	struct ifreq r = {0};

	tv_copy(r.ifr_name, IFNAMSIZ, bridge);
	a.sll_ifindex = (int)if_nametoindex(bridge);
	if (!a.sll_ifindex)
		return -ENODEV;
	w->sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ARP));
	if (w->sock < 0 || ioctl(w->sock, SIOCGIFHWADDR, &r) ||
	    bind(w->sock, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	memcpy(w->probe.from, r.ifr_hwaddr.sa_data, 6);
	return 0;
}

static void make_probe(struct probe *p, struct in_addr target)
{
	memset(p->to, 0xff, 6);
	p->type = htons(ETH_P_ARP);
	p->hw = htons(ARPHRD_ETHER);
	p->proto = htons(ETH_P_IP);
	p->hw_len = 6;
	p->proto_len = 4;
	p->op = htons(ARPOP_REQUEST);
	memcpy(p->sender_mac, p->from, 6);
	memcpy(p->target_ip, &target, 4);
}

static void note_gap(struct watch *w, int64_t now)
{
	double ms = (double)(now - w->last_ns) / (double)TV_NS_PER_MS;

	if (ms > w->gap.longest_ms)
		w->gap.longest_ms = ms;
}

static void read_answers(struct watch *w)
{
	struct probe p;
	int64_t now = tv_now_ns();

	while (recv(w->sock, &p, sizeof(p), 0) == (ssize_t)sizeof(p)) {
		if (p.op != htons(ARPOP_REPLY) || memcmp(p.sender_ip, w->probe.target_ip, 4) != 0)
			continue;
		w->gap.answered++;
		note_gap(w, now);
		w->last_ns = now;
	}
}

/* The end of a stretch was asked for, by a line. False: nobody listens any more. */
static bool report(struct watch *w)
{
	char byte;
	ssize_t n = read(w->fd, &byte, 1);

	if (n <= 0 || byte != '\n')
		return n > 0;
	note_gap(w, tv_now_ns());
	dprintf(w->fd, "{\"sent\":%u,\"answered\":%u,\"longest_ms\":%.3f}\n", w->gap.sent,
		w->gap.answered, w->gap.longest_ms);
	w->gap = (struct pinger_gap){0};
	return true;
}

int pinger_main(const char *bridge, const char *address, int fd)
{
	struct watch w = {.sock = -1, .fd = fd};
	struct in_addr target;
	int64_t due = 0, now;

	tv_log_init("pinger");
	if (inet_pton(AF_INET, address, &target) != 1 || open_socket(bridge, &w)) {
		tv_log(TV_WARN, "no probes to %s from %s: %s", address, bridge, strerror(errno));
		return 1;
	}
	make_probe(&w.probe, target);
	w.last_ns = tv_now_ns();
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
				      {.fd = w.sock, .events = POLLIN}};

		now = tv_now_ns();
		if (now >= due) {
			w.gap.sent += send(w.sock, &w.probe, sizeof(w.probe), 0) > 0;
			due = now + EVERY_MS * TV_NS_PER_MS;
		}
		(void)poll(p, 2, (int)((due - now) / TV_NS_PER_MS) + 1);
		read_answers(&w);
		if (p[0].revents && !report(&w))
			return 0;
	}
}

/* ---- the daemon's side ---- */
#define MAX_MARKS 4
struct pinger {
	struct ctl *c; /* NULL: its process is gone */
	unsigned n;
	struct {
		pinger_cb *cb;
		void *arg;
	} marks[MAX_MARKS]; /* not answered yet, oldest first */
};

static void answer(struct pinger *p, bool ok, const struct pinger_gap *gap)
{
	pinger_cb *cb = p->marks[0].cb;
	void *arg = p->marks[0].arg;

	p->n--;
	memmove(&p->marks[0], &p->marks[1], p->n * sizeof(p->marks[0]));
	if (cb)
		cb(arg, ok, gap);
}

static void on_message(struct ctl *c, json_t *msg, const int *fds, unsigned n, void *arg)
{
	struct pinger_gap gap = {
		.sent = (unsigned)json_integer_value(json_object_get(msg, "sent")),
		.answered = (unsigned)json_integer_value(json_object_get(msg, "answered")),
		.longest_ms = json_number_value(json_object_get(msg, "longest_ms"))};
	struct pinger *p = arg;

	ctl_deaf_message(c, msg, fds, n, NULL);
	if (p->n)
		answer(p, true, &gap);
}

static void on_closed(struct ctl *c, void *arg)
{
	const struct pinger_gap none = {0};
	struct pinger *p = arg;

	unsigned n = p->n;

	ctl_free(c);
	p->c = NULL;
	/* The last one's owner may stop the pinger. */
	while (n--)
		answer(p, false, &none);
}

int pinger_start(struct daemon *d, const char *bridge, const char *address, struct pinger **out,
		 struct tv_err *e)
{
	static const struct ctl_ops ops = {on_message, on_closed};
	struct in_addr target;
	struct pinger *p;
	int fds[2], rc;
	pid_t pid;

	if (inet_pton(AF_INET, address, &target) != 1)
		return tv_fail(e, -EINVAL, "'%.60s' is no IPv4 address to ping", address);
	if (!if_nametoindex(bridge))
		return tv_fail(e, -ENODEV, "there is no bridge '%.20s' to ping %s from", bridge,
			       address);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "no socket for the pinger");
	rc = spawn_pinger(bridge, address, fds[1], &pid, e);
	close(fds[1]);
	p = rc ? NULL : calloc(1, sizeof(*p));
	if (!p) {
		close(fds[0]);
		return rc ? rc : tv_fail(e, -ENOMEM, "no memory");
	}
	evutil_make_socket_nonblocking(fds[0]);
	rc = ctl_new(d->base, fds[0], &ops, p, &p->c);
	if (rc) {
		free(p);
		return tv_fail(e, rc, "no memory");
	}
	*out = p;
	return 0;
}

void pinger_mark(struct pinger *p, pinger_cb *cb, void *arg)
{
	const struct pinger_gap none = {0};

	if (!p->c || p->n == MAX_MARKS) {
		if (cb)
			cb(arg, false, &none);
		return;
	}
	p->marks[p->n].cb = cb;
	p->marks[p->n++].arg = arg;
	ctl_send(p->c, json_object());
}

void pinger_stop(struct pinger *p)
{
	if (!p)
		return;
	ctl_free(p->c);
	free(p);
}
