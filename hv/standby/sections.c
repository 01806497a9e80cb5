/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which devices a device state is about, to refuse at the first epoch what would fail to load at a
 * promotion: a device that the VM has and its standby does not. The primary looks out for that, too
 * (hv/attach/watch.c), but what it sends is not to be relied upon.
 *
 * The standby can save its own state although it waits for one, and is not changed by that (12 ms
 * with QEMU 7.2).
 */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAVE_LIMIT (64u << 20)

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

/*
 * Not of a standby with a TPM. Its swtpm is started by the load of a state only, until then it answers
 * QEMU's question for its state with an error, and QEMU 7.2 waits for the rest of the answer for
 * ever (tpm_emulator.c: tpm_emulator_get_state_blob).
 */
int hv_standby_sections(struct hv_standby *sb, struct tv_err *e)
{
	TV_CLOSE int fd = memfd_create(HV_PREFIX "-sections", MFD_CLOEXEC);
	off_t bytes;
	void *p;
	int rc;

	if (sb->what.tpm)
		return 0;
	rc = fd < 0 ? tv_fail(e, -errno, "memfd_create: %s", strerror(errno)) : save(sb, fd, e);
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
	rc = hv_sections_list(p, (size_t)bytes, &sb->sections);
	munmap(p, (size_t)bytes);
	if (rc) {
		tv_buf_dispose(&sb->sections);
		return tv_fail(e, rc, "the standby saved a state of an unknown form");
	}
	return 0;
}

static int check_tpm(const uint8_t *state, size_t bytes, struct tv_err *e)
{
	struct hv_sections w = {.p = state, .bytes = bytes};

	while (hv_sections_next(&w) > 0)
		if (!strcmp(w.name, "tpm-emulator#0"))
			return hv_standby_check_tpm(state + w.data, bytes - w.data, e);
	return 0;
}

int hv_standby_check_state(struct hv_standby *sb, const uint8_t *state, size_t bytes,
			   struct tv_err *e)
{
	char name[HV_SECTION_NAME_BYTES];
	struct tv_buf list;
	int rc = 0;

	if (sb->what.tpm && (rc = check_tpm(state, bytes, e)))
		return rc;
	if (!sb->sections.data)
		return 0;
	tv_buf_init(&list, SAVE_LIMIT);
	/* What cannot be read is QEMU's to judge. */
	if (hv_sections_list(state, bytes, &list) != -ENOMEM && list.data &&
	    !list.data[list.bytes - 1] &&
	    hv_sections_missing((const char *)list.data, (const char *)sb->sections.data, name,
				sizeof(name)))
		rc = tv_fail(e, TV_E_REFUSED,
			     "the VM has a device that its standby does not have: %s; unplug it",
			     name);
	tv_buf_dispose(&list);
	return rc;
}
