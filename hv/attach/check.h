/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands in the way of protecting a VM. Private to hv/attach. */
#ifndef HV_ATTACH_CHECK_H
#define HV_ATTACH_CHECK_H

#include "hv/hv.h"
#include "hv/qemu/qemu.h"

/* What the rest of twinvm can cope with; grows as rooms learn more. */
struct hv_policy {
	bool disks;	/* writable block devices are mirrored */
	bool vhost;	/* output is held below QEMU (sch_plug), so vhost and multiqueue are fine */
	bool plaintext; /* the replica of an encrypted disk may be plain text */
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
	json_t *jobs;	    /* query-block-jobs, without twinvm's own */
	json_t *nodes;	    /* query-named-block-nodes */
	const struct hv_devs *devs;
	const struct hv_nic *nics;
	unsigned n_nics;
	const struct hv_link *ports;   /* of each NIC its tap as a port; NULL: not known */
	const struct hv_link *masters; /* and what that is a port of */
	char *const *argv;
	const char *lock_manager; /* of libvirt, whose domain it is; NULL or "": none */
	uint64_t page_bytes;	  /* of RAM's backing */
	bool shared_unseen;	  /* some RAM is shared memory, of which discards cannot be seen */
	/* Can QEMU, as it runs now, open this image for writing? NULL: not to be asked. */
	bool (*can_open)(const char *file, void *arg);
	void *can_open_arg;
};
/* Has the VM a device that discards pages of its RAM? */
bool hv_check_discards(const struct hv_devs *devs);
/* Appends every reason to out. Pure. */
void hv_check_facts(const struct hv_check *c, struct hv_refusals *out);

#endif
