/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a first copy that leaves out what the backup has already
 *
 * The backup sends a hash of every block of the image that it still has. The first copy then runs
 * as ever (QEMU reads the whole disk, zeroes it at the target first, and mirrors the guest's writes
 * meanwhile), and goes through the sieve, which knows of each block how the backup's image and the
 * copy made so far stand to each other:
 *
 *   KEPT    the image has what it had when it was hashed, nothing was sent; the copy has not come
 *           here yet, or brought exactly that
 *   ZEROED  the same, but the copy says that the block is zero now: not sent, since nearly always
 *           the contents follow
 *   SENT    all that came for it was sent: the image is what the copy says. Also every block
 *           whose hash is not known
 *
 *              whole block              part of it           zero, whole      zero, part
 *   KEPT       as hashed: KEPT          send -> SENT         -> ZEROED        send -> SENT
 *              else send -> SENT
 *   ZEROED     as hashed: KEPT          send the zero, then  -                -
 *              else send -> SENT        the part -> SENT
 *   SENT       send                     send                 send             send
 *
 * At the end, zeroes are sent for blocks that are ZEROED and not zero in the image. (A KEPT block
 * of which a part was sent is not whole before the copy has come there; it will: the job is ready
 * only when it has copied all of the disk.) It does not matter what the image holds, only that
 * nothing but this first copy changes it after it was hashed: a replica of another moment, a mixed
 * or a damaged one serves as well, and a block that was changed in it is sent.
 */
#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SENT, KEPT, ZEROED };

struct ckpt_sieve {
	uint64_t bytes, known; /* blocks whose hash is known: the first ones */
	uint8_t *hashes, *states;
	struct ckpt_hasher *hasher;
	uint8_t zero[CKPT_HASH_BYTES], last_zero[CKPT_HASH_BYTES]; /* of a block of zeroes */
	uint64_t kept_bytes;
	const struct ckpt_sieve_out *out;
	void *arg;
};

static uint64_t block_bytes(const struct ckpt_sieve *s, uint64_t block)
{
	uint64_t left = s->bytes - block * CKPT_BLOCK_BYTES;

	return left < CKPT_BLOCK_BYTES ? left : CKPT_BLOCK_BYTES;
}

static int hash_zeroes(struct ckpt_sieve *s)
{
	uint8_t *zeroes = calloc(1, CKPT_BLOCK_BYTES);
	uint64_t tail = s->bytes % CKPT_BLOCK_BYTES;
	int rc;

	if (!zeroes)
		return -ENOMEM;
	rc = ckpt_hash_block(s->hasher, zeroes, CKPT_BLOCK_BYTES, s->zero);
	if (!rc && tail)
		rc = ckpt_hash_block(s->hasher, zeroes, tail, s->last_zero);
	free(zeroes);
	return rc;
}

int ckpt_sieve_new(uint64_t bytes, const uint8_t key[CKPT_HASH_KEY_BYTES], uint8_t *hashes,
		   uint64_t known, const struct ckpt_sieve_out *out, void *arg,
		   struct ckpt_sieve **sieve)
{
	struct ckpt_sieve *s = calloc(1, sizeof(*s));
	uint64_t blocks = (bytes + CKPT_BLOCK_BYTES - 1) / CKPT_BLOCK_BYTES;
	int rc;

	*sieve = NULL;
	if (!s) {
		free(hashes);
		return -ENOMEM;
	}
	*s = (struct ckpt_sieve){.bytes = bytes,
				 .known = known < blocks ? known : blocks,
				 .hashes = hashes,
				 .out = out,
				 .arg = arg};
	s->states = malloc(s->known ? s->known : 1);
	rc = s->states ? ckpt_hasher_new(key, &s->hasher) : -ENOMEM;
	if (!rc)
		rc = hash_zeroes(s);
	if (rc) {
		ckpt_sieve_free(s);
		return rc;
	}
	memset(s->states, KEPT, s->known);
	*sieve = s;
	return 0;
}

void ckpt_sieve_free(struct ckpt_sieve *s)
{
	if (!s)
		return;
	ckpt_hasher_free(s->hasher);
	free(s->hashes);
	free(s->states);
	free(s);
}

uint64_t ckpt_sieve_kept_bytes(const struct ckpt_sieve *s)
{
	return s->kept_bytes;
}

