/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The messages' tables: see messages.h. */
#include "replicator/session/messages.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* ---- words ---- */
static const char *const roles[] = {[SESSION_PRIMARY] = "primary", [SESSION_BACKUP] = "backup"};

const char *session_role_name(enum session_role r)
{
	return roles[r == SESSION_BACKUP];
}

static const char *role_word(int v)
{
	return session_role_name((enum session_role)v);
}

static int role_value(const char *word)
{
	return !strcmp(word, roles[SESSION_BACKUP]) ? SESSION_BACKUP : SESSION_PRIMARY;
}

static const char *outcome_word(int v)
{
	return session_outcome_name((enum session_outcome)v);
}

static int outcome_value(const char *word)
{
	return (int)session_outcome_parse(word);
}

static const char *const memories[SESSION_MEMORY_COUNT] = {
	[SESSION_MEMORY_NONE] = "other",      [SESSION_MEMORY_VM] = "vm-memory",
	[SESSION_MEMORY_PAGE] = "unreadable", [SESSION_MEMORY_RESET] = "guest-reset",
	[SESSION_MEMORY_QEMU] = "qemu-ends",  [SESSION_MEMORY_STANDBY] = "standby-memory",
};

static const char *memory_word(int v)
{
	return memories[v >= 0 && v < SESSION_MEMORY_COUNT ? v : SESSION_MEMORY_NONE];
}

static int memory_value(const char *word)
{
	for (int i = 0; i < SESSION_MEMORY_COUNT; i++)
		if (!strcmp(memories[i], word))
			return i;
	return SESSION_MEMORY_NONE;
}

const struct field_words session_memory_words = {memory_word, memory_value};
const struct field_words session_role_words = {role_word, role_value};
const struct field_words session_outcome_words = {outcome_word, outcome_value};

/* ---- bodies ---- */
#define R(member, kind, unit, meaning) FIELD(struct session_register, member, kind, unit, meaning)
/* A replicator of an older version, which registers with this daemon again, has not got it. */
#define NEW_IN(type, field, field_kind, field_unit, field_meaning)                           \
	{                                                                                    \
		.name = #field, .kind = FIELD_##field_kind, .offset = offsetof(type, field), \
		.room_bytes = sizeof(((type *)0)->field), .unit = (field_unit),              \
		.meaning = (field_meaning), .optional = true                                 \
	}
#define NEW(type, field, field_kind, field_meaning) \
	NEW_IN(type, field, field_kind, "", field_meaning)
static const struct field register_list[] = {
	FIELD_ENUM(struct session_register, role, &session_role_words, "primary or backup"),
	R(vm_id, TEXT, "", "the VM's id"),
	R(pid, PID, "", "of the replicator"),
	R(generation, U64, "", "of this session"),
	R(session, TEXT, "", "the session's id"),
	R(name, TEXT, "", "backup: the VM's name"),
	R(peer, TEXT, "", "backup: the primary's host"),
	R(arbiter, TEXT, "", "backup: URL of the arbiter"),
	R(mode, TEXT, "", "backup: what begins an epoch"),
	NEW(struct session_register, uuid, TEXT, "backup: the VM's, as its QEMU has it"),
	R(peer_port, PORT, "", "backup: port of the primary's twinvmd"),
	R(epoch_ms, INT, "ms", "backup: the primary's --epoch"),
	NEW(struct session_register, by_operator, BOOL, "backup: an operator has named this host"),
};
static const struct fields session_register_fields = FIELDS("register", register_list);

