/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster: what its commands have to do with the configuration and with twinvmd. */
#include "cli/cluster.h"

int cluster_config(struct cli *c, const struct cluster_options *o, struct config *conf)
{
	struct tv_err e = {0};

	if (config_load(o->config, conf, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (!conf->cluster[0])
		return cli_fail(c, EXIT_FAILED,
				"%s has no line 'cluster = FOLDER': this host's keys are not those "
				"of 'twinvm cluster'",
				o->config);
	return EXIT_OK;
}

void cluster_changed(struct cli *c)
{
	json_decref(cli_ask(c, json_pack("{ss}", "op", "cluster")));
}
