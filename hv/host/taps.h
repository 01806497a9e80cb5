/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby's taps. Private to hv/host. */
#ifndef HV_HOST_TAPS_H
#define HV_HOST_TAPS_H

#include "hv/host/host.h"

/* A tap of a standby, and where it belongs. */
struct hv_host_port {
	char name[IFNAMSIZ];
	char bridge[IFNAMSIZ]; /* "": an operator attaches it */
	struct hv_link_vlan vlans[HV_LINK_MAX_VLANS];
	unsigned n_vlans; /* 0: what the bridge gives */
};

/*
 * Which bridge of this host each tap joins. ours: the configured one ("": none), more: others that
 * taps may join, words. A tap whose bridge on the primary has one of these names joins that; a VM whose
 * taps are all of one bridge has them on ours, whatever that is called. -ENOTSUP: a VM with several,
 * one of which may not be joined here. TV_E_REFUSED: not in the range of what can be asked for.
 */
int hv_host_taps_place(const struct hv_host_tap *taps, unsigned n, const char *ours,
		       const char *more, struct hv_host_port *out, struct tv_err *e) TV_MUST_CHECK;
/* Are the bridges that these join there, and bridges? -ENOTSUP names one. */
int hv_host_bridges_check(const struct hv_host_port *ports, unsigned n,
			  struct tv_err *e) TV_MUST_CHECK;
/*
 * Makes a tap, down, which is gone when its last descriptor is closed: fds gets one for each queue.
 * Only root may open more queues of it. -EBUSY: there is one of that name.
 */
int hv_host_tap_make(const char *name, const struct hv_host_tap *tap, int *fds,
		     struct tv_err *e) TV_MUST_CHECK;
/* They go down. */
int hv_host_taps_down(const struct hv_host_port *ports, unsigned n, struct tv_err *e) TV_MUST_CHECK;
/* They join their bridges, with their VLANs, and go up: all of them, whatever happens to one. The
 * first failure. */
int hv_host_taps_up(const struct hv_host_port *ports, unsigned n, struct tv_err *e) TV_MUST_CHECK;

#endif
