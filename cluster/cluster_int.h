/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to cluster/: files of the folder, keys, and how a roster is written. */
#ifndef CLUSTER_CLUSTER_INT_H
#define CLUSTER_CLUSTER_INT_H

#include "cluster/cluster.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

/* ---- files.c ---- */
struct cl_path {
	char text[PATH_MAX];
};
struct cl_path cl_path(const char *dir, const char *name);
/* Holds the folder's lock until the descriptor is closed; makes the folder. */
int cl_lock(const char *dir, int *fd, struct tv_err *e) TV_MUST_CHECK;
int cl_write(const char *dir, const char *name, const void *p, size_t n,
	     struct tv_err *e) TV_MUST_CHECK;
int cl_read(const char *dir, const char *name, size_t limit_bytes, char **out,
	    struct tv_err *e) TV_MUST_CHECK;
int64_t cl_now_s(void);
/* A text of a JSON object that has room; false: it is missing, or has not. */
bool cl_text(const json_t *o, const char *key, char *out, size_t room);

/* ---- keys.c ---- */
#define CL_KEY EVP_PKEY __attribute__((cleanup(cl_free_key)))
#define CL_CERT X509 __attribute__((cleanup(cl_free_cert)))
void cl_free_key(EVP_PKEY **key);
void cl_free_cert(X509 **cert);
EVP_PKEY *cl_key_new(void);
EVP_PKEY *cl_key_read(const char *path);
/* As PEM, the caller's; NULL: no memory. The key's is to be wiped. */
char *cl_key_pem(EVP_PKEY *key);
char *cl_cert_pem(X509 *cert);
X509 *cl_cert_read(const char *path);
X509 *cl_cert_parse(const char *pem);
X509 *cl_ca_new(EVP_PKEY *key, const char *name);
/* serial: a fresh random one. */
X509 *cl_cert_new(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const char *name, int days);
/* A request of that key, as PEM of CL_CERT_BYTES at most. */
int cl_csr_new(EVP_PKEY *key, const char *name, char out[CL_CERT_BYTES]) TV_MUST_CHECK;
/* The key of a request: P-256, of that name, and signed with it. NULL: e says why. */
EVP_PKEY *cl_csr_key(const char *pem, const char *name, struct tv_err *e);
int cl_crl_new(EVP_PKEY *ca_key, X509 *ca, const struct cl_roster *r, char *out,
	       size_t room) TV_MUST_CHECK;
void cl_serial(X509 *cert, char out[41]);
/* Lower-case hex, the caller's; NULL: it failed. */
char *cl_sign(EVP_PKEY *key, const char *text);
bool cl_signed(EVP_PKEY *key, const char *text, const char *signature);
int cl_validity(X509 *cert, int64_t *from_s, int64_t *until_s) TV_MUST_CHECK;
int cl_cert_print(X509 *cert, char out[CL_FINGERPRINT_ROOM]) TV_MUST_CHECK;

/* ---- roster.c ---- */
/* With the next number and a new CRL; and makes it this host's. Under the lock. */
int cl_publish(const char *dir, struct cl_roster *r, EVP_PKEY *ca_key, X509 *ca,
	       struct tv_err *e) TV_MUST_CHECK;
/* What twinvmd reads of it, and the certificate of this host if a new one is in it. Under the lock. */
int cl_install(const char *dir, const struct cl_roster *r, const char *text,
	       struct tv_err *e) TV_MUST_CHECK;
/* host.pem, of a key and this certificate. */
int cl_write_host(const char *dir, EVP_PKEY *key, const char *cert, struct tv_err *e) TV_MUST_CHECK;

/* ---- authority.c ---- */
/* A new certificate for the authority itself. */
int cl_renew_own(const char *dir, const char *host, struct tv_err *e) TV_MUST_CHECK;

/* ---- wire.c: what a joining host and an invitation send each other ---- */
#define CL_REQUEST_BYTES 8192u
#define CL_REPLY_BYTES (CL_MAX_BYTES + (CL_MAX_BYTES / 2))
int cl_join_parse(const char *text, size_t n, struct cl_join *out) TV_MUST_CHECK;
char *cl_join_text(const struct cl_join *j);

#endif
