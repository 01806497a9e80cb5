/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What files hold, by the inode: a CD image of 10 GB is read once, and not again for each session.
 *
 * A file whose size, times of change and inode are the same holds the same bytes. The kernel sets the
 * time of the inode's change (ctime) at each write, and nobody can set it back. It sets it in steps of
 * some milliseconds: two writes in one step leave one time. So what was changed shortly before its
 * reading began is known to this process only, which reads it once more in its next session. A block
 * device has no such times: it is known to this process only, too, for the seconds between the reading
 * and the description. Whoever copies a file compares what it got with the hash in any case.
 */
#include "hv/attach/hashes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_HASHES 256
#define FILE_LIMIT (256u << 10)
#define SETTLED_NS (2 * TV_NS_PER_S)
#define TRIES 3

struct hash {
	int64_t dev, ino, bytes, mtime_ns, ctime_ns;
	int64_t begun_ns; /* of the clock that stamps files: when its reading began */
	bool device;
	char sha256[TV_SHA256_ROOM];
};

struct hv_hashes {
	char *path;
	unsigned n, next; /* the oldest is replaced */
	bool changed;
	struct hash list[MAX_HASHES];
};

static int64_t ns_of(struct timespec t)
{
	return t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

static bool look(int fd, uint64_t bytes, struct hash *out)
{
	struct timespec now;
	struct stat st;

	if (fstat(fd, &st) || clock_gettime(CLOCK_REALTIME_COARSE, &now))
		return false;
	*out = (struct hash){.dev = (int64_t)st.st_dev,
			     .ino = (int64_t)st.st_ino,
			     .bytes = (int64_t)bytes,
			     .mtime_ns = ns_of(st.st_mtim),
			     .ctime_ns = ns_of(st.st_ctim),
			     .begun_ns = ns_of(now),
			     .device = !S_ISREG(st.st_mode)};
	/* The size that counts is the one that is read: a file that grows has changed. */
	if (!out->device && st.st_size != (off_t)bytes)
		out->bytes = -1;
	return true;
}

static bool is_same(const struct hash *a, const struct hash *b)
{
	return a->bytes >= 0 && a->dev == b->dev && a->ino == b->ino && a->bytes == b->bytes &&
	       a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns && a->device == b->device;
}

static const struct hash *find(const struct hv_hashes *h, const struct hash *like)
{
	for (unsigned i = 0; i < h->n; i++)
		if (is_same(&h->list[i], like))
			return &h->list[i];
	return NULL;
}

static void keep(struct hv_hashes *h, const struct hash *new)
{
	if (find(h, new))
		return;
	h->list[h->next] = *new;
	h->next = (h->next + 1) % MAX_HASHES;
	if (h->n < MAX_HASHES)
		h->n++;
	h->changed = true;
}

bool hv_hashes_know(const struct hv_hashes *h, int fd, uint64_t bytes, char out[TV_SHA256_ROOM])
{
	const struct hash *known;
	struct hash now;

	known = h && look(fd, bytes, &now) ? find(h, &now) : NULL;
	if (known)
		tv_copy(out, TV_SHA256_ROOM, known->sha256);
	return known;
}

int hv_hashes_add(struct hv_hashes *h, int fd, uint64_t bytes, tv_sha256_more *more, void *arg,
		  char out[TV_SHA256_ROOM])
{
	struct hash before, after;

	if (hv_hashes_know(h, fd, bytes, out))
		return 0;
	for (unsigned i = 0; i < TRIES; i++) {
		int rc = look(fd, bytes, &before)
				 ? tv_sha256_while(fd, bytes, more, arg, before.sha256)
				 : -errno;

		if (rc)
			return rc;
		if (!look(fd, bytes, &after) || !is_same(&before, &after))
			continue;
		tv_copy(out, TV_SHA256_ROOM, before.sha256);
		if (h)
			keep(h, &before);
		return 0;
	}
	return -ESTALE;
}

/* ---- between sessions ---- */

static bool is_settled(const struct hash *e)
{
	int64_t changed_ns = e->mtime_ns > e->ctime_ns ? e->mtime_ns : e->ctime_ns;

	return !e->device && changed_ns < e->begun_ns - SETTLED_NS;
}

static void read_one(struct hv_hashes *h, json_t *o)
{
	json_int_t dev, ino, bytes, mtime_ns, ctime_ns, begun_ns;
	const char *sha256;
	struct hash e = {0};

	if (json_unpack(o, "{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "dev", &dev, "ino", &ino, "bytes",
			&bytes, "mtime_ns", &mtime_ns, "ctime_ns", &ctime_ns, "begun_ns", &begun_ns,
			"sha256", &sha256) ||
	    !tv_is_sha256(sha256))
		return;
	e = (struct hash){.dev = dev,
			  .ino = ino,
			  .bytes = bytes,
			  .mtime_ns = mtime_ns,
			  .ctime_ns = ctime_ns,
			  .begun_ns = begun_ns};
	tv_copy(e.sha256, sizeof(e.sha256), sha256);
	if (is_settled(&e))
		keep(h, &e);
}

static void load(struct hv_hashes *h)
{
	TV_FREE char *text = NULL;
	json_t *list, *o;
	size_t i;

	if (tv_read_file(h->path, FILE_LIMIT, &text, NULL))
		return;
	list = json_loads(text, 0, NULL);
	json_array_foreach(list, i, o)
		read_one(h, o);
	json_decref(list);
}

struct hv_hashes *hv_hashes_open(const char *path)
{
	struct hv_hashes *h = calloc(1, sizeof(*h));

	if (!h || !(h->path = strdup(path))) {
		free(h);
		return NULL;
	}
	load(h);
	h->changed = false;
	return h;
}

void hv_hashes_save(struct hv_hashes *h)
{
	json_t *list;
	char *text;
	int rc;

	if (!h || !h->changed)
		return;
	load(h); /* what another VM's session has found meanwhile */
	list = json_array();
	for (unsigned i = 0; i < h->n; i++) {
		const struct hash *e = &h->list[(h->n < MAX_HASHES ? i : h->next + i) % MAX_HASHES];

		if (is_settled(e))
			json_array_append_new(
				list,
				json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "dev",
					  (json_int_t)e->dev, "ino", (json_int_t)e->ino, "bytes",
					  (json_int_t)e->bytes, "mtime_ns", (json_int_t)e->mtime_ns,
					  "ctime_ns", (json_int_t)e->ctime_ns, "begun_ns",
					  (json_int_t)e->begun_ns, "sha256", e->sha256));
	}
	text = json_dumps(list, JSON_COMPACT);
	rc = text ? tv_write_file(h->path, text, strlen(text)) : -ENOMEM;
	if (rc)
		tv_log(TV_WARN, "%s: %s", h->path, tv_strerror(rc));
	h->changed = false;
	free(text);
	json_decref(list);
}

void hv_hashes_free(struct hv_hashes *h)
{
	if (h)
		free(h->path);
	free(h);
}
