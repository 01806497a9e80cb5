/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras:non_standard_event: a section of the firmware's record (CPER) that the kernel has no event
 * for. Its type is a GUID; a few are known by name, and none is understood: the first bytes are
 * reported. Sections of one type differ in length between firmwares: the length is the record's,
 * and is what the field says or the record is refused.
 */
#include "ras/source.h"
#include "ras/text.h"

#include <errno.h>
#include <string.h>

#define NUMBER(member, must) WANT(struct ras_firmware, member, must, WANT_NUMBER)

static const struct want wants[] = {
	WANT(struct ras_firmware, sec_type, true, WANT_BYTES),
	WANT(struct ras_firmware, fru_id, false, WANT_BYTES),
	WANT(struct ras_firmware, fru_text, false, WANT_TEXT),
	NUMBER(sev, true),
	NUMBER(len, true),
};

static int take_section(const struct ras_format *f, const uint8_t *record, size_t bytes,
			struct ras_record *out)
{
	struct ras_firmware *r = &out->firmware;
	const uint8_t *p;
	size_t n;

	if (!format_bytes(f, record, bytes, "buf", &p, &n))
		return 0;
	if (n != r->len)
		return -EBADMSG;
	memcpy(r->head, p, n < sizeof(r->head) ? n : sizeof(r->head));
	return 0;
}
const struct source source_firmware = {"non_standard_event", wants, sizeof(wants) / sizeof(*wants),
				       take_section};

/* UEFI specification, "Section Descriptor"; CXL specification, "Event Records". */
static const struct {
	const char *guid, *name;
} known[] = {
	{"9876ccad-47b4-4bdb-b65e-16f193c4f3db", "processor"},
	{"dc3ea0b0-a144-4797-b95b-53fa242b6e1d", "x86 processor"},
	{"a5bc1114-6f64-4ede-b863-3e83ed7c83b1", "memory"},
	{"61ec04fc-48e6-d813-25c9-8daa44750b12", "memory, second form"},
	{"d995e954-bbc1-430f-ad91-b44dcb3c6f35", "PCI Express"},
	{"81212a96-09ed-4996-9471-8d729c8e69ed", "firmware"},
	{"80b9efb4-52b5-4de3-a777-68784b771048", "CXL protocol"},
	{"fbcd0a77-c260-417f-85a9-088b1621eba6", "CXL memory"},
	{"601dcbb3-9c06-4eab-b8af-4e9bfb5c9624", "CXL DRAM"},
	{"fe927475-dd59-4339-a586-79bab113b774", "CXL memory module"},
};

/* As it is written: the first three parts are numbers, lowest byte first. */
static void put_guid(const uint8_t g[16], char *to, size_t room)
{
	ras_text(to, room, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", tv_get_le32(g),
		 tv_get_le16(g + 4), tv_get_le16(g + 6), g[8], g[9], g[10], g[11], g[12], g[13],
		 g[14], g[15]);
}

void source_firmware_decode(const struct ras_firmware *r, struct ras_fault *out)
{
	struct ras_line l = {out->sentence, sizeof(out->sentence), 0};
	const char *name = "an unknown kind";
	char guid[40];

	put_guid(r->sec_type, guid, sizeof(guid));
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(known[i].guid, guid))
			name = known[i].name;
	out->severity = cper_severity(r->sev);
	out->part = RAS_PART_UNKNOWN;
	out->by_firmware = true;
	out->count = 1;
	tv_copy(out->where, sizeof(out->where), r->fru_text[0] ? r->fru_text : guid);
	ras_line(&l, "%s: record of the firmware of %s (%s)", ras_severity_text(out->severity),
		 name, guid);
	if (r->fru_text[0])
		ras_line(&l, "; part %s", r->fru_text);
	ras_line(&l, "; %u bytes:", r->len);
	for (unsigned i = 0; i < sizeof(r->head) && i < r->len; i++)
		ras_line(&l, " %02x", r->head[i]);
}
