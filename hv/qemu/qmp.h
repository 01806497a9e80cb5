/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP client: one blocking connection with time-outs. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_QMP_H
#define HV_QEMU_QMP_H

#include "common/common.h"
#include <jansson.h>

/* Everything that twinvm adds to a QEMU carries this prefix, so that hv_cleanup can find it. */
#define HV_PREFIX "twinvm"
#define HV_RAM_FILE HV_PREFIX "-ram" /* the memory file of a standby, which QEMU opens by a name */
/* For commands outside the hot path: QEMU's main loop can be busy for a while. */
#define HV_CMD_MS 5000

struct hv_qmp;
static inline int64_t hv_qmp_deadline(int timeout_ms)
{
	return tv_now_ns() + (int64_t)timeout_ms * TV_NS_PER_MS;
}

/* pid: the QEMU that must be at the other end, 0: any. -ENOENT or -ECONNREFUSED there is no
 * listener; -EBUSY no greeting within timeout_ms: another client holds it; TV_E_REFUSED another
 * process is at the other end. */
int hv_qmp_open(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out,
		struct tv_err *e) TV_MUST_CHECK;
/* The same by whichever QMP socket of that QEMU is free, this one first; -EBUSY: all are held. A path
 * of HV_LIBVIRT_PATH and a UUID: through libvirt; -ENOTCONN: it does not answer. */
int hv_qmp_open_any(const char *path, pid_t pid, int timeout_ms, struct hv_qmp **out,
		    struct tv_err *e) TV_MUST_CHECK;
/* Its first part: a connected socket, or negative as above. */
int hv_qmp_connect(const char *path, pid_t pid, struct tv_err *e) TV_MUST_CHECK;
/* The same on a connected socket, which is taken over in any case; name is for sentences. */
int hv_qmp_open_fd(int fd, const char *name, int timeout_ms, struct hv_qmp **out,
		   struct tv_err *e) TV_MUST_CHECK;
void hv_qmp_close(struct hv_qmp *q);
int hv_qmp_fd(const struct hv_qmp *q);
/*
 * HOT. Does an event come later than QEMU sends it? Through libvirt or a proxy it does: while a command is under
 * way none comes, and before its answer all come that QEMU sent before it, and perhaps some that it
 * sent after it. So what hv_qmp_drain has taken in is not all that has happened, what a command
 * has answered after it is.
 */
bool hv_qmp_is_late(const struct hv_qmp *q);
/* Since when QEMU owes the answer to a command; 0: it does not. Through libvirt that begins when no
 * one else can be what it waits for. Any thread. */
int64_t hv_qmp_asked_ns(const struct hv_qmp *q);
/* args is stolen (NULL: none); *ret (NULL: not wanted) is the caller's. TV_E_QMP with QEMU's words,
 * -ETIMEDOUT, TV_E_MONITOR at end of file, which is not QEMU's end. Events that come meanwhile are
 * kept for hv_qmp_next_event. */
int hv_qmp_cmd(struct hv_qmp *q, const char *name, json_t *args, json_t **ret, int timeout_ms,
	       struct tv_err *e) TV_MUST_CHECK;
/* The same with one file descriptor attached (getfd, add-fd). */
int hv_qmp_cmd_fd(struct hv_qmp *q, const char *name, json_t *args, int fd, json_t **ret,
		  int timeout_ms, struct tv_err *e) TV_MUST_CHECK;
/* human-monitor-command; *text is the caller's to free. */
int hv_qmp_hmp(struct hv_qmp *q, const char *line, char **text, int timeout_ms,
	       struct tv_err *e) TV_MUST_CHECK;
/* HOT: sends a line made beforehand ("{...}\n", an id is put in); waits for its answer without
 * allocating (events go to a fixed buffer; when that overflows they are counted as lost and status
 * is asked again). */
int hv_qmp_fire(struct hv_qmp *q, const char *line, size_t n) TV_MUST_CHECK;
int hv_qmp_wait(struct hv_qmp *q, int timeout_ms) TV_MUST_CHECK;
/* HOT: takes in what has come, without waiting. */
int hv_qmp_drain(struct hv_qmp *q) TV_MUST_CHECK;
/*
 * HOT: events whose text contains name (with its quotes; NULL: none) are dropped from now on.
 * Returns how many were dropped since the last call.
 */
unsigned hv_qmp_mute(struct hv_qmp *q, const char *name);
/* HOT: events of the VM's run state that have come since the connection was opened, whosever. */
struct hv_qmp_runs {
	unsigned stops, resumes, resets;
	bool stop_last; /* of the first two */
};
struct hv_qmp_runs hv_qmp_runs(const struct hv_qmp *q);
/*
 * HOT. For a command that stops a running VM and resumes it before its answer, with nothing of the
 * kind in between: the last STOP and the RESUME after it are its own, and are dropped by
 * hv_qmp_pair_end, which is called after the answer. All others are kept: they are somebody
 * else's. hv_qmp_pair: what there is until now.
 */
enum hv_qmp_pair {
	HV_QMP_NONE,	/* it does not run, and did not */
	HV_QMP_STOPPED, /* it ran, and does not now */
	HV_QMP_BOTH,	/* it ran, was stopped, and runs */
};
void hv_qmp_pair_begin(struct hv_qmp *q);
enum hv_qmp_pair hv_qmp_pair(const struct hv_qmp *q);
enum hv_qmp_pair hv_qmp_pair_end(struct hv_qmp *q);
/* QEMU's error when hv_qmp_wait last returned TV_E_QMP; "" else. */
const char *hv_qmp_last_error(const struct hv_qmp *q);
/* Next kept or waiting event, without waiting for one: 1 and *ev (the caller's), 0 none, or
 * negative. An event of this name stands for those that had no room. */
#define HV_QMP_EVENTS_LOST "TWINVM_EVENTS_LOST"
int hv_qmp_next_event(struct hv_qmp *q, json_t **ev) TV_MUST_CHECK;

#endif
