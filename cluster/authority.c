/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only the authority does: it has the CA's key, reads it here and nowhere else, and lets go of it
 * with the function that needed it. twinvmd never has it: a short-lived process calls these.
 */
#include "cluster/cluster_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEAVING_S 10 /* a host that leaves learns meanwhile that it has left */

/* The folder under its lock, with the CA. */
struct desk {
	int lock;
	EVP_PKEY *key;
	X509 *ca;
	struct cl_roster *r;
};

bool cl_is_authority(const char *dir)
{
	return !access(cl_path(dir, "ca.key").text, F_OK);
}

static void close_desk(struct desk *k)
{
	EVP_PKEY_free(k->key);
	X509_free(k->ca);
	free(k->r);
	tv_close_fd(&k->lock);
}

#define DESK struct desk __attribute__((cleanup(close_desk)))

static int open_desk(const char *dir, struct desk *k, struct tv_err *e)
{
	int rc = cl_lock(dir, &k->lock, e);

	if (!rc)
		rc = cl_load(dir, &k->r, e);
	if (rc)
		return rc;
	k->key = cl_key_read(cl_path(dir, "ca.key").text);
	k->ca = cl_cert_read(cl_path(dir, "ca.crt").text);
	if (k->key && k->ca && X509_check_private_key(k->ca, k->key) == 1)
		return 0;
	return tv_fail(
		e, -ENOENT,
		"this host does not have the key of the CA (%s/ca.key): give the command on %s",
		dir, k->r->authority);
}

/* ---- the first host ---- */
static int first_member(struct cl_roster *r, const struct cl_first *first, const char *cert)
{
	struct cl_member *m = &r->members[r->members_n++];

	tv_copy(r->authority, sizeof(r->authority), first->host);
	tv_copy(r->arbiter, sizeof(r->arbiter), first->arbiter);
	r->days = first->days;
	tv_random_hex(r->id, 16);
	tv_copy(m->name, sizeof(m->name), first->host);
	tv_copy(m->address, sizeof(m->address), first->address);
	return tv_copy(m->cert, sizeof(m->cert), cert) ? 0 : -EINVAL;
}

static int write_ca(const char *dir, struct desk *k, struct tv_err *e)
{
	char *key = cl_key_pem(k->key);
	TV_FREE char *cert = cl_cert_pem(k->ca);
	int rc = key && cert ? cl_write(dir, "ca.key", key, strlen(key), e) : -ENOMEM;

	if (!rc)
		rc = cl_write(dir, "ca.crt", cert, strlen(cert), e);
	if (key)
		OPENSSL_cleanse(key, strlen(key));
	free(key);
	return rc;
}

int cl_init(const char *dir, const struct cl_first *first, struct tv_err *e)
{
	DESK k = {.lock = -1};
	CL_KEY *own = NULL;
	CL_CERT *cert = NULL;
	TV_FREE char *pem = NULL;
	char name[64];
	int rc = cl_lock(dir, &k.lock, e);

	if (rc)
		return rc;
	if (!access(cl_path(dir, "roster").text, F_OK) ||
	    !access(cl_path(dir, "ca.key").text, F_OK))
		return tv_fail(
			e, -EEXIST,
			"this host is in a cluster already (%s): 'twinvm cluster invite' lets "
			"another host join, 'twinvm cluster leave' ends it",
			dir);
	k.r = calloc(1, sizeof(*k.r));
	k.key = cl_key_new();
	own = cl_key_new();
	snprintf(name, sizeof(name), "twinvm CA of %.48s", first->host);
	k.ca = k.key ? cl_ca_new(k.key, name) : NULL;
	cert = k.ca && own ? cl_cert_new(k.key, k.ca, own, first->host, first->days) : NULL;
	pem = cert ? cl_cert_pem(cert) : NULL;
	if (!pem || !k.r || first_member(k.r, first, pem))
		return tv_fail(e, -ENOMEM, "keys and certificates cannot be made");
	rc = write_ca(dir, &k, e);
	if (!rc)
		rc = cl_write_host(dir, own, pem, e);
	return rc ? rc : cl_publish(dir, k.r, k.key, k.ca, e);
}

/* ---- a host joins ---- */
static int check_joining(const char *dir, const struct cl_join *j, const struct cl_roster *r,
			 struct tv_err *e)
{
	char print[CL_FINGERPRINT_ROOM];
	int64_t skew = j->now_s - cl_now_s();
	int rc = cl_fingerprint_file(cl_path(dir, "ca.crt").text, print, e);

