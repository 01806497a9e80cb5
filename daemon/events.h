/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events: what happened to this host and its VMs, for people (docs/EVENTS.md). Each is made at one place,
 * where it happens, and goes to the log or the journal, to the memory of the daemon, to its disk, and to
 * those that listen (events_on_new).
 *
 * An event as JSON: id (only grows), time (UTC, text), unix_ms, host, kind, text; where they mean something
 * vm, vm_id, role, generation, epoch, peer, data (an object, by kind); of kinds that are acknowledged also
 * acknowledged ("": not yet, else when).
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include "replicator/session/session.h"

struct daemon;
struct vm;

/* Of syslog: the PRIORITY of the journal. */
enum events_priority { EVENTS_CRIT = 2, EVENTS_ERR, EVENTS_WARN, EVENTS_NOTICE, EVENTS_INFO };

/* name, word, priority, acknowledged by an operator, MESSAGE_ID, what happened, what it means. The ids
 * are fixed for ever: programs look for them in the journal. */
/* clang-format off */
#define EVENTS_KINDS(X) \
	X(DAEMON_STARTED, "daemon-started", INFO, 0, "b6f8b874030f454abf8a5b586347578a", "twinvmd has started", \
	  "Events before it may be of an earlier life of this host.") \
	X(DAEMON_STOPPED, "daemon-stopped", INFO, 0, "fcd53b89a9b94b848177c41f8968cbcc", "twinvmd was asked to stop", \
	  "Protected VMs and their replicators keep running. Without this event before the next daemon-started, twinvmd or its host died.") \
	X(CONFIG_RELOADED, "config-reloaded", INFO, 0, "4b66b96a5f514b33a5dcdbc53e3e0f52", "the configuration was read again", \
	  "The text has the keys that have changed, and when each counts: at once, for the next session, or after a restart of twinvmd. The data have their values.") \
	X(CONFIG_REFUSED, "config-refused", ERR, 0, "8a487340823f40f780f2e3097e4e43ad", "the new configuration is invalid", \
	  "The old one stays in use until the file is corrected and read again.") \
	X(STATE_UNWRITTEN, "state-unwritten", ERR, 0, "73a91fcedbbc481ea79212519848022e", "a file of state_dir cannot be written", \
	  "It is tried again until it can be. A restart of twinvmd before that would not know what is in it.") \
	X(STATE_WRITTEN, "state-written", INFO, 0, "38481fd8e62d45d6aa37c2c91f23e5df", "a file of state_dir is written at last", \
	  "What state-unwritten reported is over.") \
	X(ARBITER_UNREACHABLE, "arbiter-unreachable", WARN, 0, "f5161c2a22014d57bcc96f12ecb1921b", "the arbiter does not answer this host", \
	  "A failover would wait for it. VMs that are protected run on.") \
	X(ARBITER_BACK, "arbiter-back", INFO, 0, "eaa5ea88f9ed4a91aab65fb060708416", "the arbiter answers this host again", \
	  "What arbiter-unreachable reported is over.") \
	X(PEER_SEEN, "peer-seen", INFO, 0, "56a2d51371534305a578a02cff06a797", "another host answers this one", \
	  "It shows what it knows of its VMs.") \
	X(PEER_LOST, "peer-lost", WARN, 0, "ba34fb262be84d7db66313006b8180b3", "another host does not answer this one any more", \
	  "It is down, cut off, or its twinvmd is.") \
	X(PROTECT_ASKED, "protect-asked", INFO, 0, "e4dce6d06030468b89b050cbea461e6f", "an operator asked for protection", \
	  "The first copy follows, or protect-failed.") \
	X(AUTOPROTECT, "autoprotect", INFO, 0, "b624a29c725d41ac8891ff85c00b6f46", "a VM runs that is protected by itself", \
	  "autoprotect = yes in [vm NAME] of the configuration. The first copy follows, or autoprotect-failed.") \
	X(AUTOPROTECT_FAILED, "autoprotect-failed", WARN, 0, "c5d1d10059204ce58cf5882c95366198", "a VM runs, and is not protected by itself", \
	  "The text has the reason. It is tried again, after 5 s at first and up to 5 min later; a reason is an event once.") \
	X(PROTECT_FAILED, "protect-failed", WARN, 0, "f88f36d6d08c416dad9e44d3979f8999", "protection has not begun", \
	  "The VM runs on without a backup; the text has the reason.") \
	X(BACKUP_SOUGHT, "backup-sought", INFO, 0, "0e776655712445eb8426725101966362", "a backup is looked for", \
	  "A VM that runs alone is offered to a host.") \
	X(COPY_BEGUN, "copy-begun", INFO, 0, "b04df9209d5e42178e1b0180ee86f42a", "the first copy of a VM has begun", \
	  "The VM runs meanwhile; it has no backup yet.") \
	X(COPY_FINISHED, "copy-finished", INFO, 0, "f70d52c15343421abb9820e1421fb5cf", "the first copy of a VM is with its backup", \
	  "It is committed; the record of the pair is asked for.") \
	X(PROTECTED, "protected", NOTICE, 0, "6f9bb8ef18c34619ae8854133f4120e6", "a VM is protected", \
	  "From now on its backup can continue it with nothing lost.") \
	X(BACKUP_LOST, "backup-lost", WARN, 0, "92cf7e27962647cbb9b9f05cfa012f83", "the backup of a VM is lost", \
	  "Output is held until the record states that the VM runs alone: event alone.") \
	X(ALONE, "alone", WARN, 0, "4d1c19511a0a479cb1289d7b612d040b", "a VM runs without a backup", \
	  "Its output is released again. A new backup is looked for unless reprotect = no.") \
	X(LEASE_OVER, "lease-over", WARN, 0, "510470a439474acda6f9ede3edbf5bc4", "a VM was stopped, as its host's lease is over", \
	  "Neither its backup nor the arbiter confirms that it may run. It continues when one of them does.") \
	X(LEASE_BACK, "lease-back", NOTICE, 0, "7d40d37c7eb246e48b0d7f0512fd83df", "a VM runs again, its host's lease is renewed", \
	  "What lease-over reported is over.") \
	X(TRY_FAILED, "try-failed", WARN, 0, "23e43cac4e604185a21a4a78fd039e9d", "a VM that runs alone could not be protected", \
	  "It is tried again by itself; of tries in a row the first is an event.") \
	X(SWITCH_ASKED, "switch-asked", INFO, 0, "3d3dda1f059342e5ab8fe37960ea9c24", "an operator asked for a planned switch", \
	  "The VM stops, and its backup continues it; or switch-failed.") \
	X(SWITCHED, "switched", NOTICE, 0, "9f7d44ea3b554e95acaee0ff7f3602e5", "the backup runs the VM by a planned switch", \
	  "Nothing is lost. The new host protects it again, by this one if possible.") \
	X(SWITCH_FAILED, "switch-failed", WARN, 0, "61ba87959ac54e11a8cdaf6b5557a347", "a planned switch was called off", \
	  "The VM runs on where it was.") \
	X(UNPROTECT_ASKED, "unprotect-asked", INFO, 0, "6255b825bd4e40a4be95679fbb94333a", "an operator asked to end protection", \
	  "The VM runs on; its standby is removed.") \
	X(UNPROTECTED, "unprotected", NOTICE, 0, "c05d8ea0cbaa40d1aff9cca98fafb470", "a VM is not protected any more, as asked", \
	  "Nothing of twinvm is left in it.") \
	X(REPLICATOR_DIED, "replicator-died", ERR, 0, "641bbd1463334faa8ab4b62d3c993324", "a replicator process died", \
	  "The VM is cleaned up, runs alone by record, and is protected again.") \
	X(REPLICATOR_HUNG, "replicator-hung", ERR, 0, "6f50dc984f2549c0b94980000bb49113", "a replicator process hung and was ended", \
	  "The VM would have waited for it. What follows is as after replicator-died.") \
	X(SUSPENDED, "suspended", NOTICE, 0, "6cbd691868574f59b98a7bd00d1265dd", "a VM was suspended by an operator", \
	  "It stands still until it is resumed, also after a failover.") \
	X(RESUMED, "resumed", NOTICE, 0, "35a97f2e12594a668e4c3d854768871d", "a VM that was suspended runs again", \
	  "") \
	X(VM_ENDED, "vm-ended", NOTICE, 0, "9240a744e1724db993311e0dc6b52be2", "the QEMU process of a VM has ended", \
	  "By itself or by an operator; what follows is in the text.") \
	X(WARNING, "warning", WARN, 0, "b4b9725249534db1b27f684ca9ba1094", "something is wrong although the VM may be protected", \
	  "twinvm status shows it for as long as it lasts.") \
	X(WARNING_OVER, "warning-over", INFO, 0, "1a885a9b8a5443d8b8943b51a215274e", "nothing is wrong with the VM's protection any more", \
	  "What warning reported is over.") \
	X(STANDBY_BEGUN, "standby-begun", INFO, 0, "65448026d81044199a76ab8d99f4d946", "this host becomes the backup of a VM", \
	  "Its first copy arrives. There is nothing to run yet.") \
	X(STANDBY_READY, "standby-ready", NOTICE, 0, "16362cb0172d4b2aa96edfa0ca930e68", "this host has a whole copy of a VM", \
	  "It can continue the VM when the record allows it.") \
	X(STANDBY_ENDED, "standby-ended", NOTICE, 0, "4a1d90b82538409ba6e153c52a8a6f78", "this host is not the backup of a VM any more", \
	  "The text has the reason.") \
	X(PRIMARY_LOST, "primary-lost", WARN, 0, "f642216d7c074ccb94edd8c8ca9e4cc6", "the host that runs a VM does not answer its backup", \
	  "The arbiter is asked who runs the VM. Without an arbiter an operator decides: failover --force.") \
	X(PRIMARY_BACK, "primary-back", NOTICE, 0, "f1f4bbbf26fc470b963d0a2b84e3825a", "the host that runs a VM answers its backup again", \
	  "What primary-lost reported is over.") \
	X(TAKE_OVER, "take-over", NOTICE, 0, "850a2f078af54640bf5458ec95c17f1f", "the host that runs a VM asks its backup to continue it", \
	  "By a planned switch, or as the QEMU there has died.") \
	X(PROMOTING, "promoting", WARN, 0, "6942f9a0671341f29a5760eaae46a6f4", "this host has the record and starts the VM", \
	  "failover follows, or promotion-failed.") \
	X(PROMOTION_FAILED, "promotion-failed", CRIT, 0, "6f829cc5561b4d9bb8f08f50b4fe3b6f", "the VM is this host's by record and could not be started", \
	  "Its copy is kept. Mend what the text names, then failover --retry.") \
	X(FAILOVER, "failover", WARN, 1, "546f8f1b70624c4ca2329cb21a5b054d", "a VM continues on this host, its backup until now", \
	  "Its data have the cause and the measured outage, in phases (docs/EVENTS.md).") \
	X(FENCE_BEGUN, "fence-begun", WARN, 0, "e0a4ea08511f4c20941862ec2c3d564d", "fence_command is run against a host", \
	  "fence-done or fence-failed follows.") \
	X(FENCE_DONE, "fence-done", WARN, 0, "359a4e70997e4a849adf8a6eeef8e394", "fence_command reports that a host is off", \
	  "") \
	X(FENCE_FAILED, "fence-failed", ERR, 0, "262944e668e34fc9812fe899f193901b", "fence_command failed", \
	  "The host may still run. With an arbiter it releases nothing all the same.") \
	X(STALE, "stale", WARN, 0, "3c9d897383c146e9b86cf42d3ff1c36b", "another host runs a VM that runs here, with a higher generation", \
	  "The one here is stopped: fenced follows.") \
	X(FENCED, "fenced", ERR, 0, "8f1e6de373fa48629ed2f91228d2c60d", "the copy of a VM on this host was stopped, as another host runs it", \
	  "It is kept for inspection.") \
	X(REFUSED, "refused", WARN, 0, "2a572be1433b43a4a1595762f81d35b9", "another host offered a VM and was refused", \
	  "Nothing confirms that the VM is that host's, or its generation is stale.") \
	X(START_REFUSED, "start-refused", WARN, 0, "e793d8cd5eb342d78f4b1676b48d6ba3", "a start of a VM on this host was refused", \
	  "Another host runs it, or may.") \
	X(KEPT_ENDED, "kept-ended", INFO, 0, "f1d007cfcc0a4e1d9a587c35c31e1314", "a stopped QEMU that was kept has ended", \
	  "") \
	X(HARDWARE_FAULT, "hardware-fault", WARN, 0, "66e5211f65e354034e96fb44fa3ee0f9", "this host's hardware reports an error that counts", \
	  "The data have which part it is, which page of memory, and the row of docs/HARDWARE-FAULTS.md. An error that was corrected counts when it is one of many.") \
	X(HARDWARE_STATE, "hardware-state", WARN, 0, "d02c40ea8ca596d52ab9acc779e3db89", "this host's hardware has another state", \
	  "Green, yellow, red or unknown: twinvm health has the reasons. Red stays until twinvm health --clear.") \
	X(HARDWARE_LOST, "hardware-lost", WARN, 0, "bc342015bd621210cbb3f01da49dd491", "reports of hardware errors were lost", \
	  "More has happened than twinvm health counts.") \
	X(REHEARSAL_BEGUN, "rehearsal-begun", INFO, 0, "0c207b5c3a9841ffb73f5f7a36148250", "a rehearsal of a VM has begun", \
	  "A test failover, drill, verification or snapshot; the data have which, and for whom. rehearsal-passed or rehearsal-failed follows.") \
	X(REHEARSAL_PASSED, "rehearsal-passed", NOTICE, 0, "b637d31bf29c4e789cc2a90de9a90eda", "a rehearsal of a VM has passed", \
	  "The data have its figures (docs/REHEARSAL.md).") \
	X(REHEARSAL_FAILED, "rehearsal-failed", WARN, 0, "f93f5aa97df04ba58145af315f0923b3", "a rehearsal of a VM failed, was refused, or was cut short", \
	  "The VM runs on. A real failover may have failed likewise: the text has the reason.") \
	X(COMMAND_PASSED, "command-passed", INFO, 0, "25564ce160e04c238b47feceaf194b01", "a command was passed on to a VM's other host, or has come from there", \
	  "An operator ordered a rehearsal on the host that cannot carry it out; both hosts have this event, and what it does has its own.") \
	X(REHEARSAL_DUE, "rehearsal-due", WARN, 0, "bc27b9c324494713a6fb2b3010b43f3b", "no test failover or drill of a VM has passed for too long", \
	  "rehearsal_reminder_days: run twinvm test-failover, or twinvm drill.") \
	X(HEALTH_UNREAD, "health-unread", WARN, 0, "03498af0c30b4745bed6a8c26a3e25bc", "what was kept of the state of this host's hardware cannot be read", \
	  "It is put aside, and errors are counted anew. The host may be worse than it is shown.") \
	X(HEALTH_MOVE, "health-move", WARN, 0, "2623bbb878af4857af7fc25947e4809c", "a VM is moved off this host, as its hardware fails", \
	  "By a planned switch: switched or switch-failed follows. With health_action = warn nothing follows; `would` in the data is true then.") \
	X(HEALTH_STAYS, "health-stays", WARN, 0, "1d588f261b53442eb44d22b8ebdb3105", "a VM would be moved off this host, and cannot be", \
	  "The text has what hinders it. It is moved as soon as that is over.") \
	X(MAINTENANCE_ON, "maintenance-on", NOTICE, 0, "16bedfef039f4384ac6a1585be2a5443", "this host is in maintenance", \
	  "It gives its VMs away by planned switches, and takes none: as an operator asked, or as it goes down.") \
	X(MAINTENANCE_OFF, "maintenance-off", NOTICE, 0, "0b536958043f4f1abc39a97666657601", "this host is not in maintenance any more", \
	  "Other hosts may have it as their backup again.") \
	X(MAINTENANCE_MOVE, "maintenance-move", INFO, 0, "0fdb10f774264bb7b251146882c93efb", "a VM leaves this host for its maintenance", \
	  "By a planned switch: switched or switch-failed follows.") \
	X(MAINTENANCE_STAYS, "maintenance-stays", WARN, 0, "0c484f9ec65a47ae831c76727364b859", "a VM cannot leave this host, which is in maintenance", \
	  "The text has what hinders it. It leaves as soon as that is over.") \
	X(PART_RETIRED, "part-retired", WARN, 0, "b9daa4a827ce4691b0b80bdbf163e12f", "a part of this host is out of service", \
	  "A page of memory until the next boot, CPUs until twinvm health --undo. With health_action = warn it is not: `would` in the data is true then.") \
	X(PART_STAYS, "part-stays", WARN, 0, "32f01422de0e46c7bb784c443d08f4ca", "a part of this host that fails stays in service", \
	  "The text has what hinders it. It is tried again when a VM has to leave it first, or when the kernel may take it later.") \
	X(PART_BACK, "part-back", NOTICE, 0, "93c6834bbeed4ad8841c62eabc815cb7", "CPUs are in service again", \
	  "As an operator asked: twinvm health --undo.") \
	X(KEEPER_ENDED, "keeper-ended", WARN, 0, "443cb172c6b34cccac6e503ffd19c096", "the process of twinvmd that has CAP_SYS_ADMIN has ended", \
	  "It cannot be started again by this daemon. Restart twinvmd: that touches no VM.") \
	X(TEST_LEFT, "test-left", ERR, 0, "5d0c1f7a9be34c1e8a64f0d2b7739c58", "something of a test failover is left on this host", \
	  "The data have a list: end and remove it by hand. Twinvmd tries again when it is started.") \
	X(MEMBERS_CHANGED, "members-changed", NOTICE, 0, "d95dfdaceb7aa54fffaca7c71b3e537e", "the list of members of the cluster is another one", \
	  "A host has joined, has left or was revoked, or has a new certificate: twinvm cluster list.") \
	X(CERTIFICATE_ENDS, "certificate-ends", WARN, 0, "a0ec86a05e00d99b5cb484cdce5e1cba", "this host's certificate ends within 14 days, or has ended", \
	  "Other hosts refuse it from then on. Those of twinvm cluster are renewed by themselves before.") \
	X(CERTIFICATE_RENEWED, "certificate-renewed", NOTICE, 0, "6092231cf13c9e501ac156241f1a8e07", "this host's certificate is a new one", \
	  "Sessions that run keep the former one.") \
	X(PEER_REVOKED, "peer-revoked", WARN, 0, "b307d9cd36902412e7133dc748ea8378", "a session with a host whose certificate was revoked is ended", \
	  "The VM runs alone by record and is protected by another host, if there is one.") \
	X(ACKNOWLEDGED, "acknowledged", INFO, 0, "68ea307310ae47f5b446d0efee3603b2", "an operator has acknowledged an event", \
	  "It changes no state.")
