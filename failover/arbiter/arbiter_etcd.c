/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arbiter in an etcd cluster, by the JSON gateway of its v3 API.
 *
 * Key /twinvm/vms/VM_ID holds the newest record; the record's version is etcd's own version of the
 * key, which starts at 1 and grows by one with every put. Reads are linearizable (etcd's default):
 * a member that does not reach a majority does not answer them.
 *
 * Compare-and-swap is one transaction: if the key's version is next->version - 1, and its last
 * change is still the one that this handle read (a key that was removed and made anew counts from 1
 * again), put, else return what is there. The same transaction may reach the cluster twice, from
 * two tries in etcd_http.c. The second one fails and finds the record of the first; it recognises
 * it by its "claim", a random string of this call, and so does not take it for another host's
 * record. After an error the result is unknown: the transaction may be done, or be done later.
 * Later it does no harm: any other change of the key makes its comparison fail.
 *
 * Key /twinvm/hosts/NAME holds a host, attached to a lease of member_ns that each announcement
 * renews; etcd removes the key with the lease.
 *
 * One cluster: the first answer fixes its id, and answers of another cluster are ignored. So are
 * answers that are older than the newest one seen: a cluster restored from a copy returns outdated
 * records, and could give one VM to two hosts.
 */
#include "failover/arbiter/backend.h"
#include "failover/arbiter/etcd_answer.h"
#include "failover/arbiter/etcd_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VMS "/twinvm/vms/"
#define HOSTS "/twinvm/hosts/"
#define HOSTS_END "/twinvm/hosts0" /* '0' follows '/': the end of everything below HOSTS */
#define BASE64_CHARS(n) (4 * (((n) + 2) / 3) + 1)

struct etcd_arbiter {
	struct fo_backend ops;
	struct etcd_http *http;
	int64_t member_ns;
	uint64_t cluster_id, revision; /* 0: no answer yet */
	struct {
		char vm_id[33];
		uint64_t version, mod_revision;
	} seen;		/* what this handle read or wrote last */
	uint64_t lease; /* of this host, 0: none */
};

/* A request, and its answer. */
struct request {
	struct etcd_arbiter *a;
	const char *key, *change;
	struct etcd_header header;
	struct etcd_kv kv;
	bool succeeded;
	uint64_t lease, ttl_s;
	struct fo_host *hosts;
	unsigned max_hosts, found;
};

/* ordered: the answer must not be older than the newest one seen (leases have no order). */
static int same_cluster(struct etcd_arbiter *a, const struct etcd_header *h, bool ordered,
			struct tv_err *e)
{
	if (a->cluster_id && a->cluster_id != h->cluster_id)
		return tv_fail(e, TV_E_PROTOCOL, "belongs to another etcd cluster");
	if (ordered && h->revision < a->revision)
		return tv_fail(
			e, TV_E_PROTOCOL,
			"has older data than seen before: was the cluster restored from a copy?");
	a->cluster_id = h->cluster_id;
	if (ordered)
		a->revision = h->revision;
	return 0;
}

static int accept_range(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	struct request *r = arg;
	int rc = etcd_answer_range(text, bytes, r->key, &r->header, &r->kv, e);

	return rc ? rc : same_cluster(r->a, &r->header, true, e);
}

static int accept_txn(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	struct request *r = arg;
	int rc = etcd_answer_txn(text, bytes, r->key, r->change, &r->header, &r->succeeded, &r->kv,
				 e);

	return rc ? rc : same_cluster(r->a, &r->header, true, e);
}

static int accept_lease(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	struct request *r = arg;
	int rc = etcd_answer_lease(text, bytes, &r->header, &r->lease, &r->ttl_s, e);

	return rc ? rc : same_cluster(r->a, &r->header, false, e);
}

static int accept_done(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	struct request *r = arg;
	int rc = etcd_answer_done(text, bytes, &r->header, e);

	return rc ? rc : same_cluster(r->a, &r->header, false, e);
}

static int accept_hosts(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	struct request *r = arg;
	int rc = etcd_answer_hosts(text, bytes, HOSTS, &r->header, r->hosts, r->max_hosts,
				   &r->found, e);

	return rc ? rc : same_cluster(r->a, &r->header, true, e);
}

static void see(struct etcd_arbiter *a, const char *vm_id, uint64_t version, uint64_t mod_revision)
{
	snprintf(a->seen.vm_id, sizeof(a->seen.vm_id), "%s", vm_id);
	a->seen.version = version;
	a->seen.mod_revision = mod_revision;
}

static int vm_key(const char *vm_id, char key[ETCD_MAX_KEY_BYTES], char *key64, struct tv_err *e)
{
	if (!fo_vm_id_ok(vm_id))
		return tv_fail(e, -EINVAL, "'%s' is not a VM id", vm_id);
	snprintf(key, ETCD_MAX_KEY_BYTES, VMS "%s", vm_id);
	etcd_base64(key, strlen(key), key64);
	return 0;
}

/* Reads a key into r->kv. */
static int range(struct request *r, const char *key64, struct tv_err *e)
{
	char body[BASE64_CHARS(ETCD_MAX_KEY_BYTES) + 32];

	snprintf(body, sizeof(body), "{\"key\":\"%s\"}", key64);
	return etcd_http_ask(r->a->http, "/v3/kv/range", body, accept_range, r, e);
}

static int record_of(const struct request *r, struct fo_record *out, char *claim, struct tv_err *e)
{
	out->version = r->kv.version;
	return fo_record_parse(r->kv.value, r->kv.value_bytes, out, claim)
		       ? tv_fail(e, -EBADMSG,
				 "arbiter record %s in etcd is malformed: inspect it, and remove "
				 "the key only if the VM runs on at most one host",
				 r->key)
		       : 0;
}

static int etcd_read(struct fo_arbiter *fa, const char *vm_id, struct fo_record *out,
		     struct tv_err *e)
{
	char key[ETCD_MAX_KEY_BYTES], key64[BASE64_CHARS(ETCD_MAX_KEY_BYTES)];
	struct etcd_arbiter *a = (struct etcd_arbiter *)fa;
	struct request r = {.a = a, .key = key};
	int rc = vm_key(vm_id, key, key64, e);

	*out = (struct fo_record){0};
	if (!rc)
		rc = range(&r, key64, e);
	if (rc)
		return rc;
	see(a, vm_id, r.kv.version, r.kv.mod_revision);
	if (!r.kv.found)
		return tv_fail(e, -ENOENT, "the arbiter has no record of this VM");
	return record_of(&r, out, NULL, e);
}

/* The transaction failed and found r->kv. 0: that is this call's own record, of an earlier try. */
static int whose(const struct request *r, const struct fo_record *next, const char *claim,
		 struct tv_err *e)
{
	char found[FO_CLAIM_CHARS + 1];
	struct fo_record there = {0};

	if (r->kv.version + 1 < next->version)
		return tv_fail(e, -EINVAL, "arbiter: record %llu does not follow %llu",
			       (unsigned long long)next->version,
			       (unsigned long long)r->kv.version);
	if (r->kv.found && r->kv.version == next->version) {
		int rc = record_of(r, &there, found, e);

		if (rc)
			return rc;
		if (!strcmp(found, claim))
			return 0;
	}
	return tv_fail(e, TV_E_LOST, "another record came first");
}

/* One comparison more when this handle knows which change it follows. */
static void compare_of(const struct etcd_arbiter *a, const char *vm_id, const char *key64,
		       uint64_t version, char *out, size_t room)
{
	size_t n = (size_t)snprintf(out, room,
				    "{\"key\":\"%s\",\"target\":\"VERSION\",\"result\":\"EQUAL\","
				    "\"version\":\"%llu\"}",
				    key64, (unsigned long long)version);

	if (version && a->seen.version == version && !strcmp(a->seen.vm_id, vm_id))
		snprintf(out + n, room - n,
			 ",{\"key\":\"%s\",\"target\":\"MOD\",\"result\":\"EQUAL\","
			 "\"mod_revision\":\"%llu\"}",
			 key64, (unsigned long long)a->seen.mod_revision);
}

static int put_record(struct request *r, const char *vm_id, const char *key64,
		      const struct fo_record *next, const char *claim, struct tv_err *e)
{
	char compare[2 * (BASE64_CHARS(ETCD_MAX_KEY_BYTES) + 128)];
	char value64[BASE64_CHARS(FO_MAX_TEXT_BYTES)];
	TV_FREE char *text = fo_record_text(next, claim), *body = NULL;

	if (!text || strlen(text) > FO_MAX_TEXT_BYTES)
		return tv_fail(e, -ENOMEM, "no memory for an arbiter record");
	etcd_base64(text, strlen(text), value64);
	compare_of(r->a, vm_id, key64, next->version - 1, compare, sizeof(compare));
	if (asprintf(&body,
		     "{\"compare\":[%s],"
		     "\"success\":[{\"request_put\":{\"key\":\"%s\",\"value\":\"%s\"}}],"
		     "\"failure\":[{\"request_range\":{\"key\":\"%s\"}}]}",
		     compare, key64, value64, key64) < 0) {
		body = NULL;
		return tv_fail(e, -ENOMEM, "no memory for an arbiter record");
	}
	return etcd_http_ask(r->a->http, "/v3/kv/txn", body, accept_txn, r, e);
}

static int etcd_cas(struct fo_arbiter *fa, const char *vm_id, const struct fo_record *next,
		    struct tv_err *e)
{
	char key[ETCD_MAX_KEY_BYTES], key64[BASE64_CHARS(ETCD_MAX_KEY_BYTES)];
	struct etcd_arbiter *a = (struct etcd_arbiter *)fa;
	struct request r = {.a = a, .key = key, .change = "response_put"};
	char claim[FO_CLAIM_CHARS + 1];
	int rc = vm_key(vm_id, key, key64, e);

	if (!rc && !next->version)
		rc = tv_fail(e, -EINVAL, "arbiter: records are numbered from 1");
	if (rc)
		return rc;
	tv_random_hex(claim, FO_CLAIM_CHARS / 2);
	rc = put_record(&r, vm_id, key64, next, claim, e);
	if (!rc && !r.succeeded)
		rc = whose(&r, next, claim, e);
	if (!rc)
		see(a, vm_id, next->version, r.succeeded ? r.header.revision : r.kv.mod_revision);
	return rc;
}

/* Removes the key if it is still as in r->kv; r->succeeded, else r->kv is what is there now. */
static int remove_seen(struct request *r, const char *key64, struct tv_err *e)
{
	TV_FREE char *body = NULL;

	if (asprintf(&body,
		     "{\"compare\":[{\"key\":\"%s\",\"target\":\"MOD\",\"result\":\"EQUAL\","
		     "\"mod_revision\":\"%llu\"}],"
		     "\"success\":[{\"request_delete_range\":{\"key\":\"%s\"}}],"
		     "\"failure\":[{\"request_range\":{\"key\":\"%s\"}}]}",
		     key64, (unsigned long long)r->kv.mod_revision, key64, key64) < 0) {
		body = NULL;
		return tv_fail(e, -ENOMEM, "no memory to remove an arbiter record");
	}
	return etcd_http_ask(r->a->http, "/v3/kv/txn", body, accept_txn, r, e);
}

/* Not a plain removal: one that comes late must not take the next protection's record with it. */
static int etcd_forget(struct fo_arbiter *fa, const char *vm_id, struct tv_err *e)
{
	char key[ETCD_MAX_KEY_BYTES], key64[BASE64_CHARS(ETCD_MAX_KEY_BYTES)];
	struct etcd_arbiter *a = (struct etcd_arbiter *)fa;
	struct request r = {.a = a, .key = key, .change = "response_delete_range"};
	int rc = vm_key(vm_id, key, key64, e);

	if (!rc)
		rc = range(&r, key64, e);
	for (int i = 0; i < 3 && !rc && r.kv.found && !r.succeeded; i++)
		rc = remove_seen(&r, key64, e);
	if (!rc && r.kv.found && !r.succeeded)
		rc = tv_fail(e, -EAGAIN, "arbiter: %s changed while it was being removed", key);
	return rc;
}

/* A key that is never made: an answer to it needs a majority, as every read does. */
static int etcd_probe(struct fo_arbiter *fa, struct tv_err *e)
{
	char key64[BASE64_CHARS(ETCD_MAX_KEY_BYTES)];
	struct request r = {.a = (struct etcd_arbiter *)fa, .key = "/twinvm/probe"};

	etcd_base64(r.key, strlen(r.key), key64);
	return range(&r, key64, e);
}

/* Renews this host's lease, or takes a new one when there is none any more. */
static int hold_lease(struct etcd_arbiter *a, struct tv_err *e)
{
	struct request r = {.a = a};
	char body[64];
	int rc;

	if (a->lease) {
		snprintf(body, sizeof(body), "{\"ID\":\"%llu\"}", (unsigned long long)a->lease);
		rc = etcd_http_ask(a->http, "/v3/lease/keepalive", body, accept_lease, &r, e);
		if (rc || (r.lease == a->lease && r.ttl_s))
			return rc;
	}
	a->lease = 0;
	snprintf(body, sizeof(body), "{\"TTL\":\"%lld\"}", (long long)(a->member_ns / TV_NS_PER_S));
	rc = etcd_http_ask(a->http, "/v3/lease/grant", body, accept_lease, &r, e);
	if (!rc)
		a->lease = r.lease;
	return rc;
}

static int etcd_announce(struct fo_arbiter *fa, const struct fo_host *h, struct tv_err *e)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)fa;
	char key[ETCD_MAX_KEY_BYTES], key64[BASE64_CHARS(ETCD_MAX_KEY_BYTES)];
	char value64[BASE64_CHARS(FO_MAX_TEXT_BYTES)];
	char body[sizeof(key64) + sizeof(value64) + 64];
	TV_FREE char *text = fo_host_text(h, 0);
	struct request r = {.a = a};
	int rc;

	if (!text || strlen(text) > FO_MAX_TEXT_BYTES)
		return tv_fail(e, -ENOMEM, "no memory to announce this host");
	rc = hold_lease(a, e);
	if (rc)
		return rc;
	snprintf(key, sizeof(key), HOSTS "%s", h->name);
	etcd_base64(key, strlen(key), key64);
	etcd_base64(text, strlen(text), value64);
	snprintf(body, sizeof(body), "{\"key\":\"%s\",\"value\":\"%s\",\"lease\":\"%llu\"}", key64,
		 value64, (unsigned long long)a->lease);
	rc = etcd_http_ask(a->http, "/v3/kv/put", body, accept_done, &r, e);
	if (rc)
		a->lease = 0; /* it may have ended since: a new one next time */
	return rc;
}

