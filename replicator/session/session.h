/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session: what twinvmd and its replicator processes agree on. The door of this room; it includes
 * all of it, a header a subject.
 *
 * Theory of operation
 *
 * Three programs meet here. twinvmd, one per host, starts one replicator process per session of a
 * VM: a source on the primary's host, a sink on the backup's. A process is one session: it ends
 * when the session ends, and the daemon decides what comes next. The daemon never talks to the
 * other host by itself, and a replicator never to another replicator of its host.
 *
 * Who sends what to whom
 *   twinvmd -> replicator, at its start   the job, one JSON argument (job.h); a sink inherits the
 *                                         accepted connection as descriptor 3
 *   replicator <-> twinvmd                messages (messages.h) over a UNIX socket (ctl.h), which
 *                                         the replicator connects (report.h)
 *   source <-> sink                       the stream and its datagrams (replicator/link/), with the
 *                                         engines' messages packed and read by wire.h
 *   twinvm <-> twinvmd                    commands, over the same kind of socket (ctl.h)
 *
 * A replicator registers first, on each connection. Then it reports: stats about ten times a
 * second while the session lives, `protected` once, and at its end `done` with the outcome
 * (outcome.h). All that it reports is a struct with a table of fields (fields.h).
 *
 * Who outlives whom
 *   - The VM's QEMU outlives all of twinvm. A source that dies leaves the page (page.h): the next
 *     daemon or recovery process reads there whether the VM was paused by the source.
 *   - A replicator outlives its daemon: it continues, tries to connect again, and registers with
 *     the next daemon. The daemon's entry on disk names the session, so it is recognised.
 *   - The daemon outlives its replicators: it holds duplicates of the sockets that hold output
 *     (`stash`), so that a dead source lets nothing out and does not block QEMU.
 *   - A standby outlives its sink only if it was promoted: a note in run_dir (notes.h) shows that
 *     to the next daemon.
 *   - Nothing here outlives the host, but what daemon/ keeps in state_dir.
 *
 * What the daemon believes of a sink, which parses what a peer sends: that it is the process that
 * it says (checked with the kernel: ctl_peer), and what it reports of its own session. Which
 * process is the standby, and whether it was promoted, is on notes that root has written.
 *
 * Names on a host: slot.h. The configuration, which both programs read: config.h.
 */
#ifndef REPLICATOR_SESSION_SESSION_H
#define REPLICATOR_SESSION_SESSION_H

#include "replicator/session/config.h"
#include "replicator/session/ctl.h"
#include "replicator/session/disk_state.h"
#include "replicator/session/fields.h"
#include "replicator/session/job.h"
#include "replicator/session/messages.h"
#include "replicator/session/outcome.h"
#include "replicator/session/notes.h"
#include "replicator/session/page.h"
#include "replicator/session/report.h"
#include "replicator/session/slot.h"
#include "replicator/session/wire.h"

#endif
