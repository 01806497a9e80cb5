/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The order for a clone as JSON, with its limits. Pure. */
#include "clone/clone.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

json_t *clone_order_write(const struct clone_order *o)
{
	json_t *probes = json_array();
	json_t *j = json_pack("{ss ss ss ss si si sb sI ss ss sI so}", "config", o->config, "vm_id",
			      o->vm_id, "vm", o->vm, "peer", o->peer, "for_s", o->for_s, "probe_s",
			      o->probe_s, "keep", o->keep, "disk_bytes", (json_int_t)o->disk_bytes,
			      "guest", o->guest, "address", o->address, "ordered_ns",
			      (json_int_t)o->ordered_ns, "probes", probes);

	for (unsigned i = 0; j && i < o->n_probes; i++)
		json_array_append_new(probes, json_string(o->probes[i].text));
	return j;
}

static bool text_of(const json_t *j, const char *key, char *out, size_t room)
{
	const char *s = json_string_value(json_object_get(j, key));

	return tv_copy(out, room, s ? s : "");
}

static int check_address(const char *text, const char *what, struct tv_err *e)
{
	struct in_addr a;

	if (!*text || (inet_pton(AF_INET, text, &a) == 1 && (ntohl(a.s_addr) >> 24) != 127 &&
		       (ntohl(a.s_addr) >> 28) < 14 && a.s_addr))
		return 0;
	return tv_fail(e, -EINVAL, "%s: '%.60s' is no IPv4 address of a host", what, text);
}

static int check_limits(const struct clone_order *o, struct tv_err *e)
{
	int rc;

	if (o->for_s < 1 || o->for_s > CLONE_MAX_S)
		return tv_fail(e, -ERANGE, "--for: a test lives from 1 to %d s, not %d",
			       CLONE_MAX_S, o->for_s);
	if (o->probe_s < 1 || o->probe_s > CLONE_MAX_S)
		return tv_fail(e, -ERANGE, "--probe-timeout: from 1 to %d s, not %d", CLONE_MAX_S,
			       o->probe_s);
	if (!o->disk_bytes)
		return tv_fail(e, -ERANGE, "the clone's images may not grow at all");
	rc = check_address(o->guest, "--guest", e);
	return rc ? rc : check_address(o->address, "--address", e);
}

static bool is_id(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

int clone_order_read(const json_t *j, struct clone_order *out, struct tv_err *e)
{
	json_t *v, *probes = json_object_get(j, "probes");
	size_t i;
	int rc = 0;

	*out = (struct clone_order){
		.for_s = (int)json_integer_value(json_object_get(j, "for_s")),
		.probe_s = (int)json_integer_value(json_object_get(j, "probe_s")),
		.keep = json_is_true(json_object_get(j, "keep")),
		.disk_bytes = (uint64_t)json_integer_value(json_object_get(j, "disk_bytes")),
		.ordered_ns = json_integer_value(json_object_get(j, "ordered_ns")),
	};
	if (!text_of(j, "vm_id", out->vm_id, sizeof(out->vm_id)) || !is_id(out->vm_id) ||
	    !text_of(j, "vm", out->vm, sizeof(out->vm)) ||
	    !text_of(j, "peer", out->peer, sizeof(out->peer)) ||
	    !text_of(j, "config", out->config, sizeof(out->config)))
		return tv_fail(e, -EINVAL, "the order names no VM");
	if (!text_of(j, "guest", out->guest, sizeof(out->guest)) ||
	    !text_of(j, "address", out->address, sizeof(out->address)))
		return tv_fail(e, -EINVAL, "an address is too long");
	if (json_array_size(probes) > CLONE_MAX_PROBES)
		return tv_fail(e, -ERANGE, "at most %d probes", CLONE_MAX_PROBES);
	json_array_foreach(probes, i, v) {
		const char *text = json_string_value(v);

		rc = rc ? rc : clone_probe_parse(text ? text : "", &out->probes[i], e);
		out->n_probes++;
	}
	return rc ? rc : check_limits(out, e);
}
