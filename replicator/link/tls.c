/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TLS contexts, verification of the peer, and sentences for openssl's errors.
 *
 * The peer's common name is checked inside openssl's verification, not after it: so a peer with the
 * wrong name gets an alert like one with a wrong CA, both sides can report what happened, and
 * nothing that it sends is parsed. The name must be the expected one, if there is one, and one that
 * the owner admits (repl_tls_conf.admit: the accept-list and the list of revoked names).
 *
 * The private key is not openssl's context's, which lives as long as a connection, but is given to
 * each connection for its handshake: it can be forgotten after that (repl_tls_forget_key).
 */
#include "replicator/link/tls.h"
#include "replicator/link/link.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct repl_tls {
	SSL_CTX *ctx;
};

/* What a handshake needs of repl_tls_conf; belongs to the SSL_CTX, which may outlive repl_tls. */
struct rules {
	int (*admit)(const char *name, const void *arg, struct tv_err *why);
	const void *admit_arg;
	char crl[256];
	EVP_PKEY *key; /* NULL: forgotten */
};

static void free_rules(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	struct rules *rules = ptr;

	(void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
	if (rules)
		EVP_PKEY_free(rules->key);
	free(rules);
}

static int rules_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_rules);
	return index;
}

static int peer_index(void)
{
	static int index = -1;

	if (index < 0)
		index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	return index;
}

/* The subject's common name, printable ASCII only: it goes into sentences, logs and comparisons. */
static bool common_name(X509 *cert, char *out, size_t room)
{
	X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	X509_NAME_ENTRY *entry = at < 0 ? NULL : X509_NAME_get_entry(subject, at);
	unsigned char *utf8 = NULL;
	int i, n;

	out[0] = '\0';
	if (!entry)
		return false;
	n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
	for (i = 0; i < n; i++)
		if (!isprint(utf8[i]))
			break;
	if (n > 0 && i == n && (size_t)n < room) {
		memcpy(out, utf8, (size_t)n);
		out[n] = '\0';
	}
	OPENSSL_free(utf8);
	return out[0];
}

/* error: of openssl, which chooses the alert that the peer gets. */
static int refuse(X509_STORE_CTX *store, int error, const char *fmt, ...) TV_PRINTF(3, 4);
static int refuse(X509_STORE_CTX *store, int error, const char *fmt, ...)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_peer *peer = SSL_get_ex_data(ssl, peer_index());
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(peer->refused, sizeof(peer->refused), fmt, ap);
	va_end(ap);
	X509_STORE_CTX_set_error(store, error);
	return 0;
}

static bool is_about_crl(int error)
{
	return error == X509_V_ERR_UNABLE_TO_GET_CRL || error == X509_V_ERR_CRL_HAS_EXPIRED ||
	       error == X509_V_ERR_CRL_NOT_YET_VALID || error == X509_V_ERR_CRL_SIGNATURE_FAILURE ||
	       error == X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER;
}

static int refuse_chain(X509_STORE_CTX *store, const struct rules *rules, const char *name)
{
	int error = X509_STORE_CTX_get_error(store);

	return refuse(store, error, "%s%s%s%s%s%s", X509_verify_cert_error_string(error),
		      is_about_crl(error) ? " in " : "", is_about_crl(error) ? rules->crl : "",
		      *name ? " (of " : "", name, *name ? ")" : "");
}

static int verify(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct rules *rules = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), rules_index());
	struct tls_peer *peer = SSL_get_ex_data(ssl, peer_index());
	X509 *cert = X509_STORE_CTX_get_current_cert(store);
	char name[TLS_NAME_BYTES] = "";
	bool named = cert && common_name(cert, name, sizeof(name));
	struct tv_err why = {0};
	int rc;

	if (!ok)
		return refuse_chain(store, rules, name);
	if (X509_STORE_CTX_get_error_depth(store))
		return 1;
	if (!named)
		return refuse(store, X509_V_ERR_HOSTNAME_MISMATCH, "it has no usable common name");
	if (peer->expect[0] && strcmp(name, peer->expect))
		return refuse(store, X509_V_ERR_HOSTNAME_MISMATCH,
			      "it names host '%s' instead of '%s'", name, peer->expect);
	rc = rules->admit ? rules->admit(name, rules->admit_arg, &why) : 0;
	if (rc)
		return refuse(store,
			      rc == -EKEYREVOKED ? X509_V_ERR_CERT_REVOKED
						 : X509_V_ERR_CERT_REJECTED,
			      "%s", why.text);
	memcpy(peer->name, name, sizeof(name));
	return 1;
}

