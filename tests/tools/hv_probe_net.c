/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding a VM's network output, against a real QEMU started here:
 *
 *   hv_probe_net NET QEMU ARGS...
 *
 * NET: "user", or the interface whose other end is the VM's tap. Holds the output, sees that
 * nothing escapes, relays it and sees that it arrives, lets go; then some epochs, and nothing may
 * be left behind. Exit status 0: everything was as hv.h says; else the first failure is on stderr.
 */
#include "tests/tools/lib_hv_bed.h"
#include "tests/tools/lib_hv_shadow.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EPOCHS 3

static uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return ntohl(v);
}

struct seen {
	unsigned frames, dhcp_requests, on_wire;
};

/* A DHCPREQUEST means that an offer came back, so that the discover before it got out. */
static bool is_dhcp_request(const uint8_t *f, size_t n)
{
	static const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63, 0x35, 0x01, 0x03};

	return memmem(f, n, cookie, sizeof(cookie)) != NULL;
}

static void relay_once(struct hv_net_port *port, uint8_t *buf, size_t room, size_t *have,
		       struct seen *seen)
{
	ssize_t r = recv(port->capture_fd, buf + *have, room - *have, 0);
	size_t head = port->vnet_hdr ? 8 : 4;

	MUST(r > 0 || errno == EAGAIN, "the capture socket ended");
	*have += r > 0 ? (size_t)r : 0;
	while (*have >= head && *have >= head + be32_at(buf)) {
		size_t n = head + be32_at(buf);

		MUST(be32_at(buf) >= 14 && be32_at(buf) < 70000, "frame of %u bytes", be32_at(buf));
		seen->frames++;
		seen->dhcp_requests += is_dhcp_request(buf + head, n - head);
		MUST(!tv_write_all(port->inject_fd, buf, n), "inject");
		*have -= n;
		memmove(buf, buf + n, *have);
	}
}

static int raw_socket(const char *ifname)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));

	a.sll_ifindex = (int)if_nametoindex(ifname);
	MUST(fd >= 0 && a.sll_ifindex && !bind(fd, (void *)&a, sizeof(a)), "%s: %s", ifname,
	     strerror(errno));
	return fd;
}

/* Frames that came from the guest on a tap: those that we see arriving on it. */
static unsigned count_wire(int fd)
{
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	uint8_t b[2048];
	unsigned n = 0;

	while (fd >= 0 && recvfrom(fd, b, sizeof(b), MSG_TRUNC, (void *)&from, &len) > 0) {
		n += from.sll_pkttype != PACKET_OUTGOING;
		len = sizeof(from);
	}
	return n;
}

static void check_net(struct hv_vm *vm, const char *net)
{
	int wire = strcmp(net, "user") ? raw_socket(net) : -1;
	static uint8_t buf[HV_MAX_NICS][256 << 10];
	struct hv_net_port ports[HV_MAX_NICS];
	size_t have[HV_MAX_NICS] = {0};
	struct seen seen = {0};
	struct tv_err e = {0};
	struct pollfd p[HV_MAX_NICS];
	unsigned n;
	int rc;

	/* Restarted with the filters in place, so that the guest asks for an address only then. */
	rc = hv_net_hold(vm, ports, &n, &e);
	MUST(!rc, "%s", e.text);
	MUST(n > 0, "no NIC was found");
	for (unsigned i = 0; i < n; i++) {
		printf("holding netdev %s, vnet_hdr %d\n", ports[i].netdev, ports[i].vnet_hdr);
		p[i] = (struct pollfd){.fd = ports[i].capture_fd, .events = POLLIN};
	}
	/* First hold back: nothing may be on the wire. */
	count_wire(wire);
	while (poll(p, n, 60000) == 0)
		MUST(0, "the guest sends nothing");
	poll(NULL, 0, 200);
	MUST(count_wire(wire) == 0, "a frame escaped");
	for (int i = 0; i < 600; i++) {
		if (poll(p, n, 100) > 0)
			for (unsigned k = 0; k < n; k++)
				relay_once(&ports[k], buf[k], sizeof(buf[k]), &have[k], &seen);
		seen.on_wire += count_wire(wire);
		if (wire < 0 ? seen.dhcp_requests : seen.on_wire >= 2 && seen.frames >= 2)
			break;
	}
	poll(NULL, 0, 100);
	seen.on_wire += count_wire(wire);
	printf("frames held and let go %u, DHCP requests %u, seen on the wire %u\n", seen.frames,
	       seen.dhcp_requests, seen.on_wire);
	if (wire >= 0)
		MUST(seen.on_wire == seen.frames, "not each frame came once");
	else
		MUST(seen.dhcp_requests, "no answer came back to the guest");
	rc = hv_net_unhold(vm, &e);
	MUST(!rc, "%s", e.text);
	for (unsigned i = 0; i < n; i++) {
		close(ports[i].capture_fd);
		close(ports[i].inject_fd);
	}
	tv_close_fd(&wire);
}

static void run_epochs(struct hv_vm *vm)
{
	struct shadow s = {0};
	uint64_t pages;
	size_t bytes;

	shadow_init(&s, vm);
	shadow_harvest(vm, &s, NULL, NULL);
	for (int i = 0; i < EPOCHS; i++)
		shadow_epoch(vm, &s, &pages, &bytes, i == EPOCHS - 1);
	shadow_dispose(&s);
}

int main(int argc, char **argv)
{
	static const char *const more[] = {"-display", "none", NULL};
	const struct hv_run_state *state;
	struct hv_opts opts = {0};
	struct hv_vm *vm;
	char *before;

	MUST(argc > 2, "usage: %s user|INTERFACE QEMU ARGS...", argv[0]);
	tv_log_init("hv_probe_net");
	bed_init("hv_probe_net");
	bed_start(argv + 2, argc - 2, more);
	before = bed_traces();
	vm = bed_attach(&opts);
	check_net(vm, argv[1]);
	run_epochs(vm);
	MUST(!hv_look(vm, &state) && state->protection == HV_GOES_ON, "it does not run");
	hv_detach(vm);
	bed_must_be_same(before, "detaching");
	free(before);
	printf("ok\n");
	return 0;
}
