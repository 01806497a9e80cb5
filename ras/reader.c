/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From pages of trace data to records, by the format files of the running kernel. */
#include "ras/page.h"
#include "ras/source.h"
#include "ras/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct source *const sources[RAS_SRC_COUNT] = {
	&source_mce, &source_mc, &source_mf, &source_aer, &source_extlog, &source_firmware};

struct ras_reader {
	struct page_layout layout;
	struct ras_counts counts;
	struct ras_format *format[RAS_SRC_COUNT]; /* NULL: unknown */
};

struct ras_reader *ras_reader_new(void)
{
	struct ras_reader *r = calloc(1, sizeof(*r));

	if (r)
		r->layout = page_layout_usual;
	return r;
}

void ras_reader_free(struct ras_reader *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < RAS_SRC_COUNT; i++)
		free(r->format[i]);
	free(r);
}

/* The formats must have these of each event, and the first distinguishes the events. */
static bool has_type(const struct ras_format *f)
{
	const struct format_field *type = format_field(f, "common_type");

	return type && type->kind == FIELD_PLAIN && type->offset == 0 && type->size == 2;
}

static int check(const struct source *s, const struct ras_format *f, struct tv_err *e)
{
	if (strcmp(f->name, s->event))
		return tv_fail(e, -EINVAL, "the format file of %s is one of %s", s->event, f->name);
	if (!has_type(f))
		return tv_fail(e, -EINVAL, "the format file of %s has no common_type", s->event);
	for (size_t i = 0; i < s->want_count; i++)
		if (s->wants[i].must && !format_field(f, s->wants[i].name))
			return tv_fail(e, -ENOENT, "the kernel's event %s has no field %s",
				       s->event, s->wants[i].name);
	return 0;
}

int ras_reader_format(struct ras_reader *r, enum ras_source source, const char *text, size_t bytes,
		      struct tv_err *e)
{
	struct ras_format *f;
	int rc;

	tv_assert((unsigned)source < RAS_SRC_COUNT);
	f = malloc(sizeof(*f));
	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for a format file");
	rc = format_parse(text, bytes, false, f, e);
	if (!rc)
		rc = check(sources[source], f, e);
	if (rc) {
		free(f);
		return rc;
	}
	free(r->format[source]);
	r->format[source] = f;
	return 0;
}

static bool is_read(const struct source *s, const char *name)
{
	if (!strncmp(name, "common_", 7) || !strcmp(name, "buf") || !strcmp(name, "v_data"))
		return true;
	for (size_t i = 0; i < s->want_count; i++)
		if (!strcmp(s->wants[i].name, name))
			return true;
	return false;
}

bool ras_reader_knows(const struct ras_reader *r, enum ras_source source, char *unknown,
		      size_t room)
{
	const struct ras_format *f;
	struct ras_line l = {unknown, room, 0};

	tv_assert((unsigned)source < RAS_SRC_COUNT);
	f = r->format[source];
	if (unknown)
		*unknown = 0;
	for (unsigned i = 0; f && unknown && i < f->fields; i++)
		if (!is_read(sources[source], f->field[i].name))
			ras_line(&l, "%s%s", *unknown ? ", " : "", f->field[i].name);
	return f;
}

int ras_reader_page_head(struct ras_reader *r, const char *text, size_t bytes, struct tv_err *e)
{
	struct ras_format *f = malloc(sizeof(*f));
	int rc;

	if (!f)
		return tv_fail(e, -ENOMEM, "no memory for a format file");
	rc = format_parse(text, bytes, true, f, e);
	if (!rc && page_layout(f, &r->layout))
		rc = tv_fail(e, -EINVAL, "header_page lacks its timestamp, commit or data");
	free(f);
	return rc ? -EINVAL : 0;
}

static int find(const struct ras_reader *r, uint32_t id)
{
	for (int i = 0; i < RAS_SRC_COUNT; i++)
		if (r->format[i] && r->format[i]->id == id)
			return i;
	return -1;
}

static int parse(const struct source *s, const struct ras_format *f, const uint8_t *record,
		 size_t bytes, struct ras_record *out)
{
	if (!format_fits(f, record, bytes))
		return -EBADMSG;
	/* The members of the union all begin where mce does. */
	format_take(f, record, bytes, s->wants, s->want_count, &out->mce);
	return s->finish ? s->finish(f, record, bytes, out) : 0;
}

int ras_reader_record(struct ras_reader *r, const uint8_t *record, size_t bytes,
		      struct ras_record *out)
{
	int source, rc;

	memset(out, 0, sizeof(*out));
	if (bytes < 2) {
		r->counts.malformed++;
		return -EBADMSG;
	}
	source = find(r, tv_get_le16(record));
	if (source < 0) {
		r->counts.strangers++;
		return -ENOENT;
	}
	rc = parse(sources[source], r->format[source], record, bytes, out);
	out->source = (enum ras_source)source;
	if (rc)
		r->counts.malformed++;
	else
		r->counts.records[source]++;
	return rc;
}

struct turn {
	struct ras_reader *r;
	ras_each_fn *each;
	void *arg;
};

static void one_record(void *arg, uint64_t time_ns, const uint8_t *record, size_t bytes)
{
	struct turn *t = arg;
	struct ras_record out;

	if (ras_reader_record(t->r, record, bytes, &out))
		return;
	out.time_ns = time_ns <= INT64_MAX ? (int64_t)time_ns : INT64_MAX;
	t->each(t->arg, &out);
}

int ras_reader_page(struct ras_reader *r, const uint8_t *page, size_t bytes, ras_each_fn *each,
		    void *arg, bool *lost)
{
	struct turn t = {r, each, arg};
	bool missed;
	int rc = page_read(&r->layout, page, bytes, one_record, &t, &missed);

	r->counts.pages++;
	r->counts.broken_pages += rc != 0;
	r->counts.lost += missed;
	if (lost)
		*lost = missed;
	return rc;
}

const struct ras_counts *ras_reader_counts(const struct ras_reader *r)
{
	return &r->counts;
}
