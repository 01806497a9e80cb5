/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The messages between twinvmd and its replicator processes: what each is called, who sends it,
 * which fields it has. docs/CONTROL.md is made from these tables. They travel as JSON lines over a
 * UNIX socket (ctl.h), with the message's word in "op".
 */
#ifndef REPLICATOR_SESSION_MESSAGES_H
#define REPLICATOR_SESSION_MESSAGES_H

#include "replicator/session/fields.h"
#include "replicator/session/histogram.h"
#include "replicator/session/outcome.h"

enum session_role { SESSION_PRIMARY, SESSION_BACKUP };
const char *session_role_name(enum session_role r);

/* ---- bodies ---- */
/* The first message of a connection; again when the backup's standby has its process, which is on a
 * note (notes.h). */
struct session_register {
	enum session_role role;
	char vm_id[33];
	pid_t pid;
	uint64_t generation;
	char session[33];
	/* the backup's only, "" and 0 otherwise: */
	char name[128], peer[64], arbiter[256], mode[16];
	char uuid[37];
	uint16_t peer_port;
	int epoch_ms;
	bool by_operator;
};

struct session_stats {
	char state[16]; /* as in docs/STATUS.md */
	char core[24];	/* of the decision table (docs/FAILOVER.md) */
	char reason[640];
	double progress;
	uint64_t epoch_running, epoch_committed;
	double lag_ms;
	uint64_t uncommitted_bytes;
	double oldest_held_frame_ms;
	struct {
		double p50, p99, max;
	} pause_ms;
	struct {
		double p50;
	} epoch_ms;
	struct {
		double p50, p99;
	} commit_ms;
	struct {
		uint64_t p50, p99;
	} dirty_pages;
	uint64_t raw_bytes, wire_bytes, disk_bytes, disk_kept_bytes;
	uint64_t held_frames, released_frames, dropped_frames;
	char output_held_by[16], qemu[32], run_state[24];
	bool suspended;
	/* between replicator and daemon only: */
	bool lease;		/* primary: a recent heartbeat came back */
	bool asked_to_run;	/* backup: the primary itself asked it to promote */
	char warning[640];	/* what is wrong although the VM may be protected; "": nothing */
	double state_for_ms;	/* for how long `state` has been so */
	double rtt_ms;		/* 0: not known */
	double epoch_target_ms; /* primary; 0: not known */
	char epoch_why[24];
	char arbiter_state[16]; /* fo_arbiter_seen_name */
	double arbiter_for_ms;	/* for how long it has been so */
	double link_bytes_s;	/* primary: what the link was measured to carry; 0: not known */
	uint64_t link_acked_bytes;
	double contact_for_ms; /* since the peer's last sign of life; 0: none yet */
};

/* What a session has counted since it began: all of it is uint64_t, so that sessions add up. */
struct session_counts {
	struct histogram pause, epoch, commit, hold; /* of the primary; histogram_epoch_us */
	uint64_t epochs_committed, epochs_aborted, dirty_pages;
	uint64_t memory_bytes, wire_bytes, disk_bytes;
	uint64_t frames_held, frames_released, frames_dropped;
};

#define SESSION_SUSPENDED                                                                           \
	"the VM was suspended with 'twinvm suspend': it stays stopped until 'twinvm resume', here " \
	"or, after a failover, where it is then"

/* How long nobody ran the VM, in phases that follow each other (docs/EVENTS.md). */
struct session_outage {
	char cause[16]; /* "": nothing was measured */
	double outage_ms, silence_ms, record_ms, apply_ms, load_ms;
};

/* The last message. */
struct session_end {
	enum session_outcome outcome;
	int rc;
	char text[640];
	uint64_t generation; /* of the VM: a promotion, or taking it back, makes it higher */
	bool over;	     /* backup: the primary ended protection for good */
	bool suspended;	     /* promoted: as an operator had suspended it, it stands still */
	bool parted; /* primary: the backup has closed its side, or has nothing to run: it does not
			ask for the VM */
	struct session_outage outage; /* promoted; switched: cause and outage_ms only */
};

