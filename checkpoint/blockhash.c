/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What stands for a block of a disk when two hosts compare theirs: GMAC, a universal hash of 128
 * bits under a key that is random and of one session. Two blocks that differ have the same one with
 * a probability of about 2^-116, whoever chose them: the guest, who could, never sees key or hash.
 * (That is the property wanted here, and what an unkeyed or a fast checksum hash does not promise.
 * All blocks share one nonce: that would betray the key to who sees hashes, which travel inside
 * TLS, to the host that has the disk anyway.) A comparison of a VM with its backup has one key a run, and
 * sends the first 64 bits: n bytes that differ agree with a probability of at most n/16 in 2^64, and not
 * twice.
 */
#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct ckpt_hasher {
	EVP_CIPHER_CTX *ctx;
};

int ckpt_hasher_new(const uint8_t key[CKPT_HASH_KEY_BYTES], struct ckpt_hasher **out)
{
	struct ckpt_hasher *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h)
		return -ENOMEM;
	h->ctx = EVP_CIPHER_CTX_new();
	if (!h->ctx || EVP_EncryptInit_ex(h->ctx, EVP_aes_128_gcm(), NULL, key, NULL) != 1) {
		ckpt_hasher_free(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

void ckpt_hasher_free(struct ckpt_hasher *h)
{
	if (!h)
		return;
	EVP_CIPHER_CTX_free(h->ctx);
	free(h);
}

int ckpt_hash_block(struct ckpt_hasher *h, const void *p, size_t n, uint8_t out[CKPT_HASH_BYTES])
{
	static const uint8_t nonce[12];
	int len;

	if (EVP_EncryptInit_ex(h->ctx, NULL, NULL, NULL, nonce) != 1 ||
	    EVP_EncryptUpdate(h->ctx, NULL, &len, p, (int)n) != 1 ||
	    EVP_EncryptFinal_ex(h->ctx, NULL, &len) != 1 ||
	    EVP_CIPHER_CTX_ctrl(h->ctx, EVP_CTRL_GCM_GET_TAG, CKPT_HASH_BYTES, out) != 1)
		return -EIO;
	return 0;
}
