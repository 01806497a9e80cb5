/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A standby's TPM: a swtpm of its own. Private to hv/host. */
#ifndef HV_HOST_TPM_H
#define HV_HOST_TPM_H

#include "hv/host/host_int.h"

/*
 * Starts a swtpm (TPM 2) with an empty state in DIR/tpm, as the user of standbys; an earlier one is
 * ended. *fd is QEMU's end of its control channel; the process is h->tpm_pidfd's. -ENOENT: this host
 * has no swtpm.
 */
int hv_host_tpm_start(struct hv_host *h, const struct hv_host_user *u, int *fd,
		      struct tv_err *e) TV_MUST_CHECK;
/* Ends it. It ends by itself when its QEMU has; this is for one that never met a QEMU. */
void hv_host_tpm_end(struct hv_host *h);

#endif
