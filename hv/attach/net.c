/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Holding a VM's network output with QEMU's own filters. On each NIC's backend sit two
 * filter-redirectors: "out" takes every frame that the guest sends and writes it to a socket, "in"
 * reads frames from another socket and puts them back behind it.
 *
 *   guest -> out -> capture_fd ... (netbuffer holds, then lets go) ... inject_fd -> in -> world
 *
 * QEMU walks the filters of queue=rx backwards, so "in" is added first and "out" removed first;
 * otherwise injected frames would be captured again for ever.
 *
 * QEMU writes to capture_fd's other end while holding its main lock: who does not read blocks the
 * VM and its monitor. If that end is closed, QEMU lets frames pass unheld. So a process must hold
 * and read it for as long as output is to be held (the daemon does).
 */
#include "hv/attach/attach_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BYTES (4 << 20)
#define DRAIN_MS 200

/* A socket pair whose writing end takes a burst without blocking its writer. */
static int make_pair(int pair[2])
{
	int bytes = SOCKET_BYTES;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	/* Best effort: without CAP_NET_ADMIN the system's limit stays. */
	for (int i = 0; i < 2; i++)
		if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
			setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

/* Makes a chardev of a new socket pair; *ours is the end that stays here. */
static int add_chardev(struct hv_qmp *q, const char *id, int *ours, struct tv_err *e)
{
	int pair[2], rc;

	rc = make_pair(pair);
	if (rc)
		return tv_fail(e, rc, "socketpair: %s", tv_strerror(rc));
	*ours = pair[0];
	rc = hv_qmp_cmd_fd(q, "getfd", json_pack("{s:s}", "fdname", id), pair[1], NULL, HV_CMD_MS,
			   e);
	close(pair[1]);
	if (rc)
		return rc;
	rc = hv_qmp_cmd(q, "chardev-add",
			json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id", id, "backend",
				  "type", "socket", "data", "addr", "type", "fd", "data", "str", id,
				  "server", 0),
			NULL, HV_CMD_MS, e);
	if (rc && hv_qmp_cmd(q, "closefd", json_pack("{s:s}", "fdname", id), NULL, HV_CMD_MS, NULL))
		return rc; /* it took the descriptor */
	return rc;
}

static int add_filter(struct hv_qmp *q, const char *id, const struct hv_net_port *port,
		      const char *way, const char *chardev, struct tv_err *e)
{
	json_t *args = json_pack("{s:s, s:s, s:s, s:s, s:s}", "qom-type", "filter-redirector", "id",
				 id, "netdev", port->netdev, "queue", "rx", way, chardev);

	if (port->vnet_hdr)
		json_object_set_new(args, "vnet_hdr_support", json_true());
	return hv_qmp_cmd(q, "object-add", args, NULL, HV_CMD_MS, e);
}

static int hold_port(struct hv_vm *vm, unsigned i, struct hv_net_port *port, struct tv_err *e)
{
	char in[32], out[32], cin[32], cout[32];
	int rc;

	snprintf(in, sizeof(in), HV_PREFIX "-in%u", i);
	snprintf(out, sizeof(out), HV_PREFIX "-out%u", i);
	snprintf(cin, sizeof(cin), HV_PREFIX "-cin%u", i);
	snprintf(cout, sizeof(cout), HV_PREFIX "-cout%u", i);
	if ((rc = add_chardev(vm->qmp, cin, &port->inject_fd, e)) ||
	    (rc = add_chardev(vm->qmp, cout, &port->capture_fd, e)) ||
	    (rc = add_filter(vm->qmp, in, port, "indev", cin, e)) ||
	    (rc = add_filter(vm->qmp, out, port, "outdev", cout, e)))
		return tv_fail_prefix(e, rc, "holding the output of netdev %s", port->netdev);
	vm->drain_fds[i] = fcntl(port->inject_fd, F_DUPFD_CLOEXEC, 0);
	return 0;
}

