/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The roster: as text, its signature, and what twinvmd reads of it. */
#include "cluster/cluster_int.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REVOKED_BYTES 800 /* of the key `revoked`: what has no room is refused all the same */

/* ---- as text ---- */
static json_t *members_json(const struct cl_roster *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->members_n; i++)
		json_array_append_new(list, json_pack("{ss ss ss sI}", "name", r->members[i].name,
						      "address", r->members[i].address, "cert",
						      r->members[i].cert, "leaves",
						      (json_int_t)r->members[i].leaves_s));
	return list;
}

static json_t *gone_json(const struct cl_roster *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->gone_n; i++)
		json_array_append_new(list,
				      json_pack("{ss ss ss sI sI}", "name", r->gone[i].name,
						"serial", r->gone[i].serial, "how", r->gone[i].how,
						"at", (json_int_t)r->gone[i].at_s, "until",
						(json_int_t)r->gone[i].until_s));
	return list;
}

static char *body_of(const struct cl_roster *r)
{
	json_t *o = json_pack("{ss sI ss ss si so so ss}", "cluster", r->id, "version",
			      (json_int_t)r->version, "authority", r->authority, "arbiter",
			      r->arbiter, "days", r->days, "members", members_json(r), "gone",
			      gone_json(r), "crl", r->crl);
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(o);
	return text;
}

static int64_t number(const json_t *o, const char *key)
{
	return (int64_t)json_integer_value(json_object_get(o, key));
}

static bool read_members(const json_t *list, struct cl_roster *r)
{
	json_t *o;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > CL_MAX_MEMBERS)
		return false;
	json_array_foreach(list, i, o) {
		struct cl_member *m = &r->members[r->members_n++];

		if (!cl_text(o, "name", m->name, sizeof(m->name)) || !cl_is_name(m->name) ||
		    !cl_text(o, "address", m->address, sizeof(m->address)) ||
		    !cl_is_address(m->address) || !cl_text(o, "cert", m->cert, sizeof(m->cert)))
			return false;
		m->leaves_s = number(o, "leaves");
	}
	return true;
}

static bool read_gone(const json_t *list, struct cl_roster *r)
{
	json_t *o;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) > CL_MAX_GONE)
		return false;
	json_array_foreach(list, i, o) {
		struct cl_gone *g = &r->gone[r->gone_n++];

		if (!cl_text(o, "name", g->name, sizeof(g->name)) || !cl_is_name(g->name) ||
		    !cl_text(o, "serial", g->serial, sizeof(g->serial)) ||
		    !cl_text(o, "how", g->how, sizeof(g->how)))
			return false;
		g->at_s = number(o, "at");
		g->until_s = number(o, "until");
	}
	return true;
}

static int read_body(const char *text, struct cl_roster *r, struct tv_err *e)
{
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	bool good = o && cl_text(o, "cluster", r->id, sizeof(r->id)) &&
		    cl_text(o, "authority", r->authority, sizeof(r->authority)) &&
		    cl_is_name(r->authority) &&
		    cl_text(o, "arbiter", r->arbiter, sizeof(r->arbiter)) &&
		    cl_text(o, "crl", r->crl, sizeof(r->crl)) && number(o, "version") > 0 &&
		    read_members(json_object_get(o, "members"), r) &&
		    read_gone(json_object_get(o, "gone"), r);

	r->version = (uint64_t)number(o, "version");
	r->days = (int)number(o, "days");
	json_decref(o);
	return good ? 0 : tv_fail(e, -EBADMSG, "the roster of the cluster is malformed");
}

/* ---- the signed text ---- */
static char *envelope(EVP_PKEY *ca_key, const char *body)
{
	TV_FREE char *signature = cl_sign(ca_key, body);
	json_t *o = signature ? json_pack("{ss ss}", "text", body, "signature", signature) : NULL;
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(o);
	return text;
}

/* The text that the CA has signed, the caller's; NULL: it has not. */
static char *signed_body(const char *dir, const char *text, size_t n)
{
	struct cl_path path = cl_path(dir, "ca.crt");
	CL_CERT *ca = cl_cert_read(path.text);
	json_t *o = n <= CL_MAX_BYTES ? json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *body = json_string_value(json_object_get(o, "text"));
	const char *signature = json_string_value(json_object_get(o, "signature"));
	char *out = NULL;

	if (ca && body && signature && cl_signed(X509_get0_pubkey(ca), body, signature))
		out = strdup(body);
	json_decref(o);
	return out;
}

int cl_open(const char *dir, const char *text, size_t n, struct cl_roster **out, struct tv_err *e)
{
	TV_FREE char *body = signed_body(dir, text, n);
	struct cl_roster *r = calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!body || !r)
		rc = tv_fail(e, r ? -EBADMSG : -ENOMEM,
			     "the roster is not signed by the CA of this cluster, %s/ca.crt", dir);
	else
		rc = read_body(body, r, e);
	if (rc)
		free(r);
	else
		*out = r;
	return rc;
}

int cl_load_text(const char *dir, char **out, struct tv_err *e)
{
	return cl_read(dir, "roster", CL_MAX_BYTES, out, e);
}

int cl_load(const char *dir, struct cl_roster **out, struct tv_err *e)
{
	TV_FREE char *text = NULL;
	int rc = cl_load_text(dir, &text, e);

	*out = NULL;
	return rc ? rc : cl_open(dir, text, strlen(text), out, e);
}

const struct cl_member *cl_member_of(const struct cl_roster *r, const char *name)
{
	for (unsigned i = 0; i < r->members_n; i++)
		if (!strcmp(r->members[i].name, name))
			return &r->members[i];
	return NULL;
}

