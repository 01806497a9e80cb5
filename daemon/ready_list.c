/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Would a failover succeed now? Facts go in, a verdict for each part of it comes out: see ready.h. */
#include "daemon/ready.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SILENT_S 3.0
#define MIN_FREE_KIB (64u << 10) /* what QEMU itself may still need */
#define MIN_DISK_BYTES (UINT64_C(64) << 20)

static const char *const words[] = {"yes", "no", "unknown", "operator"};

const char *ready_verdict_word(enum ready_verdict v)
{
	return v < READY_VERDICTS ? words[v] : "unknown";
}

static void add(struct ready_list *l, const char *name, bool needed, enum ready_verdict v,
		const char *fmt, ...) TV_PRINTF(5, 6);
static void add(struct ready_list *l, const char *name, bool needed, enum ready_verdict v,
		const char *fmt, ...)
{
	struct ready_check *c = &l->checks[l->n];
	va_list ap;

	tv_assert(l->n < READY_MAX_CHECKS);
	l->n++;
	*c = (struct ready_check){.name = name, .needed = needed, .verdict = v};
	va_start(ap, fmt);
	vsnprintf(c->text, sizeof(c->text), fmt, ap);
	va_end(ap);
	tv_mend_utf8(c->text);
}
#define YES(l, name, ...) add(l, name, true, READY_YES, __VA_ARGS__)
#define NO(l, name, ...) add(l, name, true, READY_NO, __VA_ARGS__)
#define UNKNOWN(l, name, ...) add(l, name, true, READY_UNKNOWN, __VA_ARGS__)

static void judge_copy(const struct ready_facts *f, struct ready_list *l)
{
	if (f->kept)
		NO(l, "copy",
		   "the VM could not be started here: 'twinvm failover %s --retry' tries again",
		   f->vm);
	else if (!f->whole)
		NO(l, "copy", "%s is %s: wait until 'twinvm status' shows protected", f->vm,
		   f->state);
	else if (f->silent_s > SILENT_S)
		NO(l, "copy", "the standby's replicator has reported nothing for %.0f s",
		   f->silent_s);
	else
		YES(l, "copy", "whole, epoch %llu is committed", (unsigned long long)f->epoch);
}

static void judge_contact(const struct ready_facts *f, struct ready_list *l)
{
	if (isnan(f->contact_s))
		UNKNOWN(l, "contact", "nothing is known of %s yet", f->peer);
	else if (f->contact_s > SILENT_S)
		NO(l, "contact", "%s has sent no sign of life for %.0f s", f->peer, f->contact_s);
	else
		YES(l, "contact", "%s sends heartbeats", f->peer);
}

/* As failover/claim.c judges the question of a backup. */
static void judge_record(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;
	unsigned long long g;

	if (!f->arbiter && f->fence && f->fence_decides) {
		YES(l, "record", "no arbiter: fence_command's success decides");
		return;
	}
	if (!f->arbiter) {
		add(l, "record", true, READY_OPERATOR,
		    "no arbiter: an operator promotes, with 'twinvm failover %s --force' on %s",
		    f->vm, f->host);
		return;
	}
	if (!k) {
		UNKNOWN(l, "record", "the arbiter was not asked yet");
		return;
	}
	g = (unsigned long long)k->record_generation;
	if (k->record_rc == -ENOENT)
		NO(l, "record",
		   "the arbiter has no record of %s: is it the same one, and its directory mounted?",
		   f->vm);
	else if (k->record_rc)
		NO(l, "record", "the arbiter cannot be asked: %s", k->record_text);
	else if (k->record_alone)
		NO(l, "record", "the record has %s alone on %s (generation %llu)", f->vm,
		   k->record_primary, g);
	else if (k->record_generation != f->generation)
		NO(l, "record", "the record has generation %llu, this copy has %llu", g,
		   (unsigned long long)f->generation);
	else if (strcmp(k->record_backup, f->host) != 0)
		NO(l, "record", "the record names %s as the backup, not %s", k->record_backup,
		   f->host);
	else if (strcmp(k->record_session, f->session) != 0)
		NO(l, "record", "the record is of another session of %s and %s", k->record_primary,
		   f->host);
	else
		YES(l, "record", "names %s as the backup, generation %llu", f->host, g);
}

static void judge_fence(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;

	if (!f->fence)
		YES(l, "fence", "no fence_command is configured: none is needed");
	else if (!f->fence_checks)
		UNKNOWN(l, "fence",
			"not asked: fence_check = yes states that fence_command knows --check");
	else if (!k || !k->fence_asked)
		UNKNOWN(l, "fence", "fence_command was not asked yet");
	else if (k->fence_status < 0)
		NO(l, "fence", "fence_command --check did not end by itself: %s", k->fence_text);
	else if (k->fence_status == 2 || k->fence_status == 64)
		UNKNOWN(l, "fence", "fence_command knows no --check (exit status %d)",
			k->fence_status);
	else if (k->fence_status)
		NO(l, "fence", "fence_command --check failed (exit status %d)%s%s", k->fence_status,
		   k->fence_text[0] ? ": " : "", k->fence_text);
	else
		YES(l, "fence", "fence_command can switch %s off", f->peer);
}

