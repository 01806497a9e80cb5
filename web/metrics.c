/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A snapshot as text for Prometheus, in one of two formats. Where there is nothing to say there is
 * no series: no lag of a VM that is not protected, none before the first commit. Instants are
 * timestamps, so that ages grow when reports stop.
 */
#include "web/metrics.h"
#include "web/http.h"

#include <stdio.h>
#include <string.h>

enum type { GAUGE, COUNTER };
enum when {
	ALWAYS = 0,
	PROTECTED = 1, /* only of a VM that is protected and not suspended */
	PRIMARY = 2,
	SYNCING = 4,
};
struct family {
	const char *name; /* without _total */
	enum type type;
	unsigned when;
	const char
		*field; /* of status; a boolean counts 0 or 1; one that is missing has no series */
	double scale;
	const char *help;
};

static const struct family families[] = {
	{"twinvm_vm_generation", GAUGE, ALWAYS, "generation", 1,
	 "Grows with every change of primary."},
	{"twinvm_last_commit_timestamp_seconds", GAUGE, PROTECTED, "last_commit_time", 1,
	 "When the state of the last committed epoch was taken; the lag is the time since then."},
	{"twinvm_failover_allowed", GAUGE, ALWAYS, "failover_allowed", 1,
	 "Would the backup run the VM without being asked if the primary's host died now?"},
	{"twinvm_uncommitted_bytes", GAUGE, PROTECTED | PRIMARY, "uncommitted_bytes", 1,
	 "Captured and not committed yet."},
	{"twinvm_oldest_held_frame_seconds", GAUGE, PROTECTED | PRIMARY, "oldest_held_frame_ms",
	 1e-3, "Age of the oldest network frame that is held."},
	{"twinvm_epoch_target_seconds", GAUGE, PROTECTED | PRIMARY, "epoch_target_ms", 1e-3,
	 "How long an epoch is while nothing waits."},
	{"twinvm_peer_round_trip_seconds", GAUGE, ALWAYS, "rtt_ms", 1e-3,
	 "Round trip to the VM's other host."},
	{"twinvm_sync_progress_ratio", GAUGE, SYNCING, "progress", 1,
	 "How much of the first copy is done."},
	{"twinvm_epochs_committed", COUNTER, ALWAYS, "epoch_committed", 1,
	 "Epochs committed in this session."},
	{"twinvm_memory_bytes", COUNTER, PRIMARY, "raw_bytes", 1,
	 "Memory and device state before encoding, in this session."},
	{"twinvm_wire_bytes", COUNTER, ALWAYS, "wire_bytes", 1,
	 "Sent to the backup, or received by it, in this session."},
	{"twinvm_disk_bytes", COUNTER, PRIMARY, "disk_bytes", 1,
	 "Disk writes before encoding, in this session."},
	{"twinvm_frames_held", GAUGE, PROTECTED | PRIMARY, "held_frames", 1,
	 "Network frames that are held now."},
	{"twinvm_frames_released", COUNTER, PRIMARY, "released_frames", 1,
	 "Network frames released in this session."},
	{"twinvm_frames_dropped", COUNTER, PRIMARY, "dropped_frames", 1,
	 "Network frames dropped in this session, as a queue was full."},
	{"twinvm_vm_memory_bytes", GAUGE, PRIMARY, "memory_bytes", 1, "Memory of the VM's QEMU."},
	{"twinvm_standby_memory_bytes", GAUGE, ALWAYS, "standby_memory_bytes", 1,
	 "Memory of the standby's QEMU and its replicator."},
};

struct text {
	struct evbuffer *out;
	bool open;
};

/* ---- the format ---- */
bool metrics_wants_open(const char *accept)
{
	return strstr(accept, "application/openmetrics-text");
}

