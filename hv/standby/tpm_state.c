/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a TPM inside a device state: can the standby's swtpm take it over? It is a TPM 2 and
 * has no key. What it could not load is refused at the first epoch, not by a promotion.
 *
 * QEMU's section (backends/tpm/tpm_emulator.c: vmstate_tpm_emulator) begins with the flags and the
 * size of the permanent state, which is swtpm's (swtpm_nvstore.c: blobheader, tlv_header): a header
 * with its own size, then records of tag, length and data. A state that is sent away is a record of
 * records. The data of a TPM 2 begin with a version and a magic number (libtpms: NvMem).
 */
#include "hv/standby/standby_int.h"

#include <errno.h>

#define FLAG_ENCRYPTED 2
#define TAG_DATA 1
#define TAG_OUTER 4
#define RECORD_BYTES 6
#define TPM2_MAGIC UINT32_C(0xab364723)

struct cursor {
	const uint8_t *p;
	size_t left;
};

/* The next n bytes as a number; a short state gives a number that fits nothing. */
static uint32_t take(struct cursor *c, unsigned n)
{
	uint32_t v = 0;

	if (c->left < n) {
		c->left = 0;
		return UINT32_MAX;
	}
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | c->p[i];
	c->p += n;
	c->left -= n;
	return v;
}

static bool is_tpm2(struct cursor c)
{
	uint32_t head_bytes, tag;

	take(&c, 2); /* versions */
	head_bytes = take(&c, 2);
	if (head_bytes < 4 || head_bytes - 4 > c.left)
		return false;
	c.p += head_bytes - 4;
	c.left -= head_bytes - 4;
	tag = take(&c, 2);
	take(&c, RECORD_BYTES - 2);
	if (tag == TAG_OUTER) {
		tag = take(&c, 2);
		take(&c, RECORD_BYTES - 2);
	}
	take(&c, 2);
	return tag == TAG_DATA && take(&c, 4) == TPM2_MAGIC;
}

int hv_standby_check_tpm(const uint8_t *section, size_t bytes, struct tv_err *e)
{
	struct cursor c = {section, bytes};
	uint32_t flags = take(&c, 4), size = take(&c, 4);

	if (!size)
		return 0; /* nobody has started it yet */
	if (size > c.left)
		return tv_fail(e, -EBADMSG, "the state of the VM's TPM is cut off");
	if (flags & FLAG_ENCRYPTED)
		return tv_fail(e, TV_E_REFUSED,
			       "the VM's swtpm encrypts the state that it hands out: start it "
			       "without --migration-key");
	c.left = size;
	if (!is_tpm2(c))
		return tv_fail(e, TV_E_REFUSED,
			       "the VM's TPM is no TPM 2 with a plain state, which is what its "
			       "standby has: start swtpm with --tpm2 and without "
			       "--migration-key");
	return 0;
}
