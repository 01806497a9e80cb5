/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: how the cluster's list of members gets to every host
 *
 * Hosts ask each other once a second what they know (replicator/watch). With the answer goes the number
 * of the roster that a host has; to hosts with a lower one, the roster. So it spreads without a port or
 * a connection of its own, past hosts that are down, and they get it when they are back. Whoever passes
 * it on is trusted with nothing: the CA has signed it (cluster/roster.c).
 *
 * The other way go questions for the first host, which alone can sign: a new certificate, or to be removed.
 * They are signed with the key that the asking host has a certificate for, and its answer is a roster.
 *
 * All that writes or signs is done by a process, one at a time: disks may be slow, and the CA's key is not
 * for this one. What it has changed is read as after SIGHUP.
 */
#include "daemon/roster.h"
#include "cluster/cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVERY_NS (10 * TV_NS_PER_S)
#define PIECE_BYTES 1000 /* of a text in a view: replicator/watch/check.c */
#define MAX_PIECES 80
#define WARN_S (14 * 86400)
#define WARN_AGAIN_NS (86400 * TV_NS_PER_S)
#define UNCHANGED 3 /* exit status of the process */

static struct roster {
	struct daemon *d;
	uint64_t version; /* 0: this host is in no cluster */
	char *text, *ask;
	struct {
		char name[CL_NAME_BYTES];
		uint64_t version;
	} others[CL_MAX_MEMBERS];
	unsigned others_n;
	bool leaving; /* a member is to be removed soon */
	pid_t pid;
	struct event *tick;
	int64_t warned_ns;
	double expiry_s; /* of the certificate, as it was seen last */
} roster;

/* ---- the process ---- */
static int text_of(int fd, char **out)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return tv_read_file(path, CL_MAX_BYTES, out, NULL);
}

static uint64_t version_of(const char *dir)
{
	TV_FREE struct cl_roster *r = NULL;
	struct tv_err e = {0};

	return cl_load(dir, &r, &e) ? 0 : r->version;
}

int roster_main(const char *op, const char *job_text, int fd)
{
	TV_FREE char *text = NULL;
	struct tv_err e = {0};
	uint64_t before = 0, after;
	bool taken;
	struct job j;
	char tag[80];
	int rc = job_from_text(job_text, &j, &e);

	snprintf(tag, sizeof(tag), "%s cluster", j.conf.host);
	tv_log_init(tag);
	if (!rc && (!strcmp(op, "take") || !strcmp(op, "answer")))
		rc = text_of(fd, &text);
	if (!rc)
		before = version_of(j.conf.cluster);
	if (rc)
		;
	else if (!strcmp(op, "take"))
		rc = cl_take(j.conf.cluster, text, strlen(text), &taken, &e);
	else if (!strcmp(op, "answer"))
		rc = cl_answer(j.conf.cluster, text, &e);
	else if (!strcmp(op, "renew"))
		rc = cl_ask(j.conf.cluster, j.conf.host, "renew", &e);
	else
		rc = cl_tidy(j.conf.cluster, &e);
	after = strcmp(op, "renew") ? version_of(j.conf.cluster) : before + 1;
	if (rc)
		tv_log(TV_WARN, "%s: %s", op, e.text[0] ? e.text : tv_strerror(rc));
	return rc ? 1 : before != after ? 0 : UNCHANGED;
}

static void start(const char *op, const char *text)
{
	TV_CLOSE int fd = memfd_create("roster", MFD_CLOEXEC);
	struct tv_err e = {0};
	int rc = fd < 0 ? -errno : 0;

	if (roster.pid)
		return; /* what it was wanted for comes again */
	if (!rc && text)
		rc = tv_write_all(fd, text, strlen(text));
	if (!rc)
		rc = spawn_cluster(roster.d, op, fd, &roster.pid, &e);
	if (rc)
		tv_log(TV_WARN, "the cluster's list of members: %s",
		       e.text[0] ? e.text : tv_strerror(rc));
}

bool roster_exit(pid_t pid, int status)
{
	if (!pid || pid != roster.pid)
		return false;
	roster.pid = 0;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		event_active(roster.d->hup, EV_SIGNAL, 1);
	return true;
}

/* ---- what this host has ---- */
static void note_members(const struct cl_roster *r)
{
	char names[600] = "";

	for (unsigned i = 0; i < r->members_n; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			 i ? ", " : "", r->members[i].name);
	events_add(roster.d, EVENTS_MEMBERS_CHANGED, NULL,
		   json_pack("{sI}", "version", (json_int_t)r->version),
		   "members of the cluster: %s", names);
}

static void load(bool first)
{
	const char *dir = roster.d->conf.cluster;
	TV_FREE struct cl_roster *r = NULL;
	struct tv_err e = {0};

	tv_free_ptr(&roster.ask);
	if (!dir[0] || (cl_load(dir, &r, &e) == -ENOENT)) {
		tv_free_ptr(&roster.text);
		roster.version = 0;
		return;
	}
	roster.ask = cl_asked(dir);
	if (!r) {
		tv_log(TV_WARN, "the cluster's list of members cannot be read: %s", e.text);
		return;
	}
	roster.leaving = false;
	for (unsigned i = 0; i < r->members_n; i++)
		roster.leaving = roster.leaving || r->members[i].leaves_s;
	if (r->version == roster.version)
		return;
	tv_free_ptr(&roster.text);
	roster.version = cl_load_text(dir, &roster.text, &e) ? 0 : r->version;
	if (!first && roster.version)
		note_members(r);
}

