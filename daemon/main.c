/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/daemon.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/session/session.h"
#include "replicator/sink/sink.h"
#include "replicator/source/source.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"usage: twinvmd --config FILE\n"
	"Keeps a second, ready copy of running QEMU VMs on another host; one daemon per host.\n"
	"\n"
	"  -c, --config FILE  configuration (default /etc/twinvm/twinvmd.conf)\n"
	"  -h, --help         this text\n"
	"\n"
	"SIGHUP reads the configuration again; SIGTERM stops the daemon without touching the VMs.\n"
	"Give commands with twinvm (see twinvm --help).\n";

/*
 * The VM's record at the arbiter is not needed any more; may hang with the directory's server. Only
 * a record that is ours is removed, and only after nobody can promote by it any more.
 */
static int forget_main(const char *job_text)
{
	struct fo_arbiter *a = NULL;
	struct fo_claim c = {0};
	struct fo_record rec;
	struct fo_arbiter_conf ac;
	struct fo_times times;
	struct tv_err e = {0};
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	if (!rc) {
		fo_times_init(&times, j.conf.heartbeat_ms * TV_NS_PER_MS);
		ac = config_arbiter(&j.conf, &times);
		rc = fo_arbiter_open(j.arbiter, &ac, &a, &e);
	}
	if (!rc) {
		job_claim(&j, &c);
		rc = fo_claim(a, FO_ASK_ALONE, &c, &rec, &e);
	}
	if (!rc)
		rc = fo_arbiter_forget(a, j.vm_id, &e);
	fo_arbiter_close(a);
	if (rc == TV_E_LOST)
		return 0; /* somebody else's by now */
	if (rc)
		tv_log(TV_WARN, "%s", e.text);
	return rc ? 1 : 0;
}

/* twinvmd replicate KIND JOB: how the daemon starts its helpers; not for people. */
static int replicate(int argc, char **argv)
{
	/* Pieces of half a megabyte come and go all the time: from the heap, not mapped, faulted in
	 * and zeroed anew each time. What is free beyond a few megabytes still goes back to the
	 * kernel. */
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 8 << 20);
	if (argc == 4 && !strcmp(argv[2], "source"))
		return source_main(argv[3]);
	if (argc == 4 && !strcmp(argv[2], "sink"))
		return sink_main(argv[3], 3);
	if (argc == 4 && !strcmp(argv[2], "recover"))
		return recover_main(argv[3]);
	if (argc == 4 && !strcmp(argv[2], "fence"))
		return fence_main(argv[3]);
	if (argc == 4 && !strcmp(argv[2], "forget"))
		return forget_main(argv[3]);
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *config = "/etc/twinvm/twinvmd.conf";
	int c;

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return replicate(argc, argv);
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c != 'c') {
			fputs(usage, stderr);
			return 2;
		}
		config = optarg;
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return daemon_main(config);
}