	if (rc)
		return rc;
	if (strcmp(j->fingerprint, print) != 0)
		return tv_fail(e, -EINVAL, "the fingerprint is that of another cluster");
	if (!cl_is_name(j->name) || !cl_is_address(j->address))
		return tv_fail(e, -EINVAL, "the host's name or address is invalid");
	if (cl_member_of(r, j->name))
		return tv_fail(
			e, -EEXIST,
			"the name %s is taken in this cluster: give another with --name, or, if "
			"that host is to be replaced, 'twinvm cluster revoke %s' on %s first",
			j->name, j->name, r->authority);
	if (skew > CL_MAX_SKEW_S || skew < -CL_MAX_SKEW_S)
		return tv_fail(e, -ETIME,
			       "the clock of %s is %" PRId64
			       " s %s that of %s: set both (NTP), and "
			       "try again",
			       j->name, skew < 0 ? -skew : skew, skew < 0 ? "behind" : "ahead of",
			       r->authority);
	return r->members_n == CL_MAX_MEMBERS
		       ? tv_fail(e, -ENOSPC, "the cluster has %d hosts already", CL_MAX_MEMBERS)
		       : 0;
}

/* A certificate of that request's key, as PEM. */
static int certify(const struct desk *k, const char *csr, const char *name, char out[CL_CERT_BYTES],
		   struct tv_err *e)
{
	CL_KEY *key = cl_csr_key(csr, name, e);
	CL_CERT *cert = key ? cl_cert_new(k->key, k->ca, key, name, k->r->days) : NULL;
	TV_FREE char *pem = cert ? cl_cert_pem(cert) : NULL;

	if (!key)
		return -EINVAL;
	return pem && tv_copy(out, CL_CERT_BYTES, pem)
		       ? 0
		       : tv_fail(e, -ENOMEM, "the certificate of %s cannot be made", name);
}

int cl_admit(const char *dir, const struct cl_join *j, struct tv_err *e)
{
	DESK k = {.lock = -1};
	struct cl_member m = {0};
	int rc = open_desk(dir, &k, e);

	/* The token comes first: what else a stranger sends is not looked at. */
	if (!rc)
		rc = cl_token_use(dir, j->token, NULL, e);
	if (!rc)
		rc = check_joining(dir, j, k.r, e);
	if (!rc)
		rc = certify(&k, j->csr, j->name, m.cert, e);
	if (!rc)
		rc = cl_token_use(dir, j->token, j->name, e);
	if (rc)
		return rc;
	tv_copy(m.name, sizeof(m.name), j->name);
	tv_copy(m.address, sizeof(m.address), j->address);
	k.r->members[k.r->members_n++] = m;
	return cl_publish(dir, k.r, k.key, k.ca, e);
}

/* ---- a member's certificates do not count any more ---- */
static int end_member(struct cl_roster *r, unsigned i, const char *how, struct tv_err *e)
{
	CL_CERT *cert = cl_cert_parse(r->members[i].cert);
	struct cl_gone *g = &r->gone[r->gone_n];
	int64_t from;

	if (r->gone_n == CL_MAX_GONE)
		return tv_fail(
			e, -ENOSPC,
			"%d certificates were revoked, and none of them has expired: no more "
			"have room",
			CL_MAX_GONE);
	*g = (struct cl_gone){.at_s = cl_now_s()};
	if (!cert || cl_validity(cert, &from, &g->until_s))
		return tv_fail(e, -EINVAL, "the certificate of %s cannot be read",
			       r->members[i].name);
	cl_serial(cert, g->serial);
	tv_copy(g->name, sizeof(g->name), r->members[i].name);
	tv_copy(g->how, sizeof(g->how), how);
	r->gone_n++;
	r->members_n--;
	memmove(&r->members[i], &r->members[i + 1], (r->members_n - i) * sizeof(r->members[0]));
	return 0;
}

static int index_of(const struct cl_roster *r, const char *name)
{
	const struct cl_member *m = cl_member_of(r, name);

	return m ? (int)(m - r->members) : -1;
}

