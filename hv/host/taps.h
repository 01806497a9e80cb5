/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby's taps. Private to hv/host. */
#ifndef HV_HOST_TAPS_H
#define HV_HOST_TAPS_H

#include "common/common.h"

#include <net/if.h>

/* They join the bridge and go up: all of them, whatever happens to one. The first failure. */
int hv_host_taps_up(const char taps[][IFNAMSIZ], unsigned n, const char *bridge,
		    struct tv_err *e) TV_MUST_CHECK;

#endif
