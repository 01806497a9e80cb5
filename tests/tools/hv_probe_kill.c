/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dying while attached to a real QEMU, started here:
 *
 *   hv_probe_kill [-2] [-3] [-b] [-N] KILLS QEMU ARGS...
 *
 * That often a process that attaches, runs epochs and detaches in a loop gets SIGKILL at any
 * moment; after hv_cleanup the VM must be whole, and nothing left behind. -2: two-step harvest; -b:
 * a BIOS that never stops to write; -N: with its network output held.
 */
#include "tests/tools/lib_hv_bed.h"
#include "tests/tools/lib_hv_shadow.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void __attribute__((noreturn)) attach_for_ever(const struct hv_opts *opts, bool net)
{
	struct hv_net_port ports[HV_MAX_NICS];
	struct tv_err e = {0};
	size_t bytes;
	unsigned n = 0;
	int rc;

	for (;;) {
		struct hv_vm *vm = bed_attach(opts);

		if (net) {
			rc = hv_net_hold(vm, ports, &n, &e);
			MUST(!rc, "%s", e.text);
		}
		for (int i = 0; i < 4; i++) {
			struct hv_cursor c = {0};

			/* Every fourth one leaves it stopped for a moment. */
			rc = hv_epoch_begin(vm, i == 3, BED_MS);
			MUST(!rc, "pause: %s", tv_strerror(rc));
			bed_begin_round(vm);
			rc = hv_harvest(vm, &c, shadow_runs, SHADOW_RUNS, 1 << 20);
			MUST(rc >= 0, "harvest: %s", tv_strerror(rc));
			rc = hv_epoch_end(vm, BED_MS, &bytes);
			MUST(!rc, "state: %s", tv_strerror(rc));
			rc = hv_resume(vm, BED_MS);
			MUST(!rc, "resume: %s", tv_strerror(rc));
		}
		if (net) {
			rc = hv_net_unhold(vm, &e);
			MUST(!rc, "%s", e.text);
		}
		for (unsigned i = 0; i < n; i++) {
			close(ports[i].capture_fd);
			close(ports[i].inject_fd);
		}
		hv_detach(vm);
	}
}

/* Kills a process that attaches and detaches, at any moment; the VM must come out of it whole. */
static void check_kills(const struct hv_opts *opts, int kills, bool net, const char *before)
{
	struct tv_err e = {0};
	struct hv_vm_id id = {.pid = bed.pid, .start_ticks = tv_pid_start_ticks(bed.pid)};
	volatile uint32_t *stopped = opts->stopped; /* by whoever was killed */
	int status;

	snprintf(id.qmp_path, sizeof(id.qmp_path), "%s", bed.qmp_path);
	srand(1);
	for (int i = 0; i < kills; i++) {
		pid_t kid = fork();

		if (kid == 0)
			attach_for_ever(opts, net);
		poll(NULL, 0, rand() % 60);
		MUST(!waitpid(kid, &status, WNOHANG), "it ended by itself: %d", status);
		kill(kid, SIGKILL);
		waitpid(kid, NULL, 0);
		MUST(!hv_cleanup(&id, stopped, &e), "kill %d: %s", i, e.text);
		MUST(hv_vm_runs(&id, &e) == 1, "kill %d: it does not run: %s", i, e.text);
		if (i % 10 == 9 || i == kills - 1)
			bed_must_be_same(before, "a kill");
	}
	printf("%d kills survived\n", kills);
}

int main(int argc, char **argv)
{
	const char *more[] = {"-display", "none", NULL, NULL, NULL};
	struct hv_opts opts = {0};
	bool net = false, bios = false;
	char *before;
	int o;

	while ((o = getopt(argc, argv, "+23bN")) != -1) {
		opts.two_step = opts.two_step || o == '2';
		opts.three_commands = opts.three_commands || o == '3';
		bios = bios || o == 'b';
		net = net || o == 'N';
	}
	MUST(optind + 1 < argc, "usage: %s [-2] [-3] [-b] [-N] KILLS QEMU ARGS...", argv[0]);
	opts.stopped = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	MUST(opts.stopped != MAP_FAILED, "%s", strerror(errno));
	tv_log_init("hv_probe_kill");
	bed_init("hv_probe_kill");
	if (bios) {
		more[2] = "-bios";
		more[3] = bed_write_bios();
	}
	bed_start(argv + optind + 1, argc - optind - 1, more);
	/* QEMU keeps the file of a state that it could not write (docs/QEMU-BUGS.md). */
	bed.deaths = !opts.three_commands;
	before = bed_traces();
	check_kills(&opts, atoi(argv[optind]), net, before);
	free(before);
	printf("ok\n");
	return 0;
}