/* ---- its certificate ---- */
static void look_at_certificate(void)
{
	const struct config *c = &roster.d->conf;
	double now = (double)time(NULL), until;
	int64_t from_s, until_s;
	char print[CL_FINGERPRINT_ROOM];
	TV_FREE char *pem = NULL;

	if (config_expiry(c->cert, &until))
		return;
	if (roster.expiry_s > 0 && until > roster.expiry_s) {
		events_add(roster.d, EVENTS_CERTIFICATE_RENEWED, NULL, NULL,
			   "the certificate of %s is a new one, valid for %.0f days", c->host,
			   (until - now) / 86400);
		roster.warned_ns = 0;
	}
	roster.expiry_s = until;
	if (roster.version && !roster.ask && !tv_read_file(c->cert, 1 << 16, &pem, NULL) &&
	    !cl_fingerprint(pem, print, &from_s, &until_s) &&
	    (cl_renewal_is_due(from_s, until_s, (int64_t)now) || tv_fault("certificate_due")))
		start("renew", NULL);
	if (pem)
		explicit_bzero(pem, strlen(pem));
	if (until - now > WARN_S ||
	    (roster.warned_ns && tv_now_ns() - roster.warned_ns < WARN_AGAIN_NS))
		return;
	roster.warned_ns = tv_now_ns();
	events_add(
		roster.d, EVENTS_CERTIFICATE_ENDS, NULL, NULL, "the certificate of %s, %s, %s: %s",
		c->host, c->cert, until < now ? "has expired" : "ends within 14 days",
		!roster.version ? "make a new one, and send twinvmd SIGHUP"
		: roster.ask ? "a new one was asked for, and the first host of the cluster has not "
			       "answered"
			     : "'twinvm cluster rotate' makes a new one");
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(EVERY_NS);

	(void)fd;
	(void)what;
	(void)arg;
	event_add(roster.tick, &tv);
	look_at_certificate();
	if (roster.leaving && cl_is_authority(roster.d->conf.cluster))
		start("tidy", NULL);
}

void roster_start(struct daemon *d)
{
	roster.d = d;
	load(true);
	roster.tick = evtimer_new(d->base, on_tick, NULL);
	if (roster.tick)
		event_active(roster.tick, EV_TIMEOUT, 0);
}

/* ---- hosts that do not count any more ---- */
static void cut(struct daemon *d)
{
	struct tv_err why;
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link) {
		const char *peer = vm->saved.peer.name;

		if (vm->phase != VM_RUNNING || vm->now.replicator <= 0 || !peer[0] ||
		    config_admit(peer, &d->conf, &why) != -EKEYREVOKED)
			continue;
		events_vm(vm, EVENTS_PEER_REVOKED, NULL, "%s: its session with %s is ended: %s",
			  vm->name, peer, why.text);
		kill(vm->now.replicator, SIGKILL);
	}
}

void roster_conf(struct daemon *d)
{
	if (!roster.tick)
		return;
	load(false);
	look_at_certificate();
	cut(d);
}

/* ---- to and from other hosts ---- */
static json_t *pieces(const char *text)
{
	json_t *list = json_array();

	for (size_t n = strlen(text), at = 0; at < n; at += PIECE_BYTES)
		json_array_append_new(
			list, json_stringn(text + at, n - at < PIECE_BYTES ? n - at : PIECE_BYTES));
	return list;
}

/* The caller's; NULL: they are none. */
static char *joined(const json_t *list)
{
	size_t n = 0, i;
	json_t *o;
	char *out;

	if (!json_is_array(list) || !json_array_size(list) || json_array_size(list) > MAX_PIECES)
		return NULL;
	out = calloc(MAX_PIECES, PIECE_BYTES + 1);
	json_array_foreach(list, i, o) {
		const char *s = json_string_value(o);

		if (!s || strlen(s) > PIECE_BYTES || !out) {
			free(out);
			return NULL;
		}
		memcpy(out + n, s, strlen(s));
		n += strlen(s);
	}
	return out;
}

static bool is_wanted(void)
{
	for (unsigned i = 0; i < roster.others_n; i++)
		if (roster.others[i].version < roster.version)
			return true;
	return false;
}

/* Quotes and backslashes take two bytes each; a fourth of the text are more than there are. */
size_t roster_view_bytes(const struct daemon *d)
{
	size_t n = roster.ask ? strlen(roster.ask) : 0;

	(void)d;
	if (roster.text && is_wanted())
		n += strlen(roster.text);
	return n + n / 4 + 200;
}

json_t *roster_view(struct daemon *d)
{
	json_t *to;

	(void)d;
	if (!roster.version)
		return NULL;
	to = json_pack("{sI}", "version", (json_int_t)roster.version);
	if (to && is_wanted())
		(void)!json_object_set_new(to, "roster", pieces(roster.text));
	if (to && roster.ask)
		(void)!json_object_set_new(to, "ask", pieces(roster.ask));
	return to;
}

static void note_version(const char *host, uint64_t version)
{
	unsigned i = 0;

	while (i < roster.others_n && strcmp(roster.others[i].name, host) != 0)
		i++;
	if (i == CL_MAX_MEMBERS)
		return;
	if (i == roster.others_n)
		tv_copy(roster.others[roster.others_n++].name, CL_NAME_BYTES, host);
	roster.others[i].version = version;
}

void roster_heard(struct daemon *d, const char *host, const json_t *o)
{
	json_int_t version = json_integer_value(json_object_get(o, "version"));
	TV_FREE char *text = NULL, *ask = NULL;

	if (!roster.version || version < 1)
		return;
	note_version(host, (uint64_t)version);
	text = joined(json_object_get(o, "roster"));
	ask = joined(json_object_get(o, "ask"));
	if (text && (uint64_t)version > roster.version)
		start("take", text);
	else if (ask && cl_is_authority(d->conf.cluster))
		start("answer", ask);
}
