/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM that this host has a part in: as primary, or as backup. What it is, what of it is on disk,
 * the session that runs, and the program that powers its other host off. registry.c keeps the list.
 */
#ifndef DAEMON_VM_H
#define DAEMON_VM_H

#include "replicator/session/session.h"
#include "failover/failover.h"
#include "hv/hv.h"

#include <string.h>
#include <sys/queue.h>

struct daemon;

enum vm_phase {
	VM_IDLE,       /* no replicator; the VM runs alone, or has just been loaded from disk */
	VM_RUNNING,    /* a replicator was started */
	VM_RECOVERING, /* a process cleans up after a replicator that died */
	VM_FENCING,    /* another host runs this VM: a process stops this host's instance */
};

/* In state_dir/vms/ID.json, with id, name, role and whether it is to be protected (registry.c). */
struct vm_saved {
	struct hv_vm_id qemu; /* primary: the VM; backup: the standby (pid 0: none) */
	char dir[256];	      /* backup: the standby's run directory */
	int slot;	      /* whose names the QEMU has (slot.h); -1: it never was a standby */
	struct fo_candidate peer; /* the other host; its address as it was given or came from */
	char mode[16], arbiter[256], session[33];
	int epoch_ms;
	uint64_t generation;
	struct fo_candidate last; /* the host that reprotect.last names */
	bool was_protected;	  /* ever since protect was given */
	char uuid[37];		  /* as QEMU's -uuid has it; "": none */
	bool suspended;		  /* an operator has suspended it, as far as this daemon knows */
	bool away;	    /* another program has written it to a file or migrated it, since it was
		    * protected last: its QEMU may end and come again (away.c) */
	bool leaving;	    /* unprotect was given: forgotten as soon as nothing is attached */
	char reason[512];   /* why it is not protected */
	char state[16];	    /* as status shows it (shown.c), */
	double state_since; /* and since when, in s since 1970; 0: not known */
};

/* A replicator process, and what it reported. */
struct vm_session {
	pid_t child;	  /* replicator or helper started by this daemon; 0: none, or adopted */
	pid_t replicator; /* registered one, started by this daemon or adopted */
	struct ctl *rep;  /* its connection */
	bool awaited;	  /* loaded from disk: its replicator may still register */
	struct session_stats stats; /* state "": none yet; stays readable after the end */
	int64_t stats_ns;	    /* when it reported last */
	/* hung.c: what it saw last, and how often it has seen no change */
	int64_t hung_stats_ns;
	uint32_t hung_pause;
	unsigned hung_looks;
	uint64_t commit_seen;	/* the last committed epoch, */
	int64_t commit_seen_ns; /* and when it was reported first */
	bool malformed;		/* a message of it could not be read: logged once */
	bool copies;		/* its first copy has begun: events_stats.c */
	bool first_note;	/* backup: elsewhere.c knew nothing of the VM before this session */
	bool promoting;		/* by the command that waits */
	bool done;		/* it reported its end: */
	struct session_end end;
};

/* fence_command.c */
struct vm_fencer {
	pid_t pid; /* of fence_command; 0: it does not run */
	struct event *timer;
	bool begun, decides; /* in this session; its success promotes */
};

/* stash.c: copies of the sockets that hold the VM's output */
struct vm_stash {
	int fds[CTL_MAX_FDS];
	struct event *drain[CTL_MAX_FDS];
	unsigned n;
};

/* vitals.c. UINT64_MAX: not known. */
struct vm_counts {
	int64_t at_ns;
	pid_t pid, other; /* other: backup: its sink */
	uint64_t cpu_ticks, other_ticks, disk_read, disk_write, net_rx, net_tx, wire, acked;
};
/* NAN, UINT64_MAX: not known. */
struct vm_vitals {
	double cpu_percent, disk_read_bytes_s, disk_write_bytes_s, net_rx_bytes_s, net_tx_bytes_s,
		wire_bytes_s, link_used_bytes_s, standby_cpu_percent;
	uint64_t memory_bytes, standby_memory_bytes;
	struct vm_counts before;
	enum session_role role; /* that it had */
	unsigned samples, taps_n;
	char taps[8][16];
};

