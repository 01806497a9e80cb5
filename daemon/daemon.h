/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvmd: supervises one replicator process per VM, holds what must outlive one, answers twinvm.
 * Private to daemon/. registry.c knows the VMs and keeps them on disk, kept.c those that were
 * stopped because another host runs them, children.c starts processes, supervise.c hears them,
 * register.c lets them in, sessions.c deals with their ends, keeping.c has VMs protected again,
 * commands.c answers the command line, serve.c listens.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "replicator/session/session.h"
#include "failover/failover.h"
#include "hv/hv.h"
#include <sys/queue.h>

struct daemon;

enum vm_role { VM_PRIMARY, VM_BACKUP };
enum vm_phase {
	VM_IDLE,       /* no replicator; the VM runs alone, or has just been loaded from disk */
	VM_RUNNING,    /* a replicator was started */
	VM_RECOVERING, /* cleaning up after one that died */
	VM_FENCING,    /* another host runs this VM: ours is being stopped */
};
struct vm {
	TAILQ_ENTRY(vm) link;
	struct daemon *d;
	char id[33], name[128];
	enum vm_role role;
	enum vm_phase phase;
	struct hv_vm_id qemu; /* primary: the VM; backup: the standby (pid 0: none) */
	char dir[256];	      /* backup: the standby's run directory */
	int slot; /* whose names the QEMU has (slot.h); -1: it was never a standby of ours */
	char peer_name[64], peer_host[128];
	uint16_t peer_port;
	char mode[16], arbiter[256], session[33];
	int epoch_ms;
	uint64_t generation;
	uint64_t highest;	       /* generation ever heard of; above ours: ours is stale */
	struct fo_reprotect reprotect; /* its `on`: to be protected whenever that is possible */
	struct fo_candidate
		last; /* the host that reprotect.last names, as it was reached or heard from */
	bool was_protected; /* ever since protect was given */
	char reason[512];   /* why it is not protected */
	/* not on disk: */
	bool awaited; /* loaded from disk: its replicator may still introduce itself */
	bool fresh;   /* made by the protect that is under way: forgotten when that fails */
	struct fo_candidate
		asked;	  /* protect named this host while another try was under way; port 0: no */
	pid_t child;	  /* replicator or recovery of ours; 0: none, or adopted */
	pid_t replicator; /* registered one, ours or adopted */
	struct ctl *rep;  /* its connection */
	struct ctl *waiter; /* twinvm protect or unprotect or failover that waits */
	bool waiter_leaves; /* it waits for the end of protection */
	bool done;	    /* the replicator said how it ended */
	json_t *stats;	    /* what it said last, */
	int64_t stats_ns;   /* and when */
	int stash[CTL_MAX_FDS];
	struct event *drain[CTL_MAX_FDS];
	unsigned stash_n;
	struct event *timer; /* the phase says what for */
	pid_t fencer;	     /* fence_command under way; 0: none */
	struct event *fence_timer;
	bool fence_begun, fence_decides; /* in this session; its success promotes */
};

/* A QEMU of this host that was stopped because another host runs its VM. It is the user's to look
 * at and to end. */
struct kept {
	TAILQ_ENTRY(kept) link;
	char id[33], name[128];
	struct hv_vm_id qemu;
	int slot; /* its names are not given to anybody else; -1: none of ours */
	uint64_t generation;
	char why[512];
};

/* A backup session that waits for the end of an older one, or of this host's own instance. */
struct waiting {
	TAILQ_ENTRY(waiting) link;
	struct daemon *d;
	struct vm *behind; /* what it waits for; NULL: to be admitted in the loop's next turn */
	struct ctl *c;
	json_t *msg; /* how it registered */
};

