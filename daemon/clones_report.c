/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a test failover has shown: the clone's own report, and what is seen from outside of it. */
#include "daemon/clones.h"

#include <math.h>
#include <string.h>

#define BRIEF_BYTES 160 /* of a probe's text and its output, in the history */

static void set(json_t *to, const char *key, json_t *value)
{
	if (to && value)
		(void)!json_object_set_new(to, key, value);
}

static json_t *number(double v)
{
	return isnan(v) ? json_null() : json_real(v);
}

static json_t *lag_json(const struct clones_lag *l)
{
	json_t *o = json_object();

	set(o, "before", number(l->before_ms));
	set(o, "while", number(l->while_ms));
	set(o, "after", number(l->after_ms));
	return o;
}

json_t *clones_report(const json_t *clones, const struct clones_lag *lag, const json_t *left,
		      const json_t *failover)
{
	json_t *o = clones ? json_deep_copy(clones) : json_object();
	json_t *data = json_object_get(failover, "data");

	json_object_del(o, "op");
	if (!json_object_get(o, "passed"))
		set(o, "passed", json_false());
	set(o, "lag_ms", lag_json(lag));
	set(o, "left", json_deep_copy(left));
	if (json_is_number(json_object_get(data, "outage_ms")))
		set(o, "failover",
		    json_pack("{sO sO sO*}", "time", json_object_get(failover, "time"), "outage_ms",
			      json_object_get(data, "outage_ms"), "load_ms",
			      json_object_get(data, "load_ms")));
	return o;
}

json_t *clones_brief(const json_t *report)
{
	json_t *o = json_deep_copy(report), *p;
	size_t i;

	json_array_foreach(json_object_get(o, "probes"), i, p) {
		const char *text = json_string_value(json_object_get(p, "output"));
		char brief[BRIEF_BYTES];

		tv_copy(brief, sizeof(brief), text);
		set(p, "output", events_text(brief));
		tv_copy(brief, sizeof(brief), json_string_value(json_object_get(p, "probe")));
		set(p, "probe", events_text(brief));
	}
	return o;
}

double clones_lag_of(const json_t *cluster, const char *vm_id)
{
	json_t *host, *vm;
	size_t i, k;

	json_array_foreach(cluster, i, host) {
		json_array_foreach(json_object_get(json_object_get(host, "view"), "vms"), k, vm) {
			const char *id = json_string_value(json_object_get(vm, "id"));
			const char *role = json_string_value(json_object_get(vm, "role"));
			json_t *lag = json_object_get(vm, "lag_ms");

			if (id && role && !strcmp(id, vm_id) && !strcmp(role, "primary") &&
			    json_is_number(lag))
				return json_number_value(lag);
		}
	}
	return NAN;
}