struct vm_verify { /* verify.c: a comparison with the backup */
	bool on;
	struct ctl *c;	/* the command that waits for it; NULL: none */
	uint64_t entry; /* in the history of rehearsals */
};

/* tally.c: counted for metrics, over the VM's sessions */
#define TALLY_CAUSES 8
struct vm_tally {
	struct session_counts past, now; /* of the sessions that ended; of the one that runs */
	unsigned failovers[TALLY_CAUSES], ended[SESSION_OUTCOME_COUNT + 1];
	struct histogram outage; /* of failovers; histogram_outage_us */
};

struct vm {
	TAILQ_ENTRY(vm) link;
	struct daemon *d;
	char id[33], name[128];
	enum session_role role;
	struct vm_saved saved;
	struct fo_reprotect reprotect; /* its `on`: to be protected whenever that is possible */
	enum vm_phase phase;
	uint64_t highest;      /* generation that this host knows of; above its own: stale */
	struct event *timer;   /* the phase decides what for */
	struct tv_err warning; /* for status: "" or what is wrong although it is protected */
	struct vm_session now;
	struct vm_fencer fencer;
	struct vm_stash stash;
	/* The newest session's trace that has an epoch, also after its end, and the one before; -1. */
	int trace_fd, former_trace_fd;
	struct vm_freeze { /* freeze.c: who waits for the answer of a sink; cb NULL: nobody */
		void (*cb)(void *arg, int rc, const char *why, int fd);
		void *arg;
	} freeze;
	struct vm_vitals vitals;
	struct vm_tally tally;
	struct vm_verify verify;
	/* schedules.c: when a test failover or drill passed last, in s since 1970; 0: never */
	double rehearsed;
	bool rehearsal_due;		  /* too long ago */
	time_t scheduled[SCHEDULE_WHATS]; /* the last times that something was begun for */
	struct vm_ready
		*ready; /* ready.c: what was found on the backup's host; NULL: nothing yet */
	json_t *disks;	/* of the session, as its replicator reported them; NULL: not yet */
	/* twinvm protect, unprotect or failover that waits */
	struct ctl *waiter;
	bool waiter_leaves; /* it waits for the end of protection */
	bool by_operator;   /* its backup was named by an operator, for this try or session */
	bool fresh;	    /* made by the protect under way: forgotten when that fails */
	int refused_rc;	    /* its protection is ended by this daemon: for that reason */
	struct tv_err refused;
	struct fo_candidate asked; /* protect named this host during another try; port 0: no */
};

/* ---- registry.c ---- */
struct vm *vm_new(struct daemon *d, const char *id, const char *name, enum session_role role);
/*
 * Forgets the VM, here and on disk. The replicator must be gone or going. A backup session that
 * waited for that is admitted in the loop's next turn.
 */
void vm_drop(struct vm *vm);
struct vm *vm_by_id(struct daemon *d, const char *id);
/* By name, id, pid, number of Proxmox VE or libvirt, UUID, or QMP socket. NULL: none; *several is set
 * when more than one has it. */
struct vm *vm_find(struct daemon *d, const char *what, bool *several);
/* Durable when it returns 0: for what is about to be promised. */
int vm_save(const struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* For what has happened already: written now, or as soon as that is possible (durable.c). */
void vm_save_later(const struct vm *vm);
/* Removes its file; the next daemon does not know it. vm_drop does the same. */
int vm_unsave(const struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* Which process its standby is, as root noted it (replicator/session/notes.h). */
void vm_learn_standby(struct vm *vm);
/* Its QEMU process is still the one that is known. */
bool vm_lives(const struct vm *vm);
/* It has an arbiter, and not an operator who decides. */
static inline bool vm_has_arbiter(const struct vm *vm)
{
	return vm->saved.arbiter[0] && strcmp(vm->saved.arbiter, "none") != 0;
}
/* The VM's timer, in ns from now: then d->due is called, and the phase at that time counts. */
void vm_timer(struct vm *vm, int64_t ns);
/* Reads what is on disk; the caller starts what must be started. */
void registry_load(struct daemon *d);

#endif
