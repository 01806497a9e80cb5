/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP connection to a VM by whichever of its sockets is free: a socket serves one client at a
 * time, and the first may be libvirt's, or another tool's. Only its greeting shows that a socket is
 * free, as others can be connected to as well.
 */
#include "hv/hv.h"
#include "hv/qemu/find.h"
#include "hv/qemu/qmp_int.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_MS \
	500 /* for the preferred one alone: a free one that another tool wants stays free */

struct any {
	char path[HV_MAX_QMP + 1][108];
	struct pollfd p[HV_MAX_QMP + 1];
	unsigned n;
};

/* 0, or why one that is new cannot be connected to. */
static int add(struct any *a, const char *path, pid_t pid, struct tv_err *e)
{
	int fd;

	for (unsigned i = 0; i < a->n; i++)
		if (!strcmp(a->path[i], path))
			return 0;
	tv_copy(a->path[a->n], sizeof(a->path[0]), path);
	fd = hv_qmp_connect(path, pid, e);
	a->p[a->n++] = (struct pollfd){.fd = fd < 0 ? -1 : fd, .events = POLLIN};
	return fd < 0 ? fd : 0;
}

/* The first that has something to read; -1: none has in that time. */
static int greeted(struct any *a, int timeout_ms)
{
	int64_t until = tv_now_ns() + timeout_ms * TV_NS_PER_MS, left;

	do {
		left = (until - tv_now_ns()) / TV_NS_PER_MS;
		if (poll(a->p, a->n, left > 0 ? (int)left : 0) > 0)
			break;
	} while (left > 0);
	for (unsigned i = 0; i < a->n; i++)
		if (a->p[i].fd >= 0 && a->p[i].revents)
			return (int)i;
	return -1;
}

static int all_held(const struct any *a, struct tv_err *e)
{
	char list[400] = "";
	size_t used = 0;

	for (unsigned i = 0; i < a->n && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 a->path[i]);
	return tv_fail(
		e, -EBUSY,
		"each QMP socket of the VM (%s) is held by another program, and serves one at "
		"a time: end one of them, or start QEMU with one more -qmp socket",
		list);
}

int hv_qmp_open_any(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out,
		    struct tv_err *e)
{
	struct tv_err ignored;
	struct any a = {0};
	int got, rc;

	*out = NULL;
	if (!strncmp(path, HV_LIBVIRT_PATH, strlen(HV_LIBVIRT_PATH)))
		return hv_qmp_open_libvirt(path, pid, timeout_ms, out, e);
	rc = add(&a, path, pid, e);
	got = a.p[0].fd >= 0 ? greeted(&a, FIRST_MS) : -1;
	if (got < 0) {
		char other[108];

		for (unsigned i = 0; i < HV_MAX_QMP; i++)
			if (hv_find_qmp("/proc", pid, i, other, sizeof(other)))
				(void)add(&a, other, pid, &ignored);
		if (a.n == 1 && rc)
			return rc;
		got = greeted(&a, timeout_ms);
	}
	for (unsigned i = 0; i < a.n; i++)
		if ((int)i != got)
			tv_close_fd(&a.p[i].fd);
	if (got < 0)
		return all_held(&a, e);
	rc = hv_qmp_open_fd(a.p[got].fd, a.path[got], timeout_ms, out, e);
	if (!rc && (rc = hv_qmp_notice_proxy(*out, pid, e))) {
		hv_qmp_close(*out);
		*out = NULL;
	}
	if (!rc && got)
		tv_log(TV_INFO, "the QMP socket %s is held by another program: using %s", path,
		       a.path[got]);
	return rc;
}
