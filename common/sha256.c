/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a file holds, as a name for it: SHA-256. */
#include "common/common.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES (1u << 20)

static int add_file(EVP_MD_CTX *ctx, int fd, uint64_t bytes, uint8_t *piece, tv_sha256_more *more,
		    void *arg)
{
	for (uint64_t at = 0; at < bytes;) {
		size_t want = bytes - at < PIECE_BYTES ? (size_t)(bytes - at) : PIECE_BYTES;
		ssize_t n = pread(fd, piece, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		if (!EVP_DigestUpdate(ctx, piece, (size_t)n))
			return -ENOMEM;
		at += (uint64_t)n;
		if (more && !more(arg, (size_t)n))
			return -ECANCELED;
	}
	return 0;
}

int tv_sha256_while(int fd, uint64_t bytes, tv_sha256_more *more, void *arg,
		    char out[TV_SHA256_ROOM])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t *piece = malloc(PIECE_BYTES), hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int rc = -ENOMEM;

	if (ctx && piece && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
		rc = add_file(ctx, fd, bytes, piece, more, arg);
	if (!rc && (!EVP_DigestFinal_ex(ctx, hash, &n) || 2 * n + 1 != TV_SHA256_ROOM))
		rc = -ENOMEM;
	for (unsigned i = 0; i < n && !rc; i++) {
		out[2 * i] = "0123456789abcdef"[hash[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
	}
	out[rc ? 0 : TV_SHA256_ROOM - 1] = '\0';
	EVP_MD_CTX_free(ctx);
	free(piece);
	return rc;
}

int tv_sha256(int fd, uint64_t bytes, char out[TV_SHA256_ROOM])
{
	return tv_sha256_while(fd, bytes, NULL, NULL, out);
}

bool tv_is_sha256(const char *text)
{
	return text && strlen(text) == TV_SHA256_ROOM - 1 &&
	       strspn(text, "0123456789abcdef") == TV_SHA256_ROOM - 1;
}
