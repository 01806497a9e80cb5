/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hosts as files DIR/hosts/NAME. A directory has no leases, and no two hosts' clocks are compared:
 * each host counts its announcements in its file, and to a reader a host is present as long as the
 * count changes, by the reader's own clock. So a reader that has just begun knows no host, and a
 * file that is not written any more never counts.
 */
#include "failover/arbiter/members_file.h"
#include "failover/arbiter/record.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int fo_members_announce(struct fo_members *m, const char *folder, const struct fo_host *h,
			struct tv_err *e)
{
	char hosts[PATH_MAX], path[PATH_MAX + 80];
	TV_FREE char *text = NULL;
	int rc;

	if (!m->beat) { /* not where an earlier daemon stopped: that would look unchanged */
		char tag[9];

		tv_random_hex(tag, 4);
		m->beat = strtoull(tag, NULL, 16);
	}
	text = fo_host_text(h, ++m->beat);
	if (!text)
		return tv_fail(e, -ENOMEM, "no memory to announce this host");
	snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
	if (mkdir(hosts, 0700) && errno != EEXIST)
		return tv_fail(e, -errno, "arbiter: cannot create %s: %s", hosts, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", hosts, h->name);
	rc = tv_write_file(path, text, strlen(text));
	return rc ? tv_fail(e, rc, "arbiter: cannot write %s: %s", path, tv_strerror(rc)) : 0;
}

static struct fo_seen *seen(struct fo_members *m, const char *name)
{
	for (unsigned i = 0; i < m->n; i++)
		if (!strcmp(m->seen[i].name, name))
			return &m->seen[i];
	if (m->n == FO_MAX_HOSTS)
		return NULL;
	m->seen[m->n] = (struct fo_seen){0};
	snprintf(m->seen[m->n].name, sizeof(m->seen[m->n].name), "%s", name);
	return &m->seen[m->n++];
}

/* Reads one host's file; true if the host is there. */
static bool look(struct fo_members *m, const char *hosts, const char *name, int64_t now_ns,
		 int64_t member_ns, struct fo_host *out)
{
	char path[PATH_MAX + 80];
	TV_FREE char *text = NULL;
	struct fo_seen *s;
	uint64_t beat;
	size_t bytes;

	snprintf(path, sizeof(path), "%s/%s", hosts, name);
	if (tv_read_file(path, FO_MAX_TEXT_BYTES, &text, &bytes) ||
	    fo_host_parse(text, bytes, out, &beat) || strcmp(out->name, name) != 0)
		return false;
	s = seen(m, name);
	if (!s)
		return false;
	if (s->beat && s->beat != beat)
		s->changed_ns = now_ns;
	s->beat = beat;
	s->there = true;
	return s->changed_ns && now_ns - s->changed_ns < member_ns;
}

static void forget_the_gone(struct fo_members *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n; i++)
		if (m->seen[i].there)
			m->seen[kept++] = m->seen[i];
	m->n = kept;
}

int fo_members_list(struct fo_members *m, const char *folder, int64_t now_ns, int64_t member_ns,
		    struct fo_host *out, unsigned n, struct tv_err *e)
{
	char hosts[PATH_MAX];
	struct dirent *ent;
	unsigned found = 0;
	DIR *d;

	snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
	d = opendir(hosts);
	if (!d)
		return errno == ENOENT ? 0
				       : tv_fail(e, -errno, "arbiter directory %s: %s", hosts,
						 strerror(errno));
	for (unsigned i = 0; i < m->n; i++)
		m->seen[i].there = false;
	while ((ent = readdir(d))) {
		struct fo_host h;

		if (fo_host_name_ok(ent->d_name) &&
		    look(m, hosts, ent->d_name, now_ns, member_ns, &h) && found < n)
			out[found++] = h;
	}
	closedir(d);
	forget_the_gone(m);
	return (int)found;
}