struct stranger { /* a connection that has not said hello: its process, and where it came from */
	pid_t pid;
	char address[64];
};
struct daemon {
	struct config conf;
	struct event_base *base;
	int listen_fd, socket_fd, lock_fd;
	struct event *accept_peer, *accept_ctl, *chld, *term, *intr, *hup;
	struct event *pet;
	int watchdog_fd; /* -1: not armed */
	bool watchdog_doubt;
	TAILQ_HEAD(vm_list, vm) vms;
	TAILQ_HEAD(kept_list, kept) kept;
	TAILQ_HEAD(waiting_list, waiting) waiting;
	struct event *admit;	    /* one of them need not wait any more */
	void (*due)(struct vm *vm); /* a VM's timer has run down */
	unsigned n_strangers;
	struct stranger strangers[32];
};

/* ---- registry.c ---- */
struct vm *vm_new(struct daemon *d, const char *id, const char *name, enum vm_role role);
/*
 * Forgets the VM, here and on disk. The replicator must be gone or going. A backup session that
 * waited for that is admitted in the loop's next turn.
 */
void vm_drop(struct vm *vm);
struct vm *vm_by_id(struct daemon *d, const char *id);
/* By name, id, pid or QMP socket. NULL: none; *several is set when more than one answers. */
struct vm *vm_find(struct daemon *d, const char *what, bool *several);
void vm_save(const struct vm *vm);
/* Its QEMU process is still the one that we know. */
bool vm_lives(const struct vm *vm);
/* The VM's timer, in ns from now: then d->due is called, and the phase at that time counts. */
void vm_timer(struct vm *vm, int64_t ns);
/* Reads what was kept on disk; the caller starts what must be started. */
void registry_load(struct daemon *d);

/* ---- status.c: the answer to `twinvm status` ---- */
json_t *vm_status(const struct vm *vm);
/* A VM that is only kept here. */
json_t *kept_status(struct daemon *d, const struct kept *k);

/* ---- generations.c: the highest one of every VM ever heard of, on disk ---- */
uint64_t generation_seen(struct daemon *d, const char *vm_id);
/* Durable when it returns 0; lower ones than before change nothing. */
int generation_note(struct daemon *d, const char *vm_id, uint64_t generation) TV_MUST_CHECK;

/* ---- kept.c ---- */
void kept_load(struct daemon *d);
void kept_add(struct vm *vm, const char *why);
/* Forgets notes whose QEMU has ended. */
void kept_prune(struct daemon *d);
/* By name, id, pid or QMP socket; the newest. */
struct kept *kept_find(struct daemon *d, const char *what);
bool kept_is(struct daemon *d, pid_t pid);
/* Forgets all notes of a VM; returns how many there were. The processes are left alone. */
unsigned kept_forget(struct daemon *d, const char *vm_id);
/* The VM's notes as an array. */
json_t *kept_json(struct daemon *d, const char *vm_id);
/* A slot whose names nothing of that VM has here; -1: none. */
int kept_free_slot(struct daemon *d, const char *vm_id);

