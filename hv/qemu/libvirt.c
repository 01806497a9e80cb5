/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM whose only monitor libvirt has: its commands go through libvirt, by a process that speaks QMP
 * with us and libvirt's protocol with libvirtd (lv/).
 */
#include "hv/hv.h"
#include "hv/qemu/cmdline.h"
#include "hv/qemu/libvirt.h"
#include "hv/qemu/qmp_int.h"
#include "lv/lv.h"

#include <stdio.h>
#include <string.h>

#define DESCRIBE_MS 5000
#define CONNECT_MS 5000 /* a program is started, and libvirtd may be busy with others */

int hv_libvirt_remedy(const char *name, int rc, struct tv_err *e)
{
	struct tv_err first = e ? *e : (struct tv_err){0};

	return tv_fail(
		e, rc,
		"%.200s; or give the domain a monitor of its own, which needs a restart of it: "
		"<qemu:commandline><qemu:arg value='-qmp'/><qemu:arg value='unix:/var/lib/libvirt/"
		"qemu/domain-%.60s/monitor.sock,server=on,wait=off'/></qemu:commandline> in its XML "
		"(<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>), and make that "
		"folder for QEMU's user",
		first.text, *name ? name : "NAME");
}

int hv_qmp_open_libvirt(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out,
			struct tv_err *e)
{
	int fd, rc;

	*out = NULL;
	rc = lv_qmp(path + strlen(HV_LIBVIRT_PATH), pid,
		    timeout_ms > CONNECT_MS ? timeout_ms : CONNECT_MS, &fd, e);
	if (rc)
		return rc == TV_E_GONE ? rc : hv_libvirt_remedy("", rc, e);
	rc = hv_qmp_open_fd(fd, path, timeout_ms, out, e);
	if (rc)
		return rc;
	rc = hv_qmp_come_late(*out, e);
	if (rc) {
		hv_qmp_close(*out);
		*out = NULL;
	}
	return rc;
}

int hv_libvirt_describe(const struct hv_vm_id *id, char *const *argv, json_t **out,
			struct tv_err *e)
{
	char number[16], uuid[HV_UUID_ROOM];
	const char *args[] = {"xml", uuid, number, NULL};
	struct lv_ask ask = {
		.args = args, .most_bytes = HV_LIBVIRT_BYTES, .timeout_ms = DESCRIBE_MS};
	TV_FREE char *text = NULL;
	int rc;

	*out = NULL;
	hv_cmdline_uuid(argv, uuid);
	if (!*uuid || !hv_cmdline_domain(argv))
		return 0;
	snprintf(number, sizeof(number), "%d", (int)id->pid);
	rc = lv_ask(&ask, &text, NULL, e);
	if (rc)
		return rc;
	*out = json_loads(text, 0, NULL);
	if (!json_is_object(*out)) {
		json_decref(*out);
		*out = NULL;
		return tv_fail(e, TV_E_PROTOCOL, "libvirt's description of %s is not JSON",
			       id->name);
	}
	return 0;
}

/* "KEY = VALUE" lines; # begins a comment, the last line of a key counts. */
void hv_libvirt_lock_manager(const char *conf, char *out, size_t room)
{
	static const char key[] = "lock_manager";

	*out = '\0';
	for (const char *line = conf; line; line = strchr(line, '\n')) {
		const char *p = line + strspn(line, " \t\r\n");
		char quote;

		line = p;
		if (strncmp(p, key, sizeof(key) - 1))
			continue;
		p += sizeof(key) - 1;
		p += strspn(p, " \t");
		if (*p != '=')
			continue;
		p += 1 + strspn(p + 1, " \t");
		quote = *p;
		if (quote == '"' || quote == '\'')
			p++;
		tv_copy_n(out, room, p, strcspn(p, quote == '\'' ? "'\n" : "\"\n"));
	}
	if (!strcmp(out, "nop"))
		*out = '\0';
}

void hv_libvirt_locks(char *const *argv, char *out, size_t room)
{
	TV_FREE char *text = NULL;

	*out = '\0';
	if (hv_cmdline_domain(argv) && !tv_read_file(HV_LIBVIRT_CONF, 1u << 20, &text, NULL))
		hv_libvirt_lock_manager(text, out, room);
}
