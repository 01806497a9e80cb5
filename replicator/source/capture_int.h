/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The capture thread's insides. Private to this room. */
#ifndef REPLICATOR_SOURCE_CAPTURE_INT_H
#define REPLICATOR_SOURCE_CAPTURE_INT_H

#include "replicator/source/capture.h"

#include <pthread.h>

#define RING 16
#define QMP_TIMEOUT_MS 20000

struct cap {
	struct cap_conf conf;
	struct encoder *en;
	pthread_t thread;
	pthread_mutex_t lock;
	int cmd_fd, ev_fd;
	struct event *ev;
	struct {
		enum cap_cmd cmd;
		uint64_t n;
	} cmds[RING];
	unsigned cmd_head, cmd_tail;
	struct cap_event events[RING];
	unsigned ev_head, ev_tail;
	bool stop;
	struct hv_vm *vm;
	bool gone, disks_copied;
	bool only_attached; /* nothing was done with the VM since */
	bool stopped; /* by us, between epochs: in_pause shows it to whoever cleans up after us */
};

/* ---- capture_report.c ---- */
/* Wakes whoever reads the eventfd. */
void cap_kick(int fd);
/* Reports to the loop. PROGRESS may be dropped when the ring is full; everything else has a place (few
 * are ever open). */
void cap_emit(struct cap *c, const struct cap_event *ev);
/* A call failed (e may be NULL): FAILED, or GONE when it did because QEMU is ending. */
void cap_fail(struct cap *c, int rc, const struct tv_err *e, const char *what);
/* For hv_events. */
void cap_on_vm_event(enum hv_event what, const char *name, void *arg);
void cap_vm_gone(struct cap *c);

/* ---- capture_epoch.c ---- */
/* Harvests and copies what has room in s. HOT. */
int cap_fill(struct cap *c, struct slot *s, struct hv_cursor *cur);
bool cap_has_disks(struct cap *c);
/* stay: the VM stays stopped after it. */
void cap_do_epoch(struct cap *c, uint64_t epoch, bool stay);
void cap_do_stop(struct cap *c);
void cap_do_resume(struct cap *c);

/* ---- capture_sync.c ---- */
void cap_sync(struct cap *c);

#endif
