/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains that are standbys, as libvirt has them: see domains.h. */
#include "lv/domains.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define QEMU_DIR "/var/lib/libvirt/qemu"
#define UNDEFINE                                                                     \
	(VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | \
	 VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)

/* ---- the note ---- */

int lv_note_read(const char *path, struct lv_note *out)
{
	TV_FREE char *text = NULL;
	int rc = tv_read_file(path, 1024, &text, NULL), end = 0;

	if (rc)
		return rc;
	if (sscanf(text, "%32s %39s %60s %36s %n", out->nonce, out->vm_id, out->name, out->uuid,
		   &end) != 4 ||
	    text[end])
		return -EBADMSG;
	return 0;
}

int lv_note_write(const char *path, const struct lv_note *n)
{
	char text[256];
	int bytes =
		snprintf(text, sizeof(text), "%s %s %s %s\n", n->nonce, n->vm_id, n->name, n->uuid);

	return tv_write_file(path, text, (size_t)bytes);
}

int lv_lock(const char *note)
{
	const char *slash = strrchr(note, '/');
	static int fd = -1;
	char dir[256];

	if (fd < 0 && slash && tv_copy_n(dir, sizeof(dir), note, (size_t)(slash - note)))
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || flock(fd, LOCK_EX)
		       ? lv_say(LV_EXIT_FAILED, "%s cannot be locked: %s", note, strerror(errno))
		       : LV_EXIT_OK;
}

/* ---- what a domain is ---- */

bool lv_domain_has_run(virDomainPtr d)
{
	char *answer = NULL;
	json_t *j = NULL;
	const char *status;
	bool ran = false;

	if (virDomainQemuMonitorCommand(d, "{\"execute\":\"query-status\"}", &answer, 0) || !answer)
		return false;
	j = json_loads(answer, 0, NULL);
	status = json_string_value(json_object_get(json_object_get(j, "return"), "status"));
	ran = status && strcmp(status, "inmigrate") != 0;
	json_decref(j);
	free(answer);
	return ran;
}

char *lv_domain_definition(virDomainPtr d)
{
	return virDomainGetXMLDesc(d, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
}

bool lv_domain_is_ours(virDomainPtr d, const char *vm_id, char **before)
{
	TV_FREE char *xml = lv_domain_definition(d);
	char *old = NULL;
	bool ours = xml && lv_xml_is_ours(xml, vm_id, &old);

	if (before)
		*before = old;
	else
		free(old);
	return ours;
}

/* ---- its end ---- */

int lv_domain_remove(virConnectPtr c, virDomainPtr d, const char *before)
{
	virDomainPtr defined = NULL;
	bool stays;

	/* It may end by itself meanwhile: its QEMU was killed. */
	if (virDomainIsActive(d) == 1 && virDomainDestroy(d) && virDomainIsActive(d) == 1)
		return lv_say_virt("the standby %s cannot be ended", virDomainGetName(d));
	if (before) {
		defined = virDomainDefineXML(c, before);
		if (!defined)
			return lv_say_virt("the definition of the domain %s cannot be put back",
					   virDomainGetName(d));
		virDomainFree(defined);
		return LV_EXIT_OK;
	}
	/* A transient one is gone by now. */
	stays = virDomainIsPersistent(d) == 1;
	if (stays && virDomainUndefineFlags(d, UNDEFINE))
		return lv_say_virt("the definition of the standby %s cannot be removed",
				   virDomainGetName(d));
	lv_folder_remove(virDomainGetName(d));
	return LV_EXIT_OK;
}

/* ---- the folder of its monitor ---- */

void lv_folder(const char *name, char *out, size_t room)
{
	snprintf(out, room, QEMU_DIR "/domain-%s", name);
}

/* The folder above belongs to QEMU's user: no link is followed. */
int lv_folder_make(const char *name, uid_t uid, gid_t gid)
{
	TV_CLOSE int at = open(QEMU_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	char part[LV_NAME_ROOM + 8];
	struct stat st;

	snprintf(part, sizeof(part), "domain-%s", name);
	if (at < 0 || (mkdirat(at, part, 0750) && errno != EEXIST))
		return -errno;
	fd = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (st.st_uid && st.st_uid != uid)
		return -EPERM;
	return fchown(fd, uid, gid) || fchmod(fd, 0750) ? -errno : 0;
}

void lv_folder_remove(const char *name)
{
	TV_CLOSE int at = open(QEMU_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	char part[LV_NAME_ROOM + 8];

	snprintf(part, sizeof(part), "domain-%s", name);
	fd = at < 0 ? -1 : openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)unlinkat(fd, "monitor.sock", 0);
	(void)unlinkat(at, part, AT_REMOVEDIR); /* not one with something else in it */
}

/* ---- libvirt's user ---- */

bool lv_owner(virConnectPtr c, uid_t *uid, gid_t *gid)
{
	TV_FREE char *xml = virConnectGetCapabilities(c);
	const char *at = xml ? strstr(xml, "<model>dac</model>") : NULL;
	unsigned u, g;

	at = at ? strstr(at, ">+") : NULL;
	if (!at || sscanf(at, ">+%u:+%u<", &u, &g) != 2)
		return false;
	*uid = u;
	*gid = g;
	return true;
}
