/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy of hardware faults, of any faults at any times: 16 bytes are one step, which counts a fault, notices a row, takes
 * a page, asks or clears. What holds after each: a host with a cause has the colour of its worst; red stays until it is
 * cleared; nothing grows; a host without a cause is grey or green; time never goes back.
 */
#include "ras/ras.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEP_BYTES 16
#define PARTS 700 /* more than any table has room for */

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct policy_run {
	struct ras_health *h;
	int64_t now_ns;
	bool was_red;
};

static void check(struct policy_run *r)
{
	static struct ras_cause list[RAS_MAX_CAUSES];
	enum ras_color color = ras_health_color(r->h, r->now_ns);
	unsigned n = ras_health_causes(r->h, r->now_ns, list, RAS_MAX_CAUSES);

	must(n <= RAS_MAX_CAUSES);
	must(!r->was_red || color == RAS_RED);
	must(n ? color == list[0].color : color <= RAS_GREEN);
	for (unsigned i = 0; i < n; i++) {
		must(ras_row(list[i].rule) && list[i].color >= RAS_YELLOW);
		must(list[i].color != RAS_RED || list[i].until_cleared);
		must(list[i].since_ns <= list[i].last_ns);
		must(!i || list[i].color <= list[i - 1].color);
		must(memchr(list[i].what, 0, sizeof(list[i].what)) != NULL);
		must(memchr(list[i].sentence, 0, sizeof(list[i].sentence)) != NULL);
	}
	r->was_red = color == RAS_RED;
}

static struct ras_fault fault_of(const uint8_t *p)
{
	struct ras_fault f = {
		.source = (enum ras_source)(p[1] % RAS_SRC_COUNT),
		.severity = (enum ras_severity)(p[2] % RAS_SEVERITY_COUNT),
		.part = (enum ras_part)(p[3] % RAS_PART_COUNT),
		.owner = (enum ras_owner)(p[4] % RAS_OWNER_COUNT),
		.result = (enum ras_result)(p[4] / 16 % 5),
		.count = tv_get_le16(p + 5) ? tv_get_le16(p + 5) : 1,
		.many = p[7] & 1,
		.by_firmware = p[7] & 2,
		.has_page = p[7] & 4,
		.device_fails = p[7] & 8,
		.page = {tv_get_le16(p + 8) % PARTS},
		.core = tv_get_le16(p + 8) % PARTS,
		.package = p[8],
		.bank = p[9],
	};

	if (p[7] & 16) /* errors of a flood */
		f.count = UINT32_MAX - p[5];
	if (p[7] & 32)
		snprintf(f.where, sizeof(f.where), "part %u", tv_get_le16(p + 8) % PARTS);
	snprintf(f.sentence, sizeof(f.sentence), "a sentence");
	return f;
}

static void step(struct policy_run *r, const uint8_t *p)
{
	/* From a nanosecond to some years; a clock that steps back is passed on as it is. */
	const int64_t passed = (int64_t)tv_get_le32(p + 10) << (p[14] % 26);
	const enum ras_color before = ras_health_color(r->h, r->now_ns);
	enum ras_rule rule = (enum ras_rule)(1 + p[1] % (RAS_RULE_COUNT - 1));
	struct ras_verdict v = {0};
	int64_t at_ns = p[15] & 1 ? r->now_ns - passed : (r->now_ns += passed);
	struct ras_fault f;

	switch (p[0] % 8) {
	case 0:
		ras_health_notice(r->h, rule, p[2] & 1 ? "vm1" : "", "noticed", at_ns, &v);
		break;
	case 1:
		ras_health_taken(r->h, (struct ras_pfn){tv_get_le16(p + 8) % PARTS}, at_ns, &v);
		break;
	case 2:
		ras_health_more(r->h, tv_get_le32(p + 2), at_ns, &v);
		break;
	case 3:
		if (p[1] == 7) {
			ras_health_clear(r->h);
			r->was_red = false;
		}
		ras_health_watched(r->h, p[1] & 1);
		return;
	default:
		f = fault_of(p);
		ras_health_fault(r->h, &f, at_ns, &v);
		must(f.severity != RAS_NOTHING || v.rule == RAS_RULE_NONE);
	}
	must(v.rule == RAS_RULE_NONE || ras_row(v.rule));
	must(before != RAS_RED || v.color == RAS_RED);
	/* Fresh is a new cause, or a worse one: the host is not well then. */
	must(!v.fresh || v.color >= RAS_YELLOW);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy_run r = {.now_ns = TV_NS_PER_S};
	struct ras_policy policy;

	if (!size)
		return 0;
	ras_policy_default(&policy, data[0] & 1);
	r.h = ras_health_new(&policy);
	if (!r.h)
		return 0;
	for (size_t at = 1; size - at >= STEP_BYTES && r.now_ns < INT64_MAX / 4; at += STEP_BYTES) {
		step(&r, data + at);
		check(&r);
	}
	ras_health_free(r.h);
	return 0;
}
