/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby's taps. Private to hv/host. */
#ifndef HV_HOST_TAPS_H
#define HV_HOST_TAPS_H

#include "common/common.h"

#include <net/if.h>

/*
 * Makes a tap, down, which is gone when its last descriptor is closed: fds gets one for each queue.
 * Only root may open more queues of it. -EBUSY: there is one of that name.
 */
int hv_host_tap_make(const char *name, unsigned queues, bool vnet_hdr, int *fds,
		     struct tv_err *e) TV_MUST_CHECK;
/* They join the bridge and go up: all of them, whatever happens to one. The first failure. */
int hv_host_taps_up(const char taps[][IFNAMSIZ], unsigned n, const char *bridge,
		    struct tv_err *e) TV_MUST_CHECK;

#endif
