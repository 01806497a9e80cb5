/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hv/attach. */
#ifndef HV_ATTACH_DESCRIBE_H
#define HV_ATTACH_DESCRIBE_H

#include <jansson.h>

/* Adds to files (a JSON array) every existing file that a command line names for QEMU to read. */
void hv_describe_files(char *const *argv, const char *cwd, json_t *files);

#endif
