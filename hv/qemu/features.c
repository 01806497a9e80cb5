/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding out what a QEMU can do. A VM's QEMU and a binary that is to run a standby are asked the
 * same questions the same way; for the second one the binary is run without a machine
 * (-machine none), with its monitor on a socket pair. A VM's QEMU is not asked for its schema: that
 * is an answer of 200 KB, and the guest can wait for tens of milliseconds while QEMU writes it.
 *
 * What differs between QEMUs and needs no field, because one way serves all of them:
 *   fd: takes sockets everywhere, so promotion gives one (hv/standby/promote.c);
 *   an fd set's descriptor must be opened exactly as QEMU would open it, write-only
 *   (hv/attach/state.c);
 *   from 9.1 on an fd set outlives the connection that it came by: ours is always removed
 *   (hv/attach/clean.c);
 *   block-job-cancel with force is job-cancel, and is in all of them (hv/attach/clean.c).
 */
#include "hv/qemu/features.h"
#include "hv/qemu/spawn.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_MS 20000
#define MISSES_FROM 9002 /* the field mirror_start_misses */
#define SERVES_FROM 8000 /* the field mirror_start_serves; it ends at MISSES_FROM */
#define NO_FILES_FROM 11000

/* ---- the answers ---- */
static unsigned number(const struct hv_qemu *m)
{
	return m->major * 1000 + m->minor;
}

int hv_qemu_take_version(struct hv_qemu *m, json_t *ret, struct tv_err *e)
{
	json_t *v = json_object_get(ret, "qemu");
	const char *package = json_string_value(json_object_get(ret, "package"));

	m->major = (unsigned)json_integer_value(json_object_get(v, "major"));
	m->minor = (unsigned)json_integer_value(json_object_get(v, "minor"));
	m->micro = (unsigned)json_integer_value(json_object_get(v, "micro"));
	snprintf(m->package, sizeof(m->package), "%s", package ? package : "");
	if (!m->major || m->minor > 999)
		return tv_fail(e, TV_E_PROTOCOL, "QEMU reports no version");
	m->fd_files = number(m) < NO_FILES_FROM;
	m->mirror_start_misses = number(m) >= MISSES_FROM;
	m->mirror_start_serves = number(m) >= SERVES_FROM && number(m) < MISSES_FROM;
	m->vm_number = strstr(m->package, "pve-qemu") != NULL;
	return 0;
}

/* block-job-change came with 8.2, as did "actively-synced". */
void hv_qemu_take_commands(struct hv_qemu *m, json_t *list)
{
	m->save_state = hv_qemu_has_name(list, "xen-save-devices-state");
	m->actively_synced = hv_qemu_has_name(list, "block-job-change");
}

bool hv_qemu_has_name(json_t *list, const char *name)
{
	json_t *p;
	size_t i;

	json_array_foreach(list, i, p) {
		const char *s = json_string_value(json_object_get(p, "name"));

		if (s && !strcmp(s, name))
			return true;
	}
	return false;
}

bool hv_qemu_prints_hva(const char *ramblock)
{
	const char *hva = strstr(ramblock, " HVA");

	return hva && hva < ramblock + strcspn(ramblock, "\r\n");
}

/* ---- asking ---- */
/* Is there a property called name in cmd's list? */
static int ask_property(struct hv_qmp *q, const char *cmd, json_t *args, const char *name,
			bool *has, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(q, cmd, args, &ret, HV_CMD_MS, e);

	*has = hv_qemu_has_name(ret, name);
	json_decref(ret);
	return rc;
}

int hv_qemu_ask(struct hv_qmp *q, struct hv_qemu *out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	json_t *ret = NULL;
	int rc;

	*out = (struct hv_qemu){0};
	rc = hv_qmp_cmd(q, "query-version", NULL, &ret, HV_CMD_MS, e);
	if (!rc)
		rc = hv_qemu_take_version(out, ret, e);
	json_decref(ret);
	ret = NULL;
	if (!rc)
		rc = hv_qmp_cmd(q, "query-commands", NULL, &ret, HV_CMD_MS, e);
	hv_qemu_take_commands(out, ret);
	json_decref(ret);
	if (!rc)
		rc = ask_property(q, "qom-list", json_pack("{s:s}", "path", "/machine"),
				  "suppress-vmdesc", &out->suppress_vmdesc, e);
	if (!rc)
		rc = ask_property(q, "device-list-properties",
				  json_pack("{s:s}", "typename", "migration"), "send-configuration",
				  &out->send_configuration, e);
	/* It has its heading without any block, too. */
	if (!rc)
		rc = hv_qmp_hmp(q, "info ramblock", &text, HV_CMD_MS, e);
	if (!rc)
		out->ramblock_hva = hv_qemu_prints_hva(text);
	return rc;
}

