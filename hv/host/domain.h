/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby that is a domain of this host's libvirt. Private to hv/host. */
#ifndef HV_HOST_DOMAIN_H
#define HV_HOST_DOMAIN_H

#include "hv/host/host_int.h"

/*
 * As hv_host_start, by libvirt. -ENOTSUP: there is no libvirt, or it cannot do this VM; the reason is
 * in the log, nothing runs and nothing is left. Blocks while libvirt starts it.
 */
int hv_host_domain_start(struct hv_host *h, const struct hv_host_start *what,
			 struct hv_host_qemu *out, struct tv_err *e) TV_MUST_CHECK;
/*
 * Removes the domain that a standby of that run directory was, if it was one, from libvirt. wait: it
 * is done at the return, within 10 s, where libvirt answers; else, and for a libvirt that does not
 * answer, by a process of its own that tries for ten minutes. Its QEMU has been killed.
 */
void hv_host_domain_end(const char *dir, bool wait);
/* The VM is promoted: its domain stays. */
void hv_host_domain_keep(const char *dir);

#endif
