/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a sink may ask its monitor for: a verb, a body of exactly that verb's size, a tail of bytes
 * where the verb has one, descriptors where the verb has some. One request, one reply, in turns.
 * Both are of one program, forked: no versions, no byte order. Private to replicator/monitor.
 */
#ifndef REPLICATOR_MONITOR_VERBS_H
#define REPLICATOR_MONITOR_VERBS_H

#include "replicator/monitor/monitor.h"

#include <pthread.h>

enum mon_channel { MON_LOOP, MON_APPLY, MON_ARBITER, MON_CHANNELS };
enum mon_verb {
	MON_V_VM,
	MON_V_SLOT,
	MON_V_PROMOTED,
	MON_V_FRAME,
	MON_V_QEMU,
	MON_V_CHECK,
	MON_V_START,
	MON_V_QMP,
	MON_V_SIGNAL,
	MON_V_TAPS,
	MON_V_CLEAN,
	MON_V_ARBITER,
	MON_V_CLAIM,
	MON_VERBS
};
#define MON_TAIL_BYTES (160u << 10) /* a command line, and a domain of libvirt */
#define MON_FRAME_BYTES 2058	    /* virtio header included */
#define MON_MAX_WORDS 4096	    /* of a command line */
#define MON_MAX_FDS 8

struct mon_head {
	uint32_t verb, body_bytes, tail_bytes, reserved;
};
struct mon_vm {
	char vm_id[33];
	uint64_t generation;
};
struct mon_slot {
	uint32_t slot;
};
struct mon_promoted {
	uint64_t generation;
};
struct mon_start {
	char binary[96]; /* a name without a folder */
	uint32_t again, kvm, tpm;
	int32_t oom_score_adj, nice;
	uint64_t ram_bytes, memory_bytes;
	uint32_t n_taps, n_images;
	struct hv_host_tap taps[HV_HOST_MAX_TAPS];
	char images[HV_MAX_DISKS][64];
	/* Of the tail: its command line, and where it is a domain what that is made of, each with a
	 * 0 at its end. */
	uint32_t n_words, has_domain;
};
struct mon_qemu {
	char binary[96]; /* a name without a folder */
};
struct mon_signal {
	int32_t signal;
};
struct mon_clean {
	uint32_t with_log;
};
struct mon_arbiter {
	char url[256];
	uint32_t heartbeat_ms;
};
struct mon_claim {
	uint32_t question, had_record;
	uint64_t generation;
	char peer[64], session[33];
};
union mon_body {
	struct mon_vm vm;
	struct mon_slot slot;
	struct mon_promoted promoted;
	struct mon_qemu qemu;
	struct hv_host_file check;
	struct mon_start start;
	struct mon_signal signal;
	struct mon_clean clean;
	struct mon_arbiter arbiter;
	struct mon_claim claim;
};

struct mon_reply {
	int32_t rc;
	uint32_t fds;
	char text[sizeof(((struct tv_err *)0)->text)]; /* why, when rc is not 0 */
	union {
		char dir[256]; /* MON_V_SLOT */
		struct {       /* MON_V_START */
			int32_t pid;
			uint32_t open; /* which of enum mon_qemu_fd came, a bit each */
			uint64_t start_ticks;
			uint32_t domain;
			char qmp_path[108];
		} qemu;
		struct hv_qemu abilities; /* MON_V_QEMU; a file with its machines, as JSON, comes */
		struct fo_record record;  /* MON_V_CLAIM */
	};
};

enum mon_qemu_fd {
	MON_Q_PIDFD,
	MON_Q_MEM,
	MON_Q_MAPS,
	MON_Q_EXE,
	MON_Q_RAM,
	MON_Q_LOG,
	MON_Q_COUNT
};

/* Which channel, how large. */
struct mon_shape {
	enum mon_channel channel;
	uint32_t body_bytes, tail_bytes; /* tail: at most */
};
extern const struct mon_shape mon_shapes[MON_VERBS];

/* ---- packet.c ---- */
struct mon_request { /* as it came in */
	struct mon_head head;
	union mon_body body;
	uint8_t tail[MON_TAIL_BYTES + 1];
};
/*
 * The next request of a channel, checked against mon_shapes; a 0 follows the tail. 1; 0: the other
 * end is closed; -EBADMSG: it is none of this channel's verbs, or of another size, or brings
 * descriptors.
 */
int mon_receive(int fd, enum mon_channel channel, struct mon_request *out) TV_MUST_CHECK;
/* -errno. The descriptors stay the caller's. */
int mon_answer(int fd, const struct mon_reply *r, const int *fds) TV_MUST_CHECK;
/*
 * Sends a request and waits for its reply; fds gets r->fds descriptors. TV_E_GONE: the monitor has
 * ended. Not 0 only when there is no reply: its own rc is in *r.
 */
int mon_call(int fd, enum mon_verb verb, const void *body, const void *tail, size_t tail_bytes,
	     struct mon_reply *r, int fds[MON_MAX_FDS]) TV_MUST_CHECK;
/* Fills rc and text; the sentence may be NULL. */
void mon_fail(struct mon_reply *r, int rc, const char *text);
/* Is there a 0 in the field, and a text before it? */
bool mon_is_text(const char *field, size_t room);

/* ---- serve.c: the monitor's process ---- */
/* Serves until the sink has closed its ends, and does not return. */
void mon_serve(const struct config *c, const int fds[MON_CHANNELS]) __attribute__((noreturn));

/* ---- what the monitor knows; serve_*.c ---- */
struct mon_state {
	pid_t sink; /* whose monitor this is */
	struct config conf;
	pthread_mutex_t lock; /* of all up to `dir` */
	char vm_id[33];	      /* "": not yet */
	uint64_t generation;  /* of the session */
	uint64_t granted;     /* by the arbiter; 0: nothing */
	bool arbiter_ok; /* opened; or this host's configuration has none, and neither the VM */
	bool has_arbiter, promoted;
	int slot; /* -1: not yet */
	struct slot_names names;
	char dir[256];
	pthread_mutex_t starting; /* held from a start's request to its answer, and at the end */
	/* the apply thread's */
	struct hv_host *host;
	int pidfd; /* of the QEMU started last; -1: none */
	/* the loop's */
	int frame_fd; /* -1: not open */
	/* the arbiter's */
	struct fo_times times;
	struct fo_arbiter *arbiter;
	bool asked;
};
/* Each handler fills r (rc, text, answer) and, with r->fds, fds. */
typedef void mon_handler(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
			 int fds[MON_MAX_FDS]);
mon_handler mon_on_vm, mon_on_slot, mon_on_promoted, mon_on_frame; /* serve_loop.c */
/* serve_host.c */
/* Ends the QEMU that was started last. */
void mon_end_qemu(struct mon_state *s);
mon_handler mon_on_qemu, mon_on_check, mon_on_start, mon_on_qmp, mon_on_signal, mon_on_taps,
	mon_on_clean;
mon_handler mon_on_arbiter, mon_on_claim; /* serve_arbiter.c */
#endif