static int refuse_nic(const struct hv_nic *n, struct tv_err *e)
{
	if (n->vhost)
		return tv_fail(e, -ENOTSUP,
			       "netdev %s of NIC %s uses vhost, past QEMU's filters: start it with "
			       "vhost=off",
			       n->netdev, n->device);
	if (n->queues > 1)
		return tv_fail(
			e, -ENOTSUP,
			"netdev %s of NIC %s has %u queues, and filters hold only one: start "
			"it with queues=1",
			n->netdev, n->device, n->queues);
	return 0;
}

/* Which netdevs are to be held; NICs without a backend send nowhere. */
static int list_ports(struct hv_vm *vm, struct hv_net_port *ports, unsigned *n, struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_args("/proc", vm->id.pid);
	struct hv_nic nics[HV_MAX_NICS + 1];
	unsigned found = 0;
	int rc = hv_nics_read(vm->qmp, argv, nics, HV_MAX_NICS + 1, &found, e);

	*n = 0;
	for (unsigned i = 0; i < found && !rc; i++) {
		if (!nics[i].netdev[0])
			continue;
		if (*n == HV_MAX_NICS)
			return tv_fail(e, -ENOTSUP, "the VM has more than %d NICs", HV_MAX_NICS);
		ports[*n] = (struct hv_net_port){
			.capture_fd = -1,
			.inject_fd = -1,
			/* Says only how long a header is; zero for NICs that use none. */
			.vnet_hdr = !nics[i].hub && !strcmp(nics[i].type, "tap"),
		};
		memcpy(ports[*n].ifname, nics[i].ifname, sizeof(ports[0].ifname));
		memcpy(ports[(*n)++].netdev, nics[i].netdev, sizeof(ports[0].netdev));
		rc = refuse_nic(&nics[i], e);
	}
	return rc;
}

int hv_net_hold(struct hv_vm *vm, struct hv_net_port ports[HV_MAX_NICS], unsigned *n,
		struct tv_err *e)
{
	struct tv_err ignored;
	int rc;

	*n = 0;
	if (vm->n_ports)
		return tv_fail(e, -EALREADY, "the output of %s is held already", vm->id.name);
	rc = list_ports(vm, ports, n, e);
	/* Counted before it is tried: what of it was made is taken away again below. */
	while (vm->n_ports < *n && !rc) {
		unsigned i = vm->n_ports++;

		rc = hold_port(vm, i, &ports[i], e);
	}
	if (!rc)
		return 0;
	if (vm->n_ports && hv_net_unhold(vm, &ignored))
		ignored.text[0] = '\0'; /* what was not made cannot be removed */
	for (unsigned i = 0; i < *n; i++) {
		tv_close_fd(&ports[i].capture_fd);
		tv_close_fd(&ports[i].inject_fd);
	}
	*n = 0;
	return rc;
}

/* Waits until QEMU has read what was injected; it keeps reading, so this takes microseconds. */
static void drain(int fd)
{
	int64_t until = tv_now_ns() + DRAIN_MS * TV_NS_PER_MS;
	int left = 0;

	while (!ioctl(fd, SIOCOUTQ, &left) && left > 0 && tv_now_ns() < until)
		poll(NULL, 0, 1);
}

static int remove_filter(struct hv_vm *vm, const char *what, unsigned i, struct tv_err *e)
{
	char id[32];

	snprintf(id, sizeof(id), HV_PREFIX "-%s%u", what, i);
	return hv_qmp_cmd(vm->qmp, *what == 'c' ? "chardev-remove" : "object-del",
			  json_pack("{s:s}", "id", id), NULL, HV_CMD_MS, e);
}

int hv_net_unhold(struct hv_vm *vm, struct tv_err *e)
{
	static const char *const order[] = {"in", "cin", "cout"};
	int rc = 0, r;

	for (unsigned i = 0; i < vm->n_ports; i++) {
		r = remove_filter(vm, "out", i, rc ? NULL : e);
		rc = rc ? rc : r;
		drain(vm->drain_fds[i]);
		for (size_t k = 0; k < sizeof(order) / sizeof(*order); k++) {
			r = remove_filter(vm, order[k], i, rc ? NULL : e);
			rc = rc ? rc : r;
		}
		tv_close_fd(&vm->drain_fds[i]);
	}
	vm->n_ports = 0;
	return rc;
}