/* clang-format on */

#define EVENTS_ENUM(name, word, priority, acked, id, subject, meaning) EVENTS_##name,
enum events_kind { EVENTS_KINDS(EVENTS_ENUM) EVENTS_KIND_COUNT };

struct events_kind_info {
	const char *word;
	enum events_priority priority;
	bool acknowledged;	/* by an operator: twinvm events --ack */
	const char *message_id; /* 32 hexadecimal digits, small letters */
	const char *subject, *meaning;
};
/* kind: not COUNT. */
const struct events_kind_info *events_kind_info(enum events_kind kind);
/* COUNT: no such word (a newer version's). */
enum events_kind events_kind_of(const char *word);

/* What an event is about, when there is no struct vm for it; "", NULL or 0: nothing. */
struct events_about {
	const char *vm, *vm_id, *role, *peer;
	uint64_t generation, epoch;
};
/* ---- events.c ---- */
/*
 * Makes an event; never waits. data (stolen, NULL: none) is an object whose texts came through
 * events_text(). The sentence is also the line of the log.
 */
void events_add(struct daemon *d, enum events_kind kind, const struct events_about *about,
		json_t *data, const char *fmt, ...) TV_PRINTF(5, 6);
/* The same about a VM of this host. */
void events_vm(const struct vm *vm, enum events_kind kind, json_t *data, const char *fmt, ...)
	TV_PRINTF(4, 5);
