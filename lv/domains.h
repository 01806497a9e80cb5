/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains that are standbys, as libvirt has them. Private to the program twinvm-libvirt. */
#ifndef LV_DOMAINS_H
#define LV_DOMAINS_H

#include "lv/lv_int.h"
#include "lv/xml.h"

/* Whom a standby is noted for, so that its end can be made by whoever finds the note (lv.h). */
struct lv_note {
	char nonce[33], vm_id[40], name[LV_NAME_ROOM], uuid[LV_UUID_ROOM];
};
/* -errno; -EBADMSG: it is damaged. */
int lv_note_read(const char *path, struct lv_note *out) TV_MUST_CHECK;
/* Waits until no other process starts or ends the standby of that note; held until this one ends.
 * An enum lv_exit. */
int lv_lock(const char *note) TV_MUST_CHECK;
int lv_note_write(const char *path, const struct lv_note *n) TV_MUST_CHECK;

/* Does the domain run a VM, not only wait for its state? What QEMU does not answer is a no. */
bool lv_domain_has_run(virDomainPtr d);
/* Its stored XML, or the live one of a transient domain, with passwords; the caller frees it. */
char *lv_domain_definition(virDomainPtr d);
/*
 * Is it a standby that was made here for that VM? before (may be NULL) gets the definition that it
 * replaced, the caller's to free, or NULL.
 */
bool lv_domain_is_ours(virDomainPtr d, const char *vm_id, char **before);
/* Ends the run and removes the definition, or puts back the one that was there before. An
 * enum lv_exit, with its sentence. */
int lv_domain_remove(virConnectPtr c, virDomainPtr d, const char *before);

/* The folder of a domain's second monitor, with the owner of libvirt's QEMUs. -errno */
int lv_folder_make(const char *name, uid_t uid, gid_t gid) TV_MUST_CHECK;
void lv_folder_remove(const char *name);
/* Its path, and that of the socket in it. */
void lv_folder(const char *name, char *out, size_t room);

/* User and group that libvirt's QEMUs run as. False: libvirt does not change files' owners. */
bool lv_owner(virConnectPtr c, uid_t *uid, gid_t *gid);

#endif
