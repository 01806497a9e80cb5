/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys and certificates: EC P-256, signatures ECDSA with SHA-256. */
#include "cluster/cluster_int.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CA_DAYS 7300
#define DAY_S 86400
#define BACKDATE_S 3600 /* clocks of hosts differ */
#define SERIAL_BYTES 16
#define SIGNATURE_BYTES 80

void cl_free_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

void cl_free_cert(X509 **cert)
{
	X509_free(*cert);
}

EVP_PKEY *cl_key_new(void)
{
	return EVP_EC_gen("P-256");
}

/* ---- PEM ---- */
/* Never ask on a terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	(void)buf, (void)size, (void)rwflag, (void)arg;
	return -1;
}

/* Also where the file has no key, which is wiped with the rest. */
static BIO *read_text(const char *path, char **text, size_t *bytes)
{
	if (tv_read_file(path, 1 << 20, text, bytes))
		return NULL;
	return BIO_new_mem_buf(*text, (int)*bytes);
}

EVP_PKEY *cl_key_read(const char *path)
{
	char *text = NULL;
	size_t bytes = 0;
	BIO *bio = read_text(path, &text, &bytes);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	if (text)
		OPENSSL_cleanse(text, bytes);
	free(text);
	ERR_clear_error();
	return key;
}

X509 *cl_cert_read(const char *path)
{
	char *text = NULL;
	size_t bytes = 0;
	BIO *bio = read_text(path, &text, &bytes);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	if (text)
		OPENSSL_cleanse(text, bytes);
	free(text);
	ERR_clear_error();
	return cert;
}

X509 *cl_cert_parse(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return cert;
}

static char *text_of(BIO *bio)
{
	char *p, *out = NULL;
	long n = BIO_get_mem_data(bio, &p);

	if (n > 0)
		out = strndup(p, (size_t)n);
	BIO_free(bio);
	return out;
}

char *cl_key_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());

	if (bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1)
		return text_of(bio);
	BIO_free(bio);
	return NULL;
}

char *cl_cert_pem(X509 *cert)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio && PEM_write_bio_X509(bio, cert) == 1)
		return text_of(bio);
	BIO_free(bio);
	return NULL;
}

/* ---- certificates ---- */
static bool set_serial(X509 *cert)
{
	unsigned char bytes[SERIAL_BYTES];
	BIGNUM *n = NULL;
	bool good;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, of full length */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	good = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return good;
}

static bool set_name(X509_NAME *to, const char *name)
{
	return X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_ASC, (const unsigned char *)name, -1,
					  -1, 0) == 1;
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *x;
	bool good;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	good = x && X509_add_ext(cert, x, -1) == 1;
	X509_EXTENSION_free(x);
	return good;
}

/* All but extensions and signature. */
static X509 *bare(EVP_PKEY *key, const char *name, int days)
{
	X509 *c = X509_new();

	if (c && X509_set_version(c, X509_VERSION_3) == 1 && set_serial(c) &&
	    X509_gmtime_adj(X509_getm_notBefore(c), -BACKDATE_S) &&
	    X509_gmtime_adj(X509_getm_notAfter(c), (long)days * DAY_S) &&
	    X509_set_pubkey(c, key) == 1 && set_name(X509_get_subject_name(c), name))
		return c;
	X509_free(c);
	return NULL;
}

X509 *cl_ca_new(EVP_PKEY *key, const char *name)
{
	X509 *c = bare(key, name, CA_DAYS);

	if (c && X509_set_issuer_name(c, X509_get_subject_name(c)) == 1 &&
	    add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    add_extension(c, c, NID_subject_key_identifier, "hash") &&
	    X509_sign(c, key, EVP_sha256()) > 0)
		return c;
	X509_free(c);
	return NULL;
}

