/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/tools/lib_hv_bed.h"
#include "hv/qemu/qemu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 64

struct hv_bed bed;
static pid_t owner;

/* ---- QEMU ---- */
void bed_kill(void)
{
	if (bed.pid > 0) {
		kill(bed.pid, SIGKILL);
		while (waitpid(bed.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	bed.pid = 0;
}

void bed_remove_dir(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	char path[400];

	while (d && (de = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, de->d_name);
		if (de->d_name[0] != '.')
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static void end(void)
{
	if (getpid() != owner)
		return; /* our child, which failed */
	bed_kill();
	bed_remove_dir(bed.dir);
}

void bed_init(const char *program)
{
	owner = getpid();
	snprintf(bed.dir, sizeof(bed.dir), "/tmp/%s.XXXXXX", program);
	MUST(mkdtemp(bed.dir), "%s", strerror(errno));
	snprintf(bed.name, sizeof(bed.name), "%s-%d", program, (int)owner);
	snprintf(bed.qmp_path, sizeof(bed.qmp_path), "%s/qmp", bed.dir);
	atexit(end);
}

/* Real mode: for ever adds 1 to the first word of each page from 0x10000 to 0x90000. */
const char *bed_write_bios(void)
{
	static const uint8_t code[] = {
		0xbb, 0x00, 0x10,	/* start: mov bx, 0x1000 */
		0x8e, 0xdb,		/* loop: mov ds, bx */
		0xff, 0x06, 0x00, 0x00, /* inc word [0] */
		0x81, 0xc3, 0x00, 0x01, /* add bx, 0x100 */
		0x81, 0xfb, 0x00, 0x90, /* cmp bx, 0x9000 */
		0x72, 0xf0,		/* jb loop */
		0xeb, 0xeb,		/* jmp start */
	};
	static const uint8_t reset[] = {0xea, 0x00, 0x00, 0x00, 0xf0};
	static uint8_t rom[65536];
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/bios", bed.dir);
	f = fopen(path, "w");
	memcpy(rom, code, sizeof(code));
	memcpy(rom + 0xfff0, reset, sizeof(reset));
	MUST(f && fwrite(rom, sizeof(rom), 1, f) == 1 && !fclose(f), "%s", path);
	return path;
}

static void run(char **argv)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 0);
	dup2(null, 1);
	execvp(argv[0], argv);
	_exit(127);
}

/* The socket is there before QEMU listens on it, and listens before the machine is built. */
static void wait_for_qmp(void)
{
	int64_t until = tv_now_ns() + BED_MS * TV_NS_PER_MS;
	struct tv_err e = {0};
	struct hv_qmp *q;

	while (hv_qmp_open(bed.qmp_path, 0, BED_MS, &q, &e)) {
		MUST(tv_now_ns() < until && !waitpid(bed.pid, NULL, WNOHANG),
		     "QEMU did not start: %s", e.text);
		poll(NULL, 0, 10);
	}
	hv_qmp_close(q);
}

void bed_start(char **args, int n, const char *const *more)
{
	char *argv[MAX_ARGS + 1] = {NULL}, qmp_opt[160];
	char *ours[] = {"-name", bed.name, "-qmp", qmp_opt};
	int k = 0;

	snprintf(qmp_opt, sizeof(qmp_opt), "unix:%s,server=on,wait=off", bed.qmp_path);
	for (int i = 0; i < n && k < MAX_ARGS; i++)
		argv[k++] = args[i];
	for (int i = 0; more && more[i] && k < MAX_ARGS; i++)
		argv[k++] = (char *)more[i];
	for (int i = 0; i < 4 && k < MAX_ARGS; i++)
		argv[k++] = ours[i];
	MUST(k < MAX_ARGS, "too many arguments");
	bed.pid = fork();
	if (bed.pid == 0)
		run(argv);
	wait_for_qmp();
}

/* ---- the VM ---- */
struct hv_vm *bed_attach(const struct hv_opts *opts)
{
	struct hv_refusals why;
	struct tv_err e = {0};
	struct hv_vm_id id;
	struct hv_vm *vm;
	int rc;

	rc = hv_find(bed.name, "twinvm-vm", NULL, NULL, &id, &e);
	MUST(!rc, "%s", e.text);
	MUST(id.pid == bed.pid && !strcmp(id.qmp_path, bed.qmp_path), "%d %s", id.pid, id.qmp_path);
	rc = hv_attach(&id, opts, &vm, &why, &e);
	for (unsigned i = 0; rc == TV_E_REFUSED && i < why.n; i++)
		fprintf(stderr, "refused: %s\n", why.text[i]);
	MUST(!rc, "%s", e.text);
	return vm;
}

json_t *bed_describe(struct hv_vm *vm)
{
	struct tv_err e = {0};
	json_t *d = hv_describe(vm, &e);

	MUST(d, "%s", e.text);
	return d;
}

void bed_begin_round(struct hv_vm *vm)
{
	int rc = hv_round_begin(vm);

	if (rc == -EBUSY && hv_round_needs_pause(vm)) {
		rc = hv_pause(vm, BED_MS);
		MUST(!rc, "pause: %s", tv_strerror(rc));
		rc = hv_round_begin(vm);
		MUST(!rc, "beginning a round: %s", tv_strerror(rc));
		rc = hv_resume(vm, BED_MS);
	}
	MUST(!rc, "beginning a round: %s", tv_strerror(rc));
}
