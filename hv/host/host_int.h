/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of hv/host share. Private to hv/host. */
#ifndef HV_HOST_HOST_INT_H
#define HV_HOST_HOST_INT_H

#include "hv/host/host.h"
#include "hv/host/taps.h"
#include "hv/host/user.h"

struct hv_host {
	char dir[256], run_dir[256]; /* its own; where all of them are */
	char qmp_path[108];
	char bridge[IFNAMSIZ]; /* "": an operator attaches the taps */
	char bridges[256];     /* more of them */
	char tap_prefix[IFNAMSIZ];
	char state_dir[256], replica_dir[256]; /* "": none */
	char media[1024];
	char vm_id[40];
	bool libvirt;
	const struct hv_host_clone *clone; /* NULL: a standby */
	char nonce[33];			   /* of its domain */
	struct hv_host_user user;
	int oom_score_adj, nice; /* of the QEMU started last, from its promotion on */
	pid_t pid;		 /* of the QEMU started last */
	int pidfd;
	int tpm_pidfd;				    /* its swtpm; -1: none */
	int ram_fd;				    /* its main memory; stays for the next one */
	struct hv_host_port taps[HV_HOST_MAX_TAPS]; /* its */
	unsigned n_taps;
	char copies[HV_MAX_FILES][160]; /* names in replica_dir, that it may read */
	unsigned n_copies;
};

/* hv_host_ops.start; arg is the struct hv_host. */
int hv_host_start(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		  struct tv_err *e) TV_MUST_CHECK;

#endif
