/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network devices of this process's network namespace: bridges and their ports. Private to hv/: qemu.h. */
#ifndef HV_QEMU_LINK_H
#define HV_QEMU_LINK_H

#include "common/common.h"

#include <net/if.h>

#define HV_LINK_MAX_VLANS 16

/* A VLAN of a bridge's port. */
struct hv_link_vlan {
	uint16_t id;   /* 1 to 4094 */
	bool pvid;     /* what comes in without a tag belongs to it */
	bool untagged; /* what goes out loses its tag */
};
struct hv_link {
	char kind[16];	       /* "bridge", "tun", "openvswitch", ...; "" a physical one */
	char master[IFNAMSIZ]; /* that it is a port of; "": none */
	unsigned mtu;
	/* Of a port: as bridge(8) shows them; ranges are spelled out. more_vlans: there are others. */
	struct hv_link_vlan vlans[HV_LINK_MAX_VLANS];
	unsigned n_vlans;
	bool more_vlans;
};
/* -ENODEV: there is none of that name. */
int hv_link_read(const char *name, struct hv_link *out) TV_MUST_CHECK;
/* Are these the VLANs that a bridge gives each new port: 1, for all that has no tag? */
bool hv_link_vlans_default(const struct hv_link_vlan *vlans, unsigned n);
/* Gives a port of a bridge these VLANs, and no others. -errno */
int hv_link_set_vlans(const char *port, const struct hv_link_vlan *vlans, unsigned n) TV_MUST_CHECK;

#endif