/* ---- what twinvmd reads ---- */
static bool is_before(const struct cl_roster *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(r->gone[i].name, r->gone[n].name))
			return true;
	return false;
}

static int write_members(const char *dir, const struct cl_roster *r, const char *self,
			 struct tv_err *e)
{
	size_t used = 0, bytes = 0;
	TV_FREE char *text = NULL;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for the list of members");
	fprintf(f, "# Made by 'twinvm cluster' of the roster, number %llu: not to be edited.\n",
		(unsigned long long)r->version);
	for (unsigned i = 0; i < r->members_n; i++)
		if (strcmp(r->members[i].name, self) != 0)
			fprintf(f, "peer.%s = %s\n", r->members[i].name, r->members[i].address);
	for (unsigned i = 0; i < r->gone_n; i++) {
		const char *name = r->gone[i].name;

		if (cl_member_of(r, name) || is_before(r, i) ||
		    used + strlen(name) + 1 > REVOKED_BYTES)
			continue;
		used += strlen(name) + 1;
		fprintf(f, "revoked = %s\n", name);
	}
	if (fclose(f))
		return tv_fail(e, -ENOMEM, "no memory for the list of members");
	return cl_write(dir, CONFIG_MEMBERS, text, strlen(text), e);
}

int cl_write_host(const char *dir, EVP_PKEY *key, const char *cert, struct tv_err *e)
{
	char *pem = cl_key_pem(key), *both = NULL;
	int rc = pem && asprintf(&both, "%s%s", pem, cert) >= 0
			 ? 0
			 : tv_fail(e, -ENOMEM, "no memory for the key of this host");

	if (!rc)
		rc = cl_write(dir, "host.pem", both, strlen(both), e);
	if (both && !rc)
		OPENSSL_cleanse(both, strlen(both));
	if (pem)
		OPENSSL_cleanse(pem, strlen(pem));
	if (pem)
		free(both);
	free(pem);
	return rc;
}

/* The certificate that this host has asked for is there: its key counts from now on. */
static int take_own(const char *dir, const struct cl_member *me, X509 *has, struct tv_err *e)
{
	struct cl_path next = cl_path(dir, "next.key"), ask = cl_path(dir, "ask");
	CL_CERT *is = cl_cert_parse(me->cert);
	CL_KEY *key = NULL;
	int rc;

	if (!is || !X509_cmp(is, has))
		return 0;
	key = cl_key_read(next.text);
	if (!key || X509_check_private_key(is, key) != 1)
		return 0; /* of another request; this host keeps what it has */
	rc = cl_write_host(dir, key, me->cert, e);
	if (!rc) {
		unlink(next.text);
		unlink(ask.text);
	}
	return rc;
}

int cl_install(const char *dir, const struct cl_roster *r, const char *text, struct tv_err *e)
{
	struct cl_path host = cl_path(dir, "host.pem");
	CL_CERT *has = cl_cert_read(host.text);
	char self[CL_NAME_BYTES] = "";
	const struct cl_member *me;
	int rc;

	if (!has || X509_NAME_get_text_by_NID(X509_get_subject_name(has), NID_commonName, self,
					      sizeof(self)) < 1)
		return tv_fail(e, -EINVAL, "%s has no certificate that can be read", host.text);
	me = cl_member_of(r, self);
	rc = me ? take_own(dir, me, has, e) : 0;
	if (!rc)
		rc = cl_write(dir, "crl.pem", r->crl, strlen(r->crl), e);
	if (!rc)
		rc = write_members(dir, r, self, e);
	return rc ? rc : cl_write(dir, "roster", text, strlen(text), e);
}

int cl_take(const char *dir, const char *text, size_t n, bool *taken, struct tv_err *e)
{
	TV_FREE struct cl_roster *now = NULL, *fresh = NULL;
	TV_FREE char *copy = strndup(text, n);
	TV_CLOSE int lock = -1;
	int rc = copy ? cl_open(dir, text, n, &fresh, e) : -ENOMEM;

	*taken = false;
	if (!rc)
		rc = cl_lock(dir, &lock, e);
	if (!rc)
		rc = cl_load(dir, &now, e);
	if (rc || fresh->version <= now->version)
		return rc;
	if (strcmp(fresh->id, now->id) != 0)
		return tv_fail(e, -EBADMSG, "the roster is of another cluster");
	rc = cl_install(dir, fresh, copy, e);
	*taken = !rc;
	return rc;
}

/* ---- a new one ---- */
static void forget_expired(struct cl_roster *r)
{
	int64_t now = cl_now_s();
	unsigned n = 0;

	for (unsigned i = 0; i < r->gone_n; i++)
		if (r->gone[i].until_s > now)
			r->gone[n++] = r->gone[i];
	r->gone_n = n;
}

int cl_publish(const char *dir, struct cl_roster *r, EVP_PKEY *ca_key, X509 *ca, struct tv_err *e)
{
	TV_FREE char *body = NULL, *text = NULL;

	forget_expired(r);
	r->version++;
	if (cl_crl_new(ca_key, ca, r, r->crl, sizeof(r->crl)))
		return tv_fail(e, -ENOMEM, "the list of revoked certificates cannot be made");
	body = body_of(r);
	text = body ? envelope(ca_key, body) : NULL;
	if (!text || strlen(text) > CL_MAX_BYTES)
		return tv_fail(e, -ENOMEM, "the roster cannot be made: it has no room");
	return cl_install(dir, r, text, e);
}