static int etcd_members(struct fo_arbiter *fa, struct fo_host *out, unsigned n, struct tv_err *e)
{
	struct request r = {.a = (struct etcd_arbiter *)fa, .hosts = out, .max_hosts = n};
	char from64[BASE64_CHARS(sizeof(HOSTS))], to64[BASE64_CHARS(sizeof(HOSTS_END))];
	char body[sizeof(from64) + sizeof(to64) + 64];
	int rc;

	etcd_base64(HOSTS, strlen(HOSTS), from64);
	etcd_base64(HOSTS_END, strlen(HOSTS_END), to64);
	snprintf(body, sizeof(body), "{\"key\":\"%s\",\"range_end\":\"%s\",\"limit\":\"%d\"}",
		 from64, to64, FO_MAX_HOSTS);
	rc = etcd_http_ask(r.a->http, "/v3/kv/range", body, accept_hosts, &r, e);
	return rc ? rc : (int)r.found;
}

static void etcd_close(struct fo_arbiter *fa)
{
	struct etcd_arbiter *a = (struct etcd_arbiter *)fa;

	etcd_http_free(a->http);
	free(a);
}

static bool set(const char *s)
{
	return s && *s;
}

static int check(const char *url, const struct fo_arbiter_conf *conf, struct etcd_url *out,
		 struct tv_err *e)
{
	int rc = etcd_url_parse(url, out, e);