/* Never ask on a terminal: a daemon has none. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

static const char *openssl_reason(char *buf, size_t room)
{
	unsigned long err = ERR_peek_error();
	const char *reason = ERR_reason_error_string(err);

	if (reason)
		return reason;
	ERR_error_string_n(err, buf, room);
	return buf;
}

static int file_fail(struct tv_err *e, const char *what, const char *path)
{
	char buf[200];
	int rc = access(path, R_OK) ? -errno : -EINVAL;

	if (rc != -EINVAL)
		return tv_fail(e, rc, "cannot read the %s %s: %s", what, path, strerror(-rc));
	return tv_fail(e, rc, "the %s %s cannot be used: %s; it must be a PEM file", what, path,
		       openssl_reason(buf, sizeof(buf)));
}

/* An expired one is an error now, not in the middle of a handshake. */
static int add_crl(SSL_CTX *ctx, X509_CRL *crl, const char *path, struct tv_err *e)
{
	const ASN1_TIME *until = X509_CRL_get0_nextUpdate(crl);

	if (until && X509_cmp_time(until, NULL) < 0)
		return tv_fail(e, -EKEYEXPIRED, "the CRL %s has expired: get a new one from the CA",
			       path);
	return X509_STORE_add_crl(SSL_CTX_get_cert_store(ctx), crl) == 1
		       ? 0
		       : file_fail(e, "CRL", path);
}

static int load_crls(SSL_CTX *ctx, const char *path, struct tv_err *e)
{
	BIO *bio = BIO_new_file(path, "r");
	X509_CRL *crl;
	unsigned n = 0;
	int rc = 0;

	while (!rc && bio && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		rc = add_crl(ctx, crl, path, e);
		X509_CRL_free(crl);
		n++;
	}
	BIO_free(bio);
	if (rc)
		return rc;
	if (!n)
		return file_fail(e, "CRL", path);
	X509_STORE_set_flags(SSL_CTX_get_cert_store(ctx), X509_V_FLAG_CRL_CHECK);
	ERR_clear_error(); /* the end of the file is one */
	return 0;
}

static struct rules *rules_of(const SSL_CTX *ctx)
{
	return SSL_CTX_get_ex_data(ctx, rules_index());
}

/* No copy of its text stays in memory. NULL: openssl has the error. */
static EVP_PKEY *read_key(const char *path)
{
	EVP_PKEY *key = NULL;
	char *text = NULL;
	size_t bytes = 0;
	BIO *bio;

	if (tv_read_file(path, 1 << 20, &text, &bytes)) {
		ERR_raise(ERR_LIB_SYS, errno);
		return NULL;
	}
	bio = BIO_new_mem_buf(text, (int)bytes);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	OPENSSL_cleanse(text, bytes);
	free(text);
	return key;
}

static int load_files(SSL_CTX *ctx, const struct repl_tls_conf *conf, struct tv_err *e)
{
	const char *ca = conf->ca, *cert = conf->cert, *key = conf->key;

	if (SSL_CTX_load_verify_file(ctx, ca) != 1)
		return file_fail(e, "CA certificate", ca);
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return file_fail(e, "certificate", cert);
	rules_of(ctx)->key = read_key(key);
	/* A mismatch shows now. */
	if (rules_of(ctx)->key &&
	    X509_check_private_key(SSL_CTX_get0_certificate(ctx), rules_of(ctx)->key) == 1)
		return conf->crl && conf->crl[0] ? load_crls(ctx, conf->crl, e) : 0;
	if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
	    ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH)
		return tv_fail(e, -EINVAL, "the key %s does not belong to the certificate %s", key,
			       cert);
	return file_fail(e, "key", key);
}

static int set_rules(SSL_CTX *ctx, const struct repl_tls_conf *conf)
{
	struct rules *rules = calloc(1, sizeof(*rules));

	if (!rules || SSL_CTX_set_ex_data(ctx, rules_index(), rules) != 1) {
		free(rules);
		return -ENOMEM;
	}
	rules->admit = conf->admit;
	rules->admit_arg = conf->admit_arg;
	tv_copy(rules->crl, sizeof(rules->crl), conf->crl ? conf->crl : "");
	return 0;
}

