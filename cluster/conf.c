/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lines of twinvmd's configuration: written once, never over what an operator has written. */
#include "cluster/cluster_int.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BYTES (1 << 20)
#define MARK "# 'twinvm cluster' keeps keys, certificates and peers in this folder.\n"

/* Has the text a line that sets this key? Its value goes to out. */
static bool has_key(const char *text, const char *key, char *out, size_t room)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p ? 1 : 0) {
		const char *q = p + strspn(p, " \t"), *v;

		if (strncmp(q, key, n) != 0)
			continue;
		v = q + n + strspn(q + n, " \t");
		if (*v != '=')
			continue;
		v += 1 + strspn(v + 1, " \t");
		n = strcspn(v, "\n");
		while (n && isspace((unsigned char)v[n - 1]))
			n--;
		tv_copy_n(out, room, v, n);
		return true;
	}
	return false;
}

static int read_conf(const char *path, char **text, struct tv_err *e)
{
	int rc = tv_read_file(path, MOST_BYTES, text, NULL);

	if (!rc || rc == -ENOENT)
		return rc;
	return tv_fail(e, rc, "configuration %s: %s", path, tv_strerror(rc));
}

/* That it can be written shows before anything else is done. */
static int check_folder(const char *path, struct tv_err *e)
{
	char folder[PATH_MAX], *slash;
	int rc = 0;

	tv_copy(folder, sizeof(folder), path);
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = '\0';
		if (access(folder, F_OK))
			rc = tv_mkdirs(folder);
		if (!rc && access(folder, W_OK))
			rc = -errno;
	}
	return rc ? tv_fail(e, rc, "configuration %s: %s", path, tv_strerror(rc)) : 0;
}

int cl_conf_check(const char *path, const char *dir, struct tv_err *e)
{
	static const char *const keys[] = {"ca", "cert", "key", "crl"};
	TV_FREE char *text = NULL;
	char value[300];
	int rc = read_conf(path, &text, e);

	if (rc == -ENOENT)
		return check_folder(path, e);
	if (!rc)
		rc = check_folder(path, e);
	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (has_key(text, keys[i], value, sizeof(value)))
			return tv_fail(
				e, -EEXIST,
				"%s has certificates of another making (%s = %s): remove the "
				"lines ca, cert, key and crl, or give another file with "
				"--config. Nothing was changed",
				path, keys[i], value);
	if (has_key(text, "cluster", value, sizeof(value)) && strcmp(value, dir) != 0)
		return tv_fail(e, -EEXIST,
			       "%s has the folder of another cluster, %s: 'twinvm cluster "
			       "leave' first",
			       path, value);
	return 0;
}

/* Only what is not there yet. */
static void add_key(FILE *f, const char *text, const char *key, const char *value)
{
	char old[300];

	if (value[0] && !has_key(text, key, old, sizeof(old)))
		fprintf(f, "%s = %s\n", key, value);
}

int cl_conf_write(const struct cl_conf *c, bool *added, struct tv_err *e)
{
	TV_FREE char *text = NULL, *out = NULL;
	size_t bytes = 0;
	FILE *f;
	int rc = read_conf(c->path, &text, e);

	*added = !rc;
	if (rc && rc != -ENOENT)
		return rc;
	f = open_memstream(&out, &bytes);
	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for the configuration");
	if (text)
		fprintf(f, "%s%s", text, *text && text[strlen(text) - 1] != '\n' ? "\n" : "");
	else
		fprintf(f, "# twinvmd: every key is explained in docs/CONFIG.md\n");
	fprintf(f, MARK);
	add_key(f, text ? text : "", "cluster", c->dir);
	add_key(f, text ? text : "", "host", c->host);
	add_key(f, text ? text : "", "listen", c->listen);
	add_key(f, text ? text : "", "address", c->address);
	add_key(f, text ? text : "", "arbiter", c->arbiter);
	if (fclose(f))
		return tv_fail(e, -ENOMEM, "no memory for the configuration");
	rc = tv_write_file(c->path, out, strlen(out));
	return rc ? tv_fail(e, rc, "configuration %s: %s", c->path, tv_strerror(rc)) : 0;
}

int cl_conf_leave(const char *path, struct tv_err *e)
{
	TV_FREE char *text = NULL, *out = NULL;
	size_t bytes = 0;
	char *line, *rest, value[300];
	FILE *f;
	int rc = read_conf(path, &text, e);

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	f = open_memstream(&out, &bytes);
	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for the configuration");
	for (rest = text; (line = strsep(&rest, "\n")) && (rest || *line);)
		if (strncmp(MARK, line, strlen(line)) || strlen(line) + 1 != strlen(MARK))
			fprintf(f, "%s%s\n",
				has_key(line, "cluster", value, sizeof(value)) ? "# left: " : "",
				line);
	if (fclose(f))
		return tv_fail(e, -ENOMEM, "no memory for the configuration");
	rc = tv_write_file(path, out, strlen(out));
	return rc ? tv_fail(e, rc, "configuration %s: %s", path, tv_strerror(rc)) : 0;
}