/* A text of someone else as JSON: UTF-8, without control characters. NULL: no memory. */
json_t *events_text(const char *text);

/*
 * For others in this daemon: cb is called in the loop for each new event, as soon as it is made; o is the
 * event, borrowed. cb must not wait, nor make events. At most EVENTS_LISTENERS.
 */
typedef void events_cb(const json_t *o, void *arg);
#define EVENTS_LISTENERS 4
void events_on_new(struct daemon *d, events_cb *cb, void *arg);

/* Which events, oldest first. */
struct events_query {
	const char *vm;	   /* name or id; NULL or "": all, those of no VM as well */
	uint64_t after_id; /* only newer ones; 0: from the oldest that is kept */
	int64_t since_ms;  /* only those made then or later, ms since 1970; 0: any */
	unsigned limit;	   /* at most so many; 0 or more than EVENTS_LIMIT: EVENTS_LIMIT */
	bool newest;	   /* the last `limit` of them instead of the first */
	bool failovers;	   /* only those that an operator acknowledges */
};
#define EVENTS_LIMIT 500
/* An array, the caller's. *more (may be NULL): `limit` has left some out. From memory: never waits. */
json_t *events_read(const struct daemon *d, const struct events_query *q, bool *more);
/* Is the event one of them? Its id and limit are not looked at. */
bool events_matches(const json_t *o, const struct events_query *q);
uint64_t events_newest(const struct daemon *d); /* its id; 0: there is none */
/* An operator has seen it, by: who, "" if that is not known; again is no error. -ENOENT: it is not kept (any more); -EINVAL: it is of a kind
 * that nobody acknowledges. */
int events_acknowledge(struct daemon *d, uint64_t id, const char *by,
		       struct tv_err *e) TV_MUST_CHECK;

/* ---- events_stats.c: what a replicator's report shows that is new ---- */
/* Of vm->now.stats (state "": none yet) and what comes in its place. */
void events_stats(struct vm *vm, const struct session_stats *fresh);

/* ---- events_failover.c: a VM has changed hosts; vm->now.end has the outage ---- */
/* Of the promotion that vm->now.end reports: docs/EVENTS.md; "unknown". */
const char *events_cause(const struct vm *vm);
void events_failover(const struct vm *vm); /* this host runs it now */
void events_switched(const struct vm *vm); /* the other one does, by plan */

/* ---- events_store.c: the start and the end ---- */
/*
 * state_dir/events: what is there is read, what follows is kept there by a thread of its own. What it
 * cannot write stays in memory and is tried again. Bounded: two segments of EVENTS_SEGMENT_BYTES on
 * disk, as much in memory. Without this call nothing is kept.
 */
void events_start(struct daemon *d);
#define EVENTS_SEGMENT_BYTES (1u << 20)
/* Waits a second at most for what is not written yet. */
void events_stop(struct daemon *d);

#endif
