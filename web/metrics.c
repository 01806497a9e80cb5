/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot as text for Prometheus, in one of two formats. Where there is nothing to say there is
 * no series: no lag of a VM that is not protected, none before the first commit. Instants are
 * timestamps, so that ages grow when reports stop.
 */
#include "web/metrics.h"
#include "web/metrics_table.h"

#include <stdio.h>
#include <string.h>

struct text {
	struct evbuffer *out;
	bool open;
};

/* ---- the format ---- */
bool metrics_wants_open(const char *accept)
{
	return strstr(accept, "application/openmetrics-text");
}

static void head(const struct text *t, const char *name, enum metrics_type type, const char *help)
{
	/* OpenMetrics names the family, the older format the series. */
	const char *total = type == METRICS_COUNTER && !t->open ? "_total" : "";

	evbuffer_add_printf(t->out, "# HELP %s%s ", name, total);
	for (; *help; help++)
		if (*help != '`') /* the documents' */
			evbuffer_add(t->out, help, 1);
	evbuffer_add_printf(t->out, "\n# TYPE %s%s %s\n", name, total, metrics_type_name(type));
}

static void add_escaped(struct evbuffer *out, const char *s)
{
	for (; *s; s++) {
		const char *esc = *s == '\\'   ? "\\\\"
				  : *s == '"'  ? "\\\""
				  : *s == '\n' ? "\\n"
					       : NULL;

		if (esc)
			evbuffer_add(out, esc, 2);
		else
			evbuffer_add(out, s, 1);
	}
}

/* One line; end: what the family's name gets; labels: pairs of name and value, NULL at their end. */
static void series(const struct text *t, const char *name, const char *end,
		   const char *const *labels, double v)
{
	evbuffer_add_printf(t->out, "%s%s", name, end);
	for (unsigned i = 0; labels[i]; i += 2) {
		evbuffer_add_printf(t->out, "%s%s=\"", i ? "," : "{", labels[i]);
		add_escaped(t->out, labels[i + 1]);
		evbuffer_add(t->out, "\"", 1);
	}
	evbuffer_add_printf(t->out, "%s %.15g\n", labels[0] ? "}" : "", v);
}

/* ---- a family of one thing: of a VM, or of the host ---- */
struct thing {
	const json_t *json;
	const char *labels[12]; /* what all of its series have; room for what some have */
	unsigned n;
};

/* "a.b": b of the object a. */
static const json_t *get(const json_t *of, const char *field)
{
	const char *dot = strchr(field, '.');
	char outer[32];

	if (dot && tv_copy_n(outer, sizeof(outer), field, (size_t)(dot - field)))
		return json_object_get(json_object_get(of, outer), dot + 1);
	return json_object_get(of, field);
}

static const char *word(const json_t *of, const char *field)
{
	const char *s = json_string_value(json_object_get(of, field));

	return s ? s : "";
}

static void with_label(const struct text *t, const struct family *f, struct thing of,
		       const char *label, const char *value, double v)
{
	of.labels[of.n] = label;
	of.labels[of.n + 1] = value;
	series(t, f->name, metrics_ending(f), of.labels, v);
}

static void histogram(const struct text *t, const struct family *f, struct thing of,
		      const json_t *list)
{
	double all = 0;
	char edge[24];

	if (json_array_size(list) != HISTOGRAM_EDGES + 2)
		return;
	for (unsigned i = 0; i <= HISTOGRAM_EDGES; i++) {
		all += json_number_value(json_array_get(list, i));
		snprintf(edge, sizeof(edge), "+Inf");
		if (i < HISTOGRAM_EDGES) /* OpenMetrics wants 1.0, and both know it */
			snprintf(edge, sizeof(edge), f->edges_us[i] % 1000000 ? "%g" : "%.1f",
				 (double)f->edges_us[i] / 1e6);
		of.labels[of.n] = "le";
		of.labels[of.n + 1] = edge;
		series(t, f->name, "_bucket", of.labels, all);
	}
	of.labels[of.n] = NULL;
	series(t, f->name, "_sum", of.labels,
	       json_number_value(json_array_get(list, HISTOGRAM_EDGES + 1)) / 1e6);
	series(t, f->name, "_count", of.labels, all);
}

/* Two items of one name would be one series. */
static const char *name_of(const json_t *list, size_t i, const char *field, char *room,
			   size_t room_bytes)
{
	const char *name = word(json_array_get(list, i), field);

	for (size_t k = 0; k < i; k++)
		if (!strcmp(name, word(json_array_get(list, k), field))) {
			snprintf(room, room_bytes, "%.127s (%zu)", name, i);
			return room;
		}
	return name;
}

