/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The room's door: which kind of arbiter a URL names, and the calls that every kind has. */
#include "failover/arbiter/backend.h"
#include "failover/arbiter/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct way {
	const char *prefix;
	int (*check)(const char *url, const struct fo_arbiter_conf *conf, struct tv_err *e);
	int (*open)(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e);
} ways[] = {
	{"file:///", NULL, fo_arbiter_file_open},
	{"etcd://", fo_arbiter_etcd_check, fo_arbiter_etcd_open},
	{"etcds://", fo_arbiter_etcd_check, fo_arbiter_etcd_open},
};

/* NULL in *out: no arbiter. */
static int way_of(const char *url, const struct way **out, struct tv_err *e)
{
	*out = NULL;
	if (!url || !*url || !strcmp(url, "none"))
		return 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		if (!strncmp(url, ways[i].prefix, strlen(ways[i].prefix))) {
			*out = &ways[i];
			return 0;
		}
	return tv_fail(e, -EINVAL,
		       "unknown arbiter '%.100s': use etcd://HOST:PORT,HOST:PORT,... or "
		       "etcds://... (TLS), file:///DIRECTORY or none",
		       url);
}

int fo_arbiter_check_url(const char *url, const struct fo_arbiter_conf *conf, struct tv_err *e)
{
	const struct way *w;
	int rc = way_of(url, &w, e);

	return rc || !w || !w->check ? rc : w->check(url, conf, e);
}

int fo_arbiter_open(const char *url, const struct fo_arbiter_conf *conf, struct fo_arbiter **out,
		    struct tv_err *e)
{
	const struct way *w;
	int rc = way_of(url, &w, e);

	*out = NULL;
	return rc || !w ? rc : w->open(url, conf, out, e);
}

static struct fo_backend *backend(struct fo_arbiter *a)
{
	return (struct fo_backend *)a;
}

void fo_arbiter_close(struct fo_arbiter *a)
{
	if (a)
		backend(a)->close(a);
}

int fo_arbiter_probe(struct fo_arbiter *a, struct tv_err *e)
{
	return a && backend(a)->probe ? backend(a)->probe(a, e) : 0;
}

int fo_arbiter_announce(struct fo_arbiter *a, const struct fo_host *h, struct tv_err *e)
{
	if (!fo_host_ok(h))
		return tv_fail(e, -EINVAL,
			       "host '%.63s' cannot be announced: its name may have letters, "
			       "digits, '.', '_' and '-', and its address must be HOST:PORT",
			       h->name);
	return backend(a)->announce ? backend(a)->announce(a, h, e)
				    : tv_fail(e, -ENOTSUP, "this arbiter keeps no list of hosts");
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct fo_host *)x)->name, ((const struct fo_host *)y)->name);
}

int fo_arbiter_members(struct fo_arbiter *a, struct fo_host *out, unsigned n, struct tv_err *e)
{
	int found = backend(a)->members
			    ? backend(a)->members(a, out, n < FO_MAX_HOSTS ? n : FO_MAX_HOSTS, e)
			    : tv_fail(e, -ENOTSUP, "this arbiter keeps no list of hosts");

	if (found > 0)
		qsort(out, (size_t)found, sizeof(*out), by_name);
	return found;
}

int fo_arbiter_read(struct fo_arbiter *a, const char *vm_id, struct fo_record *out,
		    struct tv_err *e)
{
	return a->read(a, vm_id, out, e);
}

int fo_arbiter_cas(struct fo_arbiter *a, const char *vm_id, const struct fo_record *next,
		   struct tv_err *e)
{
	return a->cas(a, vm_id, next, e);
}

int fo_arbiter_forget(struct fo_arbiter *a, const char *vm_id, struct tv_err *e)
{
	return a ? backend(a)->forget(a, vm_id, e) : 0;
}
