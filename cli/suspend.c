/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

static int run(struct cli *c, const struct subcommand *cmd, bool suspend, int argc, char **argv)
{
	static const struct option options[] = {CLI_COMMON_OPTIONS, {NULL, 0, NULL, 0}};
	json_t *last;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		rc = cli_common_option(c, cmd, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind != argc - 1)
		return cli_usage(cmd);
	rc = cli_call(c, json_pack("{ss ss}", "op", cmd->name, "vm", argv[optind]), NULL, &last);
	if (!rc && c->json)
		cli_print(c, json_pack("{ss sb}", "vm", argv[optind], "suspended", suspend));
	else if (!rc && suspend)
		printf("%s is suspended; 'twinvm resume %s' lets it run\n", argv[optind],
		       argv[optind]);
	else if (!rc)
		printf("%s runs\n", argv[optind]);
	json_decref(last);
	return rc;
}

static int run_suspend(struct cli *c, int argc, char **argv)
{
	return run(c, &cmd_suspend, true, argc, argv);
}

static int run_resume(struct cli *c, int argc, char **argv)
{
	return run(c, &cmd_resume, false, argc, argv);
}

const struct subcommand cmd_suspend = {
	"suspend",
	"VM",
	"stop a VM until 'twinvm resume', also while it is protected",
	"On the host that runs the VM. The VM stops at once, between two epochs, and the command is\n"
	"never lost; a manager's own suspend (`virsh suspend`) is, when it comes while twinvm has the VM\n"
	"paused for an epoch. While the VM is protected, the answer comes when the backup has the VM as\n"
	"it stands: after a power cut or a failover it is still suspended there.\n"
	"Another monitor's `cont` (`virsh resume`) ends it: the last word counts.\n\n"
	"  VM      its name, id (from twinvm status), pid, or QMP socket; it need not be protected\n"
	"  --json  one JSON object on stdout\n",
	run_suspend,
};

const struct subcommand cmd_resume = {
	"resume",
	"VM",
	"let a VM run again",
	"On the host that runs the VM; after a failover, on the new one. Also of a VM that was stopped\n"
	"by another monitor. While the VM is protected, the answer comes when the backup has an epoch in\n"
	"which it runs.\n\n"
	"  VM      its name, id (from twinvm status), pid, or QMP socket; it need not be protected\n"
	"  --json  one JSON object on stdout\n",
	run_resume,
};
