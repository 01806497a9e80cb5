/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: what a comparison has found, by name: for the daemon, and in the log. */
#include "replicator/source/source_int.h"

#define FOUND_MAX 32u /* named; all are counted */

const char *src_block_name(const struct source *s, uint32_t block)
{
	const char *name =
		json_string_value(json_object_get(json_array_get(s->verify.blocks, block), "name"));

	return name ? name : "";
}

void src_found_page(struct source *s, const struct src_compared *c, uint32_t i)
{
	uint64_t page = c->first + i;

	if (json_array_size(s->verify.found) == FOUND_MAX)
		return;
	json_array_append_new(s->verify.found,
			      json_pack("{ss ss sI sI sI sb}", "kind", "page", "block",
					src_block_name(s, c->number), "number",
					(json_int_t)c->number, "page", (json_int_t)page, "epoch",
					(json_int_t)c->epoch, "repaired", 0));
	tv_log(TV_ERROR, "%s: page %llu of %s differs on %s at epoch %llu", s->job.vm_name,
	       (unsigned long long)page, src_block_name(s, c->number), s->job.peer.name,
	       (unsigned long long)c->epoch);
}

void src_found_part(struct source *s, const struct src_compared *c, uint32_t i, bool mended)
{
	const char *name = json_string_value(json_array_get(json_array_get(c->names, i), 0));

	if (json_array_size(s->verify.found) == FOUND_MAX)
		return;

	json_array_append_new(s->verify.found, json_pack("{ss ss sI sb}", "kind", "state",
							 "section", name ? name : "", "epoch",
							 (json_int_t)c->epoch, "repaired", mended));
	tv_log(TV_ERROR, "%s: the section '%s' of the device state differs on %s at epoch %llu",
	       s->job.vm_name, name ? name : "", s->job.peer.name, (unsigned long long)c->epoch);
}

/* Of those that are named: these pages were sent again, and are equal but for `different`. */
void src_found_repaired(struct source *s, const struct src_compared *c, const Twinvm__Verified *m)
{
	json_t *one;
	size_t i;

	json_array_foreach(s->verify.found, i, one) {
		uint64_t page = (uint64_t)json_integer_value(json_object_get(one, "page"));
		bool differs = false;

		if (!json_object_get(one, "page") || page < c->first || page - c->first >= c->n ||
		    json_integer_value(json_object_get(one, "number")) != c->number)
			continue;
		for (size_t k = 0; k < m->n_different; k++)
			differs = differs || m->different[k] == page - c->first;
		json_object_set_new(one, "repaired", json_boolean(!differs));
	}
}

static void block_repaired(struct source *s, uint32_t disk, uint64_t block, bool repaired)
{
	uint64_t offset = block * CKPT_BLOCK_BYTES;
	json_t *one;
	size_t i;

	json_array_foreach(s->verify.found, i, one)
		if (json_object_get(one, "disk") &&
		    json_integer_value(json_object_get(one, "number")) == disk &&
		    (uint64_t)json_integer_value(json_object_get(one, "offset")) == offset)
			json_object_set_new(one, "repaired", json_boolean(repaired));
}

void src_found_blocks_repaired(struct source *s, const struct src_compared *c,
			       const Twinvm__Verified *m)
{
	size_t k = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		bool differs = k < m->n_different && m->different[k] == i;

		k += differs;
		block_repaired(s, c->number, c->at[i], !differs);
	}
}

void src_found_block(struct source *s, const struct src_compared *c, uint32_t i)
{
	uint64_t offset = c->at[i] * CKPT_BLOCK_BYTES;
	const char *name = src_vdisks_name(s, c->number);

	if (json_array_size(s->verify.found) == FOUND_MAX)
		return;
	json_array_append_new(s->verify.found,
			      json_pack("{ss ss sI sI sI sb}", "kind", "disk", "disk", name,
					"number", (json_int_t)c->number, "offset",
					(json_int_t)offset, "epoch", (json_int_t)c->epoch,
					"repaired", 0));
	tv_log(TV_ERROR, "%s: disk %s differs on %s at offset %llu, epoch %llu", s->job.vm_name,
	       name, s->job.peer.name, (unsigned long long)offset, (unsigned long long)c->epoch);
}

bool src_compared_fits(const struct src_compared *c, const Twinvm__Verified *m)
{
	if (m->epoch != c->epoch || m->what != c->what || m->number != c->number ||
	    m->first != c->first)
		return false;
	for (size_t i = 0; i < m->n_different; i++)
		if (m->different[i] >= c->n || (i && m->different[i] <= m->different[i - 1]))
			return false;
	return true;
}
