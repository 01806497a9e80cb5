/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an etcd member may answer: the first byte chooses which answer is expected, the rest is its
 * body. And the texts that are kept there, records and hosts, whose base64 a fuzzer would hardly
 * find: they are parsed from the body as it is, too, and what is understood must come out the same
 * when it is written and parsed again.
 */
#include "failover/arbiter/etcd_answer.h"

#include <stdlib.h>
#include <string.h>

#define KEY "/twinvm/x"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void answers(uint8_t kind, const char *text, size_t n)
{
	static struct fo_host hosts[FO_MAX_HOSTS];
	struct etcd_header h = {0};
	struct tv_err e = {0};
	struct etcd_kv kv = {0};
	uint64_t id = 0, ttl = 0;
	unsigned found = 0;
	bool yes = false;
	int rc;

	switch (kind % 5) {
	case 0:
		rc = etcd_answer_range(text, n, KEY, &h, &kv, &e);
		must(rc || !kv.found || (kv.version && kv.mod_revision <= h.revision));
		break;
	case 1:
		rc = etcd_answer_txn(text, n, KEY,
				     kind & 128 ? "response_put" : "response_delete_range", &h,
				     &yes, &kv, &e);
		must(!rc || !yes);
		break;
	case 2:
		rc = etcd_answer_lease(text, n, &h, &id, &ttl, &e);
		must(rc || id);
		break;
	case 3:
		rc = etcd_answer_hosts(text, n, "/twinvm/hosts/", &h, hosts, FO_MAX_HOSTS, &found,
				       &e);
		for (unsigned i = 0; i < found; i++)
			must(fo_host_ok(&hosts[i]));
		break;
	default:
		rc = etcd_answer_done(text, n, &h, &e);
	}
	must(rc == 0 || (rc == TV_E_PROTOCOL && e.text[0]));
	must(rc || (h.cluster_id && h.revision));
	must(kv.value_bytes <= FO_MAX_TEXT_BYTES);
}

static void error_text(const char *text, size_t n)
{
	char out[80];

	etcd_answer_error(text, n, out, sizeof(out));
	for (const char *p = out; *p; p++)
		must(*p >= ' ' && *p < 127);
}

static void records(const char *text, size_t n)
{
	char claim[FO_CLAIM_CHARS + 1], claim2[FO_CLAIM_CHARS + 1], *again;
	struct fo_record r = {0}, r2 = {0};
	struct fo_host h, h2;
	uint64_t beat, beat2;

	if (!fo_record_parse(text, n, &r, claim)) {
		again = fo_record_text(&r, *claim ? claim : NULL);
		must(again && !fo_record_parse(again, strlen(again), &r2, claim2));
		must(r.generation == r2.generation && r.state == r2.state &&
		     !strcmp(r.primary, r2.primary) && !strcmp(r.backup, r2.backup) &&
		     !strcmp(r.session, r2.session) && !strcmp(claim, claim2));
		free(again);
	}
	if (!fo_host_parse(text, n, &h, &beat)) {
		again = fo_host_text(&h, beat);
		must(again && !fo_host_parse(again, strlen(again), &h2, &beat2));
		must(beat == beat2 && !memcmp(&h, &h2, sizeof(h)));
		free(again);
	}
}

static void base64(const char *text, size_t n)
{
	char *z = malloc(n + 1), *out = malloc(n + 1), *back = malloc(n + 8);
	size_t bytes;

	must(z && out && back);
	memcpy(z, text, n);
	z[n] = 0;
	if (!etcd_unbase64(z, out, n + 1, &bytes)) {
		etcd_base64(out, bytes, back);
		must(!strcmp(back, z));
	}
	free(z);
	free(out);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (!size)
		return 0;
	answers(data[0], text, size - 1);
	error_text(text, size - 1);
	records(text, size - 1);
	base64(text, size - 1);
	return 0;
}
