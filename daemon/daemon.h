/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvmd: supervises one replicator process per VM, holds what must outlive it, answers twinvm.
 * Private to daemon/, no room is above it. Each file below calls only files further up, serve.c
 * all of them (`make lint` finds circles):
 *
 *   events*.c        what happened, for people: made by all the others (events.h)
 *   durable.c maintenance.c  files of state_dir, also when it is full; the host takes no VMs
 *   folders.c        folders and socket, as processes without rights need them
 *   generations.c kept_cost.c kept.c stash.c waiting.c fence_command.c answer.c proxies.c   what a VM's
 *                    entry needs
 *   elsewhere.c      VMs that another host runs, or may run
 *   away.c           VMs that were written to a file, and come again
 *   freeze.c asked.c   asks a sink for a still (freeze.h); a suspend or resume that is not answered yet
 *   registry.c rehearsals*.c   the VMs, in memory and on disk (vm.h); what was tried (rehearsals.h)
 *   shown.c vitals.c outlook.c   a VM as people see it
 *   children.c       starts replicators and helper processes (recover.c)
 *   looking.c fencing.c   what the arbiter has on record of an offered VM; stops a stale instance
 *   members.c reprotect.c   a VM that runs alone is protected again
 *   suspend.c verify.c   carries out a suspend or resume; has a VM compared (verify.h)
 *   door.c           connections of hosts that are not known yet
 *   sessions.c       what follows from the end of a session
 *   supervise.c register.c   messages and ends of replicators, timers; admits them
 *   commands.c, command_*.c, status.c   what twinvm asks for
 *   roster.c cluster.c view.c onlookers.c pass*.c    what this host knows, for other hosts and for pages; commands of theirs
 *   keeper.c page_owner.c retire*.c weak.c fault.c health.c moves.c health_metrics.c kept_health.c last_boot.c hardware.c web.c   hardware; dashboard
 *   autoprotect.c serve.c reload.c notify.c watchdog.c hung.c main.c         the loop, listening sockets, signals
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "daemon/events.h"
#include "daemon/maintenance.h"
#include "daemon/vm.h"

/* A QEMU of this host that was stopped because another host runs its VM: see kept.c. */
struct kept {
	TAILQ_ENTRY(kept) link;
	struct daemon *d;
	char id[33], name[128];
	struct hv_vm_id qemu;
	int slot; /* its names are not given to another instance; -1: it has no slot */
	uint64_t generation;
	char why[512];
	bool by_record; /* the arbiter decided: nothing that left this host is missing in the VM */
	bool ending;	/* it is being ended */
	struct event *end;
	int pidfd; /* -1: none */
};
struct kept_cost {
	uint64_t memory_bytes, image_bytes;
};

/* A process that shares a VM's monitor: see proxies.c. */
struct proxied {
	TAILQ_ENTRY(proxied) link;
	struct daemon *d;
	char id[33];
	int pidfd;
	struct event *ended;
	bool ending; /* it was asked to */
};

/* A backup session that waits for the end of an older one, or of this host's own instance. */
struct waiting {
	TAILQ_ENTRY(waiting) link;
	struct daemon *d;
	struct vm *behind; /* what it waits for; NULL: to be admitted in the loop's next turn */
	struct ctl *c;
	struct session_register as; /* how it registered */
};

/* rc: 0 with the record; -ENOENT there is none; else it is not known. */
typedef void (*looked_cb)(struct daemon *d, struct ctl *c, const struct session_register *as,
			  int rc, const struct fo_record *rec);
/* An offer whose record is looked at. */
struct looking {
	TAILQ_ENTRY(looking) link;
	struct daemon *d;
	struct ctl *c; /* NULL: it has closed */
	struct session_register as;
	looked_cb cb;
	pid_t pid;
	int fd;
};

/* A VM that another host runs, or may run: see elsewhere.c. */
struct elsewhere {
	TAILQ_ENTRY(elsewhere) link;
	char id[33], name[128], uuid[37];
	char host[128], arbiter[256], session[33];
	bool runs;     /* there; false: it may, as that host is, or was, the backup of this one */
	bool released; /* by an operator: it may be started here. Counts for elsewhere_is_left alone */
	bool own; /* it has run here under this UUID: known of its QEMU, not by a peer's word */
	uint64_t generation;
	char refused[512]; /* why a start was refused last; not in the file */
};