struct session_peer { /* protected */
	char peer[64];
};
struct session_answer { /* switch-answer, promote-answer, suspend-answer */
	bool ok;
	char text[640];
};
struct session_text { /* refuse, fence */
	char text[640];
};
struct session_memory_error {
	uint64_t at_ns; /* the first sign of it, by tv_now_ns */
	char text[640];
};
/* What a replicator itself has met of this host's memory. */
enum session_memory {
	SESSION_MEMORY_NONE,	/* of a later version: not known here */
	SESSION_MEMORY_VM,	/* QEMU reports an error in the VM's memory */
	SESSION_MEMORY_PAGE,	/* a page of the VM cannot be read */
	SESSION_MEMORY_RESET,	/* QEMU resets the guest for one */
	SESSION_MEMORY_QEMU,	/* QEMU itself ends of one */
	SESSION_MEMORY_STANDBY, /* a page of the standby is lost */
	SESSION_MEMORY_COUNT
};
struct session_hardware {
	enum session_memory what;
	char text[640];
};
struct session_hurry {
	int epoch_ms; /* epochs are no longer than that; 0: as long as the operator has set */
};
struct session_fenced {
	uint64_t generation;
};
struct session_go {
	int slot;
};

struct session_freeze {
	uint64_t extra_bytes; /* memory that the holder will take beside the copy */
	uint64_t disk_bytes; /* at most kept of what the VM overwrites on its disks; 0: spool_mib */
	int for_s;
};
struct session_frozen { /* the answer */
	int rc;
	char text[640];
};
struct session_verify {
	uint64_t rate_bytes_s;
	bool repair;
};
/* How a comparison with the backup goes, or has gone; what differs is in the message's `found` beside it
 * (docs/REHEARSAL.md). */
struct session_verified {
	bool over; /* the last message of it */
	bool ok;   /* all was compared; else text says why not */
	char text[640];
	double progress, seconds;
	uint64_t pages, mismatched_pages, repaired_pages;
	uint64_t blocks, mismatched_blocks, repaired_blocks, busy_blocks;
	uint64_t parts, mismatched_parts, repaired_parts;
	uint64_t first_epoch, last_epoch;
};

struct session_look { /* look, command */
	pid_t pid;    /* of the replicator */
	char host[64];
};

extern const struct fields session_stats_public; /* what `twinvm status` shows of it */
extern const struct field_words session_outcome_words, session_role_words;
extern const struct field_words session_memory_words;

