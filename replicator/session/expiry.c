/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When the certificates that a host is configured with end. */
#include "replicator/session/config.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

int config_expiry(const char *path, double *out_s)
{
	BIO *file = *path ? BIO_new_file(path, "r") : NULL;
	X509 *cert;
	struct tm tm;
	int rc = -EINVAL;

	/* The first that ends, where a file has several. */
	while (file && (cert = PEM_read_bio_X509(file, NULL, NULL, NULL))) {
		if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1) {
			double s = (double)timegm(&tm);

			*out_s = rc || s < *out_s ? s : *out_s;
			rc = 0;
		}
		X509_free(cert);
	}
	BIO_free(file);
	ERR_clear_error();
	return rc;
}
