/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * web: the dashboard, metrics and health of a host over HTTP, in a process of its own. The door of
 * this room.
 *
 * Theory of operation
 *
 * twinvmd starts `twinvmd web` with one end of a pair of sockets. The process binds its port and
 * reads its keys, gives up its rights (sandbox/), and then serves. What it shows comes over the
 * pair: the daemon writes a snapshot of all that it knows twice a second while a page is open, else
 * every other second, and each event when it happens (feed.h). The daemon never waits for this process: a snapshot that finds the last one
 * unread is left out, and a process that takes none for 10 s is replaced. So whatever is sent to
 * this process, and whatever it does, replication continues; when it dies the daemon starts another,
 * and when the daemon dies it ends.
 *
 * What changes something (a planned failover) is asked of the daemon as `twinvm` asks it (ask.h),
 * over a connection that this process makes and hands over; the daemon takes the commands of a
 * short list from it (daemon/web.c), and no others.
 */
#ifndef WEB_WEB_H
#define WEB_WEB_H

/* The process. job_text: as a replicator's (job.h). Returns the exit status. */
int web_main(const char *job_text, int feed_fd);

#endif
