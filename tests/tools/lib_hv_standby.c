/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/tools/lib_hv_standby.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

struct hv_sbed sbed;
static pid_t owner;

static void end(void)
{
	if (getpid() != owner)
		return; /* our child, which failed */
	if (sbed.standby.pid)
		hv_standby_reap(sbed.standby.pid, sbed.standby.start_ticks, sbed.run_dir);
	bed_remove_dir(sbed.run_dir);
}

void sbed_start(const char *program, char **args, int n)
{
	owner = getpid();
	bed_init(program);
	snprintf(sbed.run_dir, sizeof(sbed.run_dir), "%s/run", bed.dir);
	MUST(!tv_mkdirs(sbed.run_dir), "%s", sbed.run_dir);
	atexit(end);
	bed_start(args, n, NULL);
}

json_t *sbed_describe(void)
{
	struct hv_opts opts = {0};
	struct hv_vm *vm = bed_attach(&opts);
	json_t *desc = bed_describe(vm);

	hv_detach(vm);
	return desc;
}

struct hv_host *sbed_host(void)
{
	static struct hv_host *host;
	struct hv_host_conf conf = {.dir = sbed.run_dir,
				    .bridge = sbed.bridge,
				    .tap_prefix = "tvt",
				    .user = "twinvm-vm"};
	struct tv_err e = {0};
	int rc;

	hv_host_free(host); /* of the standby before */
	rc = hv_host_new(&conf, &host, &e);
	MUST(!rc, "%s", e.text);
	return host;
}

struct hv_standby *sbed_standby(json_t *desc)
{
	struct hv_standby_conf conf = {.host = &hv_host_ops,
				       .host_arg = sbed_host(),
				       .dir = sbed.run_dir,
				       .bridge = sbed.bridge,
				       .vm_id = "0123-4567",
				       .media = "/",
				       .qemu_path = getenv("PATH")};
	struct tv_err e = {0};
	struct hv_standby *sb;
	int rc = hv_standby_start(desc, &conf, &sb, &e);

	MUST(!rc, "%s", e.text);
	hv_standby_id(sb, &sbed.standby);
	return sb;
}

unsigned sbed_files_left(void)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir(sbed.run_dir);

	MUST(d, "%s", sbed.run_dir);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.') {
			n++;
			fprintf(stderr, "left: %s\n", de->d_name);
		}
	closedir(d);
	return n;
}
