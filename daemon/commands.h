/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands of twinvm share (answer.c), and the commands themselves: one file each. */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "daemon/daemon.h"

/* A text of the request; `otherwise` when it has none. */
const char *command_text(json_t *msg, const char *key, const char *otherwise);
/* The last line at once: rc 0, or what failed and why. */
void command_end(struct ctl *c, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* The VM that the request names; NULL: there is none, and the command has been answered. */
struct vm *command_vm(struct daemon *d, struct ctl *c, json_t *msg);
/* The command is answered by vm_answer; leaves: it waits for the end of protection. */
void command_waits(struct ctl *c, struct vm *vm, bool leaves);

void command_protect(struct daemon *d, struct ctl *c, json_t *msg);
void command_unprotect(struct daemon *d, struct ctl *c, json_t *msg);
void command_failover(struct daemon *d, struct ctl *c, json_t *msg);
void command_suspend(struct daemon *d, struct ctl *c, json_t *msg);
void command_resume(struct daemon *d, struct ctl *c, json_t *msg);
void command_may_start(struct daemon *d, struct ctl *c, json_t *msg); /* may_start.c */
void command_status(struct daemon *d, struct ctl *c, json_t *msg);
void command_doctor(struct daemon *d, struct ctl *c, json_t *msg);
void command_events(struct daemon *d, struct ctl *c, json_t *msg);
void command_trace(struct daemon *d, struct ctl *c, json_t *msg);
void command_maintenance(struct daemon *d, struct ctl *c, json_t *msg);
void command_freeze(struct daemon *d, struct ctl *c, json_t *msg);
void command_verify(struct daemon *d, struct ctl *c, json_t *msg);
void command_health(struct daemon *d, struct ctl *c, json_t *msg);
void command_ready(struct daemon *d, struct ctl *c, json_t *msg); /* ready.c */
void command_test_failover(struct daemon *d, struct ctl *c, json_t *msg);
void command_drill(struct daemon *d, struct ctl *c, json_t *msg); /* drills.c */
void command_cluster(struct daemon *d, struct ctl *c, json_t *msg);
void command_events_ack(struct daemon *d, struct ctl *c, json_t *msg);
/* (web_commands.c) One of those, or refused: the dashboard's process asks. */
void web_command(struct daemon *d, struct ctl *c, json_t *msg);

#endif