static int ask_all(int fd, const char *binary, struct hv_qemu *out, json_t **machines,
		   struct tv_err *e)
{
	struct hv_qmp *q = NULL;
	int rc = hv_qmp_open_fd(fd, binary, RUN_MS, &q, e);

	if (!rc)
		rc = hv_qemu_ask(q, out, e);
	if (!rc)
		rc = hv_qmp_cmd(q, "query-machines", NULL, machines, HV_CMD_MS, e);
	hv_qmp_close(q);
	return rc;
}

/* The last line that it wrote to its stderr, "" when there is none. */
static void last_words(int fd, char *out, size_t room)
{
	char text[4096];
	off_t end = lseek(fd, 0, SEEK_END);
	off_t from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, from);
	char *line;

	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n > 0 ? n : 0] = '\0';
	line = strrchr(text, '\n');
	snprintf(out, room, "%s", line ? line + 1 : text);
}

static int run(const char *binary, int err_fd, struct hv_qemu *out, json_t **machines,
	       struct tv_err *e)
{
	const char *const argv[] = {
		binary, "-machine", "none",  "-nodefaults", "-no-user-config", "-display", "none",
		"-S",	"-qmp",	    "stdio", NULL};
	int fds[2], rc;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return tv_fail(e, -errno, "%s", strerror(errno));
	rc = hv_spawn_on(binary, argv, fds[1], err_fd, &pid);
	tv_close_fd(&fds[1]);
	if (rc) {
		tv_close_fd(&fds[0]);
		return tv_fail(e, rc, "%s", tv_strerror(rc));
	}
	rc = ask_all(fds[0], binary, out, machines, e);
	/* It has no machine, and nothing to save. */
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return rc;
}

int hv_qemu_run(const char *binary, const char *host, struct hv_qemu *out, json_t **machines,
		struct tv_err *e)
{
	TV_CLOSE int err_fd = memfd_create("twinvm-qemu-says", MFD_CLOEXEC);
	struct tv_err why = {0};
	char words[256];
	int rc;

	*machines = NULL;
	if (err_fd < 0)
		return tv_fail(e, -errno, "memfd_create: %s", strerror(errno));
	rc = run(binary, err_fd, out, machines, &why);
	if (!rc)
		return 0;
	last_words(err_fd, words, sizeof(words));
	return tv_fail(e, rc == -ENOENT ? rc : -ENOTSUP,
		       "%s on %s cannot be asked what it can do (-machine none -qmp stdio): %s",
		       binary, host, *words ? words : why.text);
}

/* ---- texts ---- */
void hv_qemu_version(const struct hv_qemu *m, char *out, size_t room)
{
	snprintf(out, room, "%u.%u.%u%s%s%s", m->major, m->minor, m->micro, *m->package ? " (" : "",
		 m->package, *m->package ? ")" : "");
}

void hv_qemu_text(const struct hv_qemu *m, char *out, size_t room)
{
	static const char *const ways[] = {
		[HV_RAM_UNKNOWN] = "not looked for",
		[HV_RAM_HVA] = "from info ramblock",
		[HV_RAM_LIST] = "from ram_list",
		[HV_RAM_MAPS] = "from mappings",
	};
	char version[160];

	hv_qemu_version(m, version, sizeof(version));
	snprintf(out, room,
		 "QEMU %s: RAM addresses %s; actively-synced %s; suppress-vmdesc %s, "
		 "send-configuration %s; fd: takes files %s; mirrors start %s",
		 version, ways[m->ram_way], m->actively_synced ? "yes" : "no",
		 m->suppress_vmdesc ? "yes" : "no", m->send_configuration ? "yes" : "no",
		 m->fd_files ? "yes" : "no",
		 m->mirror_start_misses ? "from all" : "from allocated");
}

unsigned hv_qemu_number(const char *version)
{
	for (const char *p = version ? version : ""; *p; p++) {
		unsigned major, minor;

		if (isdigit((unsigned char)*p) && sscanf(p, "%u.%u", &major, &minor) == 2)
			return major * 1000 + minor;
	}
	return 0;
}

static bool is_named(json_t *machine, const char *key, const char *name)
{
	const char *s = json_string_value(json_object_get(machine, key));

	return s && !strcmp(s, name);
}

bool hv_qemu_has_machine(json_t *machines, const char *name)
{
	json_t *m;
	size_t i;

	json_array_foreach(machines, i, m)
		if (is_named(m, "name", name) || is_named(m, "alias", name))
			return true;
	return false;
}

bool hv_qemu_is_versioned(const char *machine)
{
	const char *dash = strrchr(machine, '-');

	return dash && isdigit((unsigned char)dash[1]) && strchr(dash, '.');
}
