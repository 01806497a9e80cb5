/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby of a real QEMU, started here:
 *
 *   hv_standby_vm promote [-s SERIAL] [-b BRIDGE] [-r 2] [-l] QEMU ARGS...
 *       protects a VM, promotes its standby, and sees that memory was the same and the VM goes on.
 *       SERIAL: the file that -serial file: names; its last "tick n" must grow after promotion.
 *       -r 2: then the promoted VM is protected and promoted in the same way.
 *       -l: with a state longer than any socket's buffer.
 *   hv_standby_vm refuse QEMU ARGS...     what must not start, does not, and says why
 *   hv_standby_vm reap QEMU ARGS...       the owner is killed; nothing is left behind
 *
 * Exits 0 when everything was as hv.h says; the first thing that was not, is said on stderr.
 */
#include "hv/hv_standby.h"
#include "hv/qemu/qmp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 20000
#define MAX_RUNS 4096
#define STAGE_BYTES (4u << 20)

static char dir[64], run_dir[96], qmp_path[96];
static pid_t qemu_pid;
static const char *bridge;
static struct hv_vm_id standby; /* the one started last, to be ended whatever happens */
static struct hv_vm_id old;	/* -r 2: the first standby, which became the primary */
static char old_dir[96];
static bool long_state;

static void kill_primary(void)
{
	if (qemu_pid > 0) {
		kill(qemu_pid, SIGKILL);
		while (waitpid(qemu_pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	qemu_pid = 0;
}

static void clean_up(void)
{
	kill_primary();
	if (standby.pid)
		hv_standby_reap(standby.pid, standby.start_ticks, run_dir);
	unlink(qmp_path);
	rmdir(run_dir);
	rmdir(dir);
}

#define MUST(cond, ...)                                                                   \
	do {                                                                              \
		if (!(cond)) {                                                            \
			fprintf(stderr, "FAILED %s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__);                                     \
			fputc('\n', stderr);                                              \
			exit(1);                                                          \
		}                                                                         \
	} while (0)

/* ---- the primary ---- */
static void start_primary(char **args, int n)
{
	static char *argv[64];
	static char qmp_opt[160], name[64];
	int k = 0;

	snprintf(dir, sizeof(dir), "/tmp/hv_standby_vm.XXXXXX");
	MUST(mkdtemp(dir), "%s", strerror(errno));
	snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	MUST(!tv_mkdirs(run_dir), "%s", run_dir);
	snprintf(qmp_path, sizeof(qmp_path), "%s/qmp", dir);
	snprintf(qmp_opt, sizeof(qmp_opt), "unix:%s,server=on,wait=off", qmp_path);
	snprintf(name, sizeof(name), "standby-test-%d", getpid());
	MUST(n < 50, "too many arguments");
	for (int i = 0; i < n; i++)
		argv[k++] = args[i];
	char *more[] = {"-name", name, "-qmp", qmp_opt, NULL};
	for (int i = 0; more[i]; i++)
		argv[k++] = more[i];
	atexit(clean_up);
	qemu_pid = fork();
	if (qemu_pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 0);
		dup2(null, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	for (int i = 0; access(qmp_path, F_OK); i++) {
		MUST(i < 2000 && !waitpid(qemu_pid, NULL, WNOHANG), "QEMU did not start");
		poll(NULL, 0, 10);
	}
}

static struct hv_vm *attach(void)
{
	struct hv_opts opts = {0};
	struct hv_refusals why;
	struct tv_err e = {0};
	struct hv_vm_id id;
	struct hv_vm *vm;
	char pid[32];
	int rc;

	snprintf(pid, sizeof(pid), "%d", qemu_pid);
	rc = hv_find(pid, NULL, NULL, &id, &e);
	MUST(!rc, "%s", e.text);
	rc = hv_attach(&id, &opts, &vm, &why, &e);
	for (unsigned i = 0; rc == TV_E_REFUSED && i < why.n; i++)
		fprintf(stderr, "refused: %s\n", why.text[i]);
	MUST(!rc, "%s", e.text);
	return vm;
}

static json_t *describe(struct hv_vm *vm)
{
	struct tv_err e = {0};
	json_t *d = hv_describe(vm, &e);

	MUST(d, "%s", e.text);
	return d;
}

static struct hv_standby *start_standby(json_t *desc)
{
	struct hv_standby_conf conf = {
		.dir = run_dir, .bridge = bridge, .tap_prefix = "tvt", .vm_id = "0123-4567"};
	struct tv_err e = {0};
	struct hv_standby *sb;
	int rc = hv_standby_start(desc, &conf, &sb, &e);

	MUST(!rc, "%s", e.text);
	hv_standby_id(sb, &standby);
	return sb;
}

/* ---- memory ---- */
static struct hv_run runs[MAX_RUNS];
static uint8_t stage[STAGE_BYTES];

/* Where tracking needs a pause for it, the VM gets one unless it is paused already. */
static void begin_round(struct hv_vm *vm)
{
	int rc = hv_round_begin(vm);

	if (rc == -EBUSY && hv_round_needs_pause(vm)) {
		rc = hv_pause(vm, MS);
		MUST(!rc, "pause: %s", tv_strerror(rc));
		rc = hv_round_begin(vm);
		MUST(!rc, "beginning a round: %s", tv_strerror(rc));
		rc = hv_resume(vm, MS);
	}
	MUST(!rc, "beginning a round: %s", tv_strerror(rc));
}

static uint64_t copy_dirty(struct hv_vm *vm, struct hv_standby *sb)
{
	struct hv_cursor c = {0};
	uint64_t pages = 0;

	begin_round(vm);
	while (!c.done) {
		int n = hv_harvest(vm, &c, runs, MAX_RUNS, STAGE_BYTES / TV_PAGE_BYTES);
		uint8_t *p = stage;

		MUST(n >= 0, "%s", tv_strerror(n));
		MUST(!hv_copy(vm, runs, (unsigned)n, stage), "copy");
		for (int i = 0; i < n; i++) {
			size_t bytes = (size_t)runs[i].pages * TV_PAGE_BYTES;
			int rc = hv_standby_write(sb, runs[i].block, runs[i].offset, p, bytes);

			MUST(!rc, "write block %u offset 0x%" PRIx64 ": %s", runs[i].block,
			     runs[i].offset, tv_strerror(rc));
			p += bytes;
			pages += runs[i].pages;
		}
	}
	return pages;
}

static void must_equal(struct hv_vm *vm, struct hv_standby *sb)
{
	static uint8_t a[1 << 20], b[1 << 20];
	unsigned n;
	const struct hv_block *bl = hv_blocks(vm, &n);

	MUST(n == hv_standby_blocks(sb), "%u and %u blocks", n, hv_standby_blocks(sb));
	for (unsigned i = 0; i < n; i++) {
		MUST(bl[i].bytes == hv_standby_block_bytes(sb, i), "%s", bl[i].name);
		MUST(!hv_standby_map(sb, i) == !bl[i].main_ram, "%s", bl[i].name);
		for (uint64_t at = 0; at < bl[i].bytes; at += sizeof(a)) {
			size_t m = bl[i].bytes - at < sizeof(a) ? bl[i].bytes - at : sizeof(a);
			struct iovec l = {a, m}, r = {(void *)(bl[i].host.v + at), m};

			MUST(process_vm_readv(qemu_pid, &l, 1, &r, 1, 0) == (ssize_t)m, "read");
			MUST(!hv_standby_read(sb, i, at, b, m), "read");
			for (size_t k = 0; k < m; k += TV_PAGE_BYTES)
				MUST(!memcmp(a + k, b + k, TV_PAGE_BYTES),
				     "%s differs at 0x%" PRIx64, bl[i].name, at + k);
		}
	}
}

static void check_bounds(struct hv_standby *sb)
{
	unsigned n = hv_standby_blocks(sb);
	uint8_t byte;

	for (unsigned i = 0; i < n; i++) {
		uint64_t bytes = hv_standby_block_bytes(sb, i);

		MUST(hv_standby_read(sb, i, bytes - 1, &byte, 1) == 0, "last byte of %u", i);
		MUST(hv_standby_write(sb, i, bytes - 1, &byte, 1) == 0, "last byte of %u", i);
		MUST(hv_standby_read(sb, i, bytes, &byte, 0) == 0, "nothing, at the end");
		MUST(hv_standby_write(sb, i, bytes, &byte, 1) == -ERANGE, "past the end");
		MUST(hv_standby_write(sb, i, bytes - 1, &byte, 2) == -ERANGE, "over the end");
		MUST(hv_standby_read(sb, i, UINT64_MAX, &byte, 2) == -ERANGE, "overflow");
		MUST(hv_standby_read(sb, i, 1, &byte, SIZE_MAX) == -ERANGE, "overflow");
	}
	MUST(hv_standby_write(sb, n, 0, &byte, 1) == -ERANGE, "no such block");
	MUST(!hv_standby_map(sb, n), "no such block");
}

/* ---- network and serial ---- */
static bool tap_is_up(void)
{
	struct ifreq r = {.ifr_name = "tvt0"};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	MUST(!ioctl(s, SIOCGIFFLAGS, &r), "the standby has no tap: %s", strerror(errno));
	close(s);
	return r.ifr_flags & IFF_UP;
}

/* Joining it again fails with EBUSY exactly when it is in a bridge. */
static bool tap_in_bridge(void)
{
	struct ifreq r = {.ifr_ifindex = (int)if_nametoindex("tvt0")};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	snprintf(r.ifr_name, IFNAMSIZ, "%s", bridge);
	rc = ioctl(s, SIOCBRADDIF, &r) ? errno : 0;
	close(s);
	return rc == EBUSY;
}

/* The last number after "tick " in a file, -1 when there is none. */
static long last_tick(const char *path)
{
	TV_FREE char *text = NULL;
	long tick = -1;

	if (tv_read_file(path, 4u << 20, &text, NULL))
		return -1;
	for (char *p = text; (p = strstr(p, "\ntick ")); p += 6)
		tick = strtol(p + 6, NULL, 10);
	return tick;
}

static long wait_tick(const char *path, long above)
{
	for (int i = 0; i < 24000; i++) {
		long t = last_tick(path);

		if (t > above)
			return t;
		poll(NULL, 0, 10);
	}
	MUST(false, "no tick above %ld in %s", above, path);
	return -1;
}

/* ---- promote ---- */
static void must_run(const struct hv_vm_id *id)
{
	struct tv_err e = {0};
	struct hv_qmp *q;
	json_t *ret;

	MUST(tv_pid_start_ticks(id->pid) == id->start_ticks, "it has ended");
	MUST(!hv_qmp_open(id->qmp_path, MS, &q, &e), "%s", e.text);
	MUST(!hv_qmp_cmd(q, "query-status", NULL, &ret, MS, &e), "%s", e.text);
	MUST(json_is_true(json_object_get(ret, "running")), "it does not run");
	json_decref(ret);
	hv_qmp_close(q);
}

static void must_be_quiet(void)
{
	TV_FREE char *text = NULL;
	char path[160];

	snprintf(path, sizeof(path), "%s/standby.log", run_dir);
	MUST(!tv_read_file(path, 1u << 20, &text, NULL), "%s", path);
	if (*text)
		printf("  QEMU said: %s", text);
}

/* So much more than any socket takes at once: QEMU stops reading at the stream's end. */
#define TRAILER_BYTES (8u << 20)

static void *take_state(struct hv_vm *vm, struct hv_standby *sb, size_t *bytes)
{
	void *state;

	MUST(!hv_pause(vm, MS), "pause");
	MUST(!hv_state_begin(vm), "state");
	copy_dirty(vm, sb);
	MUST(!hv_state_end(vm, MS, bytes), "state");
	state = calloc(1, *bytes + TRAILER_BYTES);
	MUST(state && !hv_state_read(vm, state, *bytes), "state");
	return state;
}

static unsigned files_left(void)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir(run_dir);

	MUST(d, "%s", run_dir);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.') {
			n++;
			fprintf(stderr, "left: %s\n", de->d_name);
		}
	closedir(d);
	return n;
}

static const char *local_serial(const char *serial)
{
	static char path[256];
	const char *base = serial ? strrchr(serial, '/') : NULL;

	snprintf(path, sizeof(path), "%s/%s", run_dir, base ? base + 1 : serial ? serial : "");
	return path;
}

/* The VM moves into its standby. Returns how long the promotion took. */
static double promote_once(const char *serial, json_t **desc, struct hv_vm_id *id)
{
	struct hv_vm *vm = attach();
	struct hv_standby *sb;
	struct tv_err e = {0};
	int64_t t0, t1, t2;
	size_t bytes;
	void *state;
	long tick = serial ? wait_tick(serial, 2) : 0;
	int rc;

	*desc = describe(vm);
	t0 = tv_now_ns();
	sb = start_standby(*desc);
	t1 = tv_now_ns();
	check_bounds(sb);
	MUST(!bridge || !tap_is_up(), "the tap is up before promotion");
	for (int i = 0; i < 3; i++)
		copy_dirty(vm, sb);
	state = take_state(vm, sb, &bytes);
	must_equal(vm, sb);
	if (serial)
		tick = last_tick(serial);
	hv_detach(vm); /* resumes it: what it does from now on is the discarded future */
	kill_primary();
	t2 = tv_now_ns();
	rc = hv_standby_promote(sb, state, bytes + (long_state ? TRAILER_BYTES : 0), MS, &e);
	t2 = tv_now_ns() - t2;
	MUST(!rc, "%s", e.text);
	MUST(!bridge || (tap_is_up() && tap_in_bridge()), "the tap is not in the bridge");
	hv_standby_id(sb, id);
	MUST(id->pid == hv_standby_pid(sb), "pid");
	hv_standby_release(sb);
	must_run(id);
	must_be_quiet();
	if (serial)
		printf("  ticks: %ld, after promotion %ld\n", tick,
		       wait_tick(local_serial(serial), tick));
	printf("  start %.0f ms, state %zu bytes, promote %.1f ms\n", (double)(t1 - t0) / 1e6,
	       bytes, (double)t2 / 1e6);
	free(state);
	return (double)t2 / 1e6;
}

/* The promoted VM becomes the primary, with a standby of its own. */
static const char *next_round(const char *serial)
{
	static char path[256];

	if (serial)
		snprintf(path, sizeof(path), "%s", local_serial(serial));
	strcpy(old_dir, run_dir);
	old = standby;
	qemu_pid = standby.pid;
	standby.pid = 0;
	snprintf(run_dir, sizeof(run_dir), "%s/run2", dir);
	MUST(!tv_mkdirs(run_dir), "%s", run_dir);
	return serial ? path : NULL;
}

static int promote(char **args, int n, const char *serial, int rounds)
{
	struct hv_vm_id id;
	json_t *desc;

	start_primary(args, n);
	promote_once(serial, &desc, &id);
	json_decref(desc);
	if (rounds > 1) {
		serial = next_round(serial);
		promote_once(serial, &desc, &id);
		json_decref(desc);
		hv_standby_reap(old.pid, old.start_ticks, old_dir);
		rmdir(old_dir);
	}
	hv_standby_reap(id.pid, id.start_ticks, run_dir);
	MUST(files_left() == 0, "files are left");
	puts("ok");
	return 0;
}

/* ---- refusals ---- */
static void must_refuse(json_t *desc, const char *key, json_t *value, int want, const char *word)
{
	struct hv_standby_conf conf = {.dir = run_dir, .vm_id = "0123"};
	json_t *d = json_deep_copy(desc);
	struct hv_standby *sb = NULL;
	struct tv_err e = {0};
	int rc;

	json_object_set_new(d, key, value);
	rc = hv_standby_start(d, &conf, &sb, &e);
	printf("  %s\n", e.text);
	MUST(rc == want && !sb, "%d", rc);
	MUST(strstr(e.text, word), "no \"%s\"", word);
	json_decref(d);
}

static json_t *more_args(json_t *desc, const char *option, const char *arg)
{
	json_t *a = json_deep_copy(json_object_get(desc, "argv"));

	json_array_append_new(a, json_string(option));
	json_array_append_new(a, json_string(arg));
	return a;
}

static json_t *one_block_more(json_t *desc)
{
	json_t *b = json_deep_copy(json_object_get(desc, "blocks"));

	json_array_append_new(
		b, json_pack("{s:s, s:i, s:b}", "name", "dimm7", "bytes", 4096, "main", 0));
	return b;
}

static void refuse_bad_state(json_t *desc)
{
	struct hv_standby *sb = start_standby(desc);
	char junk[300000];
	struct tv_err e = {0};
	int rc;

	memset(junk, 7, sizeof(junk));
	rc = hv_standby_promote(sb, junk, sizeof(junk), MS, &e);
	printf("  %s\n", e.text);
	MUST(rc == TV_E_GONE && strstr(e.text, "migration"), "%d", rc);
	hv_standby_kill(sb);
	/* A QEMU that hangs: the time-out holds. */
	sb = start_standby(desc);
	kill(hv_standby_pid(sb), SIGSTOP);
	rc = hv_standby_promote(sb, junk, sizeof(junk), 300, &e);
	printf("  %s\n", e.text);
	MUST(rc == -ETIMEDOUT, "%d", rc);
	hv_standby_kill(sb);
	/* A state that does not end: QEMU waits for more, or says that it is broken; never for
	 * ever. */
	sb = start_standby(desc);
	rc = hv_standby_promote(sb, "QEVM\0\0\0\3\1", 9, 2000, &e);
	printf("  %s\n", e.text);
	MUST(rc < 0, "%d", rc);
	hv_standby_kill(sb);
	MUST(files_left() == 0, "files are left");
}

static int refuse(char **args, int n)
{
	struct hv_vm *vm;
	json_t *desc, *huge;
	char log[160];

	start_primary(args, n);
	vm = attach();
	desc = describe(vm);
	hv_detach(vm);
	must_refuse(desc, "machine", json_string("pc-q35-99.9"), -ENOTSUP, "pc-q35-99.9");
	must_refuse(desc, "version", json_string("99.1.0"), -ENOTSUP, "99.1.0");
	huge = json_deep_copy(desc);
	json_object_set_new(huge, "ram_bytes", json_integer(INT64_C(1) << 42));
	must_refuse(huge, "blocks",
		    json_pack("[{s:s, s:I, s:b}]", "name", "pc.ram", "bytes", (json_int_t)1 << 42,
			      "main", 1),
		    -ENOMEM, "MiB");
	json_decref(huge);
	huge = json_deep_copy(desc);
	json_object_set_new(huge, "argv", more_args(desc, "-cdrom", "/nowhere/x.iso"));
	must_refuse(huge, "files", json_pack("[s]", "/nowhere/x.iso"), -ENOTSUP, "/nowhere/x.iso");
	json_decref(huge);
	must_refuse(desc, "argv", json_pack("[s]", "/opt/qemu-system-none"), -ENOTSUP,
		    "not installed");
	must_refuse(desc, "kvm", json_true(), -ENOTSUP, "KVM");
	must_refuse(desc, "argv", more_args(desc, "-device", "no-such-device"), TV_E_GONE,
		    "no-such-device");
	must_refuse(desc, "blocks", one_block_more(desc), -ENOTSUP, "dimm7");
	must_refuse(desc, "argv", more_args(desc, "-device", "VGA,id=more,addr=9"), -ENOTSUP,
		    "vga.");
	/* standby.log stays after a failed start, and nothing else. */
	snprintf(log, sizeof(log), "%s/standby.log", run_dir);
	unlink(log);
	MUST(files_left() == 0, "files are left");
	refuse_bad_state(desc);
	json_decref(desc);
	puts("ok");
	return 0;
}

/* ---- the owner dies ---- */
static unsigned ram_files(void)
{
	struct dirent *de;
	unsigned n = 0;
	DIR *d = opendir("/dev/shm");

	while (d && (de = readdir(d)))
		n += !strncmp(de->d_name, "twinvm", 6);
	if (d)
		closedir(d);
	return n;
}

static int reap(char **args, int n)
{
	unsigned before = ram_files();
	struct hv_vm_id id;
	struct hv_vm *vm;
	json_t *desc;
	int fds[2];
	pid_t owner;

	start_primary(args, n);
	vm = attach();
	desc = describe(vm);
	hv_detach(vm);
	MUST(!pipe2(fds, O_CLOEXEC), "pipe");
	owner = fork();
	if (!owner) {
		struct hv_standby *sb = start_standby(desc);

		hv_standby_id(sb, &id);
		MUST(!tv_write_all(fds[1], &id, sizeof(id)), "pipe");
		for (;;)
			pause();
	}
	close(fds[1]);
	MUST(!tv_read_all(fds[0], &id, sizeof(id)), "no standby");
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	MUST(tv_pid_start_ticks(id.pid) == id.start_ticks, "the standby died with its owner");
	MUST(ram_files() == before, "a RAM file is left");
	hv_standby_reap(id.pid, id.start_ticks + 1, dir);
	MUST(tv_pid_start_ticks(id.pid) == id.start_ticks, "reaped by the wrong start time");
	int pidfd = (int)syscall(SYS_pidfd_open, id.pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	MUST(pidfd >= 0 && poll(&p, 1, 0) == 0, "it does not live");
	hv_standby_reap(id.pid, id.start_ticks, run_dir);
	MUST(poll(&p, 1, 0) == 1, "it was not reaped");
	close(pidfd);
	MUST(files_left() == 0, "files are left");
	hv_standby_reap(id.pid, id.start_ticks, run_dir); /* again: nothing to do */

	/* By its owner. */
	struct hv_standby *sb = start_standby(desc);
	pidfd = p.fd = dup(hv_standby_pidfd(sb));
	MUST(poll(&p, 1, 0) == 0, "it does not live");
	hv_standby_kill(sb);
	hv_standby_kill(NULL);
	MUST(poll(&p, 1, 0) == 1, "it was not killed");
	MUST(files_left() == 0, "files are left");
	json_decref(desc);
	puts("ok");
	return 0;
}

int main(int argc, char **argv)
{
	const char *serial = NULL, *mode = argc > 1 ? argv[1] : "";
	int c, rounds = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	optind = 2;
	while ((c = getopt(argc, argv, "+s:b:r:l")) != -1) {
		if (c == 's')
			serial = optarg;
		else if (c == 'b')
			bridge = optarg;
		else if (c == 'l')
			long_state = true;
		else if (c == 'r')
			rounds = atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc) {
		fprintf(stderr,
			"usage: %s promote|refuse|reap [-s SERIAL] [-b BRIDGE] [-r 2] [-l] QEMU "
			"ARGS...\n",
			argv[0]);
		return 2;
	}
	if (!strcmp(mode, "refuse"))
		return refuse(argv + optind, argc - optind);
	if (!strcmp(mode, "reap"))
		return reap(argv + optind, argc - optind);
	return promote(argv + optind, argc - optind, serial, rounds);
}
