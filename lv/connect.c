/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection to libvirtd (or virtqemud), and what it says when something fails. */
#include "lv/lv_int.h"

#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>

#define URI "qemu:///system"

static int say_fd = -1;

void lv_say_to(int fd)
{
	say_fd = fd;
}

static void quiet(void *arg, virErrorPtr error)
{
	(void)arg;
	(void)error;
}

int lv_say(int status, const char *fmt, ...)
{
	char text[sizeof(((struct tv_err *)0)->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tv_mend_utf8(text);
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
	if (say_fd < 0)
		fprintf(stderr, "%s\n", text);
	else
		dprintf(say_fd, "%d %s\n", status, text);
	return status;
}

int lv_say_virt(const char *fmt, ...)
{
	virErrorPtr error = virGetLastError();
	int status = LV_EXIT_FAILED;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (error && error->code == VIR_ERR_NO_DOMAIN)
		status = LV_EXIT_GONE;
	if (error && (error->domain == VIR_FROM_RPC || error->code == VIR_ERR_NO_CONNECT))
		status = LV_EXIT_NO_DAEMON;
	return lv_say(status, "%s: %s", text, virGetLastErrorMessage());
}

virConnectPtr lv_connect(int *status)
{
	virConnectPtr c;

	virSetErrorFunc(NULL, quiet);
	c = virConnectOpen(URI);
	if (!c)
		*status =
			lv_say(LV_EXIT_NO_DAEMON,
			       "libvirt does not answer at " URI " (%s): is libvirtd or virtqemud "
			       "running?",
			       virGetLastErrorMessage());
	return c;
}

virDomainPtr lv_domain(virConnectPtr c, const char *uuid, int *status)
{
	virDomainPtr d = virDomainLookupByUUIDString(c, uuid);

	if (!d)
		*status = lv_say_virt("libvirt's domain %s", uuid);
	else if (virDomainGetID(d) == (unsigned)-1) {
		*status = lv_say(LV_EXIT_GONE, "libvirt's domain %s does not run", uuid);
		virDomainFree(d);
		d = NULL;
	}
	return d;
}

/* Whom libvirt has started is in a file that only root writes. */
int lv_check_process(virDomainPtr d, pid_t pid)
{
	TV_FREE char *text = NULL;
	const char *name = virDomainGetName(d);
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", name);
	rc = tv_read_file(path, 64, &text, NULL);
	if (rc)
		return lv_say(LV_EXIT_REFUSED,
			      "whether process %d is libvirt's domain %s cannot be checked: %s: %s",
			      (int)pid, name, path, tv_strerror(rc));
	if (strtol(text, NULL, 10) != pid)
		return lv_say(LV_EXIT_REFUSED,
			      "process %d names itself libvirt's domain %s, which is process %ld",
			      (int)pid, name, strtol(text, NULL, 10));
	return LV_EXIT_OK;
}
