/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules and the assertions that guard them; private to failover/ and tests/sim.
 *
 * FO_ASSERT states an invariant of the engines. A false one is a mistake in this program
 * (input from the wire gives TV_E_PROTOCOL instead), and the process aborts, also in production.
 * The daemon then recovers the VM as after any death of its replicator.
 *
 * FO_BROKEN is a rule broken on purpose, in builds for `make mutants` only: the simulator must find
 * every one, with the assertions switched off. In every other build FO_BROKEN is constant false,
 * and the code behind it gone.
 */
#ifndef FAILOVER_MUTANT_H
#define FAILOVER_MUTANT_H

#include "common/common.h"

/* clang-format off */
#define FO_MUTANT_LIST(X)                                                                          \
	X(none)                                                                                    \
	X(release_early)           /* rule 1: output leaves when an epoch is sent, not committed */\
	X(release_without_pair)    /* rule 4: output leaves before the record names the backup */  \
	X(release_without_lease)   /* rule 3: the output's self-fence is skipped */                \
	X(release_by_old_clock)    /* rule 3: the lease is looked at when the turn begins only */  \
	X(run_without_lease)       /* rule 3: the VM's self-fence is skipped */                    \
	X(excused_for_ever)        /* rule 3: a host that is always late never stops its VM */     \
	X(alone_without_record)    /* rule 4: a lost backup is enough to run alone */              \
	X(promote_without_arbiter) /* rule 3: silence is enough to promote */                      \
	X(forget_generation)       /* rule 3: a promotion takes no higher generation */            \
	X(ignore_fence)            /* rule 3: a primary does not stop for a higher generation */   \
	X(commit_unverified)       /* rule 2: an epoch counts when its end has come */             \
	X(commit_after_asking)     /* rule 1: a backup that asks to promote still commits */       \
	X(echo_after_asking)       /* rule 3: it still renews the primary's lease */               \
	X(any_session)             /* rule 2: an old synchronisation's copy may promote */         \
	X(lost_is_won)             /* rule 3: a lost compare-and-swap counts as won */             \
	X(resume_unasked)          /* rule 3: a called-off switch resumes without asking */       \
	X(resume_offered)          /* rule 3: an offer to take the VM back needs no record */     \
	X(discard_after_won)       /* the last copy is removed when it could not be started */           \
	X(asks_late)               /* rule 4: at its lease's end a primary lets the backup ask first */\
	X(old_record_counts)       /* rule 3: what the record says already need not be written */  \
	X(unrepaired)              /* rule 4: a lease that is back is enough to be protected */    \
	X(absence_is_an_answer)    /* an arbiter that has lost its record has decided */           \
	X(unconfirmed)             /* rule 3: a generation is believed without a record */         \
	X(deadline_ignored)        /* rule 4: a backup that echoes is good, whatever it commits */ \
	X(poison_ignored)          /* a memory error is the guest's matter only */                 \
	X(poison_switched)         /* it is a reason for a planned switch, with a last epoch */    \
	X(poison_sent)             /* an epoch that was being captured then still counts */
/* clang-format on */

#define FO_ENUM_MUTANT(n) FO_MUTANT_##n,
enum fo_mutant { FO_MUTANT_LIST(FO_ENUM_MUTANT) FO_MUTANT_COUNT };

#ifdef FO_MUTANTS
extern enum fo_mutant fo_mutant;
extern bool fo_unasserted;
#define FO_BROKEN(n) (fo_mutant == FO_MUTANT_##n)
#define FO_ASSERT(cond) \
	(fo_unasserted || (cond) ? (void)0 : tv_assert_failed(__FILE__, __LINE__, #cond))
#else
#define FO_BROKEN(n) false
#define FO_ASSERT tv_assert /* no argument here: it is shown unexpanded */
#endif

#endif
