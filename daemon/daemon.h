/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvmd: supervises one replicator process per VM, holds what must outlive one, answers twinvm.
 * Private to daemon/. registry.c knows the VMs and keeps them on disk, supervise.c starts
 * replicators and deals with their ends, commands.c answers the command line, serve.c listens.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "daemon/config.h"
#include "daemon/ctl.h"
#include "hv/hv.h"
#include <sys/queue.h>

struct daemon;

enum vm_role { VM_PRIMARY, VM_BACKUP };
enum vm_phase {
	VM_IDLE,       /* no replicator; the VM runs alone, or has just been loaded from disk */
	VM_RUNNING,    /* a replicator was started */
	VM_RECOVERING, /* cleaning up after one that died */
	VM_FENCED,     /* another host runs this VM; ours is stopped and kept for inspection */
};
struct vm {
	TAILQ_ENTRY(vm) link;
	struct daemon *d;
	char id[33], name[128];
	enum vm_role role;
	enum vm_phase phase;
	struct hv_vm_id qemu; /* primary: the VM; backup: the standby (pid 0: none) */
	char dir[256];	      /* backup: the standby's run directory */
	char peer_name[64], peer_host[128];
	uint16_t peer_port;
	char mode[16], arbiter[256], session[33];
	int epoch_ms;
	uint64_t generation;
	bool wanted;	    /* to be protected again whenever that is possible */
	bool was_protected; /* ever since protect was given */
	char reason[512];   /* why it is not protected */
	/* not on disk: */
	bool fresh;	  /* made by the protect that is under way: forgotten when that fails */
	pid_t child;	  /* replicator or recovery of ours; 0: none, or adopted */
	pid_t replicator; /* registered one, ours or adopted */
	struct ctl *rep;  /* its connection */
	struct ctl *next_sink; /* a newer backup session that waits for the old one's end */
	struct ctl *waiter;    /* twinvm protect or unprotect or failover that waits */
	bool waiter_leaves;    /* it waits for the end of protection */
	bool done;	       /* the replicator said how it ended */
	json_t *stats;	       /* what it said last */
	int stash[CTL_MAX_FDS];
	struct event *drain[CTL_MAX_FDS];
	unsigned stash_n;
	struct event *retry;
	unsigned failures; /* in a row; spaces the tries out */
};

struct daemon {
	struct config conf;
	struct event_base *base;
	int listen_fd, socket_fd, lock_fd;
	struct event *accept_peer, *accept_ctl, *chld, *term, *intr, *hup;
	TAILQ_HEAD(vm_list, vm) vms;
	unsigned pending_sinks; /* connections that have not said hello */
	pid_t pending[64];
};

/* ---- registry.c ---- */
struct vm *vm_new(struct daemon *d, const char *id, const char *name, enum vm_role role);
/* Forgets the VM, here and on disk. The replicator must be gone or going. */
void vm_drop(struct vm *vm);
struct vm *vm_by_id(struct daemon *d, const char *id);
/* By name, id, pid or QMP socket. NULL: none; *several is set when more than one answers. */
struct vm *vm_find(struct daemon *d, const char *what, bool *several);
void vm_save(const struct vm *vm);
/* Reads what was kept on disk; the caller starts what must be started. */
void registry_load(struct daemon *d);
json_t *vm_status(const struct vm *vm);

/* ---- supervise.c ---- */
int vm_start_source(struct vm *vm, struct tv_err *e) TV_MUST_CHECK;
/* After a daemon's start: who has not introduced itself within a moment is dead. */
void supervise_loaded(struct daemon *d);
void supervise_child_exit(struct daemon *d, pid_t pid, int status);
int supervise_accept(struct daemon *d, int fd, struct tv_err *e) TV_MUST_CHECK;
/* First message of a connection was "register". */
void supervise_register(struct daemon *d, struct ctl *c, json_t *msg);
/* A line to the waiting command, if there is one; final ends it. */
void vm_tell(struct vm *vm, json_t *msg, bool final);

/* ---- commands.c ---- */
/* First message of a connection was a command. */
void command_run(struct daemon *d, struct ctl *c, json_t *msg);

/* ---- serve.c ---- */
int daemon_main(const char *config_path);
/* ---- recover.c ---- */
int recover_main(const char *job_text);
#define RECOVER_FENCED 3

#endif
