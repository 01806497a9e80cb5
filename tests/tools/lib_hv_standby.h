/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bed with a VM that has a standby: what the tools that test hv_standby.h share. */
#ifndef LIB_HV_STANDBY_H
#define LIB_HV_STANDBY_H

#include "hv/host/host.h"
#include "hv/hv_standby.h"
#include "tests/tools/lib_hv_bed.h"

struct hv_sbed {
	char run_dir[96]; /* the standby's */
	const char *bridge;
	struct hv_vm_id standby; /* the one started last, to be ended whatever happens */
};
extern struct hv_sbed sbed;

/* Starts the primary. */
void sbed_start(const char *program, char **args, int n);
/* Attaches to the primary, describes it, and lets it go; the description is the caller's. */
json_t *sbed_describe(void);
/* What the next standby needs rights for; the one before is freed. */
struct hv_host *sbed_host(void);
struct hv_standby *sbed_standby(json_t *desc);
/* How many files are in the run directory; each is printed. */
unsigned sbed_files_left(void);

#endif
