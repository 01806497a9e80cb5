/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to hv/attach. */
#ifndef HV_ATTACH_DESCRIBE_H
#define HV_ATTACH_DESCRIBE_H

#include <jansson.h>

/* Adds to files (a JSON array) every existing file that a command line names for QEMU to read. */
void hv_describe_files(char *const *argv, const char *cwd, json_t *files);
/* The same for those that QEMU only reads, and that are no images. */
void hv_describe_read_files(char *const *argv, const char *cwd, json_t *files);
/* A word of the command line as it is sent to the backup: without a secret's value. option: the word
 * before it, or NULL. The caller frees it; NULL: no memory. */
char *hv_describe_arg(const char *option, const char *arg);

#endif
