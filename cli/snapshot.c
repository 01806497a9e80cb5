/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm snapshot: twinvmd has the sink hold an epoch still, and hands over the socket of that; here it
 * is read and becomes files, with the rights of who gave the command. They are written to a folder
 * beside DIR that is renamed when it is whole, and removed when it will not be.
 */
#include "cli/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FOR_S 3600
#define SHOW_NS (500 * TV_NS_PER_MS)

static volatile int stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

/* ---- progress, on stderr: stdout has the result ---- */
struct shown {
	int64_t at_ns;
	bool drawn;
};

static void show(void *arg, const char *part, uint64_t done, uint64_t all)
{
	struct shown *s = arg;
	int64_t now_ns = tv_now_ns();

	if (s->drawn && done < all && now_ns - s->at_ns < SHOW_NS)
		return;
	s->at_ns = now_ns;
	s->drawn = true;
	if (all)
		fprintf(stderr, "\r%s: %llu of %llu MiB \033[K", part,
			(unsigned long long)(done >> 20), (unsigned long long)(all >> 20));
	else
		fprintf(stderr, "\r%s \033[K", part);
}

static void show_copy(void *arg, uint64_t copied, uint64_t total)
{
	if (arg)
		show(arg, "holding the epoch still", copied, total);
}

/* ---- the folder ---- */

/* What would be found out only at the end. */
static int check_out(const char *out, struct tv_err *e)
{
	TV_FREE char *copy = strdup(out);
	char *slash = copy ? strrchr(copy, '/') : NULL;
	const char *parent = slash ? (slash == copy ? "/" : copy) : ".";

	if (slash)
		*slash = '\0';
	if (!access(out, F_OK))
		return tv_fail(e, -EEXIST, "%s exists already: give the name of a new folder", out);
	if (access(parent, W_OK | X_OK))
		return tv_fail(e, -errno, "%s: %s", parent, tv_strerror(-errno));
	return 0;
}

/* Memory that the still has, as it will be written; disks are not known before. */
static int check_room(const struct snapshot *n, struct tv_err *e)
{
	struct statvfs fs;
	struct stat st;
	uint64_t need, have;

	if (fstat(n->s.ram_fd, &st) || fstatvfs(n->dir, &fs))
		return 0;
	need = (uint64_t)st.st_blocks * 512 * (n->elf ? 2 : 1);
	have = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (have >= need)
		return 0;
	return tv_fail(e, -ENOSPC, "memory alone needs %llu MiB there, and %llu MiB are free",
		       (unsigned long long)(need >> 20), (unsigned long long)(have >> 20));
}

static void report(struct cli *c, const struct snapshot *n, const char *out)
{
	json_t *f;
	size_t i;

	if (c->json) {
		cli_print(c, json_pack("{ss ss sI sI sf sO}", "vm", n->s.name, "out", out, "epoch",
				       (json_int_t)n->s.epoch, "generation",
				       (json_int_t)n->s.generation, "committed", n->s.committed,
				       "files", n->files));
		return;
	}
	printf("epoch %llu of %s (generation %llu) is in %s:\n", (unsigned long long)n->s.epoch,
	       n->s.name, (unsigned long long)n->s.generation, out);
	json_array_foreach(n->files, i, f)
		printf("  %-14s %12lld bytes  %s\n", json_string_value(json_object_get(f, "name")),
		       (long long)json_integer_value(json_object_get(f, "bytes")),
		       json_string_value(json_object_get(f, "what")));
}

static int fill(struct snapshot *n, const char *tmp, const char *out, struct tv_err *e)
{
	int rc = check_room(n, e);

	if (!rc)
		rc = snapshot_write(n, e);
	if (!rc && rename(tmp, out))
		rc = tv_fail(e, -errno, "%s: %s", out, tv_strerror(-errno));
	if (!rc)
		rc = tv_sync_folder_of(out) ? tv_fail(e, -EIO, "%s: sync failed", out) : 0;
	return rc;
}