/* In the order in which `twinvm status --json` shows them. */
#define S(member, kind, unit, meaning) FIELD(struct session_stats, member, kind, unit, meaning)
#define STATS_PUBLIC                                                                                 \
	S(state, TEXT, "", "syncing, protected, alone, promoting, stopped"),                         \
		S(reason, TEXT, "", "why the VM is not protected, or stands still; else empty"),     \
		NEW(struct session_stats, run_state, TEXT,                                           \
		    "QEMU's, as in query-status (docs/RUNSTATES.md); empty on the backup"),          \
		NEW(struct session_stats, suspended, BOOL,                                           \
		    "an operator has suspended the VM with `twinvm suspend`; on the backup: in the " \
		    "last epoch"),                                                                   \
		S(progress, F64, "0 to 1", "how much of the first copy is done"),                    \
		S(epoch_running, U64, "", "number of the epoch that runs"),                          \
		S(epoch_committed, U64, "", "number of the last committed epoch"),                   \
		S(lag_ms, F64, "ms", "age of the last committed epoch while the VM runs"),           \
		S(uncommitted_bytes, U64, "bytes", "captured and not committed yet"),                \
		S(oldest_held_frame_ms, F64, "ms", "age of the oldest held network frame"),          \
		S(pause_ms.p50, F64, "ms", "pause of the VM per epoch: median of the last 512"),     \
		S(pause_ms.p99, F64, "ms", "99th percentile"),                                       \
		S(pause_ms.max, F64, "ms", "longest of the session"),                                \
		S(epoch_ms.p50, F64, "ms", "from pause to pause: median of the last 512"),           \
		S(commit_ms.p50, F64, "ms",                                                          \
		  "from an epoch's state to its commit: median of the last 512"),                    \
		S(commit_ms.p99, F64, "ms", "99th percentile"),                                      \
		S(dirty_pages.p50, U64, "pages", "captured per epoch: median of the last 512"),      \
		S(dirty_pages.p99, U64, "pages", "99th percentile"),                                 \
		S(raw_bytes, U64, "bytes", "of memory and device state before encoding"),            \
		S(wire_bytes, U64, "bytes", "sent to the backup (on the backup: received)"),         \
		S(disk_bytes, U64, "bytes", "of disk writes before encoding"),                       \
		S(disk_kept_bytes, U64, "bytes",                                                     \
		  "of the first copy of the disks, not sent: the backup had them"),                  \
		S(held_frames, U64, "", "network frames held now"),                                  \
		S(released_frames, U64, "", "released since the session began"),                     \
		S(dropped_frames, U64, "", "dropped, because a queue was full"),                     \
		S(output_held_by, TEXT, "", "plug or relay; empty when nothing is held"),            \
		S(qemu, TEXT, "", "version of the VM's QEMU; empty on the backup"),                  \
		S(core, TEXT, "", "state of the decision table (docs/FAILOVER.md)")
static const struct field public_list[] = {STATS_PUBLIC};
static const struct field stats_list[] = {
	STATS_PUBLIC,
	S(lease, BOOL, "", "primary: a recent heartbeat came back"),
	S(asked_to_run, BOOL, "", "backup: the primary itself asked it to promote"),
	NEW(struct session_stats, warning, TEXT,
	    "what is wrong although the VM may be protected; empty: nothing"),
	NEW_IN(struct session_stats, state_for_ms, F64, "ms", "for how long `state` has been so"),
	NEW_IN(struct session_stats, rtt_ms, F64, "ms", "round trip to the peer; 0: not known"),
	NEW_IN(struct session_stats, epoch_target_ms, F64, "ms",
	       "primary: how long an epoch is while nothing waits; 0: not known"),
	NEW(struct session_stats, epoch_why, TEXT, "primary: what sets that"),
	NEW(struct session_stats, arbiter_state, TEXT,
	    "reachable, unreachable, no record; empty: not known"),
	NEW_IN(struct session_stats, arbiter_for_ms, F64, "ms", "for how long it has been so"),
	NEW_IN(struct session_stats, link_bytes_s, F64, "bytes/s",
	       "primary: what the link was measured to carry; 0: not known"),
	NEW_IN(struct session_stats, link_acked_bytes, U64, "bytes",
	       "primary: of the stream, what the backup's host has acknowledged"),
	NEW_IN(struct session_stats, contact_for_ms, F64, "ms",
	       "since the peer's last sign of life; 0: none yet"),
};
const struct fields session_stats_public = FIELDS("status", public_list);
static const struct fields session_stats_fields = FIELDS("stats", stats_list);

