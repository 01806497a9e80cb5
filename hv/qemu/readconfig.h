/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines as QEMU has them after it has read its configuration files. Private to hv/: qemu.h. */
#ifndef HV_QEMU_READCONFIG_H
#define HV_QEMU_READCONFIG_H

#include "common/common.h"

/*
 * The words that a configuration file (-readconfig) stands for: [device "x"] with driver = "y"
 * becomes "-device", "id=x,driver=y". They are appended to out, each with its NUL. -EINVAL: it is no
 * such file. Pure.
 */
int hv_readconfig_words(const char *text, struct tv_buf *out) TV_MUST_CHECK;
/*
 * As hv_proc_argv, with every -readconfig replaced by what its file says now. One whose file cannot
 * be read, or that its process could not have read, stays as it is.
 */
char **hv_proc_args(const char *root, pid_t pid);
/*
 * The folder that a QEMU was started in, from which its relative paths are: its working folder, or,
 * after -daemonize, one in which a file of the name witness (relative; may be NULL) is. False when it
 * cannot be seen.
 */
bool hv_proc_start_dir(const char *root, pid_t pid, char *const *argv, const char *witness,
		       char *out, size_t room);

#endif
