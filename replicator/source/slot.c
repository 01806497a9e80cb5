/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two lists of pages as one: see slot.h. */
#include "replicator/source/slot.h"

#include <string.h>

void slot_clear(struct slot *s)
{
	s->nahead = s->first_run = s->nruns = 0;
	s->first_page = s->npages = 0;
}

void slot_ahead_done(struct slot *s)
{
	s->nahead = s->first_run = s->nruns;
	s->first_page = s->npages;
}

static bool is_before(const struct hv_run *r, uint32_t block, uint64_t offset)
{
	return r->block < block || (r->block == block && r->offset < offset);
}

static uint64_t end_of(const struct hv_run *r)
{
	return r->offset + ((uint64_t)r->pages << TV_PAGE_SHIFT);
}

void slot_split(struct slot *s, struct slot *to, uint32_t block, uint64_t offset)
{
	uint64_t kept = 0, moved;
	unsigned n = 0;

	while (n < s->nahead && is_before(&s->runs[n], block, offset))
		kept += s->runs[n++].pages;
	moved = s->first_page - kept;
	to->nruns = s->nahead - n;
	memcpy(to->runs, s->runs + n, to->nruns * sizeof(*to->runs));
	/* The last one that begins before may end behind. */
	if (n && s->runs[n - 1].block == block && end_of(&s->runs[n - 1]) > offset) {
		struct hv_run *r = &s->runs[n - 1];
		uint32_t stay = (uint32_t)((offset - r->offset) >> TV_PAGE_SHIFT);

		memmove(to->runs + 1, to->runs, to->nruns * sizeof(*to->runs));
		to->runs[0] =
			(struct hv_run){.block = block, .pages = r->pages - stay, .offset = offset};
		to->nruns++;
		moved += r->pages - stay;
		kept -= r->pages - stay;
		r->pages = stay;
	}
	memcpy(to->pages, s->pages + (kept << TV_PAGE_SHIFT), moved << TV_PAGE_SHIFT);
	to->npages = moved;
	slot_ahead_done(to);
	s->nahead = n;
	s->npages -= moved;
}

static bool has_more(const struct slot_list *l)
{
	return l->run < l->end;
}

static struct slot_page page_of(const struct slot_list *l)
{
	return (struct slot_page){.block = l->run->block,
				  .offset = l->run->offset + ((uint64_t)l->k << TV_PAGE_SHIFT),
				  .contents = l->page};
}

static void step(struct slot_list *l)
{
	l->page += TV_PAGE_BYTES;
	if (++l->k < l->run->pages)
		return;
	l->run++;
	l->k = 0;
}

void slot_walk_begin(const struct slot *s, struct slot_walk *w)
{
	w->ahead = (struct slot_list){s->runs, s->runs + s->nahead, 0, s->pages};
	w->then = (struct slot_list){s->runs + s->first_run, s->runs + s->nruns, 0,
				     s->pages + (s->first_page << TV_PAGE_SHIFT)};
}

bool slot_walk_next(struct slot_walk *w, struct slot_page *out)
{
	struct slot_page a;

	if (!has_more(&w->ahead)) {
		if (!has_more(&w->then))
			return false;
		*out = page_of(&w->then);
		step(&w->then);
		return true;
	}
	a = page_of(&w->ahead);
	if (has_more(&w->then)) {
		*out = page_of(&w->then);
		if (out->block < a.block || (out->block == a.block && out->offset <= a.offset)) {
			if (out->block == a.block && out->offset == a.offset)
				step(&w->ahead);
			step(&w->then);
			return true;
		}
	}
	*out = a;
	step(&w->ahead);
	return true;
}

uint64_t slot_twice(const struct slot *s)
{
	const struct hv_run *a = s->runs, *b = s->runs + s->first_run;
	const struct hv_run *a_end = a + s->nahead, *b_end = s->runs + s->nruns;
	uint64_t n = 0;

	while (a < a_end && b < b_end) {
		uint64_t from = a->offset > b->offset ? a->offset : b->offset;
		uint64_t end = end_of(a) < end_of(b) ? end_of(a) : end_of(b);

		if (a->block == b->block && end > from)
			n += (end - from) >> TV_PAGE_SHIFT;
		if (a->block < b->block || (a->block == b->block && end_of(a) < end_of(b)))
			a++;
		else
			b++;
	}
	return n;
}
