/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder that stands in for /proc or /sys. */
#ifndef TREE_KIT_H
#define TREE_KIT_H

#include "common/common.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A file below root, with the folders above it. */
static inline void tree_file(const char *root, const char *name, const void *text, size_t bytes)
{
	char path[300], *slash;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	slash = strrchr(path, '/');
	*slash = '\0';
	assert_int_equal(tv_mkdirs(path), 0);
	*slash = '/';
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(tv_write_all(fd, text, bytes), 0);
	close(fd);
}

#endif
