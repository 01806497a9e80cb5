/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A fault as JSON, and back: it goes from this process to the daemon, and on to people. */
#include "hardware/hardware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers and flags of struct ras_fault and hw_fault: name, member, how large it may be. */
#define NUMBERS(X)                                               \
	X("source_id", fault.source, RAS_SRC_COUNT - 1)          \
	X("severity_id", fault.severity, RAS_SEVERITY_COUNT - 1) \
	X("part_id", fault.part, RAS_PART_COUNT - 1)             \
	X("kernel_id", fault.kernel, RAS_K_PANIC)                \
	X("owner_id", fault.owner, RAS_OWNER_COUNT - 1)          \
	X("result_id", fault.result, RAS_RESULT_RECOVERED)       \
	X("count", fault.count, UINT32_MAX)                      \
	X("cpu", fault.cpu, UINT32_MAX)                          \
	X("package", fault.package, UINT32_MAX)                  \
	X("bank", fault.bank, UINT32_MAX)                        \
	X("core", fault.core, UINT32_MAX)                        \
	X("records", records, INT64_MAX)                         \
	X("first_ns", first_ns, INT64_MAX)                       \
	X("last_ns", last_ns, INT64_MAX)
#define FLAGS(X)                            \
	X("lost", fault.lost)               \
	X("many", fault.many)               \
	X("by_firmware", fault.by_firmware) \
	X("has_cpu", fault.has_cpu)         \
	X("has_page", fault.has_page)       \
	X("has_addr", fault.has_addr)       \
	X("normalised", fault.normalised)   \
	X("device_fails", fault.device_fails)

static const char *const sources[] = {
#define EVENT(name, event, what) event,
	RAS_SOURCES(EVENT)
#undef EVENT
};

json_t *hw_fault_json(const struct hw_fault *f)
{
	json_t *o = json_object();
	char hex[20];

#define PUT(name, member, most) json_object_set_new(o, name, json_integer((json_int_t)f->member));
	NUMBERS(PUT)
#undef PUT
#define PUT(name, member) json_object_set_new(o, name, json_boolean(f->member));
	FLAGS(PUT)
#undef PUT
	json_object_set_new(o, "source", json_string(sources[f->fault.source]));
	json_object_set_new(o, "severity", json_string(ras_severity_text(f->fault.severity)));
	json_object_set_new(o, "part", json_string(ras_part_text(f->fault.part)));
	json_object_set_new(o, "where", json_string(f->fault.where));
	json_object_set_new(o, "text", json_string(f->fault.sentence));
	/* Numbers of 64 bits: as text, no reader rounds them. */
	snprintf(hex, sizeof(hex), "0x%llx", (unsigned long long)f->fault.page.n);
	json_object_set_new(o, "page", f->fault.has_page ? json_string(hex) : json_null());
	snprintf(hex, sizeof(hex), "0x%llx", (unsigned long long)f->fault.addr);
	json_object_set_new(o, "address", f->fault.has_addr ? json_string(hex) : json_null());
	return o;
}

static bool number(const json_t *o, const char *key, uint64_t most, uint64_t *out)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	*out = (uint64_t)n;
	return n >= 0 && (uint64_t)n <= most;
}

static bool hex(const json_t *o, const char *key, uint64_t *out)
{
	const char *s = json_string_value(json_object_get(o, key));
	char *end;

	if (!s || strncmp(s, "0x", 2) != 0)
		return false;
	*out = strtoull(s, &end, 16);
	return !*end;
}

bool hw_fault_of(const json_t *o, struct hw_fault *out)
{
	const char *s;
	uint64_t n;

	memset(out, 0, sizeof(*out));
	if (!json_is_object(o))
		return false;
#define TAKE(name, member, most)                    \
	if (!number(o, name, (uint64_t)(most), &n)) \
		return false;                       \
	out->member = (__typeof__(out->member))n;
	NUMBERS(TAKE)
#undef TAKE
#define TAKE(name, member) out->member = json_is_true(json_object_get(o, name));
	FLAGS(TAKE)
#undef TAKE
	if ((out->fault.has_page && !hex(o, "page", &out->fault.page.n)) ||
	    (out->fault.has_addr && !hex(o, "address", &out->fault.addr)) || !out->fault.count)
		return false;
	s = json_string_value(json_object_get(o, "where"));
	tv_copy(out->fault.where, sizeof(out->fault.where), s);
	s = json_string_value(json_object_get(o, "text"));
	tv_copy(out->fault.sentence, sizeof(out->fault.sentence), s);
	return s && *s;
}

bool hw_fault_same(const struct ras_fault *a, const struct ras_fault *b)
{
	return a->source == b->source && a->severity == b->severity && a->part == b->part &&
	       a->result == b->result && a->has_page == b->has_page && a->page.n == b->page.n &&
	       a->has_cpu == b->has_cpu && a->cpu == b->cpu && a->bank == b->bank &&
	       a->core == b->core && a->many == b->many && !strcmp(a->where, b->where);
}