int cl_revoke(const char *dir, const char *name, struct tv_err *e)
{
	DESK k = {.lock = -1};
	int rc = open_desk(dir, &k, e), at;

	if (rc)
		return rc;
	at = index_of(k.r, name);
	if (!strcmp(name, k.r->authority))
		return tv_fail(
			e, -EINVAL,
			"%s has the key of the CA: whoever has that can make certificates, so "
			"make a new cluster instead ('twinvm cluster leave' on each host)",
			name);
	if (at < 0)
		return tv_fail(e, -ENOENT,
			       "%s is no member of this cluster: see 'twinvm cluster list'", name);
	rc = end_member(k.r, (unsigned)at, "revoked", e);
	return rc ? rc : cl_publish(dir, k.r, k.key, k.ca, e);
}

int cl_tidy(const char *dir, struct tv_err *e)
{
	DESK k = {.lock = -1};
	int rc = open_desk(dir, &k, e);
	bool changed = false;

	for (unsigned i = rc ? 0 : k.r->members_n; i-- > 0 && !rc;)
		if (k.r->members[i].leaves_s &&
		    k.r->members[i].leaves_s + LEAVING_S <= cl_now_s()) {
			rc = end_member(k.r, i, "left", e);
			changed = true;
		}
	return rc || !changed ? rc : cl_publish(dir, k.r, k.key, k.ca, e);
}

/* ---- what a member asks for ---- */
/* The request's key is the one that the member has a certificate for. */
static bool is_renewed(const struct cl_member *m, const char *csr)
{
	CL_CERT *cert = cl_cert_parse(m->cert);
	CL_KEY *key = cl_csr_key(csr, m->name, NULL);

	return cert && key && EVP_PKEY_eq(X509_get0_pubkey(cert), key) == 1;
}

static int answer(const char *dir, struct desk *k, struct cl_member *m, const json_t *o,
		  struct tv_err *e)
{
	char what[16], csr[CL_CERT_BYTES];
	int rc;

	if (!cl_text(o, "what", what, sizeof(what)))
		return tv_fail(e, -EINVAL, "%s asks for nothing", m->name);
	if (!strcmp(what, "leave")) {
		if (m->leaves_s)
			return 0;
		m->leaves_s = cl_now_s();
		return cl_publish(dir, k->r, k->key, k->ca, e);
	}
	if (strcmp(what, "renew") != 0 || !cl_text(o, "csr", csr, sizeof(csr)))
		return tv_fail(e, -EINVAL, "%s asks for what is not known here", m->name);
	if (is_renewed(m, csr))
		return 0;
	rc = certify(k, csr, m->name, m->cert, e);
	return rc ? rc : cl_publish(dir, k->r, k->key, k->ca, e);
}

int cl_answer(const char *dir, const char *ask, struct tv_err *e)
{
	DESK k = {.lock = -1};
	json_t *o = NULL, *env = json_loads(ask, JSON_REJECT_DUPLICATES, NULL);
	const char *text = json_string_value(json_object_get(env, "text"));
	const char *signature = json_string_value(json_object_get(env, "signature"));
	char name[CL_NAME_BYTES];
	CL_CERT *cert = NULL;
	int rc = open_desk(dir, &k, e), at = -1;

	if (!rc && cl_text(env, "name", name, sizeof(name)))
		at = index_of(k.r, name);
	if (at >= 0)
		cert = cl_cert_parse(k.r->members[at].cert);
	if (!rc &&
	    (!cert || !text || !signature || !cl_signed(X509_get0_pubkey(cert), text, signature)))
		rc = tv_fail(e, -EACCES, "what a host asks for is not signed by a member");
	if (!rc)
		o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!rc)
		rc = answer(dir, &k, &k.r->members[at], o, e);
	json_decref(o);
	json_decref(env);
	return rc;
}

int cl_renew_own(const char *dir, const char *host, struct tv_err *e)
{
	DESK k = {.lock = -1};
	CL_KEY *own = cl_key_new();
	int rc = open_desk(dir, &k, e), at = rc ? -1 : index_of(k.r, host);
	char csr[CL_CERT_BYTES];

	if (rc)
		return rc;
	if (at < 0 || !own || cl_csr_new(own, host, csr))
		return tv_fail(e, -EINVAL, "%s has no certificate in this cluster", host);
	rc = certify(&k, csr, host, k.r->members[at].cert, e);
	if (!rc)
		rc = cl_write_host(dir, own, k.r->members[at].cert, e);
	return rc ? rc : cl_publish(dir, k.r, k.key, k.ca, e);
}
