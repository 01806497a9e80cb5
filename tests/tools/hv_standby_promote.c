/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv_standby_promote [-s SERIAL] [-b BRIDGE] [-r 2] [-l] [-p LINE]... QEMU ARGS...
 *
 * Protects a VM that is started here, promotes its standby, and sees that memory was the same and
 * that the VM runs where it was.
 *   -s SERIAL  the file that -serial file: names; its last "tick n" must grow after promotion
 *   -r 2       then the promoted VM is protected and promoted in the same way
 *   -l         with a state longer than any socket's buffer
 *   -p LINE    a line for the monitor (device_add, device_del, ...) before it is protected; what QEMU
 *              prints in answer is a failure
 * Exit status 0: everything was as hv_standby.h says; else the first failure is on stderr.
 */
#include "tests/tools/lib_hv_standby.h"
#include "hv/qemu/qemu.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_RUNS 4096
#define STAGE_BYTES (4u << 20)

static struct hv_vm_id old; /* -r 2: the first standby, which became the primary */
static char old_dir[96];
static bool long_state;
static const char *plugs[64];
static unsigned n_plugs;

/* ---- what is plugged while it runs ---- */
static void plug(void)
{
	struct tv_err e = {0};
	struct hv_qmp *q;

	if (!n_plugs)
		return;
	MUST(!hv_qmp_open(bed.qmp_path, 0, BED_MS, &q, &e), "%s", e.text);
	for (unsigned i = 0; i < n_plugs; i++) {
		TV_FREE char *text = NULL;

		MUST(!hv_qmp_hmp(q, plugs[i], &text, BED_MS, &e), "%s", e.text);
		MUST(!strcmp(text, "") || !strncmp(text, "OK", 2), "%s: %s", plugs[i], text);
	}
	hv_qmp_close(q);
}

/* ---- memory ---- */
static struct hv_run runs[MAX_RUNS];
static uint8_t stage[STAGE_BYTES];

