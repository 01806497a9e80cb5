/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this daemon knows of its host's hardware: counts of errors, the last faults, what can be
 * watched here. Fed by the process that watches (daemon/hardware.c).
 */
#ifndef DAEMON_HEALTH_H
#define DAEMON_HEALTH_H

#include "failover/failover.h"
#include "hardware/hardware.h"
#include "keeper/keeper.h"

struct daemon;
struct vm;

#define HEALTH_FAULTS 32 /* kept: the last different ones */

/* A message of the process; what it has that cannot be read is logged once, and left out. */
void health_message(struct daemon *d, const json_t *msg);
/* The process has ended, and why nothing is watched meanwhile. Its counts are kept. */
void health_unwatched(const char *why);
/* Another part of the daemon has noticed what that row of the table has: in vm (NULL: in the host). */
void health_notice(struct daemon *d, enum ras_rule rule, const struct vm *vm, const char *sentence);
/* An operator has looked: what errors have made of the host is forgotten; counts are kept. */
void health_clear(struct daemon *d);
/* Why it has its colour, the worst first; how many are written. */
unsigned health_causes(struct ras_cause *out, unsigned room);
/* The buckets and causes, made if there are none. Never NULL. */
struct ras_health *health_judge(void);
/* What is kept over a restart has changed. */
void health_changed(void);
/* Has more been counted since health_saved? *now: and is it to be written at once? */
bool health_unsaved(bool *now);
void health_saved(void);
/* What was kept is known again: no news, but announced. */
void health_restored(void);
/* ---- kept_health.c: over a restart ---- */
void kept_health_start(struct daemon *d);
/* Writes it if it has to be. end: this daemon ends. */
void kept_health_save(struct daemon *d, bool end);
/* A page is out of service (retire.c). */
void health_taken(struct daemon *d, struct ras_pfn page, const char *dimm);
/* Why the host has its colour, the worst first: as `twinvm health` has it. The caller's. */
json_t *health_causes_json(void);
/* For `twinvm health`: docs/HARDWARE-FAULTS.md. The caller's; NULL: no memory. */
json_t *health_json(const struct daemon *d);
/* The same as other hosts get it. */
enum fo_health health_of_host(void);
/* "green", "yellow", "red", "unknown"; *why (may be NULL): in words, "" if there is nothing to say. */
const char *health_state(const char **why);

/* ---- members.c: announced at the arbiter from now on ---- */
void members_health(enum fo_health health);
/* ---- fault.c: what one fault leads to at once ---- */
/* A moment of tv_now_ns in s since 1970. */
double fault_unix(int64_t ns);
/* Its event. vm, command: whose it is; NULL and "": not known. */
void fault_report(struct daemon *d, const struct hw_fault *f, const struct ras_verdict *v,
		  const struct vm *vm, const char *command);
/* A page of the VM, or of its standby, has lost data. */
void fault_tell_replicator(struct vm *vm, const struct hw_fault *f);
/* A page of the VM is weak: it is to leave (moves.h). */
void fault_note_weak_page(const struct vm *vm, const struct hw_fault *f);
/* ---- health_metrics.c ---- */
/* {"state", "errors":{severity: N}, "causes":{"yellow","red"}, "reports_lost", "malformed", "moves", "taken_bytes"
 * where the kernel says it}. The caller's; NULL: no memory. */
json_t *health_metrics(const struct daemon *d);
/* The worst of health_causes_json. */
json_t *health_worst(unsigned most);

/* ---- children.c ---- */
/* The process that watches the hardware; fd is its end of the daemon's socket. */
int spawn_hardware(struct daemon *d, int fd, pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* The keeper; fds are its ends of the two pairs. */
int spawn_keeper(const int fds[2], pid_t *pid, struct tv_err *e) TV_MUST_CHECK;
/* ---- keeper.c: the processes that have CAP_SYS_ADMIN (keeper/keeper.h) ---- */
/* Before any socket is opened or thread started. This process has the right no more, nor what it starts. */
void keeper_start(void);
void keeper_attach(struct daemon *d); /* to the loop */
/* r is not 0 also where it was not done. Called once, from the loop. */
typedef void keeper_cb(struct daemon *d, const struct kp_reply *r, void *arg);
/* q's id is filled in. -EBUSY: too much is asked already; -ENOTCONN: it has ended. cb is not called then. */
int keeper_ask(struct kp_request *q, keeper_cb *cb, void *arg) TV_MUST_CHECK;
/* Names a process in a request; one for which there is no room is left out. mapping: as in struct kp_process. */
void keeper_who(struct kp_request *q, pid_t pid, uint64_t start_ticks, const char *mapping);
/* False: it was not the keeper. */
bool keeper_exit(pid_t pid);
bool keeper_lives(void);
bool keeper_sees_pages(void);  /* false also until it has answered */
bool keeper_takes_pages(void); /* likewise */
bool keeper_stops_cpus(void);
bool keeper_copy_recovers(
	void);		   /* likewise: a page that fails while the kernel moves it is no panic */
json_t *keeper_json(void); /* for twinvm health */
/* ---- page_owner.c ---- */
struct page_owner {
	struct ras_pfn page;
	bool looked; /* else nothing of it is known */
	enum ras_owner owner;
	enum kp_page state;
	char id[33];	  /* of the VM whose memory it is, or of whose standby; "" */
	char command[16]; /* of a process; "" */
};
typedef void page_owner_cb(struct daemon *d, const struct page_owner *o, void *arg);
/*
 * Of a fault's page; f's owner is filled in, o is NULL when nobody has looked. What was found a minute ago of a
 * page whose errors were corrected is taken as it was. Called once, in the loop, or from the call.
 */
typedef void page_fault_cb(struct daemon *d, const struct hw_fault *f, const struct page_owner *o);
void page_owner_find(struct daemon *d, const struct hw_fault *f, page_fault_cb *cb);
/* others: also among processes that belong to no VM, which takes seconds. cb is called once, from the loop. -errno: it is not, as too much is looked for, or nobody can look. */
int page_owner_ask(struct daemon *d, struct ras_pfn page, bool others, page_owner_cb *cb,
		   void *arg) TV_MUST_CHECK;
/* ---- hardware.c: that process: its life ---- */
void hardware_start(struct daemon *d);
/* False: it was not that process. */
bool hardware_exit(pid_t pid, int status);

#endif
