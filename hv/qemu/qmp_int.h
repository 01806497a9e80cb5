/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the QMP client share. Private to hv/qemu. */
#ifndef HV_QEMU_QMP_INT_H
#define HV_QEMU_QMP_INT_H

#include "hv/qemu/qmp.h"
#include "hv/qemu/qmp_frame.h"

#include <stdatomic.h>

#define HV_QMP_EVENTS_BYTES (64u << 10)

struct hv_qmp {
	int fd;
	bool late;	  /* see hv_qmp_is_late */
	bool gone;	  /* end of file or a broken stream: nothing more will come */
	char session[20]; /* random, the front part of every id */
	uint32_t number;  /* of the last command */
	atomic_int_fast64_t
		asked_ns; /* when that was sent; 0: it was answered. Any thread reads it */
	char id[32];	  /* what the last command carries, "" when it was answered */
	unsigned lost;	  /* events that did not fit and were not reported yet */
	char *in;	  /* what was read and not consumed */
	size_t in_bytes, in_room;
	struct hv_qmp_frame frame;
	const char *mute; /* events that contain it are dropped */
	unsigned muted;
	struct hv_qmp_runs runs;
	bool pairing;	       /* between hv_qmp_pair_begin and _end */
	enum hv_qmp_pair pair; /* what is kept back for it */
	char error[256];       /* the last refusal, as JSON text */
	char *events;	       /* whole objects, one behind the other */
	size_t event_bytes;
};

/* HOT. Brings the next answer (or greeting) to the front of q->in, putting events aside; *n is its
 * length. The caller consumes it. may_grow: may allocate for a long one. */
int hv_qmp_next_answer(struct hv_qmp *q, bool may_grow, int64_t deadline_ns, size_t *n,
		       enum hv_qmp_kind *kind) TV_MUST_CHECK;
/* HOT. The event of n bytes at the front of q->in: into the queue, unless it is ours. */
void hv_qmp_keep_event(struct hv_qmp *q, size_t n);
/* The connection of hv_qmp_open_any for a path of HV_LIBVIRT_PATH. */
int hv_qmp_open_libvirt(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out,
			struct tv_err *e) TV_MUST_CHECK;
/* HOT. Takes n bytes off the front of q->in. */
void hv_qmp_consume(struct hv_qmp *q, size_t n);

/* From now on hv_qmp_is_late: that the VM runs, or does not, is asked here, and reported by events
 * later on. Errors of hv_qmp_cmd. */
int hv_qmp_come_late(struct hv_qmp *q, struct tv_err *e) TV_MUST_CHECK;
/* The same, if it is not that QEMU which listens at the other end, but a proxy (hv/proxy). */
int hv_qmp_notice_proxy(struct hv_qmp *q, pid_t pid, struct tv_err *e) TV_MUST_CHECK;

#endif