/* A start that waits for the arbiter: see may_start.c. */
struct may_start {
	TAILQ_ENTRY(may_start) link;
	struct daemon *d;
	struct ctl *c; /* NULL: nobody waits any more */
	char id[33];
	pid_t pid;
	int fd; /* for the process's sentence */
};

/* A suspend or resume that is not answered yet: see asked.c. */
struct asked {
	TAILQ_ENTRY(asked) link;
	struct daemon *d;
	struct ctl *c;	/* NULL: nobody waits for the answer */
	char vm_id[33]; /* "": a VM that twinvm does not know */
	struct hv_vm_id qemu;
	bool suspend;
	bool sent; /* its session's replicator has it */
	pid_t pid; /* of the process that does it; 0: none */
	int fd;	   /* for the process's sentence; -1: none */
};

struct daemon {
	struct config conf;
	struct event_base *base;
	int listen_fd, socket_fd, lock_fd;
	struct event *accept_peer, *accept_ctl, *chld, *term, *intr, *hup;
	struct event *pet, *hung, *vitals;
	int watchdog_fd; /* -1: not armed */
	bool watchdog_doubt;
	struct maintenance maintenance;
	struct events *events;	       /* events_store.h; NULL: none are kept */
	struct rehearsals *rehearsals; /* rehearsals.c; NULL: not used yet */
	TAILQ_HEAD(vm_list, vm) vms;
	TAILQ_HEAD(kept_list, kept) kept;
	TAILQ_HEAD(proxied_list, proxied) proxies;
	TAILQ_HEAD(waiting_list, waiting) waiting;
	TAILQ_HEAD(looking_list, looking) looking;
	TAILQ_HEAD(asked_list, asked) asked;
	TAILQ_HEAD(elsewhere_list, elsewhere) elsewhere;
	TAILQ_HEAD(may_start_list, may_start) may_start;
	LIST_HEAD(onlooker_list, onlooker) onlookers;
	struct cluster *cluster;			/* cluster.c; NULL: it has not begun */
	int64_t began_ms;				/* real time */
	struct event *admit;				/* one of them need not wait any more */
	LIST_HEAD(unwritten_list, unwritten) unwritten; /* durable.c, with the next one */
	struct event *write_again;
	void (*due)(struct vm *vm);		 /* a VM's timer has run down */
	TAILQ_HEAD(caller_list, caller) callers; /* door.c */
	int64_t door_logged_ns;
	unsigned door_unlogged;
};

static inline struct fo_times daemon_times(const struct daemon *d)
{
	struct fo_times t;

	fo_times_init(&t, d->conf.heartbeat_ms * TV_NS_PER_MS);
	return t;
}

/* ---- durable.c: files of state_dir ---- */
/* Durable when it returns 0; else nothing has changed, and the sentence has host, path, remedy. */
int durable_write(struct daemon *d, const char *path, const char *text,
		  struct tv_err *e) TV_MUST_CHECK;
/* What has happened already: written now, or as soon as that is possible. */
void durable_write_later(struct daemon *d, const char *path, const char *text);
/* Also when it fails, it is removed as soon as that is possible. 0 when there is no such file. */
int durable_remove(struct daemon *d, const char *path, struct tv_err *e) TV_MUST_CHECK;
/* What is still to be written there; NULL: nothing. */
const char *durable_unwritten(const struct daemon *d, const char *path);
/* For status; "": all is on disk. */
void durable_warning(const struct daemon *d, char *out, size_t room);

/* ---- folders.c: what processes without rights need ---- */
/* state_dir, with root's folders in it, and run_dir. */
int folders_make(const struct config *c, struct tv_err *e) TV_MUST_CHECK;
/* The folder of replicas, and the socket, for the sinks' user. What cannot be is logged. */
void folders_give(const struct config *c);

