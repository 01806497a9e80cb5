/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Raw records and pages of trace data, made by hand, offset by offset. */
#ifndef RAS_FORMAT_KIT_H
#define RAS_FORMAT_KIT_H

#include "ras_formats.h"
#include "ras_kit.h"

/* A record: its own bytes, and where the next text goes. */
struct raw {
	uint8_t b[1024];
	size_t bytes;
};

static inline struct raw raw_of(unsigned id, size_t fixed_bytes)
{
	struct raw r = {.bytes = fixed_bytes};

	tv_put_le16(r.b, (uint16_t)id);
	return r;
}

/* A dynamic field: its place and length at offset, its bytes at the end. */
static inline void raw_dynamic(struct raw *r, size_t offset, const void *p, size_t n)
{
	tv_put_le32(r->b + offset, (uint32_t)(r->bytes | n << 16));
	memcpy(r->b + r->bytes, p, n);
	r->bytes += n;
}

static inline void raw_text(struct raw *r, size_t offset, const char *text)
{
	raw_dynamic(r, offset, text, strlen(text) + 1);
}

/* 6.12's mce_record, of a corrected memory error. */
static inline struct raw raw_mce(void)
{
	struct raw r = raw_of(114, 120);

	tv_put_le64(r.b + 8, 20 | KIT_SER | KIT_CMCI);
	tv_put_le64(r.b + 24, UINT64_C(0x8c00000000000092));
	tv_put_le64(r.b + 32, UINT64_C(0x319deb440));
	tv_put_le64(r.b + 40, MISC_PAGE);
	tv_put_le64(r.b + 80, 7); /* ppin */
	tv_put_le64(r.b + 88, 1700000000);
	tv_put_le32(r.b + 96, 3);
	tv_put_le32(r.b + 100, CPUID_INTEL);
	tv_put_le32(r.b + 108, 1);
	r.b[112] = 0x33;
	r.b[113] = 8;
	tv_put_le32(r.b + 116, 0x2b000590);
	return r;
}

/* A page of trace data with the usual layout. */
struct raw_page {
	uint8_t b[4096];
	size_t used; /* of the data */
};

static inline void page_end(struct raw_page *p)
{
	tv_put_le64(p->b + 8, p->used);
}

static inline void page_begin(struct raw_page *p, uint64_t time_ns)
{
	memset(p, 0, sizeof(*p));
	tv_put_le64(p->b, time_ns);
}

static inline void page_word(struct raw_page *p, uint32_t v)
{
	tv_put_le32(p->b + 16 + p->used, v);
	p->used += 4;
	page_end(p);
}

/* A record, some ns after the one before; with a length of its own where it is long. */
static inline void page_add(struct raw_page *p, uint32_t delta_ns, const struct raw *r)
{
	size_t padded = (r->bytes + 3) & ~(size_t)3;

	if (padded <= 112) {
		page_word(p, (uint32_t)(padded / 4) | delta_ns << 5);
	} else {
		page_word(p, delta_ns << 5);
		page_word(p, (uint32_t)padded + 4);
	}
	memcpy(p->b + 16 + p->used, r->b, r->bytes);
	p->used += padded;
	page_end(p);
}

#endif