#define C(member, kind, unit, meaning) FIELD(struct session_counts, member, kind, unit, meaning)
static const struct field counts_list[] = {
	C(pause, LIST, "", "how many pauses were not longer than each edge; longer; all in us"),
	C(epoch, LIST, "", "the same of the times from pause to pause"),
	C(commit, LIST, "", "of the times from an epoch's pause to its commit"),
	C(hold, LIST, "", "of how long the oldest frame of those that were released was held"),
	C(epochs_committed, U64, "", "in this session, as all of these"),
	C(epochs_aborted, U64, "", "begun and never committed"),
	C(dirty_pages, U64, "pages", "captured"),
	C(memory_bytes, U64, "bytes", "of memory and device state before encoding"),
	C(wire_bytes, U64, "bytes", "sent to the backup (on the backup: received)"),
	C(disk_bytes, U64, "bytes", "of disk writes before encoding"),
	C(frames_held, U64, "", "network frames that were held, or are"),
	C(frames_released, U64, "", "of those and of others that left"),
	C(frames_dropped, U64, "", "dropped, because a queue was full"),
};
static const struct fields session_counts_fields = FIELDS("counts", counts_list);

#define E(member, kind, unit, meaning) FIELD(struct session_end, member, kind, unit, meaning)
#define OUTAGE(member, field_meaning)                                                   \
	{                                                                               \
		.name = "outage." #member, .kind = FIELD_F64,                           \
		.offset = offsetof(struct session_end, outage.member),                  \
		.room_bytes = sizeof(double), .unit = "ms", .meaning = (field_meaning), \
		.optional = true                                                        \
	}
static const struct field end_list[] = {
	FIELD_ENUM(struct session_end, outcome, &session_outcome_words, "see outcomes"),
	E(rc, INT, "", "0, or what failed"),
	E(text, TEXT, "", "why, for people; may be empty"),
	E(generation, U64, "", "of the VM; higher than before when it changed hosts"),
	NEW(struct session_end, over, BOOL, "backup: the primary ended protection for good"),
	NEW(struct session_end, suspended, BOOL,
	    "promoted: an operator had suspended it, it stands still"),
	E(parted, BOOL, "", "primary: the backup does not ask for the VM any more"),
	NEW(struct session_end, outage.cause, TEXT, "of a failover; empty: nothing was measured"),
	OUTAGE(outage_ms, "from the primary's last sign of life until the VM runs"),
	OUTAGE(silence_ms, "until the arbiter was asked, or an operator waited for"),
	OUTAGE(record_ms, "until the VM was this host's"),
	OUTAGE(apply_ms, "until what was committed was applied"),
	OUTAGE(load_ms, "until QEMU had loaded the VM and ran it"),
};
static const struct fields session_end_fields = FIELDS("done", end_list);

static const struct field peer_list[] = {
	FIELD(struct session_peer, peer, TEXT, "", "the backup's host, as its certificate has it"),
};
static const struct fields session_peer_fields = FIELDS("protected", peer_list);

static const struct field answer_list[] = {
	FIELD(struct session_answer, ok, BOOL, "", "it has begun; of a suspend: it is done"),
	FIELD(struct session_answer, text, TEXT, "", "why not"),
};
static const struct fields session_answer_fields = FIELDS("answer", answer_list);

static const struct field text_list[] = {
	FIELD(struct session_text, text, TEXT, "", "why, for people"),
};
static const struct fields session_text_fields = FIELDS("text", text_list);

static const struct field memory_error_list[] = {
	FIELD(struct session_memory_error, at_ns, U64, "ns",
	      "its first sign, by the host's clock since its start (CLOCK_BOOTTIME)"),
	FIELD(struct session_memory_error, text, TEXT, "", "what happened, for people"),
};
static const struct fields session_memory_error_fields = FIELDS("memory error", memory_error_list);

static const struct field hurry_list[] = {
	FIELD(struct session_hurry, epoch_ms, INT, "ms", "the longest epoch; 0: the VM's --epoch"),
};
static const struct fields session_hurry_fields = FIELDS("hurry", hurry_list);

static const struct field hardware_list[] = {
	FIELD_ENUM(struct session_hardware, what, &session_memory_words,
		   "vm-memory, unreadable, guest-reset, qemu-ends; standby-memory of a backup"),
	FIELD(struct session_hardware, text, TEXT, "", "what happened, for people"),
};
static const struct fields session_hardware_fields = FIELDS("hardware", hardware_list);

static const struct field fenced_list[] = {
	FIELD(struct session_fenced, generation, U64, "", "the highest that is known"),
};
static const struct fields session_fenced_fields = FIELDS("fenced", fenced_list);

static const struct field go_list[] = {
	FIELD(struct session_go, slot, INT, "", "see slot.h; -1: as before (the daemon is new)"),
};
static const struct fields session_go_fields = FIELDS("go", go_list);

