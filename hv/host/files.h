/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby's QEMU leaves in its run directory. Private to hv/host. */
#ifndef HV_HOST_FILES_H
#define HV_HOST_FILES_H

#include "common/common.h"

/* Writes down which files in dir this command line makes QEMU create. */
int hv_host_note_files(const char *dir, char *const *argv, struct tv_err *e) TV_MUST_CHECK;
/* Removes them; with_log: standby.log too. */
void hv_host_remove_files(const char *dir, bool with_log);

#endif
