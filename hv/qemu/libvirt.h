/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains of libvirt. Private to hv/qemu. */
#ifndef HV_QEMU_LIBVIRT_H
#define HV_QEMU_LIBVIRT_H

#include "hv/hv.h"

/*
 * A domain of libvirt's as libvirt describes it, {"name":.., "uuid":.., "xml":.., "inactive_xml":..},
 * the caller's. 0 and NULL: it is none. Otherwise negative: libvirt does not answer within seconds,
 * or with more than HV_LIBVIRT_BYTES.
 */
#define HV_LIBVIRT_BYTES (96u << 10)
int hv_libvirt_describe(const struct hv_vm_id *id, char *const *argv, json_t **out,
			struct tv_err *e) TV_MUST_CHECK;
/* Puts behind the sentence in e what to add to the domain's XML; returns rc. */
int hv_libvirt_remedy(const char *name, int rc, struct tv_err *e);

#define HV_LIBVIRT_CONF "/etc/libvirt/qemu.conf"
/* lock_manager of a text like that of qemu.conf; "" when it names none. Pure. */
void hv_libvirt_lock_manager(const char *conf, char *out, size_t room);
/* The same of this host's, for a domain of libvirt's; "" for any other VM. */
void hv_libvirt_locks(char *const *argv, char *out, size_t room);

#endif
