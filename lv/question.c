/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `standby` is asked for: see question.h. */
#include "lv/question.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *lv_question_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Below one of the folders ("/a:/b") that this host's operator named for such files? */
static bool is_below(const char *path, const char *folders)
{
	char folder[PATH_MAX], real[PATH_MAX];

	for (const char *p = folders; *p; p += *p == ':') {
		size_t n = strcspn(p, ":"), bytes;

		if (n && tv_copy_n(folder, sizeof(folder), p, n) && realpath(folder, real)) {
			bytes = strlen(real);
			if (!strncmp(path, real, bytes) && path[bytes] == '/')
				return true;
		}
		p += n;
	}
	return false;
}

/* A copy that this host made, by its name: NAME-file-SHA256. */
static bool is_copy(struct lv_question *w, const char *name)
{
	const char *id = lv_question_text(w->j, "id"), *mark = "-file-", *hash;
	size_t n = strlen(id);

	if (!n || strncmp(name, id, n) != 0 || strncmp(name + n, mark, strlen(mark)) != 0)
		return false;
	hash = name + n + strlen(mark);
	return strlen(hash) == 64 && strspn(hash, "0123456789abcdef") == 64;
}

/* What the peer's file is here: a copy, or a file below the folders for such. */
static bool take_file(struct lv_question *w, const json_t *o, char here[PATH_MAX])
{
	const char *copy = lv_question_text(o, "copy"), *path = lv_question_text(o, "path");
	struct stat st;

	if (*copy)
		return is_copy(w, copy) &&
		       snprintf(here, PATH_MAX, "%s/%s", lv_question_text(w->j, "folder"), copy) <
			       PATH_MAX;
	return *path == '/' && realpath(path, here) &&
	       is_below(here, lv_question_text(w->j, "media")) && !stat(here, &st) &&
	       S_ISREG(st.st_mode);
}

static int take_files(struct lv_question *w)
{
	json_t *list = json_object_get(w->ask, "files"), *o;
	size_t i;

	json_array_foreach(list, i, o) {
		struct lv_xml_file *f = &w->files[w->xml.n_files];

		if (i == LV_MAX_FILES)
			return lv_say(LV_EXIT_REFUSED, "the VM reads more than %d files",
				      LV_MAX_FILES);
		if (!take_file(w, o, w->here[i]))
			continue; /* refused where it is named */
		*f = (struct lv_xml_file){lv_question_text(o, "path"), w->here[i]};
		w->xml.n_files++;
	}
	return LV_EXIT_OK;
}

static int take_disks(struct lv_question *w)
{
	json_t *theirs = json_object_get(w->ask, "disks"), *ours = json_object_get(w->j, "images");
	size_t n = json_array_size(theirs);

	if (n != json_array_size(ours) || n > LV_MAX_DISKS)
		return lv_say(LV_EXIT_REFUSED, "the VM has %zu disks, and %zu replicas", n,
			      json_array_size(ours));
	for (size_t i = 0; i < n; i++) {
		json_t *d = json_array_get(theirs, i);

		w->disks[i] = (struct lv_xml_disk){
			.node = lv_question_text(d, "node"),
			.file = lv_question_text(d, "file"),
			.image = json_string_value(json_array_get(ours, i)),
		};
	}
	w->xml.n_disks = (unsigned)n;
	return LV_EXIT_OK;
}

static int take_bridges(struct lv_question *w)
{
	json_t *list = json_object_get(w->j, "bridges");

	w->xml.n_bridges = (unsigned)json_array_size(list);
	if (w->xml.n_bridges > LV_MAX_NICS)
		return lv_say(LV_EXIT_REFUSED, "the VM has more than %d NICs", LV_MAX_NICS);
	for (unsigned i = 0; i < w->xml.n_bridges; i++)
		w->bridges[i] = json_string_value(json_array_get(list, i));
	return LV_EXIT_OK;
}

int lv_question_take(const char *text, size_t bytes, struct lv_question *w)
{
	int rc;

	*w = (struct lv_question){0};
	w->j = text ? json_loadb(text, bytes, 0, NULL) : NULL;
	w->ask = json_loads(lv_question_text(w->j, "ask"), 0, NULL);
	rc = w->j && w->ask ? take_disks(w) : lv_say(LV_EXIT_USAGE, "no question came");
	if (!rc)
		rc = take_files(w);
	if (!rc)
		rc = take_bridges(w);
	w->xml.xml = lv_question_text(w->ask, "xml");
	w->xml.bytes = strlen(w->xml.xml);
	w->xml.emulator = lv_question_text(w->j, "emulator");
	w->xml.disks = w->disks;
	w->xml.files = w->files;
	w->xml.bridges = w->bridges;
	w->xml.vm_id = lv_question_text(w->j, "vm_id");
	w->own_uuid = lv_question_text(w->j, "own_uuid");
	return rc;
}