/* ---- generations.c: whose a VM is, on disk ---- */
/* Fills what is noted: highest (0: nothing), ran, host, backup. */
void generation_read(const struct daemon *d, const char *vm_id, struct fo_own *own);
/* The same where no daemon runs; what is damaged counts as unknown. */
void generation_on_disk(const char *state_dir, const char *vm_id, struct fo_own *own);
uint64_t generation_seen(const struct daemon *d, const char *vm_id); /* its highest */
/*
 * That host has the VM with that generation, which is sure; backup: "", or without an arbiter this
 * host's backup. Durable when it returns 0. -EINVAL: no VM's id; else as durable_write.
 */
int generation_note(struct daemon *d, const char *vm_id, uint64_t generation, const char *host,
		    const char *backup, struct tv_err *e) TV_MUST_CHECK;
/* What has happened already: as durable_write_later. */
void generation_note_later(struct daemon *d, const char *vm_id, uint64_t generation,
			   const char *host, const char *backup);

/* ---- kept_cost.c: what a stopped QEMU occupies ---- */
extern const struct fields kept_cost_fields;
struct kept_cost kept_cost(const struct kept *k);
/* The images in replica_dir that only it used. Those of a VM that was never a standby here are not
 * twinvm's. */
void kept_remove_images(const struct kept *k);

/* ---- kept.c ---- */
extern const struct fields kept_fields;
void kept_load(struct daemon *d);
/* The VM's older ones are ended. */
void kept_add(struct vm *vm, const char *why);
/* The VM has two good copies of that generation: what the arbiter's record made stale is ended. */
void kept_protected(struct daemon *d, const char *vm_id, uint64_t generation);
/* Forgets notes whose QEMU has ended. */
void kept_prune(struct daemon *d);
/* By name, id, pid or QMP socket; the newest. */
struct kept *kept_find(struct daemon *d, const char *what);
bool kept_is(struct daemon *d, pid_t pid);
/* Forgets all notes of a VM; returns how many there were. The processes are left alone. */
unsigned kept_forget(struct daemon *d, const char *vm_id);
/* The VM's notes as an array. */
json_t *kept_json(struct daemon *d, const char *vm_id);
/* A slot whose names no kept QEMU of that VM has; -1: none. */
int kept_free_slot(struct daemon *d, const char *vm_id);

/* ---- stash.c: sockets that hold a VM's output ---- */
void stash_take(struct vm *vm, const int *fds, unsigned n);
/* Drops what comes out of them: QEMU may not block, and no frame may pass. */
void stash_drain(struct vm *vm);
void stash_close(struct vm *vm);

/* ---- waiting.c: backup sessions that wait ---- */
/* c, which registered as that, waits until the VM is forgotten or promoted. Returns the connection
 * that waited for that until now, if there was one: the caller's to refuse. */
struct ctl *waiting_add(struct vm *vm, struct ctl *c, const struct session_register *as);
/* The session that waits for this VM is to be admitted. */
void waiting_release(struct vm *vm);
/* Takes the next one to be admitted off the list, NULL: none. */
struct ctl *waiting_next(struct daemon *d, struct session_register *as);
/* Takes the one to be admitted with that VM off the list; NULL: none. */
struct ctl *waiting_take(struct daemon *d, const char *vm_id);

/* ---- fence_command.c: the operator's program that powers a host off ---- */
/* A backup's replicator has reported its state. */
void fence_command_look(struct vm *vm);
/* False: it was not such a program. */
bool fence_command_exit(struct daemon *d, pid_t pid, int status);
/* The VM is forgotten. */
void fence_command_drop(struct vm *vm);

/* ---- elsewhere.c: VMs that another host runs, or may run ---- */
/* As libvirt writes it: 36 characters, small letters. */
bool elsewhere_is_uuid(const char *text);
void elsewhere_load(struct daemon *d);
/* All notes of a state_dir; also without a daemon. */
void elsewhere_each(const char *state_dir, void (*cb)(const struct elsewhere *x, void *arg),
		    void *arg);
struct elsewhere *elsewhere_of(struct daemon *d, const char *vm_id); /* NULL: none */
/* By UUID, name or id; the newest. */
struct elsewhere *elsewhere_find(struct daemon *d, const char *what);
/* The VM's other host runs it, or may from now on. e: durable when it returns 0; NULL: it has happened
 * already, written as soon as that is possible. Nothing is noted of a VM without a UUID. */