/* ---- the list ---- */
/* name, word, sender, fields or NULL, meaning */
#define SESSION_OPS(X)                                                                            \
	X(REGISTER, "register", "replicator", &session_register_fields,                           \
	  "introduces itself; the backup's again when its standby is started")                    \
	X(STATS, "stats", "replicator", &session_stats_fields, "its state and its counters")      \
	X(COUNTS, "counts", "replicator", &session_counts_fields,                                 \
	  "what it has counted, for metrics: once a second, and at its end")                      \
	X(DISKS, "disks", "replicator", NULL,                                                     \
	  "how far the VM's disks are, in `disks`: docs/STATUS.md")                               \
	X(STASH, "stash", "replicator", NULL,                                                     \
	  "hands over duplicates of the sockets that hold output (descriptors)")                  \
	X(TRACE, "trace", "replicator", NULL,                                                     \
	  "hands over the ring of its trace (a descriptor), when an epoch is in it")              \
	X(PROTECTED, "protected", "replicator", &session_peer_fields,                             \
	  "the record names the backup: protection has begun")                                    \
	X(SWITCH_ANSWER, "switch-answer", "replicator", &session_answer_fields,                   \
	  "whether a planned switch can begin")                                                   \
	X(PROMOTE_ANSWER, "promote-answer", "replicator", &session_answer_fields,                 \
	  "whether a promotion (forced, or again) can begin")                                     \
	X(SUSPEND_ANSWER, "suspend-answer", "replicator", &session_answer_fields,                 \
	  "a suspend or resume is done, and safe with the backup if there is one")                \
	X(HARDWARE, "hardware", "replicator", &session_hardware_fields,                           \
	  "it has met a memory error of this host")                                               \
	X(VERIFIED, "verified", "replicator", &session_verified_fields,                           \
	  "how the comparison with the backup goes, and at its end what was found")               \
	X(DONE, "done", "replicator", &session_end_fields,                                        \
	  "how the session ended; the process exits")                                             \
	X(LOOK, "look", "replicator", &session_look_fields,                                       \
	  "a peer asks what twinvmd knows; the first message of its connection, and again")       \
	X(COMMAND, "command", "replicator", &session_look_fields,                                 \
	  "a peer passes an operator's command on, in `request`; the first message of its "       \
	  "connection")                                                                           \
	X(FROZEN, "frozen", "replicator", &session_frozen_fields,                                 \
	  "the answer to freeze; rc 0: with the holder's end of a still's socket (a descriptor)") \
	X(FREEZE, "freeze", "twinvmd", &session_freeze_fields,                                    \
	  "the backup is to hold its last committed epoch still: still/still.h")                  \
	X(VIEW, "view", "twinvmd", NULL, "the answer, in `view`: docs/WIRE.md")                   \
	X(REPLY, "reply", "twinvmd", NULL, "what the command answers, in `reply`: docs/WIRE.md")  \
	X(GO, "go", "twinvmd", &session_go_fields,                                                \
	  "the backup may start a standby, with the names of that slot")                          \
	X(REFUSE, "refuse", "twinvmd", &session_text_fields,                                      \
	  "the backup is to refuse the primary, with this sentence")                              \
	X(FENCED, "fenced", "twinvmd", &session_fenced_fields,                                    \
	  "the primary is stale: the backup is to send it that generation")                       \
	X(DISCARD, "discard", "twinvmd", NULL, "the backup is to end: a newer session waits")     \
	X(PROMOTE, "promote", "twinvmd", NULL, "an operator forces promotion")                    \
	X(RETRY, "retry", "twinvmd", NULL, "an operator tries a promotion again that failed")     \
	X(LEAVE, "leave", "twinvmd", NULL, "the primary is to end protection")                    \
	X(FENCE, "fence", "twinvmd", &session_text_fields,                                        \
	  "another host runs the VM: the primary is to stop it and end")                          \
	X(MEMORY_ERROR, "memory-error", "twinvmd", &session_memory_error_fields,                  \
	  "a page of the VM, or of its standby, has lost data: the backup is to continue it "     \
	  "from before; a session with such a standby is to end")                                 \
	X(HURRY, "hurry", "twinvmd", &session_hurry_fields,                                       \
	  "the VM's part of the host is weak: epochs are to be shorter, or as before")            \
	X(SWITCH, "switch", "twinvmd", NULL, "an operator asks for a planned switch")             \
	X(SUSPEND, "suspend", "twinvmd", NULL, "an operator suspends the VM")                     \
	X(RESUME, "resume", "twinvmd", NULL, "an operator lets the VM run")                       \
	X(VERIFY, "verify", "twinvmd", &session_verify_fields,                                    \
	  "the VM is to be compared with its backup")                                             \
	X(VERIFY_END, "verify-end", "twinvmd", NULL, "nobody waits for the comparison any more")

#define SESSION_OP_ENUM(name, word, sender, fields, meaning) SESSION_OP_##name,
enum session_op { SESSION_OP_NONE, SESSION_OPS(SESSION_OP_ENUM) SESSION_OP_COUNT };

struct session_op_info {
	const char *word, *sender;
	const struct fields *fields; /* NULL: none */
	const char *meaning;
};
/* op: not NONE. */
const struct session_op_info *session_op_info(enum session_op op);

/* The message's kind; SESSION_OP_NONE: none of the list. */
enum session_op session_op_of(const json_t *msg);
/* A message, the caller's; body is the struct of its fields, NULL where it has none. NULL: no
 * memory (ctl_send takes that for nothing to send). */
json_t *session_message(enum session_op op, const void *body);
/* Fills the body, which is zeroed first. -EINVAL with a sentence. */
int session_body(enum session_op op, const json_t *msg, void *body, size_t body_bytes,
		 struct tv_err *e) TV_MUST_CHECK;

#endif
