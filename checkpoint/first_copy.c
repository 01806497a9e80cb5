/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first copy: page records applied one by one as they come. The VM runs meanwhile, so pages
 * come in any order and again; there is no epoch to wait for, and no memory but for one record that
 * has not come completely. Each page is checked before it is written, so a failure leaves
 * whole pages.
 */
#include "checkpoint/decode.h"

#include <errno.h>
#include <string.h>

static const char *check_header(const struct ckpt_dec *dec, const struct ckpt_rec *r)
{
	const char *why = ckpt_rec_check(r);

	if (why)
		return why;
	if (r->block == CKPT_BLOCK_STATE)
		return "device state outside an epoch";
	return ckpt_dec_check_place(dec, r);
}

static int put_page(struct ckpt_dec *dec, const struct ckpt_rec *r, const uint8_t *contents)
{
	uint8_t *map = dec->mem.map(dec->mem.arg, r->block);

	if (!map)
		return dec->mem.write(dec->mem.arg, r->block, r->offset, contents, TV_PAGE_BYTES);
	memcpy(map + r->offset, contents, TV_PAGE_BYTES);
	return 0;
}

static int apply_one(struct ckpt_dec *dec, const struct ckpt_rec *r, const uint8_t *payload,
		     struct tv_err *e)
{
	const uint8_t *contents;
	int rc = ckpt_dec_page(dec, r, payload, &contents);

	if (!rc)
		rc = put_page(dec, r, contents);
	if (rc)
		return ckpt_dec_fail(e, rc, dec->streamed + 1, r,
				     rc == TV_E_CORRUPT ? "contents do not match their hash"
							: tv_strerror(rc));
	dec->streamed++;
	ckpt_stats_count(&dec->stats, r);
	return 0;
}

struct input {
	const uint8_t *p;
	size_t n;
};

/* Moves input to carry until that holds want bytes. */
static int fill(struct tv_buf *carry, size_t want, struct input *in)
{
	size_t n = want > carry->bytes ? want - carry->bytes : 0;
	int rc;

	n = n < in->n ? n : in->n;
	rc = tv_buf_add(carry, in->p, n);
	if (rc)
		return rc;
	in->p += n;
	in->n -= n;
	return 0;
}

/*
 * Takes one record, or what there is of it. A header is checked as soon as it is complete, before
 * any memory for its payload is taken.
 */
static int take(struct ckpt_dec *dec, struct input *in, struct tv_err *e)
{
	struct tv_buf *carry = &dec->carry;
	const uint8_t *head = in->p;
	struct ckpt_rec r;
	const char *why;
	size_t want;
	int rc = 0;

	if (carry->bytes || in->n < CKPT_RECORD_HEADER_BYTES) {
		rc = fill(carry, CKPT_RECORD_HEADER_BYTES, in);
		if (rc || carry->bytes < CKPT_RECORD_HEADER_BYTES)
			goto out;
		head = carry->data;
	}
	ckpt_rec_get(head, &r);
	why = check_header(dec, &r);
	if (why)
		return ckpt_dec_fail(e, TV_E_PROTOCOL, dec->streamed + 1, &r, why);
	want = CKPT_RECORD_HEADER_BYTES + r.payload_bytes;
	if (!carry->bytes && in->n >= want) {
		in->p += want;
		in->n -= want;
		return apply_one(dec, &r, head + CKPT_RECORD_HEADER_BYTES, e);
	}
	rc = fill(carry, want, in);
	if (rc || carry->bytes < want)
		goto out;
	carry->bytes = 0;
	return apply_one(dec, &r, carry->data + CKPT_RECORD_HEADER_BYTES, e);
out:
	return rc ? tv_fail(e, rc, "no memory for a record") : 0;
}

int ckpt_dec_stream(struct ckpt_dec *dec, const void *p, size_t n, struct tv_err *e)
{
	struct input in = {p, n};

	if (dec->dead)
		return tv_fail(e, -EIO,
			       "an earlier epoch could not be applied; the replica is lost");
	if (dec->stream_failed)
		return tv_fail(e, dec->stream_failed, "the first copy failed before");
	while (in.n && !dec->stream_failed)
		dec->stream_failed = take(dec, &in, e);
	return dec->stream_failed;
}

size_t ckpt_dec_stream_pending(const struct ckpt_dec *dec)
{
	return dec->carry.bytes;
}