/* ---- children.c: processes of ours ---- */
/* A replicator for the host in vm->peer_*. */
int vm_start_source(struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
int spawn_sink(struct daemon *d, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* After a dead replicator: the record, then the VM is let go. Its exit comes to vm_recovered. */
void vm_start_recovery(struct vm *vm);
/* Stops the VM for good and takes what is ours out of it. Its exit comes to vm_fence_done. */
void vm_start_fence(struct vm *vm);
void vm_forget_at_arbiter(struct vm *vm);
/* ---- stash.c: sockets that hold a VM's output ---- */
void stash_take(struct vm *vm, const int *fds, unsigned n);
/* Throws away what comes out of them: QEMU may not block, and nothing may pass. */
void stash_drain(struct vm *vm);
void stash_close(struct vm *vm);

/* ---- sessions.c: how sessions end ---- */
void session_ended(struct vm *vm);
void vm_recovered(struct vm *vm, int status);
void vm_fence_done(struct vm *vm, int status);

/* ---- fencing.c: this host's instance of a VM that another host runs ---- */
/* It is stale for good: at least one higher generation exists. On disk when this returns. */
void fencing_note_stale(struct vm *vm);
/* Its session has ended, or there was none: a process stops it (vm_fence_done). */
void fencing_begin(struct vm *vm);
/* A higher generation was reported (vm->highest, on disk by now): its session is to end first. */
void fencing_yield(struct vm *vm);

/* ---- waiting.c: backup sessions that wait ---- */
/* c, which registered with msg, waits until the VM is forgotten or promoted. Returns the connection
 * that waited for that until now, if there was one: the caller's to refuse. */
struct ctl *waiting_add(struct vm *vm, struct ctl *c, json_t *msg);
/* Who waits for this VM is to be admitted. */
void waiting_release(struct vm *vm);
/* Takes the next one to be admitted off the list, NULL: none. msg is the caller's. */
struct ctl *waiting_next(struct daemon *d, json_t **msg);
/* Takes off the list who is to be admitted with that VM; NULL: nobody. */
struct ctl *waiting_take(struct daemon *d, const char *vm_id);

/* ---- answer.c: to the command that waits for a VM, if there is one ---- */
void vm_progress(struct vm *vm, const char *state, double progress);
/* The last line; rc 0, or what failed and why. */
void vm_answer(struct vm *vm, int rc, const char *text);
/* The last line as a whole; msg is stolen. */
void vm_answer_with(struct vm *vm, json_t *msg);

/* ---- keeping.c: a VM that runs here is protected again by itself ---- */
/* From now on; the host that is tried first is vm->last. */
void reprotect_start(struct vm *vm);
/* A first try to vm->peer_*, told by a person, is under way. */
void reprotect_begun(struct vm *vm);
void reprotect_protected(struct vm *vm);
void reprotect_ended(struct vm *vm, enum fo_reprotect_end how);
/* A try is due. */
void reprotect_try(struct vm *vm);

/* ---- members.c: other hosts, as the configured arbiter knows them ---- */
int members_start(const struct config *c) TV_MUST_CHECK;
/* The configuration has changed. */
void members_conf(const struct config *c);
/* Who was there when last looked. Never waits for the arbiter. */
unsigned members_seen(struct fo_host out[FO_MAX_HOSTS]);

/* ---- fence_command.c: the user's program that switches a host off ---- */
/* A backup's replicator has told its state. */
void fence_command_look(struct vm *vm);
/* False: not one of them. */
bool fence_command_exit(struct daemon *d, pid_t pid, int status);
/* The VM is forgotten. */
void fence_command_drop(struct vm *vm);

/* ---- watchdog.c ---- */
void watchdog_start(struct daemon *d);
/* The daemon ends in good order: nothing is reset. */
void watchdog_stop(struct daemon *d);

/* ---- register.c: replicators introduce themselves ---- */
/* First message of a connection was "register". */
void supervise_register(struct daemon *d, struct ctl *c, json_t *msg);
void register_backup(struct daemon *d, struct ctl *c, json_t *msg);

/* ---- supervise.c ---- */
/* After a daemon's start: who has not introduced itself within a moment is dead. */
void supervise_loaded(struct daemon *d);
void supervise_child_exit(struct daemon *d, pid_t pid, int status);
int supervise_accept(struct daemon *d, int fd, struct tv_err *e) TV_MUST_CHECK;
extern const struct ctl_ops supervise_rep_ops;

/* ---- commands.c ---- */
/* First message of a connection was a command. */
void command_run(struct daemon *d, struct ctl *c, json_t *msg);

/* ---- serve.c ---- */
int daemon_main(const char *config_path);
/* ---- recover.c ---- */
int recover_main(const char *job_text);
int fence_main(const char *job_text);
int forget_main(const char *job_text);
#define RECOVER_FENCED 3
#define FENCE_GONE 4   /* the VM's process has ended */
#define FENCE_FROZEN 5 /* QEMU did not answer: its process is stopped */

#endif
