/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake VM of hv_fake_kit.h is compared with nothing. */
#ifndef TESTS_HV_FAKE_COMPARE_H
#define TESTS_HV_FAKE_COMPARE_H

#include "hv/hv.h"

#include <stdlib.h>

int hv_peek(struct hv_vm *v __attribute__((unused)), const struct hv_run *r __attribute__((unused)),
	    void *dst __attribute__((unused)))
{
	abort();
}

int hv_report(struct hv_vm *v __attribute__((unused)), uint32_t block __attribute__((unused)),
	      uint64_t offset __attribute__((unused)))
{
	abort();
}

int hv_disks_export(struct hv_vm *v __attribute__((unused)), int fd __attribute__((unused)),
		    struct tv_err *e __attribute__((unused)))
{
	abort();
}

void hv_disks_unexport(struct hv_vm *v __attribute__((unused)))
{
	abort();
}

void hv_export_name(unsigned disk __attribute__((unused)), char out[HV_EXPORT_BYTES])
{
	*out = 0;
}

#endif
