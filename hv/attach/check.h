/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands in the way of protecting a VM. Private to hv/attach. */
#ifndef HV_ATTACH_CHECK_H
#define HV_ATTACH_CHECK_H

#include "hv/hv.h"
#include "hv/qemu/qemu.h"

/* What the rest of twinvm can cope with; grows as rooms learn more. */
struct hv_policy {
	bool disks; /* writable block devices are mirrored */
	bool vhost; /* output is held below QEMU (sch_plug), so vhost and multiqueue are fine */
};
extern const struct hv_policy hv_policy;

/* Facts about the VM; each part may be made up by a test. */
struct hv_check {
	const struct hv_policy *policy;
	const struct hv_features *features;
	const struct hv_qemu *qemu;
	const char *status; /* query-status */
	json_t *migrate;    /* query-migrate */
	json_t *block;	    /* query-block */
	const struct hv_devs *devs;
	const struct hv_nic *nics;
	unsigned n_nics;
	char *const *argv;
	uint64_t page_bytes; /* of RAM's backing */
	bool main_shared;    /* main RAM is a shared mapping */
};
/* Appends every reason to out. Pure. */
void hv_check_facts(const struct hv_check *c, struct hv_refusals *out);

#endif