static int write_out(struct snapshot *n, const char *out, struct tv_err *e)
{
	const struct sigaction stop = {.sa_handler = on_signal}; /* no SA_RESTART: waitpid ends */
	char tmp[PATH_MAX];
	int rc;

	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", out) >= (int)sizeof(tmp))
		return tv_fail(e, -ENAMETOOLONG, "%s: the name is too long", out);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGHUP, &stop, NULL);
	if (!mkdtemp(tmp))
		return tv_fail(e, -errno, "%s: %s", tmp, tv_strerror(-errno));
	n->dir = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = n->dir < 0 ? tv_fail(e, -errno, "%s: %s", tmp, tv_strerror(-errno))
			: fill(n, tmp, out, e);
	if (rc && n->dir >= 0)
		snapshot_remove_files(n->dir);
	if (rc)
		rmdir(tmp);
	tv_close_fd(&n->dir);
	return rc;
}

/* What is written here is in no hurry; the standby beside it, and the VM's epochs, are. */
static void give_way(void)
{
	(void)!nice(10);
	syscall(SYS_ioprio_set, 1, 0, 3 << 13); /* this process, the class idle */
}

static int take(struct cli *c, const char *vm, const char *out, bool elf)
{
	struct shown shown = {0};
	struct snapshot n = {.dir = -1, .elf = elf, .stop = &stopped};
	struct tv_err e = {0};
	int fd, status, rc;

	if (isatty(STDERR_FILENO)) {
		n.show = show;
		n.arg = &shown;
	}
	status = cli_call_fd(c, json_pack("{ss ss si}", "op", "freeze", "vm", vm, "for_s", FOR_S),
			     &fd);
	if (status)
		return status;
	rc = still_receive(fd, show_copy, n.arg, &n.s, &e);
	if (!rc) {
		n.files = json_array();
		give_way();
		rc = write_out(&n, out, &e);
		still_close(&n.s);
	}
	if (shown.drawn)
		fputs("\r\033[K", stderr);
	if (!rc)
		report(c, &n, out);
	json_decref(n.files);
	if (rc && stopped)
		return cli_fail(c, EXIT_FAILED, "it was stopped; nothing is left");
	return rc ? cli_fail(c, EXIT_FAILED, "%s", e.text) : EXIT_OK;
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"out", required_argument, NULL, 'o'},
						{"elf", no_argument, NULL, 'e'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	TV_FREE char *out = NULL;
	struct tv_err e = {0};
	bool elf = false;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
		if (opt == 'o') {
			free(out);
			out = strdup(optarg);
			continue;
		}
		if (opt == 'e') {
			elf = true;
			continue;
		}
		rc = cli_common_option(c, &cmd_snapshot, opt);
		if (rc >= 0)
			return rc;
	}
	while (out && out[0] && out[1] && out[strlen(out) - 1] == '/')
		out[strlen(out) - 1] = '\0';
	if (optind != argc - 1 || !out || !*out)
		return cli_usage(&cmd_snapshot);
	if (check_out(out, &e))
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	if (!snapshot_has_qemu_img())
		return cli_fail(c, EXIT_FAILED, "qemu-img is missing here (package qemu-utils)");
	return take(c, argv[optind], out, elf);
}

const struct subcommand cmd_snapshot = {
	"snapshot",
	"VM --out DIR [--elf]",
	"the last committed epoch as files",
	"Writes memory, device state and disks of the last committed epoch into a new folder, while the VM\n"
	"runs and is protected. On the backup's host. docs/REHEARSAL.md describes the files, and how a QEMU is\n"
	"started from them.\n\n"
	"  VM         its name, or id (from twinvm status)\n"
	"  --out DIR  a new folder, which is there only when it is whole\n"
	"  --elf      also an ELF core of main memory, for gdb, crash and the like\n"
	"  --json     one JSON object on stdout\n",
	run,
};