	if (rc)
		return rc;
	if (out->tls && !set(conf->ca))
		return tv_fail(e, -EINVAL,
			       "arbiter '%.120s' needs arbiter_ca in the configuration: the CA "
			       "that signed the etcd members' certificates",
			       url);
	if (!out->tls && (set(conf->ca) || set(conf->cert) || set(conf->key)))
		return tv_fail(e, -EINVAL,
			       "arbiter '%.120s' would be asked without the configured TLS "
			       "(arbiter_ca, arbiter_cert, arbiter_key): use etcds://",
			       url);
	if (!out->tls && set(conf->user))
		return tv_fail(
			e, -EINVAL,
			"arbiter '%.120s' would be sent the password of arbiter_user in plain "
			"text: use etcds://",
			url);
	if (set(conf->user) != set(conf->password_file))
		return tv_fail(e, -EINVAL,
			       "arbiter_user and arbiter_password_file belong together: configure "
			       "both or none");
	if (set(conf->cert) != set(conf->key))
		return tv_fail(e, -EINVAL,
			       "arbiter_cert and arbiter_key belong together: configure both or "
			       "none");
	return 0;
}

int fo_arbiter_etcd_check(const char *url, const struct fo_arbiter_conf *conf, struct tv_err *e)
{
	struct etcd_url u;

	return check(url, conf, &u, e);
}