static uint64_t copy_dirty(struct hv_vm *vm, struct hv_standby *sb)
{
	struct hv_cursor c = {0};
	uint64_t pages = 0;

	bed_begin_round(vm);
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

			MUST(process_vm_readv(bed.pid, &l, 1, &r, 1, 0) == (ssize_t)m, "read");
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

/* Joining it again fails with EBUSY exactly when it is in a sbed.bridge. */
static bool tap_in_bridge(void)
{
	struct ifreq r = {.ifr_ifindex = (int)if_nametoindex("tvt0")};
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	snprintf(r.ifr_name, IFNAMSIZ, "%s", sbed.bridge);
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
	MUST(!hv_qmp_open(id->qmp_path, 0, BED_MS, &q, &e), "%s", e.text);
	MUST(!hv_qmp_cmd(q, "query-status", NULL, &ret, BED_MS, &e), "%s", e.text);
	MUST(json_is_true(json_object_get(ret, "running")), "it does not run");
	json_decref(ret);
	hv_qmp_close(q);
}

static void must_be_quiet(void)
{
	TV_FREE char *text = NULL;
	char path[160];

	snprintf(path, sizeof(path), "%s/standby.log", sbed.run_dir);
	MUST(!tv_read_file(path, 1u << 20, &text, NULL), "%s", path);
	if (*text)
		printf("  QEMU printed: %s", text);
}

/* So much more than any socket takes at once: QEMU stops reading at the stream's end. */
#define TRAILER_BYTES (8u << 20)

static void *take_state(struct hv_vm *vm, struct hv_standby *sb, size_t *bytes)
{
	void *state;

	MUST(!hv_epoch_begin(vm, true, BED_MS), "pause");
	copy_dirty(vm, sb);
	MUST(!hv_epoch_end(vm, BED_MS, bytes), "state");
	state = calloc(1, *bytes + TRAILER_BYTES);
	MUST(state && !hv_state_read(vm, state, *bytes), "state");
	return state;
}

static const char *local_serial(const char *serial)
{
	static char path[256];
	const char *base = serial ? strrchr(serial, '/') : NULL;

	snprintf(path, sizeof(path), "%s/vm/%s", sbed.run_dir,
		 base	  ? base + 1
		 : serial ? serial
			  : "");
	return path;
}

/* The VM moves into its standby. Returns how long the promotion took. */
static double promote_once(const char *serial, json_t **desc, struct hv_vm_id *id)
{
	struct hv_opts opts = {0};
	struct hv_vm *vm = bed_attach(&opts);
	struct hv_standby *sb;
	struct tv_err e = {0};
	int64_t t0, t1, t2;
	size_t bytes;
	void *state;
	long tick = serial ? wait_tick(serial, 2) : 0;
	int rc;

	*desc = bed_describe(vm);
	t0 = tv_now_ns();
	sb = sbed_standby(*desc);
	t1 = tv_now_ns();
	check_bounds(sb);
	MUST(!sbed.bridge || !tap_is_up(), "the tap is up before promotion");
	for (int i = 0; i < 3; i++)
		copy_dirty(vm, sb);
	state = take_state(vm, sb, &bytes);
	must_equal(vm, sb);
	rc = hv_standby_check_state(sb, state, bytes, &e);
	MUST(!rc, "%s", e.text);
	if (serial)
		tick = last_tick(serial);
	hv_detach(vm); /* resumes it: what it does from now on is the discarded future */
	bed_kill();
	t2 = tv_now_ns();
	rc = hv_standby_promote(sb, state, bytes + (long_state ? TRAILER_BYTES : 0), BED_MS, &e);
	t2 = tv_now_ns() - t2;
	MUST(!rc, "%s", e.text);
	MUST(!sbed.bridge || (tap_is_up() && tap_in_bridge()), "the tap is not in the bridge");
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
	strcpy(old_dir, sbed.run_dir);
	old = sbed.standby;
	bed.pid = sbed.standby.pid;
	snprintf(bed.qmp_path, sizeof(bed.qmp_path), "%s", sbed.standby.qmp_path);
	sbed.standby.pid = 0;
	snprintf(sbed.run_dir, sizeof(sbed.run_dir), "%s/run2", bed.dir);
	MUST(!tv_mkdirs(sbed.run_dir), "%s", sbed.run_dir);
	return serial ? path : NULL;
}

static int promote(char **args, int n, const char *serial, int rounds)
{
	struct hv_vm_id id;
	json_t *desc;

	sbed_start("hv_standby_promote", args, n);
	plug();
	promote_once(serial, &desc, &id);
	json_decref(desc);
	if (rounds > 1) {
		serial = next_round(serial);
		promote_once(serial, &desc, &id);
		json_decref(desc);
		hv_standby_reap(old.pid, old.start_ticks, old_dir);
		rmdir(old_dir);
	}
	hv_standby_reap(id.pid, id.start_ticks, sbed.run_dir);
	MUST(sbed_files_left() == 0, "files are left");
	puts("ok");
	return 0;
}

int main(int argc, char **argv)
{
	const char *serial = NULL;
	int c, rounds = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "+s:b:r:lp:")) != -1) {
		if (c == 's')
			serial = optarg;
		else if (c == 'b')
			sbed.bridge = optarg;
		else if (c == 'l')
			long_state = true;
		else if (c == 'p' && n_plugs < 64)
			plugs[n_plugs++] = optarg;
		else if (c == 'r')
			rounds = atoi(optarg);
		else
			return 2;
	}
	if (optind >= argc) {
		fprintf(stderr,
			"usage: %s [-s SERIAL] [-b BRIDGE] [-r 2] [-l] [-p LINE]... "
			"QEMU ARGS...\n",
			argv[0]);
		return 2;
	}
	return promote(argv + optind, argc - optind, serial, rounds);
}
