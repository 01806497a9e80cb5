/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands and answers as text. A client's command is parsed and written anew: what reaches QEMU is
 * one whole JSON object, whatever the client sent. QEMU's answer is not: it may be large, and have
 * numbers that the parser cannot hold; only the id in it is exchanged.
 */
#include "hv/proxy/proxy_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void proxy_ask_dispose(struct proxy_ask *a)
{
	free(a->text);
	free(a->id);
	*a = (struct proxy_ask){0};
}

static int read_members(json_t *o, struct proxy_ask *out, struct tv_err *e)
{
	const char *name = json_string_value(json_object_get(o, "execute"));
	json_t *enable = json_object_get(json_object_get(o, "arguments"), "enable");

	if (json_object_get(o, "exec-oob"))
		return tv_fail(e, -EINVAL, "QMP input member 'exec-oob' is unexpected");
	if (!name)
		return tv_fail(e, -EINVAL, "QMP input lacks member 'execute'");
	out->capabilities = !strcmp(name, "qmp_capabilities");
	out->enables = json_array_size(enable) > 0;
	out->takes_fd = !strcmp(name, "getfd") || !strcmp(name, "add-fd");
	return 0;
}

int proxy_ask_parse(const char *obj, size_t n, unsigned number, struct proxy_ask *out,
		    struct tv_err *e)
{
	json_error_t je;
	json_t *o = json_loadb(obj, n, JSON_REJECT_DUPLICATES, &je), *id;
	TV_FREE char *text = NULL;
	char ours[16];
	int rc;

	*out = (struct proxy_ask){.number = number};
	if (!json_is_object(o)) {
		json_decref(o);
		return tv_fail(e, -EINVAL, "JSON parse error, %s", je.text);
	}
	id = json_object_get(o, "id");
	out->id = id ? json_dumps(id, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	rc = read_members(o, out, e);
	if (!rc && !out->capabilities) {
		snprintf(ours, sizeof(ours), "%u", number);
		json_object_set_new(o, "id", json_string(ours));
		text = json_dumps(o, JSON_COMPACT);
		if (!text || asprintf(&out->text, "%s\n", text) < 0) {
			out->text = NULL;
			rc = tv_fail(e, -ENOMEM, "no memory");
		}
	}
	json_decref(o);
	return rc;
}

char *proxy_answer(const char *class_name, const char *desc, const char *id)
{
	json_t *o = desc ? json_pack("{s:{s:s, s:s}}", "error", "class", class_name, "desc", desc)
			 : json_pack("{s:{}}", "return");
	char *text;

	if (id)
		json_object_set_new(o, "id", json_loads(id, JSON_DECODE_ANY, NULL));
	text = json_dumps(o, 0);
	json_decref(o);
	return text;
}

/* The member of which ours is the value, with the comma that goes with it. A bracket ends obj. */
static void member_around(const char *obj, const char **from, const char **to)
{
	static const char key[] = "\"id\"";
	const char *p = *from, *end = *to;

	while (p > obj && memcmp(p, key, sizeof(key) - 1) != 0)
		p--;
	*from = p;
	while (p > obj && strchr(" \r\n\t", p[-1]))
		p--;
	if (p > obj && p[-1] == ',') {
		*from = p - 1;
		return;
	}
	end += strspn(end, " \r\n\t");
	if (*end == ',')
		end++;
	end += strspn(end, " \r\n\t");
	*to = end;
}

char *proxy_with_id(const char *obj, size_t n, const char *our_id, size_t our_bytes, const char *id,
		    size_t *bytes)
{
	/* with the quotes */
	const char *from = our_id - 1, *to = our_id + our_bytes + 1;
	size_t id_bytes = id ? strlen(id) : 0;
	char *out;

	if (!id)
		member_around(obj, &from, &to);
	*bytes = n - (size_t)(to - from) + id_bytes;
	out = malloc(*bytes + 1);
	if (!out)
		return NULL;
	memcpy(out, obj, (size_t)(from - obj));
	if (id)
		memcpy(out + (from - obj), id, id_bytes);
	memcpy(out + (from - obj) + id_bytes, to, (size_t)(obj + n - to));
	out[*bytes] = '\0';
	return out;
}

char *proxy_greeting(json_t *version)
{
	json_t *o = json_pack("{s:{s:O, s:[]}}", "QMP", "version", version, "capabilities");
	char *text = json_dumps(o, 0);

	json_decref(o);
	return text;
}
