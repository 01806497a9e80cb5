/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which VM leaves a host whose hardware fails, or that is in maintenance, and when (moves.c). Pure: the
 * caller knows the colours, the VMs and the time, and carries out what is decided. Included by failover.h.
 */
#ifndef FAILOVER_MOVES_H
#define FAILOVER_MOVES_H

#include "common/common.h"

#define FO_PRIORITY_DEFAULT 50
#define FO_PRIORITY_MOST 100
#define FO_MOVE_EVERY_S 3600 /* at most one move of a VM in this time, whatever fails */
#define FO_MOVE_RETRY_S 60   /* after a switch that was called off */
#define FO_MOVE_AGAIN_S 5    /* the same in maintenance, as somebody waits for it */
#define FO_MOVE_DEADLINE_S 20

/* What a host's hardware asks for. */
struct fo_move_host {
	int health;	  /* enum fo_health of this host */
	bool important;	  /* yellow: a part of the host is weak that any VM may use, now or next */
	bool urgent;	  /* red: the host may die at any moment */
	bool maintenance; /* an operator has asked that all VMs leave, however well it is */
	int64_t now_s;	  /* real time */
};
struct fo_move_vm {
	char id[33];
	int priority;	 /* 0 to FO_PRIORITY_MOST; the higher ones leave first */
	bool concerned;	 /* what is weak is this VM's: its page, a core that it is bound to */
	bool ready;	 /* it has a backup that is in step, and no command is under way */
	bool moving;	 /* it was asked to, and the end of that is not known yet */
	int peer;	 /* enum fo_health of its backup's host */
	bool peer_away;	 /* that host is in maintenance */
	int64_t moved_s; /* when it was moved for health last, by whomever; 0: never */
	int64_t begun_s; /* when it was asked to last; 0: never */
};

/* reason, for people */
#define FO_MOVES(X)                                                                 \
	X(STAYS, "")                                                                \
	X(GOES, "it is its turn")                                                   \
	X(WAITS, "others go first")                                                 \
	X(MOVING, "its switch is under way")                                        \
	X(NOT_READY, "it has no backup that could continue it, or it stands still") \
	X(NOT_BETTER, "the hardware of its backup's host is no better")             \
	X(PEER_RED, "the hardware of its backup's host is red")                     \
	X(PEER_AWAY, "its backup's host is in maintenance as well")                 \
	X(TOO_SOON, "it was moved for health less than an hour ago")                \
	X(FAILED, "its switch was called off a moment ago")                         \
	X(HAND_OVER, "its switch takes too long: it continues from its last committed epoch")
#define FO_MOVE_ENUM(name, reason) FO_MOVE_##name,
enum fo_move { FO_MOVES(FO_MOVE_ENUM) FO_MOVE_COUNT };
const char *fo_move_reason(enum fo_move m);

/*
 * Fills what becomes of each VM: out[i] of vms[i]. At most one of them is FO_MOVE_GOES, and none while
 * another one is moving; FO_MOVE_HAND_OVER is only for one that is moving, when all is urgent.
 */
void fo_moves(const struct fo_move_host *host, const struct fo_move_vm *vms, unsigned n,
	      enum fo_move out[]);

#endif