static int readable(const char *key, const char *path, struct tv_err *e)
{
	return set(path) && access(path, R_OK)
		       ? tv_fail(e, -errno, "%s %s: %s", key, path, strerror(errno))
		       : 0;
}

int fo_arbiter_etcd_open(const char *url, const struct fo_arbiter_conf *conf,
			 struct fo_arbiter **out, struct tv_err *e)
{
	struct etcd_arbiter *a;
	struct etcd_url u;
	int rc = check(url, conf, &u, e);

	if (!rc)
		rc = readable("arbiter_ca", conf->ca, e);
	if (!rc)
		rc = readable("arbiter_cert", conf->cert, e);
	if (!rc)
		rc = readable("arbiter_key", conf->key, e);
	if (rc)
		return rc;
	a = calloc(1, sizeof(*a));
	if (!a)
		return tv_fail(e, -ENOMEM, "no memory for the arbiter");
	a->ops = (struct fo_backend){.records = {.read = etcd_read, .cas = etcd_cas},
				     .forget = etcd_forget,
				     .close = etcd_close,
				     .probe = etcd_probe,
				     .announce = etcd_announce,
				     .members = etcd_members};
	a->member_ns = conf->times->member_ns;
	rc = etcd_http_new(&u, conf, &a->http, e);
	if (rc) {
		free(a);
		return rc;
	}
	*out = &a->ops.records;
	return 0;
}
