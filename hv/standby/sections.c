/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which devices a device state is about, to refuse at the first epoch what would fail to load at a
 * promotion: a device that was plugged into the VM while it ran, and that the standby, started from
 * the VM's command line, does not have.
 *
 * The standby can save its own state although it waits for one, and is not changed by that (12 ms
 * with QEMU 7.2). A state is a row of sections: 0x04, id, name, instance, version, data, and the
 * footer 0x7e, id. Without a description (suppress-vmdesc) the data have no length: the next footer
 * with this id and a section or the end behind it ends them. Only names with a '/' count, which are
 * those of devices on a bus: sections of other kinds may come and go with what the guest does.
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FULL 0x04
#define FOOTER 0x7e
#define END 0x00
#define HEADER_BYTES 8 /* magic, version */
#define SAVE_LIMIT (64u << 20)
#define NAME_BYTES 256

struct walk {
	const uint8_t *p;
	size_t bytes, at;
	char name[NAME_BYTES]; /* idstr "/" instance */
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Where the section behind the one with this id begins; 0: nowhere. */
static size_t behind(const struct walk *w, size_t at, const uint8_t *id)
{
	while (at + 5 < w->bytes) {
		const uint8_t *f = memchr(w->p + at, FOOTER, w->bytes - at - 5);

		if (!f)
			return 0;
		at = (size_t)(f - w->p) + 1;
		if (!memcmp(f + 1, id, 4) && (f[5] == FULL || f[5] == END))
			return at + 4;
	}
	return 0;
}

/* 1 a section, 0 the end, -EBADMSG */
static int next(struct walk *w)
{
	const uint8_t *s = w->p + w->at;
	size_t left = w->bytes - w->at, n;

	if (left && *s == END)
		return 0;
	if (left < 6 || *s != FULL || left < 14 + (n = s[5]))
		return -EBADMSG;
	snprintf(w->name, sizeof(w->name), "%.*s#%u", (int)n, s + 6, be32(s + 6 + n));
	w->at = behind(w, w->at + 14 + n, s + 1);
	return w->at ? 1 : -EBADMSG;
}

static bool is_on_bus(const char *name)
{
	return strchr(name, '/') != NULL;
}

/* Names, each with a line end on both sides. */
static int list(const uint8_t *state, size_t bytes, struct tv_buf *out)
{
	struct walk w = {.p = state, .bytes = bytes, .at = HEADER_BYTES};
	int rc = bytes > HEADER_BYTES ? tv_buf_add(out, "\n", 1) : -EBADMSG;

	while (!rc && (rc = next(&w)) > 0) {
		rc = is_on_bus(w.name) ? tv_buf_add(out, w.name, strlen(w.name)) : 0;
		if (!rc && is_on_bus(w.name))
			rc = tv_buf_add(out, "\n", 1);
	}
	return rc ? rc : tv_buf_add(out, "", 1);
}

static int save(struct hv_standby *sb, int fd, struct tv_err *e)
{
	TV_CLOSE int write_fd = -1;
	json_t *ret = NULL;
	char path[64];
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	write_fd = open(path, O_WRONLY | O_CLOEXEC);
	if (write_fd < 0)
		return tv_fail(e, -errno, "cannot reopen a memory file: %s", strerror(errno));
	rc = hv_qmp_cmd_fd(sb->qmp, "add-fd", json_pack("{s:s}", "opaque", HV_PREFIX), write_fd,
			   &ret, HV_CMD_MS, e);
	if (rc)
		return rc;
	snprintf(path, sizeof(path), "/dev/fdset/%lld",
		 (long long)json_integer_value(json_object_get(ret, "fdset-id")));
	json_decref(ret);
	return hv_qmp_cmd(sb->qmp, "xen-save-devices-state",
			  json_pack("{s:s, s:b}", "filename", path, "live", 0), NULL, HV_CMD_MS, e);
}

int hv_standby_sections(struct hv_standby *sb, struct tv_err *e)
{
	TV_CLOSE int fd = memfd_create(HV_PREFIX "-sections", MFD_CLOEXEC);
	off_t bytes;
	void *p;
	int rc = fd < 0 ? tv_fail(e, -errno, "memfd_create: %s", strerror(errno)) : save(sb, fd, e);

	if (rc)
		return rc;
	bytes = lseek(fd, 0, SEEK_END);
	if (bytes <= 0 || bytes > SAVE_LIMIT)
		return tv_fail(e, -EBADMSG, "the standby saved a state of %lld bytes",
			       (long long)bytes);
	p = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return tv_fail(e, -errno, "cannot map the standby's state: %s", strerror(errno));
	tv_buf_init(&sb->sections, SAVE_LIMIT);
	rc = list(p, (size_t)bytes, &sb->sections);
	munmap(p, (size_t)bytes);
	if (rc) {
		tv_buf_dispose(&sb->sections);
		return tv_fail(e, rc, "the standby saved a state of an unknown form");
	}
	return 0;
}

/* "0000:00:02.0/e1000e#0" -> "e1000e at 0000:00:02.0" */
static int refuse(char *name, struct tv_err *e)
{
	char *slash = strrchr(name, '/'), *hash = strrchr(name, '#');

	if (hash)
		*hash = '\0';
	*slash = '\0';
	return tv_fail(e, TV_E_REFUSED,
		       "the VM has a device that its standby does not have: %s at %s (plugged in "
		       "after the VM was started? the standby is started from its command line)",
		       slash + 1, name);
}

int hv_standby_check_state(struct hv_standby *sb, const uint8_t *state, size_t bytes,
			   struct tv_err *e)
{
	struct walk w = {.p = state, .bytes = bytes, .at = HEADER_BYTES};
	char line[NAME_BYTES + 3];

	if (!sb->sections.data || bytes <= HEADER_BYTES)
		return 0;
	while (next(&w) > 0) {
		snprintf(line, sizeof(line), "\n%s\n", w.name);
		if (is_on_bus(w.name) && !strstr((const char *)sb->sections.data, line))
			return refuse(w.name, e);
	}
	return 0;
}