X509 *cl_cert_new(EVP_PKEY *ca_key, X509 *ca, EVP_PKEY *key, const char *name, int days)
{
	X509 *c = bare(key, name, days);
	char san[CL_NAME_BYTES + 8];

	snprintf(san, sizeof(san), "DNS:%s", name);
	if (c && X509_set_issuer_name(c, X509_get_subject_name(ca)) == 1 &&
	    add_extension(c, ca, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(c, ca, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(c, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
	    add_extension(c, ca, NID_subject_alt_name, san) &&
	    X509_sign(c, ca_key, EVP_sha256()) > 0)
		return c;
	X509_free(c);
	return NULL;
}

void cl_serial(X509 *cert, char out[41])
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get_serialNumber(cert), NULL);
	char *hex = n ? BN_bn2hex(n) : NULL;

	tv_copy(out, 41, hex);
	OPENSSL_free(hex);
	BN_free(n);
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int cl_validity(X509 *cert, int64_t *from_s, int64_t *until_s)
{
	*from_s = seconds_of(X509_get0_notBefore(cert));
	*until_s = seconds_of(X509_get0_notAfter(cert));
	return *from_s && *until_s ? 0 : -EINVAL;
}

int cl_cert_print(X509 *cert, char out[CL_FINGERPRINT_ROOM])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (X509_digest(cert, EVP_sha256(), md, &n) != 1 || 2 * n + 1 > CL_FINGERPRINT_ROOM)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", md[i]);
	return 0;
}

int cl_fingerprint(const char *pem, char out[CL_FINGERPRINT_ROOM], int64_t *from_s,
		   int64_t *until_s)
{
	CL_CERT *cert = cl_cert_parse(pem);
	int64_t from = 0, until = 0;

	if (!cert || cl_cert_print(cert, out) || cl_validity(cert, &from, &until))
		return -EINVAL;
	if (from_s)
		*from_s = from;
	if (until_s)
		*until_s = until;
	return 0;
}

int cl_fingerprint_file(const char *path, char out[CL_FINGERPRINT_ROOM], struct tv_err *e)
{
	CL_CERT *cert = cl_cert_read(path);

	if (!cert || cl_cert_print(cert, out))
		return tv_fail(e, -EINVAL, "%s has no certificate that can be read", path);
	return 0;
}

bool cl_renewal_is_due(int64_t from_s, int64_t until_s, int64_t now_s)
{
	return now_s >= until_s - (until_s - from_s) / 3;
}

/* ---- requests ---- */
int cl_csr_new(EVP_PKEY *key, const char *name, char out[CL_CERT_BYTES])
{
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	TV_FREE char *text = NULL;

	if (req && bio && X509_REQ_set_pubkey(req, key) == 1 &&
	    set_name(X509_REQ_get_subject_name(req), name) &&
	    X509_REQ_sign(req, key, EVP_sha256()) > 0 && PEM_write_bio_X509_REQ(bio, req) == 1)
		text = text_of(bio);
	else
		BIO_free(bio);
	X509_REQ_free(req);
	return text && tv_copy(out, CL_CERT_BYTES, text) ? 0 : -ENOMEM;
}

static bool is_p256(EVP_PKEY *key)
{
	char group[32] = "";
	size_t n = 0;

	return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
	       EVP_PKEY_get_group_name(key, group, sizeof(group), &n) == 1 &&
	       !strcmp(group, "prime256v1");
}

static bool has_name(X509_REQ *req, const char *name)
{
	X509_NAME *subject = X509_REQ_get_subject_name(req);
	char text[CL_NAME_BYTES + 1] = "";

	return X509_NAME_entry_count(subject) == 1 &&
	       X509_NAME_get_text_by_NID(subject, NID_commonName, text, sizeof(text)) ==
		       (int)strlen(name) &&
	       !strcmp(text, name);
}

/* Only its key is used: what else a request may ask for is not looked at. */
EVP_PKEY *cl_csr_key(const char *pem, const char *name, struct tv_err *e)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, no_password, NULL) : NULL;
	EVP_PKEY *key = req ? X509_REQ_get_pubkey(req) : NULL;
	const char *fault = NULL;

	if (!key)
		fault = "it is no request in PEM form";
	else if (!is_p256(key))
		fault = "its key is not of the curve P-256";
	else if (!has_name(req, name))
		fault = "it is of another name";
	else if (X509_REQ_verify(req, key) != 1)
		fault = "it is not signed with its own key";
	X509_REQ_free(req);
	BIO_free(bio);
	ERR_clear_error();
	if (!fault)
		return key;
	EVP_PKEY_free(key);
	tv_fail(e, -EINVAL, "the certificate request of %s cannot be used: %s", name, fault);
	return NULL;
}

/* ---- what does not count any more ---- */
static bool add_revoked(X509_CRL *crl, const struct cl_gone *g)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *serial = NULL;
	ASN1_TIME *at = ASN1_TIME_set(NULL, (time_t)g->at_s);
	BIGNUM *n = NULL;
	bool good =
		r && at && BN_hex2bn(&n, g->serial) > 0 && (serial = BN_to_ASN1_INTEGER(n, NULL)) &&
		X509_REVOKED_set_serialNumber(r, serial) == 1 &&
		X509_REVOKED_set_revocationDate(r, at) == 1 && X509_CRL_add0_revoked(crl, r) == 1;

	if (!good)
		X509_REVOKED_free(r);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(at);
	BN_free(n);
	return good;
}

/* It has no end: the roster's number keeps older ones out, and a host that nobody reached for long must
 * not be cut off by that alone. */
int cl_crl_new(EVP_PKEY *ca_key, X509 *ca, const struct cl_roster *r, char *out, size_t room)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -BACKDATE_S);
	BIO *bio = BIO_new(BIO_s_mem());
	TV_FREE char *text = NULL;
	bool good = crl && now && bio && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
		    X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca)) == 1 &&
		    X509_CRL_set1_lastUpdate(crl, now) == 1;

	for (unsigned i = 0; i < r->gone_n && good; i++)
		good = add_revoked(crl, &r->gone[i]);
	good = good && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, ca_key, EVP_sha256()) > 0 &&
	       PEM_write_bio_X509_CRL(bio, crl) == 1;
	if (good)
		text = text_of(bio);
	else
		BIO_free(bio);
	ASN1_TIME_free(now);
	X509_CRL_free(crl);
	return text && tv_copy(out, room, text) ? 0 : -ENOMEM;
}

/* ---- signatures ---- */
char *cl_sign(EVP_PKEY *key, const char *text)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sig[SIGNATURE_BYTES];
	size_t n = sizeof(sig);
	char *hex = NULL;

	if (md && EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestSign(md, sig, &n, (const unsigned char *)text, strlen(text)) == 1)
		hex = malloc(2 * n + 1);
	for (size_t i = 0; hex && i < n; i++)
		sprintf(hex + 2 * i, "%02x", sig[i]);
	EVP_MD_CTX_free(md);
	return hex;
}

bool cl_signed(EVP_PKEY *key, const char *text, const char *signature)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	unsigned char sig[SIGNATURE_BYTES];
	size_t n = strlen(signature) / 2;
	unsigned byte;
	bool good = n && n <= sizeof(sig) && strlen(signature) == 2 * n &&
		    strspn(signature, "0123456789abcdef") == 2 * n;

	for (size_t i = 0; good && i < n; i++) {
		good = sscanf(signature + 2 * i, "%2x", &byte) == 1;
		sig[i] = (unsigned char)byte;
	}
	good = good && md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) == 1 &&
	       EVP_DigestVerify(md, sig, n, (const unsigned char *)text, strlen(text)) == 1;
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return good;
}