static void items(const struct text *t, const struct family *f, struct thing of, const json_t *list)
{
	const json_t *v;
	char room[160];

	for (size_t i = 0; i < json_array_size(list); i++) {
		v = json_object_get(json_array_get(list, i), f->words[0]);
		if (json_is_number(v))
			with_label(t, f, of, f->label,
				   name_of(list, i, f->words[1], room, sizeof(room)),
				   json_number_value(v) * f->scale);
	}
}

static void info(const struct text *t, const struct family *f, struct thing of)
{
	char number[16];

	for (unsigned i = 0; f->words[i]; i++) {
		const json_t *v = json_object_get(of.json, f->words[i]);

		of.labels[of.n++] = f->words[i];
		snprintf(number, sizeof(number), "%d", (int)json_integer_value(v));
		of.labels[of.n++] = json_is_integer(v) ? number : word(of.json, f->words[i]);
	}
	series(t, f->name, "", of.labels, 1);
}

static void of_value(const struct text *t, const struct family *f, struct thing of,
		     const json_t *value)
{
	const char *key;
	json_t *v;

	if (f->shape == LIST) {
		histogram(t, f, of, value);
	} else if (f->shape == ITEMS) {
		items(t, f, of, value);
	} else if (f->shape == WORD && json_is_string(value)) {
		series(t, f->name, "", of.labels, !strcmp(json_string_value(value), f->words[0]));
	} else if (f->shape == WORDS) {
		for (unsigned k = 0; k < METRICS_WORDS && f->words[k]; k++)
			with_label(t, f, of, f->label, f->words[k],
				   json_is_string(value) &&
					   !strcmp(json_string_value(value), f->words[k]));
	} else if (f->shape == EACH) {
		json_object_foreach((json_t *)value, key, v)
			with_label(t, f, of, f->label, key, json_number_value(v));
	} else if (json_is_number(value) || json_is_boolean(value)) {
		double n = json_is_number(value) ? json_number_value(value) * f->scale
						 : json_is_true(value);

		if (f->shape == OF)
			with_label(t, f, of, f->label, word(of.json, f->words[0]), n);
		else if (f->shape == NUMBER)
			series(t, f->name, metrics_ending(f), of.labels, n);
	}
}

static void of_thing(const struct text *t, const struct family *f, const struct thing *of)
{
	if (f->shape == INFO)
		info(t, f, *of);
	else
		of_value(t, f, *of, get(of->json, f->field));
}

/* ---- all of them ---- */
static bool applies(const json_t *vm, unsigned when)
{
	if ((when & PROTECTED) && (strcmp(word(vm, "state"), "protected") != 0 ||
				   json_is_true(json_object_get(vm, "suspended"))))
		return false;
	if ((when & SYNCING) && strcmp(word(vm, "state"), "syncing") != 0)
		return false;
	return !(when & PRIMARY) || !strcmp(word(vm, "role"), "primary");
}

/* Two VMs of one name would be the same series, and Prometheus would take neither. */
static const char *label_of(const json_t *vms, size_t i, char *room, size_t room_bytes)
{
	const char *name = word(json_array_get(vms, i), "name");

	for (size_t k = 0; k < i; k++)
		if (!strcmp(name, word(json_array_get(vms, k), "name"))) {
			snprintf(room, room_bytes, "%.127s (%.32s)", name,
				 word(json_array_get(vms, i), "id"));
			return room;
		}
	return name;
}

static void vm_family(const struct text *t, const json_t *vms, const struct family *f)
{
	char name[168];
	size_t i;

	head(t, f->name, f->type, f->help);
	for (i = 0; i < json_array_size(vms); i++) {
		struct thing vm = {.json = json_array_get(vms, i)};

		if (!applies(vm.json, f->when))
			continue;
		vm.labels[vm.n++] = "vm";
		vm.labels[vm.n++] = label_of(vms, i, name, sizeof(name));
		of_thing(t, f, &vm);
	}
}

void metrics_write(struct evbuffer *out, const json_t *snapshot, bool stale, bool open)
{
	const struct thing host = {.json = snapshot};
	const struct text t = {out, open};

	head(&t, METRICS_UP, METRICS_GAUGE, METRICS_UP_HELP);
	series(&t, METRICS_UP, "", host.labels, snapshot && !stale);
	for (const struct family *f = metrics_of_host; snapshot && f->name; f++) {
		if (stale && f->when == FRESH)
			continue;
		head(&t, f->name, f->type, f->help);
		of_thing(&t, f, &host);
	}
	for (const struct family *f = metrics_of_vm; snapshot && !stale && f->name; f++)
		vm_family(&t, json_object_get(snapshot, "vms"), f);
	if (open)
		evbuffer_add_printf(out, "# EOF\n");
}
