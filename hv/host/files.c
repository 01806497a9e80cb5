/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby leaves in its run directory, and how it goes away again after any kind of end. */
#include "hv/host/files.h"
#include "hv/host/host.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_LIMIT (1u << 20)

/* A name right inside dir, as far as it goes in this word. Commas and quotes end it. */
static bool name_in_word(const char *word, const char *dir, char *name, size_t room)
{
	size_t n = strlen(dir);
	const char *p = strstr(word, dir);

	if (!p || p[n] != '/')
		return false;
	p += n + 1;
	snprintf(name, room, "%.*s", (int)strcspn(p, ",/\""), p);
	return *name != '\0';
}

int hv_host_note_files(const char *dir, char *const *argv, struct tv_err *e)
{
	char path[4200], name[512];
	struct tv_buf b;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/" HV_HOST_FILES, dir);
	tv_buf_init(&b, LIST_LIMIT);
	for (char *const *p = argv + 1; *p && !rc; p++) {
		if (!name_in_word(*p, dir, name, sizeof(name)))
			continue;
		rc = tv_buf_add(&b, name, strlen(name));
		if (!rc)
			rc = tv_buf_add(&b, "\n", 1);
	}
	if (!rc)
		rc = tv_write_file(path, b.data ? (char *)b.data : "", b.bytes);
	tv_buf_dispose(&b);
	if (rc)
		return tv_fail(e, rc, "cannot write %s: %s", path, tv_strerror(rc));
	return 0;
}

void hv_host_remove_files(const char *dir, bool with_log)
{
	TV_FREE char *text = NULL;
	char path[4200], *save = NULL;

	snprintf(path, sizeof(path), "%s/" HV_HOST_FILES, dir);
	if (!tv_read_file(path, LIST_LIMIT, &text, NULL))
		unlink(path);
	for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save)) {
		if (strchr(l, '/') || !strcmp(l, "..") || !strcmp(l, "."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, l);
		unlink(path);
	}
	if (with_log) {
		snprintf(path, sizeof(path), "%s/" HV_HOST_LOG, dir);
		unlink(path);
	}
}