int elsewhere_note(const struct vm *vm, bool runs, struct tv_err *e);
/* No other host can have it any more. */
void elsewhere_forget(struct daemon *d, const char *vm_id);
/* An operator's word: it may be started here, until it is offered again or protected. */
void elsewhere_release(struct daemon *d, struct elsewhere *x);
/*
 * A definition that twinvm made on `self` for a VM of which there is no note any more: is it a copy that
 * never became the VM? x: a released note of it, or NULL; own: whose the VM is as far as is known. True:
 * it must not be started, and e says why and what to do.
 */
bool elsewhere_is_left(const char *vm_id, const char *name, const struct elsewhere *x,
		       const struct fo_own *own, const char *self, struct tv_err *e);
/* Why it may not be started on `self`, when nobody else can be asked. */
void elsewhere_why(const struct elsewhere *x, const char *self, struct tv_err *e);

/* ---- shown.c: a VM's state as status shows it ---- */
/* A moment of this host's clock (tv_now_ns) in s since 1970. */
double shown_wall_s(int64_t ns);
void shown_set(struct session_stats *s, const char *state, const char *reason);
/* Its session's counters, with the state and the reason that count now. */
void shown_stats(const struct vm *vm, struct session_stats *s);
/* Something may have changed: a report has come, or a second has passed. */
void shown_note(struct vm *vm);
/* In s since 1970; NAN: not known. */
double shown_since(const struct vm *vm);
double shown_commit(const struct vm *vm);

/* ---- vitals.c: what the kernel counts of a VM's processes ---- */
extern const struct fields vitals_fields; /* of struct vm_vitals */
/* Adds what is known to a JSON object. -ENOMEM. */
int vitals_add(const struct vm *vm, json_t *to) TV_MUST_CHECK;
/* Reads it now; rates need two samples. */
void vitals_sample(struct vm *vm);
void vitals_start(struct daemon *d);

/* ---- outlook.c: what would happen, and what is done next ---- */
struct outlook {
	bool failover_allowed;
	char failover_reason[640], wanted[16], next_action[256];
	double next_action_time;
};
extern const struct fields outlook_fields;
/* shown: of shown_stats. */
void outlook_of(const struct vm *vm, const struct session_stats *shown, struct outlook *o);

/* ---- may_start.c: may a manager start a VM here? (the command: commands.h) ---- */
/* False: it was not such a process. */
bool may_start_exit(struct daemon *d, pid_t pid, int status);

/* ---- asked.c: a suspend or resume that is not answered yet ---- */
/* vm_id: "": of a VM that twinvm does not know. */
struct asked *asked_add(struct daemon *d, struct ctl *c, const struct hv_vm_id *qemu,
			const char *vm_id, bool suspend);
struct asked *asked_of(struct daemon *d, const char *vm_id); /* NULL: none */
/* It is done (0), or why not; a is freed. */
void asked_answer(struct asked *a, int rc, const char *text);
/* The VM is forgotten. */
void asked_drop(const struct vm *vm, bool lives);

/* ---- answer.c: to the command that waits for a VM, if there is one ---- */
void vm_progress(struct vm *vm, const char *state, double progress);
/* The last line; rc 0, or what failed and why. */
void vm_answer(struct vm *vm, int rc, const char *text);
/* The last line as a whole; msg is stolen. */
void vm_answer_with(struct vm *vm, json_t *msg);

/* ---- proxies.c: processes that share a VM's monitor (hv/proxy) ---- */
/* One serves, or is about to. */
bool proxies_has(struct daemon *d, const char *vm_id);
/* It was started: whenever it ends QEMU's socket is put back. */
void proxies_add(struct daemon *d, const char *vm_id, pid_t pid);
/* The VM is forgotten: its proxy is to end, if it has one. */
void proxies_end(struct daemon *d, const char *vm_id);
/* After registry_load: what was left is put back, what still serves is watched. */
void proxies_load(struct daemon *d);

