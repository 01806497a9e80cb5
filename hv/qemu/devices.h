/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A VM's devices and NICs, from HMP `info qtree`, `info network`. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_DEVICES_H
#define HV_QEMU_DEVICES_H

#include "common/common.h"
#include "hv/qemu/qmp.h"

struct hv_dev {
	char driver[64];
	char name[96];	   /* its id; without one its parent's id, else the driver: for people */
	const char *props; /* lines "key = value" up to the next device; inside hv_devs.text */
	size_t props_bytes;
};
struct hv_devs {
	struct hv_dev *dev;
	unsigned n;
	char *text;
};
int hv_devs_parse(const char *qtree, struct hv_devs *out) TV_MUST_CHECK;
int hv_devs_read(struct hv_qmp *q, struct hv_devs *out, struct tv_err *e) TV_MUST_CHECK;
void hv_devs_dispose(struct hv_devs *d);
/* A property's value, without quotes. */
bool hv_dev_prop(const struct hv_dev *d, const char *key, char *out, size_t room);

struct hv_nic {
	char device[96]; /* for people */
	char driver[64];
	char netdev[64]; /* what a filter is attached to; "" when it has no backend */
	char type[32];	 /* of the backend: tap, user, ...; through a hub that of the other port */
	char mac[24];
	char ifname[16]; /* of a tap that QEMU opened by name; "" otherwise, then: */
	int tap_fd;	 /* its descriptor in QEMU, -1 when QEMU does not report it */
	bool hub;	 /* the backend is reached through a hub (-net, no -nic at all) */
	bool vhost;
	unsigned queues;
};
/* info_network: text of `info network`. Returns how many NICs, at most max. */
unsigned hv_nics(const struct hv_devs *devs, const char *info_network, char *const *argv,
		 struct hv_nic *out, unsigned max);
int hv_nics_read(struct hv_qmp *q, char *const *argv, struct hv_nic *out, unsigned max, unsigned *n,
		 struct tv_err *e) TV_MUST_CHECK;

#endif
