/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm-libvirt: what twinvm asks of libvirt, one subcommand each. Not for people. */
#include "lv/lv_int.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct subcommand {
	const char *name, *args, *what;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{"qmp", "UUID PID", "a running domain's QMP on descriptor 3", lv_qmp_main},
	{"xml", "UUID PID", "a running domain as JSON: its name, UUID, XML and stored XML",
	 lv_xml_main},
	{"owner", "", "user and group of libvirt's QEMUs, as JSON", lv_owner_main},
	{"standby", "<JSON", "defines and starts a standby", lv_standby_main},
	{"end", "NOTE NONCE S", "ends one, and tries for so long", lv_end_main},
};

static void usage(FILE *to)
{
	fprintf(to,
		"usage: " LV_PROGRAM " SUBCOMMAND [ARGUMENT]...\n"
		"What twinvmd asks of libvirt; twinvmd starts it, and nobody else needs to.\n\n");
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(*subcommands); i++)
		fprintf(to, "  %-8s %-12s %s\n", subcommands[i].name, subcommands[i].args,
			subcommands[i].what);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	tv_log_init(LV_PROGRAM);
	if (argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
		usage(stdout);
		return LV_EXIT_OK;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(subcommands) / sizeof(*subcommands); i++)
		if (!strcmp(argv[1], subcommands[i].name))
			return subcommands[i].run(argc - 1, argv + 1);
	usage(stderr);
	return LV_EXIT_USAGE;
}