/* ---- children.c: processes started by this daemon ---- */
/* What a replicator or helper process for this VM is to know. */
void vm_job(const struct vm *vm, struct job *out);
/* A replicator for the host in vm->saved.peer. */
int vm_start_source(struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* For the connection fd. The process closes latch when its peer is authenticated, and by its end. */
int spawn_sink(struct daemon *d, int fd, int latch, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* The process that looks at the record of an offered VM, and writes it to fd. */
int spawn_look(struct daemon *d, const struct session_register *as, int fd, pid_t *pid,
	       struct tv_err *e) TV_MUST_CHECK;
/* The process that asks other hosts what they know, over fd (replicator/watch). */
int spawn_watch(struct daemon *d, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* The process that suspends a VM, or lets it run, and writes a sentence to fd. */
int spawn_suspend(struct daemon *d, const struct hv_vm_id *qemu, bool suspend, int fd, pid_t *pid,
		  struct tv_err *e) TV_MUST_CHECK;
/* The process that has it recorded that this host runs the VM alone, and writes why not to fd. */
int spawn_may_start(struct daemon *d, const struct elsewhere *x, int fd, pid_t *pid,
		    struct tv_err *e) TV_MUST_CHECK;
/* The process that serves the dashboard; fd is its end of the feed. */
int spawn_web(struct daemon *d, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* After a dead replicator: the record, then the VM is released. Its exit comes to vm_recovered. */
void vm_start_recovery(struct vm *vm);
/* Stops the VM for good and takes out of it what twinvm added. Its exit comes to vm_fence_done. */
void vm_start_fence(struct vm *vm);
/* The VM is over, or not protected any more: no other host may run it, by the record. remove: nor
 * may any host ask, so that the record is not needed. */
void vm_settle_at_arbiter(struct vm *vm, bool remove);

/* ---- looking.c: the record of an offered VM ---- */
/* c waits for the answer, of which cb is called, unless it closes before. -EBUSY, or what starting a
 * process gave, with a sentence; then c is the caller's. */
int looking_begin(struct daemon *d, struct ctl *c, const struct session_register *as, looked_cb cb,
		  struct tv_err *e) TV_MUST_CHECK;
/* False: it was not such a process. */
bool looking_exit(struct daemon *d, pid_t pid, int status);

/* ---- fencing.c: this host's instance of a VM that another host runs ---- */
/* It is stale for good: at least one higher generation exists. On disk when this returns. */
void fencing_note_stale(struct vm *vm);
/* Its session has ended, or there was none: a process stops it (vm_fence_done). */
void fencing_begin(struct vm *vm);
/* A higher generation was reported (vm->highest, on disk by now): its session is to end first. */
void fencing_yield(struct vm *vm);

/* ---- members.c: other hosts, as the configured arbiter knows them ---- */
int members_start(const struct config *c) TV_MUST_CHECK;
/* The configuration has changed. */
void members_conf(const struct config *c);
/* The hosts that were there at the last look. Never waits for the arbiter. */
unsigned members_seen(struct fo_host out[FO_MAX_HOSTS]);

struct members_state {
	bool asked;	  /* false: there is no arbiter, or it was not asked yet */
	bool answers;	  /* it did when it was asked last */
	int64_t asked_ns; /* when that was */
	char why[256];	  /* it does not */
};
void members_state(struct members_state *out);

/* ---- reprotect.c: a VM that runs here is protected again by itself ---- */
struct fo_candidate reprotect_candidate(const struct config_peer *p);
/* From now on; the host that is tried first is vm->saved.last. */
void reprotect_start(struct vm *vm);
/* A first try to vm->saved.peer, named by the operator, is under way. */
void reprotect_begun(struct vm *vm);
void reprotect_protected(struct vm *vm);
void reprotect_ended(struct vm *vm, enum fo_reprotect_end how);
/* A try is due. */
void reprotect_try(struct vm *vm);

/* ---- suspend.c: carries out a suspend or resume; start: of a VM that nobody is attached to ---- */
int suspend_start(struct asked *a, struct tv_err *e) TV_MUST_CHECK;
/* What waits for this VM is carried out, if that is possible now. */
void suspend_next(struct vm *vm);
/* The session has ended: what it has not answered is carried out again. */
void suspend_cut(struct vm *vm);
/* What the session knows. */
void suspend_learn(struct vm *vm, bool suspended);
void suspend_answered(struct vm *vm, const struct session_answer *answer);
/* False: it was not such a process. */
bool suspend_exit(struct daemon *d, pid_t pid, int status);

/* ---- door.c: connections that have not registered ---- */
/* A connection has come in, TLS not begun; takes fd over. */
void door_accept(struct daemon *d, int fd);
/* The process has registered. address: where its connection came from; unchanged if not known. */
void door_registered(struct daemon *d, pid_t pid, char *address, size_t room);
void door_child_exit(struct daemon *d, pid_t pid);

/* ---- sessions.c: what follows from the end of a session; the table: sessions.h ---- */
void session_ended(struct vm *vm);
void vm_recovered(struct vm *vm, int status);
void vm_fence_done(struct vm *vm, int status);

/* ---- supervise.c ---- */
/* After a daemon's start: a replicator that does not register within a moment is dead. */
void supervise_loaded(struct daemon *d);
void supervise_child_exit(struct daemon *d, pid_t pid, int status);
extern const struct ctl_ops supervise_rep_ops;

/* ---- register.c ---- */
/* The first message of a connection was "register". */
void register_replicator(struct daemon *d, struct ctl *c, json_t *msg);
/* What a backup session waited for has ended (d->admit). */
void register_waiting(struct daemon *d);

/* ---- status.c: what `twinvm status` shows ---- */
extern const struct fields status_vm_fields; /* of struct vm; the others are its session's */
extern const struct fields status_times_fields;
json_t *vm_status(struct vm *vm);
/* A VM of which only a stopped QEMU is here. */
json_t *kept_status(struct daemon *d, const struct kept *k);
/* A VM of which only is known here that another host runs it, or may. */
json_t *elsewhere_status(struct daemon *d, const struct elsewhere *x);
/* (command_status.c) All VMs, or those that are called so, as an array; what: NULL all. */
json_t *status_json(struct daemon *d, const char *what);

/* ---- commands.c ---- */
/* The first message of a connection was a command. */
void command_run(struct daemon *d, struct ctl *c, json_t *msg);

/* ---- web.c: the process that serves the dashboard and metrics ---- */
/* From now on it is started, and gets what this daemon knows, twice a second. */
void web_start(struct daemon *d);
/* The configuration has changed. */
void web_conf(void);
/* False: it was not that process. */
bool web_exit(pid_t pid, int status);

/* ---- hung.c ---- */
/* From now on a replicator that hangs while its VM waits for it is ended. */
void hung_start(struct daemon *d);
/* Ends the source that a VM's page names, if it lives: it has not registered with this daemon. */
void hung_end_unregistered(const struct vm *vm);

/* ---- watchdog.c ---- */
void watchdog_start(struct daemon *d);
/* The daemon ends in good order: nothing is reset. */
void watchdog_stop(struct daemon *d);

/* ---- notify.c: systemd is sent that this daemon is ready, and that its loop turns ---- */
void notify_start(struct daemon *d);
void notify_stop(void);

/* ---- start_hook.c: what libvirt runs before it starts a domain ---- */
int hook_main(int argc, char **argv);

/* ---- serve.c ---- */
int daemon_main(const char *config_path);
/* ---- recover.c: helper processes ---- */
int recover_main(const char *job_text);
int fence_main(const char *job_text);
int settle_main(const char *job_text, bool remove);
int may_start_main(const char *job_text, int fd);
/* Writes a sentence to fd when it fails. */
int suspend_main(const char *job_text, bool suspend, int fd);
#define SUSPEND_REFUSED 3
int look_main(const char *job_text, int fd);
int proxy_main(const char *job_text, int report_fd);
#define LOOK_NONE 7 /* the arbiter has no record; 0: it is in the file */
#define RECOVER_FENCED 3
#define RECOVER_TAKEN_BACK 6 /* as 0; the VM had been taken back: two generations higher */
#define FENCE_GONE 4	     /* the VM's process has ended */
#define FENCE_FROZEN 5	     /* QEMU did not answer: its process is stopped */

#endif