/* 1: the image's block is this one. */
static int is_the_same(struct ckpt_sieve *s, uint64_t block, const uint8_t *p, size_t n)
{
	uint8_t hash[CKPT_HASH_BYTES];
	int rc = ckpt_hash_block(s->hasher, p, n, hash);

	return rc ? rc : !memcmp(hash, s->hashes + block * CKPT_HASH_BYTES, CKPT_HASH_BYTES);
}

/* Is this part of a block to be sent? 1, 0, or negative. */
static int take_part(struct ckpt_sieve *s, uint64_t block, const uint8_t *p, size_t n)
{
	uint64_t whole = block_bytes(s, block);
	int rc;

	if (block >= s->known || s->states[block] == SENT)
		return 1;
	if (n == whole) {
		rc = is_the_same(s, block, p, n);
		if (rc < 0)
			return rc;
		s->states[block] = rc ? KEPT : SENT;
		s->kept_bytes += rc ? n : 0;
		return !rc;
	}
	rc = s->states[block] == ZEROED
		     ? s->out->zero(s->arg, block * CKPT_BLOCK_BYTES, whole, false)
		     : 0;
	s->states[block] = SENT;
	return rc ? rc : 1;
}

/* The same for zeroes. */
static int zero_part(struct ckpt_sieve *s, uint64_t block, uint64_t n)
{
	if (block >= s->known || s->states[block] == SENT)
		return 1;
	if (n == block_bytes(s, block))
		s->states[block] = ZEROED;
	else if (s->states[block] == KEPT)
		s->states[block] = SENT;
	return s->states[block] == SENT;
}

/*
 * Goes through the blocks of a stretch and sends what is to be sent of it, neighbours together.
 * data NULL: zeroes.
 */
static int pass(struct ckpt_sieve *s, uint64_t offset, const uint8_t *data, uint64_t bytes,
		bool trim)
{
	uint64_t at = 0, from = 0; /* [from, at) is to be sent */
	int rc = 0;

	while (at < bytes && rc >= 0) {
		uint64_t block = (offset + at) / CKPT_BLOCK_BYTES;
		uint64_t end = block * CKPT_BLOCK_BYTES + block_bytes(s, block) - offset, n;

		/* Beyond what is known: all of the rest. */
		if (block >= s->known || end > bytes)
			end = bytes;
		n = end - at;
		rc = data ? take_part(s, block, data + at, n) : zero_part(s, block, n);
		if (rc == 0) {
			if (at > from)
				rc = data ? s->out->write(s->arg, offset + from, data + from,
							  (uint32_t)(at - from))
					  : s->out->zero(s->arg, offset + from, at - from, trim);
			from = end;
		}
		at = end;
	}
	if (rc < 0 || at == from)
		return rc < 0 ? rc : 0;
	return data ? s->out->write(s->arg, offset + from, data + from, (uint32_t)(at - from))
		    : s->out->zero(s->arg, offset + from, at - from, trim);
}

int ckpt_sieve_write(struct ckpt_sieve *s, uint64_t offset, const void *data, uint32_t bytes)
{
	return pass(s, offset, data, bytes, false);
}

int ckpt_sieve_zero(struct ckpt_sieve *s, uint64_t offset, uint64_t bytes, bool trim)
{
	return pass(s, offset, NULL, bytes, trim);
}

/* Is it zero for the copy, and not in the image? */
static bool owes_zero(const struct ckpt_sieve *s, uint64_t block)
{
	const uint8_t *zero = block_bytes(s, block) < CKPT_BLOCK_BYTES ? s->last_zero : s->zero;

	return s->states[block] == ZEROED &&
	       memcmp(s->hashes + block * CKPT_HASH_BYTES, zero, CKPT_HASH_BYTES) != 0;
}

int ckpt_sieve_end(struct ckpt_sieve *s)
{
	uint64_t known = s->known;
	int rc = 0;

	for (uint64_t b = 0; b < known && !rc;) {
		uint64_t first = b, end;

		while (b < known && owes_zero(s, b))
			b++;
		end = b * CKPT_BLOCK_BYTES;
		if (b > first)
			rc = s->out->zero(s->arg, first * CKPT_BLOCK_BYTES,
					  (end < s->bytes ? end : s->bytes) -
						  first * CKPT_BLOCK_BYTES,
					  false);
		else
			b++;
	}
	s->known = 0;
	free(s->hashes);
	free(s->states);
	s->hashes = s->states = NULL;
	return rc;
}
