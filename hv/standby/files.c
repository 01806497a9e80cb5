/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby leaves in its run directory, and how it goes away again after any kind of end. */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LIMIT (1u << 20)
#define LAST_LINES 3

void hv_standby_last_words(const char *dir, char *out, size_t room)
{
	char path[4200], *lines[LAST_LINES], *save = NULL;
	TV_FREE char *text = NULL;
	unsigned n = 0, first;
	size_t used = 0;

	*out = '\0';
	snprintf(path, sizeof(path), "%s/" HV_STANDBY_LOG, dir);
	if (tv_read_file(path, LOG_LIMIT, &text, NULL))
		return;
	for (char *l = strtok_r(text, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save))
		lines[n++ % LAST_LINES] = l;
	first = n > LAST_LINES ? n - LAST_LINES : 0;
	for (unsigned i = first; i < n && used < room; i++) {
		int r = snprintf(out + used, room - used, "%s%s", i > first ? "; " : "",
				 lines[i % LAST_LINES]);

		used += r > 0 ? (size_t)r : 0;
	}
}

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

int hv_standby_note_files(const char *dir, char *const *argv, struct tv_err *e)
{
	char path[4200], name[512];
	struct tv_buf b;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/" HV_STANDBY_FILES, dir);
	tv_buf_init(&b, LOG_LIMIT);
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

void hv_standby_remove_files(const char *dir, bool with_log)
{
	TV_FREE char *text = NULL;
	char path[4200], *save = NULL;

	snprintf(path, sizeof(path), "%s/" HV_STANDBY_FILES, dir);
	if (!tv_read_file(path, LOG_LIMIT, &text, NULL))
		unlink(path);
	for (char *l = text ? strtok_r(text, "\n", &save) : NULL; l;
	     l = strtok_r(NULL, "\n", &save)) {
		if (strchr(l, '/') || !strcmp(l, "..") || !strcmp(l, "."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, l);
		unlink(path);
	}
	if (with_log) {
		snprintf(path, sizeof(path), "%s/" HV_STANDBY_LOG, dir);
		unlink(path);
	}
}