static int set_up(SSL_CTX *ctx, const struct repl_tls_conf *conf)
{
	if (set_rules(ctx, conf) || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_num_tickets(ctx, 0) != 1)
		return -EINVAL;
	/* No resumption: every connection checks both certificates, and their expiry, anew. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
	return 0;
}

/* openssl writes with write(2): a peer that is gone must be an error, not the end of the
 * process. */
static void ignore_sigpipe(void)
{
	struct sigaction old;

	if (!sigaction(SIGPIPE, NULL, &old) && !(old.sa_flags & SA_SIGINFO) &&
	    old.sa_handler == SIG_DFL) {
		old.sa_handler = SIG_IGN;
		sigaction(SIGPIPE, &old, NULL);
	}
}

int repl_tls_new(const struct repl_tls_conf *conf, struct repl_tls **out, struct tv_err *e)
{
	struct repl_tls *tls = calloc(1, sizeof(*tls));
	int rc;

	*out = NULL;
	ERR_clear_error();
	if (tls)
		tls->ctx = SSL_CTX_new(TLS_method());
	if (!tls || !tls->ctx || peer_index() < 0 || rules_index() < 0 || set_up(tls->ctx, conf))
		rc = tv_fail(e, -ENOMEM, "cannot set up TLS 1.3: check openssl's configuration");
	else
		rc = load_files(tls->ctx, conf, e);
	ERR_clear_error();
	if (rc) {
		repl_tls_free(tls);
		return rc;
	}
	ignore_sigpipe();
	*out = tls;
	return 0;
}

void repl_tls_free(struct repl_tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

void repl_tls_forget_key(struct repl_tls *tls)
{
	struct rules *rules = rules_of(tls->ctx);

	EVP_PKEY_free(rules->key); /* openssl wipes it */
	rules->key = NULL;
}

SSL_CTX *tls_ctx_get(struct repl_tls *tls)
{
	SSL_CTX_up_ref(tls->ctx);
	return tls->ctx;
}

SSL *tls_ssl_new(SSL_CTX *ctx, struct tls_peer *peer)
{
	SSL *ssl = SSL_new(ctx);
	struct rules *rules = rules_of(ctx);

	if (ssl && (!rules->key || SSL_use_PrivateKey(ssl, rules->key) != 1 ||
		    SSL_set_ex_data(ssl, peer_index(), peer) != 1)) {
		SSL_free(ssl);
		ssl = NULL;
	}
	if (ssl)
		common_name(SSL_get_certificate(ssl), peer->self, sizeof(peer->self));
	return ssl;
}

static bool about_certificate(int alert)
{
	switch (alert) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_DECRYPT_ERROR:
	case TLS13_AD_CERTIFICATE_REQUIRED:
		return true;
	default:
		return false;
	}
}

static int explain_alert(const struct tls_peer *peer, int alert, struct tv_err *e)
{
	const char *text = alert == TLS13_AD_CERTIFICATE_REQUIRED
				   ? "certificate required"
				   : SSL_alert_desc_string_long(alert);

	/* What a host gets that is not a peer: the alert has no room for the reason. */
	if (alert == SSL_AD_BAD_CERTIFICATE)
		return tv_fail(e, -EPROTO,
			       "it rejected this host's certificate: %s. Its log has the reason; "
			       "its configuration needs a line peer.%s",
			       text, peer->self);
	if (about_certificate(alert))
		return tv_fail(e, -EPROTO, "it rejected this host's certificate: %s", text);
	return tv_fail(e, -EPROTO, "it ended TLS with the alert '%s'", text);
}

int tls_explain(const struct tls_peer *peer, unsigned long err, bool handshake, struct tv_err *e)
{
	int reason = ERR_GET_REASON(err);
	const char *text = ERR_reason_error_string(err);
	char buf[200];

	if (peer->refused[0])
		return tv_fail(e, -EPROTO, "its certificate was rejected: %s", peer->refused);
	if (!err ||
	    (ERR_GET_LIB(err) == ERR_LIB_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING))
		return tv_fail(e, -ECONNRESET, "connection lost%s",
			       handshake ? " during the TLS handshake" : "");
	if (ERR_GET_LIB(err) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return explain_alert(peer, reason - SSL_AD_REASON_OFFSET, e);
	if (ERR_GET_LIB(err) == ERR_LIB_SSL && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return tv_fail(e, -EPROTO, "it sent no certificate");
	if (!text) {
		ERR_error_string_n(err, buf, sizeof(buf));
		text = buf;
	}
	if (handshake)
		return tv_fail(e, -EPROTO, "the TLS 1.3 handshake failed: %s", text);
	return tv_fail(e, -EPROTO, "TLS failed: %s", text);
}
