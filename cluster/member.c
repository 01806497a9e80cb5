/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a member does for itself: requests, questions to the authority, joining and leaving on disk. */
#include "cluster/cluster_int.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASK_BYTES 8192

/* The key is on disk before anybody can get a certificate for it. */
int cl_make_request(const char *dir, const char *name, char csr[CL_CERT_BYTES], struct tv_err *e)
{
	CL_KEY *key = cl_key_new();
	char *pem = key ? cl_key_pem(key) : NULL;
	TV_CLOSE int lock = -1;
	int rc = cl_lock(dir, &lock, e);

	if (!rc && (!pem || cl_csr_new(key, name, csr)))
		rc = tv_fail(e, -ENOMEM, "a key cannot be made");
	if (!rc)
		rc = cl_write(dir, "next.key", pem, strlen(pem), e);
	if (pem)
		OPENSSL_cleanse(pem, strlen(pem));
	free(pem);
	return rc;
}

int cl_ask(const char *dir, const char *host, const char *what, struct tv_err *e)
{
	TV_FREE char *text = NULL, *signature = NULL, *out = NULL;
	char csr[CL_CERT_BYTES] = "";
	CL_KEY *key = NULL;
	TV_CLOSE int lock = -1;
	json_t *o;
	int rc;

	if (cl_is_authority(dir) && !strcmp(what, "renew"))
		return cl_renew_own(dir, host, e);
	rc = strcmp(what, "renew") != 0 ? 0 : cl_make_request(dir, host, csr, e);
	if (!rc)
		rc = cl_lock(dir, &lock, e);
	if (rc)
		return rc;
	key = cl_key_read(cl_path(dir, "host.pem").text);
	o = json_pack("{ss ss sI ss}", "what", what, "name", host, "at", (json_int_t)cl_now_s(),
		      "csr", csr);
	text = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(o);
	signature = key && text ? cl_sign(key, text) : NULL;
	if (!signature)
		return tv_fail(e, -EINVAL, "%s/host.pem has no key that can be used", dir);
	o = json_pack("{ss ss ss}", "name", host, "text", text, "signature", signature);
	out = o ? json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(o);
	return out ? cl_write(dir, "ask", out, strlen(out), e) : -ENOMEM;
}

char *cl_asked(const char *dir)
{
	char *text = NULL;

	return cl_read(dir, "ask", ASK_BYTES, &text, NULL) ? NULL : text;
}

int cl_settle(const char *dir, const char *host, const char *ca, const char *text, struct tv_err *e)
{
	TV_FREE struct cl_roster *r = NULL;
	struct cl_path next = cl_path(dir, "next.key");
	const struct cl_member *me;
	CL_KEY *key = NULL;
	CL_CERT *cert = NULL;
	TV_CLOSE int lock = -1;
	int rc = cl_lock(dir, &lock, e);

	if (!rc)
		rc = cl_write(dir, "ca.crt", ca, strlen(ca), e);
	if (!rc)
		rc = cl_open(dir, text, strlen(text), &r, e);
	if (rc)
		return rc;
	me = cl_member_of(r, host);
	key = cl_key_read(next.text);
	cert = me ? cl_cert_parse(me->cert) : NULL;
	if (!key || !cert || X509_check_private_key(cert, key) != 1)
		return tv_fail(e, -EBADMSG, "the roster has no certificate for the key of %s",
			       host);
	rc = cl_write_host(dir, key, me->cert, e);
	if (!rc)
		rc = cl_install(dir, r, text, e);
	if (!rc)
		unlink(next.text);
	return rc;
}

int cl_forget(const char *dir, struct tv_err *e)
{
	static const char *const files[] = {"host.pem", "next.key",	"ca.key", "ask",   "tokens",
					    "crl.pem",	CONFIG_MEMBERS, "ca.crt", "roster"};
	TV_CLOSE int lock = -1;
	int rc = cl_lock(dir, &lock, e);

	for (size_t i = 0; i < sizeof(files) / sizeof(*files) && !rc; i++)
		if (unlink(cl_path(dir, files[i]).text) && errno != ENOENT)
			rc = tv_fail(e, -errno, "%s: %s", cl_path(dir, files[i]).text,
				     strerror(errno));
	return rc ? rc : tv_sync_folder_of(cl_path(dir, "lock").text);
}
