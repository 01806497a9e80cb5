/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Domains of libvirt that cannot be reached. Private to hv/qemu. */
#ifndef HV_QEMU_LIBVIRT_H
#define HV_QEMU_LIBVIRT_H

#include "common/common.h"

/* Puts behind the sentence in e what to add to the domain's XML; returns rc. */
int hv_libvirt_remedy(const char *name, int rc, struct tv_err *e);

#endif
