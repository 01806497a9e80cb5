/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, and files of the folder. */
#include "cluster/cluster_int.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

bool cl_is_name(const char *name)
{
	size_t n = strlen(name);

	return n && n < CL_NAME_BYTES && strspn(name, ALNUM "._-") == n && strspn(name, ALNUM);
}

bool cl_is_address(const char *address)
{
	size_t n = strlen(address);
	char host[128];
	uint16_t port;

	return n && n < CL_ADDRESS_BYTES && strspn(address, ALNUM "._-:[]%") == n &&
	       !config_address(address, host, sizeof(host), &port);
}

struct cl_path cl_path(const char *dir, const char *name)
{
	struct cl_path p;

	snprintf(p.text, sizeof(p.text), "%s/%s", dir, name);
	return p;
}

int cl_lock(const char *dir, int *fd, struct tv_err *e)
{
	struct cl_path lock = cl_path(dir, "lock");
	int rc = tv_mkdirs(dir);

	*fd = -1;
	if (!rc && chmod(dir, 0700))
		rc = -errno;
	if (!rc)
		*fd = open(lock.text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (!rc && (*fd < 0 || flock(*fd, LOCK_EX)))
		rc = -errno;
	if (rc)
		tv_close_fd(fd);
	return rc ? tv_fail(e, rc, "the folder %s: %s; this needs root", dir, tv_strerror(rc)) : 0;
}

int cl_write(const char *dir, const char *name, const void *p, size_t n, struct tv_err *e)
{
	struct cl_path path = cl_path(dir, name);
	int rc = tv_write_file(path.text, p, n);

	return rc ? tv_fail(e, rc, "%s: %s", path.text, tv_strerror(rc)) : 0;
}

int cl_read(const char *dir, const char *name, size_t limit_bytes, char **out, struct tv_err *e)
{
	struct cl_path path = cl_path(dir, name);
	int rc = tv_read_file(path.text, limit_bytes, out, NULL);

	return rc ? tv_fail(e, rc, "%s: %s", path.text, tv_strerror(rc)) : 0;
}

int64_t cl_now_s(void)
{
	return (int64_t)time(NULL);
}

bool cl_text(const json_t *o, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(o, key));

	out[0] = '\0';
	return s && tv_copy(out, room, s);
}
