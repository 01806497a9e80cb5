/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parts of this host that are taken out of service: pages of memory, CPUs. retire_rules.c decides, and is
 * pure; the keeper (keeper/) does it, and checks by itself; retire.c waits for VMs that must leave first
 * (who moves them: moves.h), tries again, and reports.
 */
#ifndef DAEMON_RETIRE_H
#define DAEMON_RETIRE_H

#include "daemon/health.h"

#include <sched.h>

struct daemon;
struct vm;

/* ---- retire_rules.c ---- */
#define RETIRE_DIMM_PAGES 8 /* so many are taken of one DIMM; then it is the DIMM that fails */

enum retire_do {
	RETIRE_NEVER, /* it stays in service */
	RETIRE_DONE,  /* it is out of service */
	RETIRE_WAIT,  /* a VM has to leave first */
	RETIRE_LATER, /* not as it is now: it is tried again, some times */
	RETIRE_SOFT,  /* the page, with what is in it moved */
	RETIRE_HARD,  /* the page, unread */
	RETIRE_CPUS,
};
struct retire_page {
	bool uncorrected;     /* it has lost data; else errors were corrected, too many */
	bool looked;	      /* the next three are known */
	enum ras_owner owner; /* UNKNOWN: no process was found */
	bool owner_protected; /* VM: it has a backup, or is about to */
	enum kp_page page;
	bool takes_pages, copy_recovers; /* this kernel */
	unsigned dimm_taken;		 /* pages of its DIMM that are out of service */
};
struct retire_core {
	unsigned weak_cores;	/* of this host */
	bool stops_cpus, known; /* known: which CPUs it has */
	bool has_cpu0;
	unsigned cpus, online, needed; /* of the core; in service; vCPUs of VMs and standbys here */
	bool pinned; /* a VM that has a backup, or is about to, runs on these CPUs only */
};
/* What is to be done now; *why in words, for all but SOFT, HARD and CPUS. */
enum retire_do retire_page_rule(const struct retire_page *p, const char **why);
enum retire_do retire_core_rule(const struct retire_core *c, const char **why);
/* How long until the next try; -1: there is none. */
int64_t retire_pause_ns(unsigned tries);

/* ---- retire_cpu.c: what the kernel shows of CPUs and of who is bound to them ---- */
#define RETIRE_MAX_CPUS KP_MAX_CPUS
struct retire_cpus { /* a set */
	uint64_t bits[RETIRE_MAX_CPUS / 64];
};
bool retire_has(const struct retire_cpus *s, unsigned cpu);
unsigned retire_count(const struct retire_cpus *s);
/* As the kernel writes lists: "0-3,8". False: malformed. */
bool retire_cpus_of(const char *list, struct retire_cpus *out);
void retire_cpus_text(const struct retire_cpus *s, char *out, size_t room);
/* The CPUs of that one's core; false: not known. sys: "/sys", or a test's. */
bool retire_siblings(const char *sys, unsigned cpu, struct retire_cpus *out);
bool retire_online(const char *sys, struct retire_cpus *out);
/* vCPUs of a QEMU; proc: "/proc", or a test's. */
unsigned retire_vcpus(const char *proc, pid_t pid);
/* The first CPU of that one's core, which names it; itself where that is not known. */
uint32_t retire_first_sibling(const char *sys, uint32_t cpu);
/* Is a thread of that process bound to these CPUs alone? */
bool retire_is_pinned(pid_t pid, const struct retire_cpus *cpus);
/* Adds to list each thread of that process that is bound to some CPUs, these among them. */
void retire_note_threads(pid_t pid, const struct retire_cpus *cpus, json_t *list);
/* Binds them as they were; those that have ended are left out. Returns how many. */
unsigned retire_restore_threads(const json_t *list);

/* ---- retire_record.c: what is out of service, on disk, of this life of the host ---- */
void retire_record_load(struct daemon *d);
bool retire_record_page(struct daemon *d, uint64_t page,
			const char *dimm); /* false: known already */
/* Before they are stopped: a daemon that dies meanwhile knows what to undo. */
void retire_record_cpus(struct daemon *d, const struct retire_cpus *cpus, const char *why,
			json_t *threads);
void retire_record_forget(struct daemon *d, const char *cpus);
unsigned retire_record_dimm(const char *dimm);
/* {"pages":[{page,dimm,time}],"cpus":[{cpus,why,time,threads}]}; borrowed. */
const json_t *retire_record(void);

/* ---- retire_undo.c ---- */
/* The highest one: a core's first CPU is stopped last. -1: the set is empty. */
int retire_next_cpu(const struct retire_cpus *s);
/* cb is called as by keeper_ask. */
int retire_ask_cpu(enum kp_verb verb, unsigned cpu, unsigned floor, keeper_cb *cb,
		   void *arg) TV_MUST_CHECK;
/* A keeper_cb, arg is a CPU: logs when it does not come back. */
void retire_cpu_back(struct daemon *d, const struct kp_reply *k, void *arg);
/* An operator wants CPUs back. Returns how many will be. */
unsigned retire_undo(struct daemon *d);

/* ---- retire.c ---- */
/* A page is out of service: for its DIMM's count. */
typedef void retire_taken_cb(struct daemon *d, struct ras_pfn page, const char *dimm);
void retire_start(struct daemon *d, retire_taken_cb *taken);
extern const char *retire_sys; /* "/sys", or a test's */
/* A page that is weak, or has lost data. dimm: as struct ras_fault's where. */
void retire_page_begin(struct daemon *d, struct ras_pfn page, bool uncorrected, const char *dimm);
/* A core that is weak, and how many are. why: a sentence. */
void retire_core_begin(struct daemon *d, unsigned core, unsigned weak_cores, const char *why);
/* What is taken out of service for a fault, or is gone already. o: whose page it is; NULL: not known. */
void retire_fault(struct daemon *d, const struct hw_fault *f, const struct ras_verdict *v,
		  const struct page_owner *o, unsigned weak_cores);
/* The kernel has taken it by itself. */
void retire_page_gone(struct daemon *d, struct ras_pfn page, const char *dimm);
/* The operator has looked: nothing is waited for any more. */
void retire_clear(void);
/* {"pages","cpus","waits"} for twinvm health; a new object. */
json_t *retire_json(void);
/* Is a part waiting for that VM to leave? */
bool retire_waits_for(const struct vm *vm);

#endif