static void head(const struct text *t, const char *name, enum type type, const char *help)
{
	/* OpenMetrics names the family, the older format the series. */
	const char *total = type == COUNTER && !t->open ? "_total" : "";

	evbuffer_add_printf(t->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, total, help, name,
			    total, type == COUNTER ? "counter" : "gauge");
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

/* One line; labels: pairs of name and value, NULL at their end. */
static void series(const struct text *t, const char *name, enum type type,
		   const char *const *labels, double v)
{
	evbuffer_add_printf(t->out, "%s%s", name, type == COUNTER ? "_total" : "");
	for (unsigned i = 0; labels[i]; i += 2) {
		evbuffer_add_printf(t->out, "%s%s=\"", i ? "," : "{", labels[i]);
		add_escaped(t->out, labels[i + 1]);
		evbuffer_add(t->out, "\"", 1);
	}
	evbuffer_add_printf(t->out, "%s %.15g\n", labels[0] ? "}" : "", v);
}

static void one(const struct text *t, const char *name, const char *help, double v)
{
	static const char *const none[] = {NULL};

	head(t, name, GAUGE, help);
	series(t, name, GAUGE, none, v);
}

/* ---- a VM ---- */
static const char *word(const json_t *vm, const char *field)
{
	const char *s = json_string_value(json_object_get(vm, field));

	return s ? s : "";
}

static bool is_protected(const json_t *vm)
{
	return !strcmp(word(vm, "state"), "protected");
}

static bool applies(const json_t *vm, unsigned when)
{
	if ((when & PROTECTED) &&
	    (!is_protected(vm) || json_is_true(json_object_get(vm, "suspended"))))
		return false;
	if ((when & SYNCING) && strcmp(word(vm, "state"), "syncing") != 0)
		return false;
	return !(when & PRIMARY) || !strcmp(word(vm, "role"), "primary");
}

static void one_of_words(const struct text *t, const json_t *vms, const char *name,
			 const char *label, const char *const *words, const char *help)
{
	const json_t *vm;
	size_t i;

	head(t, name, GAUGE, help);
	json_array_foreach(vms, i, vm)
		for (unsigned k = 0; words[k]; k++) {
			const char *const labels[] = {"vm", word(vm, "name"), label, words[k],
						      NULL};

			series(t, name, GAUGE, labels, !strcmp(word(vm, label), words[k]));
		}
}

static void family(const struct text *t, const json_t *vms, const struct family *f)
{
	const json_t *vm, *v;
	size_t i;

	head(t, f->name, f->type, f->help);
	json_array_foreach(vms, i, vm) {
		const char *const labels[] = {"vm", word(vm, "name"), NULL};

		v = json_object_get(vm, f->field);
		if (!applies(vm, f->when) || (!json_is_number(v) && !json_is_boolean(v)))
			continue;
		series(t, f->name, f->type, labels,
		       json_is_number(v) ? json_number_value(v) * f->scale : json_is_true(v));
	}
}

static void add_vms(const struct text *t, const json_t *vms)
{
	static const char *const states[] = {"syncing",	  "protected", "alone",
					     "promoting", "stopped",   NULL};
	static const char *const roles[] = {"primary", "backup", NULL};
	const json_t *vm;
	size_t i;

	one_of_words(t, vms, "twinvm_vm_state", "state", states,
		     "Which of its states the VM has here: 1 for one of them.");
	one_of_words(t, vms, "twinvm_vm_role", "role", roles, "This host's part in the VM.");
	head(t, "twinvm_vm_protected", GAUGE, "Has the VM a copy that can continue it?");
	json_array_foreach(vms, i, vm) {
		const char *const labels[] = {"vm", word(vm, "name"), NULL};

		series(t, "twinvm_vm_protected", GAUGE, labels, is_protected(vm));
	}
	for (i = 0; i < sizeof(families) / sizeof(*families); i++)
		family(t, vms, &families[i]);
}

static void add_build(const struct text *t, const json_t *snapshot)
{
	char protocol[16];
	const char *const labels[] = {"version", word(snapshot, "version"), "protocol", protocol,
				      NULL};

	snprintf(protocol, sizeof(protocol), "%d",
		 (int)json_integer_value(json_object_get(snapshot, "protocol")));
	head(t, "twinvm_build_info", GAUGE, "Which twinvmd runs here.");
	series(t, "twinvm_build_info", GAUGE, labels, 1);
}

void metrics_write(struct evbuffer *out, const json_t *snapshot, bool stale, bool open)
{
	const struct text t = {out, open};

	one(&t, "twinvm_daemon_up",
	    "Does twinvmd report what it knows? Without it nothing else is here.",
	    snapshot && !stale);
	if (snapshot) {
		add_build(&t, snapshot);
		one(&t, "twinvm_report_timestamp_seconds", "When twinvmd reported last.",
		    json_number_value(json_object_get(snapshot, "wall_s")));
	}
	if (snapshot && !stale)
		add_vms(&t, json_object_get(snapshot, "vms"));
	if (open)
		evbuffer_add_printf(out, "# EOF\n");
}

void metrics_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	bool open = metrics_wants_open(web_header(req, "Accept"));
	struct evbuffer *body = evbuffer_new();

	(void)rest;
	if (!body) {
		web_reply_text(req, 503, "no memory\n");
		return;
	}
	metrics_write(body, feed_snapshot(w->feed), feed_is_stale(w->feed), open);
	web_reply(req, 200, open ? METRICS_TYPE_OPEN : METRICS_TYPE, body);
}
