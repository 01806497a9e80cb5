/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clone/clone.h"
#include "daemon/daemon.h"
#include "daemon/drills.h"
#include "daemon/ready.h"
#include "daemon/roster.h"
#include "daemon/reload.h"
#include "hardware/hardware.h"
#include "keeper/keeper.h"
#include "replicator/sink/sink.h"
#include "replicator/source/source.h"
#include "replicator/watch/watch.h"
#include "web/web.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: twinvmd [--check] --config FILE\n"
	"Keeps a second, ready copy of running QEMU VMs on another host; one daemon per host.\n"
	"\n"
	"  -c, --config FILE  configuration (default /etc/twinvm/twinvmd.conf)\n"
	"      --check        looks for mistakes in the configuration, shows all of them, and ends:\n"
	"                     exit status 0 none, 1 some, 2 wrong usage\n"
	"  -h, --help         this text\n"
	"\n"
	"SIGHUP reads the configuration again; SIGTERM stops the daemon without touching the VMs.\n"
	"Give commands with twinvm (see twinvm --help).\n";

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
		return sink_main(argv[3], 3, 4);
	if (argc == 4 && !strcmp(argv[2], "recover"))
		return recover_main(argv[3]);
	if (argc == 4 && !strcmp(argv[2], "fence"))
		return fence_main(argv[3]);
	if (argc == 4 && !strcmp(argv[2], "settle"))
		return settle_main(argv[3], false);
	if (argc == 4 && !strcmp(argv[2], "forget"))
		return settle_main(argv[3], true);
	if (argc == 4 && (!strcmp(argv[2], "suspend") || !strcmp(argv[2], "resume")))
		return suspend_main(argv[3], !strcmp(argv[2], "suspend"), 3);
	if (argc == 4 && !strcmp(argv[2], "proxy")) {
		close(4); /* the same pipe */
		return proxy_main(argv[3], 3);
	}
	if (argc == 4 && !strcmp(argv[2], "may-start"))
		return may_start_main(argv[3], 3);
	if (argc == 4 && !strcmp(argv[2], "look"))
		return look_main(argv[3], 3);
	if (argc == 4 && (!strcmp(argv[2], "ready") || !strcmp(argv[2], "ready-fence")))
		return ready_look_main(argv[3], strcmp(argv[2], "ready") != 0, 3);
	fputs(usage, stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check", no_argument, NULL, 'k'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	const char *config = "/etc/twinvm/twinvmd.conf";
	bool check = false;
	int c;

	if (argc > 1 && !strcmp(argv[1], "replicate"))
		return replicate(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "hook"))
		return hook_main(argc - 1, argv + 1);
	if (argc == 3 && !strcmp(argv[1], "watch")) {
		signal(SIGPIPE, SIG_IGN);
		close(4); /* the same socket */
		return watch_main(argv[2], 3);
	}
	if (argc == 3 && !strcmp(argv[1], "pass")) {
		close(4); /* the same socket */
		return watch_command_main(argv[2], 3);
	}
	if (argc == 4 && !strcmp(argv[1], "pinger")) {
		close(4); /* the same socket */
		return pinger_main(argv[2], argv[3], 3);
	}
	if (argc == 3 && !strcmp(argv[1], "web")) {
		close(4); /* the same socket */
		return web_main(argv[2], 3);
	}
	if (argc == 4 && !strcmp(argv[1], "cluster")) {
		close(4); /* the same text */
		return roster_main(argv[2], argv[3], 3);
	}
	if (argc == 2 && !strcmp(argv[1], "keeper"))
		return kp_main(3, 4, "");
	if (argc == 2 && !strcmp(argv[1], "clones")) {
		close(4); /* the same socket */
		return clone_maker_main(3);
	}
	if (argc == 3 && !strcmp(argv[1], "hardware")) {
		close(4); /* the same socket */
		return hardware_main(argv[2], 3);
	}
	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c == 'c') {
			config = optarg;
		} else if (c == 'k') {
			check = true;
		} else {
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	return check ? reload_check_main(config) : daemon_main(config);
}