static const struct field verify_list[] = {
	FIELD(struct session_verify, rate_bytes_s, U64, "bytes/s", "most that is compared"),
	FIELD(struct session_verify, repair, BOOL, "", "what differs is sent again"),
};
static const struct fields session_verify_fields = FIELDS("verify", verify_list);

#define V(member, kind, unit, meaning) FIELD(struct session_verified, member, kind, unit, meaning)
static const struct field verified_list[] = {
	V(over, BOOL, "", "the last message of this comparison"),
	V(ok, BOOL, "", "all was compared"),
	V(text, TEXT, "", "why not"),
	V(progress, F64, "", "0 to 1"),
	V(seconds, F64, "s", "how long it took"),
	V(pages, U64, "pages", "of memory compared"),
	V(mismatched_pages, U64, "pages", "that differed"),
	V(repaired_pages, U64, "pages", "of those that were sent again, and are equal since"),
	V(blocks, U64, "blocks", "of 64 KiB of the disks compared"),
	V(mismatched_blocks, U64, "blocks", "that differed"),
	V(repaired_blocks, U64, "blocks", "of those that were sent again, and are equal since"),
	V(busy_blocks, U64, "blocks", "not compared: the guest wrote to them all the time"),
	V(parts, U64, "", "of the device state compared"),
	V(mismatched_parts, U64, "", "that differed"),
	V(repaired_parts, U64, "", "of those, mended"),
	V(first_epoch, U64, "", "at whose end the first was compared"),
	V(last_epoch, U64, "", "at whose end the last was compared"),
};
static const struct fields session_verified_fields = FIELDS("verified", verified_list);

static const struct field look_list[] = {
	FIELD(struct session_look, pid, PID, "", "of the replicator"),
	FIELD(struct session_look, host, TEXT, "", "the peer that asks, as its certificate has it"),
};
static const struct fields session_look_fields = FIELDS("look", look_list);

static const struct field freeze_list[] = {
	FIELD(struct session_freeze, extra_bytes, U64, "bytes",
	      "of memory that the holder will take beside the copy"),
	FIELD(struct session_freeze, disk_bytes, U64, "bytes",
	      "at most kept of what the VM overwrites on its disks; 0: spool_mib"),
	FIELD(struct session_freeze, for_s, INT, "s", "it ends after that"),
};
static const struct fields session_freeze_fields = FIELDS("freeze", freeze_list);

static const struct field frozen_list[] = {
	FIELD(struct session_frozen, rc, INT, "", "0, or why there is none"),
	FIELD(struct session_frozen, text, TEXT, "", "that, for people"),
};
static const struct fields session_frozen_fields = FIELDS("frozen", frozen_list);

/* ---- messages ---- */
static const struct session_op_info ops[] = {
#define ROW(name, word, sender, fields, meaning) \
	[SESSION_OP_##name] = {word, sender, fields, meaning},
	SESSION_OPS(ROW)
#undef ROW
};

const struct session_op_info *session_op_info(enum session_op op)
{
	return &ops[op];
}

enum session_op session_op_of(const json_t *msg)
{
	const char *word = json_string_value(json_object_get(msg, "op"));

	for (int i = SESSION_OP_NONE + 1; word && i < SESSION_OP_COUNT; i++)
		if (!strcmp(word, ops[i].word))
			return (enum session_op)i;
	return SESSION_OP_NONE;
}

json_t *session_message(enum session_op op, const void *body)
{
	json_t *o = json_object();

	if (json_object_set_new(o, "op", json_string(ops[op].word)) ||
	    (ops[op].fields && fields_add(ops[op].fields, body, o))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* What a struct with these fields needs at least: the caller's struct may be another message's. */
static size_t bytes_of(const struct fields *f)
{
	size_t bytes = 0, end;

	for (unsigned i = 0; f && i < f->n; i++) {
		end = f->list[i].offset + f->list[i].room_bytes;
		bytes = end > bytes ? end : bytes;
	}
	return bytes;
}

int session_body(enum session_op op, const json_t *msg, void *body, size_t body_bytes,
		 struct tv_err *e)
{
	assert(body_bytes >= bytes_of(ops[op].fields));
	memset(body, 0, body_bytes);
	return ops[op].fields ? fields_read(ops[op].fields, msg, body, e) : 0;
}