static void judge_network(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;

	if (!k)
		UNKNOWN(l, "network", "not looked at yet");
	else if (k->taps_lost)
		NO(l, "network",
		   "%llu of the standby's taps are gone: 'twinvm unprotect' and protect it again",
		   (unsigned long long)k->taps_lost);
	else if (!k->taps)
		YES(l, "network", "the VM has no taps");
	else if (!k->bridge[0])
		add(l, "network", true, READY_OPERATOR,
		    "no bridge is configured: an operator attaches %llu taps after a failover",
		    (unsigned long long)k->taps);
	else if (!strcmp(k->bridge_is, "missing"))
		NO(l, "network", "there is no bridge %s: make it, or correct bridge", k->bridge);
	else if (!strcmp(k->bridge_is, "other"))
		NO(l, "network", "%s is no bridge", k->bridge);
	else if (!strcmp(k->bridge_is, "down"))
		NO(l, "network", "the bridge %s is down: 'ip link set %s up'", k->bridge,
		   k->bridge);
	else
		YES(l, "network", "taps: %llu, bridge %s", (unsigned long long)k->taps, k->bridge);
}

static void judge_memory(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;

	if (!k || !k->run[0] || k->free_kib == UINT64_MAX)
		UNKNOWN(l, "memory", "not looked at yet");
	else if (k->limit_left_kib < MIN_FREE_KIB)
		NO(l, "memory", "its control group (memory.max) leaves it %llu MiB: raise it",
		   (unsigned long long)(k->limit_left_kib >> 10));
	else if (k->free_kib < MIN_FREE_KIB)
		NO(l, "memory", "%s has only %llu MiB of memory left", f->host,
		   (unsigned long long)(k->free_kib >> 10));
	else if (k->swap_kib && k->swap_kib != UINT64_MAX)
		YES(l, "memory", "it is there; %llu MiB of it are swapped out, which is slow",
		    (unsigned long long)((k->swap_kib + 1023) >> 10));
	else
		YES(l, "memory", "it is there%s; %llu MiB of the host's are free",
		    k->locked_kib && k->locked_kib != UINT64_MAX ? ", locked" : "",
		    (unsigned long long)(k->free_kib >> 10));
}

static void judge_qemu(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;

	if (!k)
		UNKNOWN(l, "qemu", "not looked at yet");
	else if (!k->run[0])
		NO(l, "qemu", "the standby's QEMU does not run");
	else if (strchr("TtZXx", k->run[0]))
		NO(l, "qemu", "the standby's QEMU is stopped (process state %s)", k->run);
	else if (k->program_gone)
		YES(l, "qemu", "runs with its machine; its program was replaced since");
	else
		YES(l, "qemu", "runs with its machine");
}

static void judge_disks(const struct ready_facts *f, struct ready_list *l)
{
	const struct ready_look *k = f->look;
	unsigned long long free_mib, grow_mib;

	if (!k) {
		UNKNOWN(l, "disks", "not looked at yet");
		return;
	}
	free_mib = (unsigned long long)(k->disk_free_bytes >> 20);
	grow_mib = (unsigned long long)(k->grow_bytes >> 20);
	if (k->disks_rc)
		NO(l, "disks", "replica_dir cannot be read: %s", tv_strerror(k->disks_rc));
	else if (k->disk_free_bytes < MIN_DISK_BYTES && k->disk_free_bytes < k->grow_bytes)
		NO(l, "disks", "replica_dir has %llu MiB left, and its images may grow by %llu MiB",
		   free_mib, grow_mib);
	else
		YES(l, "disks", "%llu images, %llu MiB free; they may grow by %llu MiB",
		    (unsigned long long)k->images, free_mib, grow_mib);
}

static void judge_health(const struct ready_facts *f, struct ready_list *l)
{
	const char *name = fo_health_name(f->health);

	if (f->health == FO_RED)
		NO(l, "health", "the hardware of %s is red: %s", f->host, f->health_why);
	else if (f->health == FO_UNKNOWN)
		UNKNOWN(l, "health", "nothing watches the hardware of %s", f->host);
	else
		YES(l, "health", "the hardware of %s is %s%s%s", f->host, name,
		    f->health_why[0] ? ": " : "", f->health_why);
}

static void judge_way_back(const struct ready_facts *f, struct ready_list *l)
{
	const char *name = "way-back";

	if (!f->reprotect)
		add(l, name, false, READY_NO,
		    "reprotect = no: an operator has to protect it again");
	else if (!f->peer_answers)
		add(l, name, false, READY_NO, "%s does not answer", f->peer);
	else if (f->peer_away)
		add(l, name, false, READY_NO, "%s is in maintenance", f->peer);
	else if (f->peer_health == FO_RED)
		add(l, name, false, READY_NO, "the hardware of %s is red: %s", f->peer,
		    f->peer_health_why);
	else
		add(l, name, false, READY_YES, "%s could be the backup", f->peer);
}

void ready_judge(const struct ready_facts *f, struct ready_list *out)
{
	out->n = 0;
	judge_copy(f, out);
	judge_contact(f, out);
	judge_record(f, out);
	judge_fence(f, out);
	judge_network(f, out);
	judge_memory(f, out);
	judge_qemu(f, out);
	judge_disks(f, out);
	judge_health(f, out);
	judge_way_back(f, out);
}

const struct ready_check *ready_first_no(const struct ready_list *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->checks[i].needed && l->checks[i].verdict == READY_NO)
			return &l->checks[i];
	return NULL;
}

json_t *ready_json(const struct ready_list *l)
{
	const struct ready_check *no = ready_first_no(l), *c;
	json_t *list = json_array(), *o;
	char why[360] = "";

	if (no)
		snprintf(why, sizeof(why), "%s: %s", no->name, no->text);
	o = json_pack("{sb so so}", "ready", !no, "why", fields_text(why), "checks", list);
	for (unsigned i = 0; o && i < l->n; i++) {
		c = &l->checks[i];
		(void)!json_array_append_new(
			list, json_pack("{ss ss sb so}", "name", c->name, "verdict",
					ready_verdict_word(c->verdict), "needed", (int)c->needed,
					"text", fields_text(c->text)));
	}
	return o;
}
