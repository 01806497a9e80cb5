/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv against a real QEMU, started here:
 *
 *   hv_probe_vm [-2] [-n EPOCHS] [-a ATTACHES] [-m MEASURE] [-k KILLS] [-N NET] [-b] [-w]
 *               [-u COMMAND] QEMU ARGS...
 *
 * -k: that often SIGKILL a process that attaches in a loop, then hv_cleanup; -2 two-step harvest;
 * -b boot a tiny BIOS that keeps writing to 128 pages; -w RAM is a shared memory file: pages are
 * written to it that QEMU never touched, as a replicator does to a standby's; -u COMMAND is
 * run by the shell at the end, after which no round may count any more (TV_E_UNTRACKED); -N "user"
 * or an interface name: hold network output, relay it and see that it arrives. Prints what it saw,
 * exits 0 when everything was as hv.h says; the first thing that was not, is said on stderr.
 */
#include "hv/qemu/devices.h"
#include "hv/hv.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/qmp.h"
#include "hv/qemu/ramblock.h"
#include "hv/dirty/dirty_int.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_RUNS 4096
#define MS 10000

static char dir[64];
static char qmp_path[96];
static pid_t qemu_pid;

static char vm_name[64];
static bool foreign;	   /* -w */
static const char *spoil;  /* -u */
static bool all_populated; /* -A: the first copy may report everything */
static pid_t owner_pid;

static void end_qemu(void)
{
	char path[128];

	if (getpid() != owner_pid)
		return; /* a child of ours that failed */
	if (qemu_pid > 0) {
		kill(qemu_pid, SIGKILL);
		waitpid(qemu_pid, NULL, 0);
	}
	snprintf(path, sizeof(path), "%s/bios", dir);
	unlink(path);
	unlink(qmp_path);
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

/* ---- QEMU ---- */

/* Real mode: for ever adds 1 to the first word of each page from 0x10000 to 0x90000. */
static void write_bios(const char *path)
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
	FILE *f = fopen(path, "w");

	memcpy(rom, code, sizeof(code));
	memcpy(rom + 0xfff0, reset, sizeof(reset));
	MUST(f && fwrite(rom, sizeof(rom), 1, f) == 1 && !fclose(f), "%s", path);
}

static void start_qemu(char **args, int n, bool bios)
{
	static char *argv[64];
	static char qmp_opt[160], bios_path[128];
	int k = 0;

	snprintf(dir, sizeof(dir), "/tmp/hv_probe_vm.XXXXXX");
	MUST(mkdtemp(dir), "%s", strerror(errno));
	snprintf(qmp_path, sizeof(qmp_path), "%s/qmp", dir);
	snprintf(qmp_opt, sizeof(qmp_opt), "unix:%s,server=on,wait=off", qmp_path);
	snprintf(bios_path, sizeof(bios_path), "%s/bios", dir);
	owner_pid = getpid();
	snprintf(vm_name, sizeof(vm_name), "probe-%d", getpid());
	MUST(n < 40, "too many arguments");
	for (int i = 0; i < n; i++)
		argv[k++] = args[i];
	char *more[] = {"-display", "none", "-name", vm_name, "-qmp", qmp_opt, NULL};
	for (int i = 0; more[i]; i++)
		argv[k++] = more[i];
	if (bios) {
		write_bios(bios_path);
		argv[k++] = "-bios";
		argv[k++] = bios_path;
	}
	atexit(end_qemu);
	qemu_pid = fork();
	if (qemu_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(argv[0], argv);
		_exit(127);
	}
	for (int i = 0; access(qmp_path, F_OK); i++) {
		MUST(i < 2000 && !waitpid(qemu_pid, NULL, WNOHANG), "QEMU did not start");
		poll(NULL, 0, 10);
	}
}

static struct hv_vm *attach(const struct hv_opts *opts)
{
	struct hv_refusals why;
	struct tv_err e = {0};
	struct hv_vm_id id;
	struct hv_vm *vm;
	int rc;

	rc = hv_find(vm_name, NULL, NULL, &id, &e);
	MUST(!rc, "%s", e.text);
	MUST(id.pid == qemu_pid && !strcmp(id.qmp_path, qmp_path), "%d %s", id.pid, id.qmp_path);
	rc = hv_attach(&id, opts, &vm, &why, &e);
	for (unsigned i = 0; rc == TV_E_REFUSED && i < why.n; i++)
		fprintf(stderr, "refused: %s\n", why.text[i]);
	MUST(!rc, "%s", e.text);
	return vm;
}

/* ---- what is left behind ---- */

/* Everything of QEMU that attaching might change, as one text. */
static char *traces(void)
{
	static const char *const queries[] = {"query-chardev", "query-fdsets", "query-status"};
	char path[320], link[256], *text;
	struct tv_err e = {0};
	struct hv_qmp *q;
	struct dirent *de;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);
	unsigned fds = 0;
	json_t *ret;
	DIR *d;

	MUST(!hv_qmp_open(qmp_path, MS, &q, &e), "%s", e.text);
	for (int i = 0; i < 4; i++) {
		MUST(!hv_qmp_cmd(q, i == 3 ? "qom-list" : queries[i],
				 i == 3 ? json_pack("{s:s}", "path", "/objects") : NULL, &ret, MS,
				 &e),
		     "%s", e.text);
		char *t = json_dumps(ret, JSON_SORT_KEYS);
		fprintf(f, "%s\n", t);
		free(t);
		json_decref(ret);
	}
	hv_qmp_close(q);
	/* QEMU closes the connection's descriptor a moment after we did. */
	for (int tries = 0; tries < 500; tries++) {
		unsigned n = 0;

		snprintf(path, sizeof(path), "/proc/%d/fd", qemu_pid);
		d = opendir(path);
		MUST(d, "%s", path);
		while ((de = readdir(d))) {
			ssize_t r;

			snprintf(path, sizeof(path), "/proc/%d/fd/%s", qemu_pid, de->d_name);
			r = readlink(path, link, sizeof(link) - 1);
			link[r > 0 ? r : 0] = '\0';
			/* The guest's own drivers make QEMU open eventfds. */
			n += r > 0 && !strstr(link, "[eventfd]");
			MUST(!strstr(link, "userfaultfd") && !strstr(link, "twinvm"), "%s", link);
		}
		closedir(d);
		if (tries && n == fds)
			break;
		fds = n;
		poll(NULL, 0, 5);
	}
	fprintf(f, "descriptors %u\n", fds);
	snprintf(path, sizeof(path), "/proc/%d/task", qemu_pid);
	d = opendir(path);
	while ((de = readdir(d))) {
		TV_FREE char *stat = NULL;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", qemu_pid, de->d_name);
		if (de->d_name[0] == '.' || tv_read_file(path, 1 << 16, &stat, NULL))
			continue;
		MUST(strstr(stat, "TracerPid:\t0\n"), "thread %s is traced", de->d_name);
		MUST(!strstr(stat, "State:\tT") && !strstr(stat, "State:\tt"), "%s is stopped",
		     de->d_name);
	}
	closedir(d);
	fclose(f);
	return text;
}

static void must_not_be_watched(void)
{
	TV_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps", qemu_pid);
	MUST(!tv_read_file(path, 64 << 20, &text, NULL), "%s", path);
	for (char *p = text; (p = strstr(p, "VmFlags:")); p += 8)
		MUST(!memmem(p, strcspn(p, "\n"), " uw", 3), "a mapping is still watched");
}

/* QEMU closes descriptors a moment after it has answered, a busy machine makes that a long one. */
static void must_be_same(const char *before, const char *what)
{
	char *after = traces();

	for (int tries = 0; tries < 100 && strcmp(before, after); tries++) {
		free(after);
		poll(NULL, 0, 50);
		after = traces();
	}
	MUST(!strcmp(before, after), "after %s:\n%s\nbefore:\n%s", what, after, before);
	free(after);
	must_not_be_watched();
}

/* ---- pages that only somebody else wrote ---- */

#define FOREIGN_AT (UINT64_C(128) << 20) /* far from what a firmware touches */
#define FOREIGN_PAGES 64

static void foreign_page(uint8_t *page, unsigned i)
{
	memset(page, (int)i + 1, TV_PAGE_BYTES);
}

/* Writes every third page of a stretch of the largest shared memory file that QEMU has mapped. */
static void write_foreign(void)
{
	const struct hv_map *ram = NULL;
	uint8_t page[TV_PAGE_BYTES];
	struct hv_maps maps;
	char path[96];
	int fd;

	MUST(!hv_maps_read(qemu_pid, &maps), "maps");
	for (unsigned i = 0; i < maps.n; i++)
		if (maps.map[i].shared &&
		    (!ram || maps.map[i].end - maps.map[i].start > ram->end - ram->start))
			ram = &maps.map[i];
	MUST(ram && ram->end - ram->start > 2 * FOREIGN_AT, "no shared RAM of 256 MiB or more");
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, qemu_pid,
		 ram->start, ram->end);
	fd = open(path, O_RDWR | O_CLOEXEC);
	MUST(fd >= 0, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < FOREIGN_PAGES; i++) {
		foreign_page(page, i);
		MUST(pwrite(fd, page, sizeof(page),
			    (off_t)(FOREIGN_AT + 3 * i * (uint64_t)TV_PAGE_BYTES)) == sizeof(page),
		     "%s", strerror(errno));
	}
	close(fd);
	hv_maps_dispose(&maps);
}

/* ---- epochs ---- */

static struct hv_run runs[MAX_RUNS];

struct shadow { /* a copy of the VM's RAM, kept up to date from dirty pages only */
	uint8_t *mem[HV_MAX_BLOCKS];
	uint64_t pages;
};

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

static uint64_t harvest(struct hv_vm *vm, struct shadow *s, int64_t *scan_ns, int64_t *copy_ns)
{
	static uint8_t buf[8 << 20];
	struct hv_cursor c = {0};
	uint64_t total = 0;

	begin_round(vm);
	while (!c.done) {
		int64_t t0 = tv_now_ns(), t1;
		int n = hv_harvest(vm, &c, runs, MAX_RUNS, sizeof(buf) / TV_PAGE_BYTES);
		uint8_t *p = buf;

		MUST(n >= 0, "%s", tv_strerror(n));
		t1 = tv_now_ns();
		int rc = hv_copy(vm, runs, (unsigned)n, buf);
		MUST(!rc, "%s", tv_strerror(rc));
		if (scan_ns) {
			*scan_ns += t1 - t0;
			*copy_ns += tv_now_ns() - t1;
		}
		for (int i = 0; i < n; i++) {
			size_t bytes = (size_t)runs[i].pages * TV_PAGE_BYTES;

			if (i) /* ascending, not overlapping */
				MUST(runs[i].block > runs[i - 1].block ||
					     runs[i].offset >= runs[i - 1].offset +
								       (uint64_t)runs[i - 1].pages *
									       TV_PAGE_BYTES,
				     "run %d is out of order", i);
			memcpy(s->mem[runs[i].block] + runs[i].offset, p, bytes);
			p += bytes;
			total += runs[i].pages;
		}
	}
	return total;
}

static void shadow_init(struct shadow *s, struct hv_vm *vm)
{
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);

	for (unsigned i = 0; i < n; i++) {
		s->mem[i] = calloc(1, b[i].bytes);
		MUST(s->mem[i], "no memory");
	}
}

/* The paused VM's whole RAM must be what the dirty pages made of the shadow. */
static void must_equal(struct shadow *s, struct hv_vm *vm)
{
	static uint8_t page[1 << 20];
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);

	for (unsigned i = 0; i < n; i++)
		for (uint64_t at = 0; at < b[i].bytes; at += sizeof(page)) {
			size_t bytes =
				b[i].bytes - at < sizeof(page) ? b[i].bytes - at : sizeof(page);
			struct iovec l = {page, bytes}, r = {(void *)(b[i].host.v + at), bytes};

			MUST(process_vm_readv(qemu_pid, &l, 1, &r, 1, 0) == (ssize_t)bytes, "%s",
			     b[i].name);
			MUST(!memcmp(page, s->mem[i] + at, bytes), "%s differs near 0x%" PRIx64,
			     b[i].name, at);
		}
}

static int cmp64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double median_us(int64_t *t, int n)
{
	qsort(t, (size_t)n, sizeof(*t), cmp64);
	return (double)t[n / 2] / 1000;
}

static int64_t epoch(struct hv_vm *vm, struct shadow *s, uint64_t *pages, size_t *bytes, bool check)
{
	int64_t t0 = tv_now_ns(), t;
	int rc;

	rc = hv_pause(vm, MS);
	MUST(!rc, "pause: %s", tv_strerror(rc));
	rc = hv_state_begin(vm);
	MUST(!rc, "state: %s", tv_strerror(rc));
	*pages = harvest(vm, s, NULL, NULL);
	rc = hv_state_end(vm, MS, bytes);
	MUST(!rc && *bytes > 100, "state: %s %s, %zu bytes", tv_strerror(rc), "", *bytes);
	if (check) {
		MUST(harvest(vm, s, NULL, NULL) == 0, "saving the devices dirtied RAM");
		must_equal(s, vm);
	}
	t = tv_now_ns();
	rc = hv_resume(vm, MS);
	MUST(!rc, "resume: %s", tv_strerror(rc));
	return check ? t - t0 : tv_now_ns() - t0;
}

static void must_not_come(enum hv_event ev, const char *name, void *arg)
{
	(void)arg;
	MUST(ev == HV_EV_OTHER || ev == HV_EV_RESET, "event %s", name);
}

static void check_state(struct hv_vm *vm, size_t bytes)
{
	uint8_t *buf = malloc(bytes);

	MUST(!hv_state_read(vm, buf, bytes), "state");
	MUST(!memcmp(buf, "QEVM\0\0\0\3", 8) && buf[bytes - 1] == 0, "no stream: %02x..%02x",
	     buf[0], buf[bytes - 1]);
	MUST(hv_state_read(vm, buf, bytes + 1) == -ERANGE, "read past the end");
	free(buf);
}

/* Pages written from outside are reported exactly, with their new content. */
static void check_exact(struct hv_vm *vm, struct shadow *s)
{
	static const uint64_t pages[] = {3, 4, 5, 77, 100, 4096, 4097, 20000};
	struct hv_cursor c = {0};
	unsigned n, m = 0;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint8_t got[8 * TV_PAGE_BYTES];
	uint64_t k = 0;
	int rc;

	while (!b[m].main_ram)
		m++;
	rc = hv_pause(vm, MS);
	MUST(!rc, "pause: %s", tv_strerror(rc));
	harvest(vm, s, NULL, NULL);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v = UINT64_C(0x1122334455667700) + i;
		struct iovec l = {&v, 8};
		struct iovec r = {(void *)(b[m].host.v + pages[i] * TV_PAGE_BYTES + 8 * i), 8};

		MUST(process_vm_writev(qemu_pid, &l, 1, &r, 1, 0) == 8, "%s", strerror(errno));
	}
	begin_round(vm);
	rc = hv_harvest(vm, &c, runs, MAX_RUNS, 1 << 20);
	MUST(rc >= 0 && c.done, "%s", tv_strerror(rc));
	n = (unsigned)rc;
	for (unsigned i = 0; i < n; i++)
		for (unsigned p = 0; p < runs[i].pages; p++, k++)
			MUST(k < 8 && runs[i].block == m &&
				     runs[i].offset / TV_PAGE_BYTES + p == pages[k],
			     "page %" PRIu64 " of block %u was not written",
			     runs[i].offset / TV_PAGE_BYTES + p, runs[i].block);
	MUST(k == 8, "%" PRIu64 " pages reported", k);
	MUST(!hv_copy(vm, runs, n, got), "copy");
	for (unsigned i = 0; i < 8; i++) {
		uint64_t v;

		memcpy(&v, got + (size_t)i * TV_PAGE_BYTES + 8 * i, 8);
		MUST(v == UINT64_C(0x1122334455667700) + i, "page %u", i);
		memcpy(s->mem[m] + pages[i] * TV_PAGE_BYTES, got + (size_t)i * TV_PAGE_BYTES,
		       TV_PAGE_BYTES);
	}
	must_equal(s, vm);
	MUST(!hv_resume(vm, MS), "resume");
}

/* After the command the kernel may have lost bits, and the next round says so. What it did lose of
 * 64 written pages is told: with none, the command does not do what it is there for. */
static void check_untracked(struct hv_vm *vm, const char *command)
{
	enum { PAGES = 64 };
	unsigned n, m = 0, lost = 0;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint64_t entries[PAGES];
	uint8_t bytes[PAGES];
	struct iovec l = {bytes, PAGES}, r[PAGES];
	char path[64];
	int fd;

	while (!b[m].main_ram)
		m++;
	memset(bytes, 0x77, sizeof(bytes));
	for (unsigned i = 0; i < PAGES; i++)
		r[i] = (struct iovec){(void *)(b[m].host.v + (3000 + i) * TV_PAGE_BYTES), 1};
	MUST(!hv_pause(vm, MS) && !hv_round_begin(vm), "a round before it");
	MUST(process_vm_writev(qemu_pid, &l, 1, r, PAGES, 0) == PAGES, "%s", strerror(errno));
	MUST(!system(command), "%s", command);
	MUST(process_vm_readv(qemu_pid, &l, 1, r, PAGES, 0) == PAGES, "%s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/%d/pagemap", qemu_pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && !hv_soft_read(fd, (uint64_t)r[0].iov_base, PAGES, entries), "%s", path);
	close(fd);
	for (unsigned i = 0; i < PAGES; i++)
		lost += !hv_soft_is_dirty(entries[i]);
	for (int i = 0; i < 2; i++)
		MUST(hv_round_begin(vm) == TV_E_UNTRACKED, "a round counts after it");
	MUST(!hv_resume(vm, MS), "resume");
	printf("%u of %u written pages were forgotten, and the next round said so\n", lost, PAGES);
}

static void measure(struct hv_vm *vm, struct shadow *s, int n)
{
	int64_t *ours = calloc((size_t)n, 8), *raw = calloc((size_t)n, 8);
	uint64_t pages = 0, sum = 0;
	size_t bytes;

	/* Alternating, so that what else the machine does hits both alike. */
	for (int i = 0; i < n; i++) {
		ours[i] = epoch(vm, s, &pages, &bytes, false);
		sum += pages;
		poll(NULL, 0, 10);
		int64_t t0 = tv_now_ns();
		MUST(!hv_pause(vm, MS) && !hv_state_begin(vm) && !hv_state_end(vm, MS, &bytes) &&
			     !hv_resume(vm, MS),
		     "raw");
		raw[i] = tv_now_ns() - t0;
		poll(NULL, 0, 10);
	}
	median_us(ours, n);
	median_us(raw, n);
	printf("pause with harvest and copy of %" PRIu64 " pages: median %.0f us, p90 %.0f; stop, "
	       "save, cont alone: median %.0f us, p90 %.0f\n",
	       sum / (uint64_t)n, median_us(ours, n), (double)ours[n * 9 / 10] / 1000,
	       median_us(raw, n), (double)raw[n * 9 / 10] / 1000);
	free(ours);
	free(raw);
}

/* ---- network ---- */

static uint32_t be32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return ntohl(v);
}

struct seen {
	unsigned frames, dhcp_requests, on_wire;
};

/* A DHCPREQUEST means that an offer came back, so that the discover before it got out. */
static bool is_dhcp_request(const uint8_t *f, size_t n)
{
	static const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63, 0x35, 0x01, 0x03};

	return memmem(f, n, cookie, sizeof(cookie)) != NULL;
}

static void relay_once(struct hv_net_port *port, uint8_t *buf, size_t room, size_t *have,
		       struct seen *seen)
{
	ssize_t r = recv(port->capture_fd, buf + *have, room - *have, 0);
	size_t head = port->vnet_hdr ? 8 : 4;

	MUST(r > 0 || errno == EAGAIN, "the capture socket ended");
	*have += r > 0 ? (size_t)r : 0;
	while (*have >= head && *have >= head + be32_at(buf)) {
		size_t n = head + be32_at(buf);

		MUST(be32_at(buf) >= 14 && be32_at(buf) < 70000, "frame of %u bytes", be32_at(buf));
		seen->frames++;
		seen->dhcp_requests += is_dhcp_request(buf + head, n - head);
		MUST(!tv_write_all(port->inject_fd, buf, n), "inject");
		*have -= n;
		memmove(buf, buf + n, *have);
	}
}

static int raw_socket(const char *ifname)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));

	a.sll_ifindex = (int)if_nametoindex(ifname);
	MUST(fd >= 0 && a.sll_ifindex && !bind(fd, (void *)&a, sizeof(a)), "%s: %s", ifname,
	     strerror(errno));
	return fd;
}

/* Frames that came from the guest on a tap: those that we see arriving on it. */
static unsigned count_wire(int fd)
{
	struct sockaddr_ll from;
	socklen_t len = sizeof(from);
	uint8_t b[2048];
	unsigned n = 0;

	while (fd >= 0 && recvfrom(fd, b, sizeof(b), MSG_TRUNC, (void *)&from, &len) > 0) {
		n += from.sll_pkttype != PACKET_OUTGOING;
		len = sizeof(from);
	}
	return n;
}

static void check_net(struct hv_vm *vm, const char *net)
{
	int wire = strcmp(net, "user") ? raw_socket(net) : -1;
	static uint8_t buf[HV_MAX_NICS][256 << 10];
	struct hv_net_port ports[HV_MAX_NICS];
	size_t have[HV_MAX_NICS] = {0};
	struct seen seen = {0};
	struct tv_err e = {0};
	struct pollfd p[HV_MAX_NICS];
	unsigned n;
	int rc;

	/* Restarted with the filters in place, so that the guest asks for an address only then. */
	rc = hv_net_hold(vm, ports, &n, &e);
	MUST(!rc, "%s", e.text);
	MUST(n > 0, "no NIC was found");
	for (unsigned i = 0; i < n; i++) {
		printf("holding netdev %s, vnet_hdr %d\n", ports[i].netdev, ports[i].vnet_hdr);
		p[i] = (struct pollfd){.fd = ports[i].capture_fd, .events = POLLIN};
	}
	/* First hold back: nothing may be on the wire. */
	count_wire(wire);
	while (poll(p, n, 60000) == 0)
		MUST(0, "the guest sends nothing");
	poll(NULL, 0, 200);
	MUST(count_wire(wire) == 0, "a frame escaped");
	for (int i = 0; i < 600; i++) {
		if (poll(p, n, 100) > 0)
			for (unsigned k = 0; k < n; k++)
				relay_once(&ports[k], buf[k], sizeof(buf[k]), &have[k], &seen);
		seen.on_wire += count_wire(wire);
		if (wire < 0 ? seen.dhcp_requests : seen.on_wire >= 2 && seen.frames >= 2)
			break;
	}
	poll(NULL, 0, 100);
	seen.on_wire += count_wire(wire);
	printf("frames held and let go %u, DHCP requests %u, seen on the wire %u\n", seen.frames,
	       seen.dhcp_requests, seen.on_wire);
	if (wire >= 0)
		MUST(seen.on_wire == seen.frames, "not each frame came once");
	else
		MUST(seen.dhcp_requests, "no answer came back to the guest");
	rc = hv_net_unhold(vm, &e);
	MUST(!rc, "%s", e.text);
	for (unsigned i = 0; i < n; i++) {
		close(ports[i].capture_fd);
		close(ports[i].inject_fd);
	}
	tv_close_fd(&wire);
}

/* ---- dying while attached ---- */

static void __attribute__((noreturn)) attach_for_ever(const struct hv_opts *opts, bool net)
{
	struct hv_net_port ports[HV_MAX_NICS];
	struct tv_err e = {0};
	size_t bytes;
	unsigned n = 0;
	int rc;

	for (;;) {
		struct hv_vm *vm = attach(opts);

		if (net) {
			rc = hv_net_hold(vm, ports, &n, &e);
			MUST(!rc, "%s", e.text);
		}
		for (int i = 0; i < 4; i++) {
			struct hv_cursor c = {0};

			rc = hv_pause(vm, MS);
			MUST(!rc, "pause: %s", tv_strerror(rc));
			rc = hv_state_begin(vm);
			MUST(!rc, "state: %s", tv_strerror(rc));
			begin_round(vm);
			rc = hv_harvest(vm, &c, runs, MAX_RUNS, 1 << 20);
			MUST(rc >= 0, "harvest: %s", tv_strerror(rc));
			rc = hv_state_end(vm, MS, &bytes);
			MUST(!rc, "state: %s", tv_strerror(rc));
			rc = hv_resume(vm, MS);
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
	struct hv_vm_id id = {.pid = qemu_pid, .start_ticks = tv_pid_start_ticks(qemu_pid)};
	uint32_t stopped; /* by whoever was killed, for all we know */
	int status;

	snprintf(id.qmp_path, sizeof(id.qmp_path), "%s", qmp_path);
	srand(1);
	for (int i = 0; i < kills; i++) {
		pid_t kid = fork();

		if (kid == 0)
			attach_for_ever(opts, net);
		poll(NULL, 0, rand() % 60);
		MUST(!waitpid(kid, &status, WNOHANG), "it ended by itself: %d", status);
		kill(kid, SIGKILL);
		waitpid(kid, NULL, 0);
		stopped = 1;
		MUST(!hv_cleanup(&id, &stopped, &e), "kill %d: %s", i, e.text);
		if (i % 10 == 9)
			must_be_same(before, "a kill");
	}
	printf("%d kills survived\n", kills);
}

/* The first copy has what somebody else wrote, before anybody has read it. */
static void must_have_foreign(struct shadow *s, struct hv_vm *vm)
{
	uint8_t page[TV_PAGE_BYTES];
	unsigned n, m = 0;
	const struct hv_block *b = hv_blocks(vm, &n);

	while (!b[m].main_ram)
		m++;
	for (unsigned i = 0; i < FOREIGN_PAGES; i++) {
		foreign_page(page, i);
		MUST(!memcmp(s->mem[m] + FOREIGN_AT + 3 * i * (uint64_t)TV_PAGE_BYTES, page,
			     sizeof(page)),
		     "page %u that QEMU never touched is not in the first copy", i);
	}
	printf("%d pages that QEMU never touched are in the first copy\n", FOREIGN_PAGES);
}

/* ---- all of it ---- */

static void run_epochs(struct hv_vm *vm, int epochs, int measures)
{
	int64_t scan_ns = 0, copy_ns = 0, longest = 0;
	struct shadow s = {0};
	uint64_t pages, sum = 0;
	size_t bytes = 0;
	unsigned n;
	const struct hv_block *b = hv_blocks(vm, &n);
	uint64_t all = 0;

	for (unsigned i = 0; i < n; i++)
		all += b[i].bytes / TV_PAGE_BYTES;
	shadow_init(&s, vm);
	pages = harvest(vm, &s, &scan_ns, &copy_ns); /* the first copy, while it runs */
	printf("first copy: %" PRIu64 " of %" PRIu64 " pages, scan %" PRId64 " us, copy %" PRId64
	       " us\n",
	       pages, all, scan_ns / 1000, copy_ns / 1000);
	if (foreign)
		must_have_foreign(&s, vm);
	MUST(pages > 0 && (all_populated || pages < all), "everything or nothing was populated");
	for (int i = 0; i < epochs; i++) {
		/* Comparing touches all memory: only now and then. */
		int64_t t = epoch(vm, &s, &pages, &bytes, i % 7 == 6 || i == epochs - 1);

		sum += pages;
		longest = t > longest ? t : longest;
		check_state(vm, bytes);
		MUST(!hv_events(vm, must_not_come, NULL), "events");
		poll(NULL, 0, 20);
	}
	if (epochs) {
		printf("%d epochs, %" PRIu64 " dirty pages each, state %zu bytes\n", epochs,
		       sum / (uint64_t)epochs, bytes);
		check_exact(vm, &s);
	}
	if (measures)
		measure(vm, &s, measures);
	if (spoil)
		check_untracked(vm, spoil);
	for (unsigned i = 0; i < n; i++)
		free(s.mem[i]);
}

static void describe(struct hv_vm *vm)
{
	struct tv_err e = {0};
	json_t *d = hv_describe(vm, &e);
	char *t;

	MUST(d, "%s", e.text);
	t = json_dumps(d, JSON_COMPACT);
	printf("%s\n", t);
	free(t);
	json_decref(d);
}

int main(int argc, char **argv)
{
	int o, epochs = 20, attaches = 1, measures = 0, kills = 0;
	struct hv_opts opts = {0};
	const char *net = NULL;
	bool bios = false;
	char *before;

	while ((o = getopt(argc, argv, "+2n:a:m:N:bk:Awu:")) != -1) {
		opts.two_step = opts.two_step || o == '2';
		bios = bios || o == 'b';
		all_populated = all_populated || o == 'A';
		foreign = foreign || o == 'w';
		spoil = o == 'u' ? optarg : spoil;
		epochs = o == 'n' ? atoi(optarg) : epochs;
		attaches = o == 'a' ? atoi(optarg) : attaches;
		measures = o == 'm' ? atoi(optarg) : measures;
		kills = o == 'k' ? atoi(optarg) : kills;
		net = o == 'N' ? optarg : net;
	}
	MUST(optind < argc, "which QEMU?");
	tv_log_init("hv_probe_vm");
	start_qemu(argv + optind, argc - optind, bios);
	poll(NULL, 0, 300);
	if (foreign)
		write_foreign();
	before = traces();
	for (int i = 0; i < attaches; i++) {
		struct hv_vm *vm = attach(&opts);

		if (i == 0) {
			describe(vm);
			if (net)
				check_net(vm, net);
			run_epochs(vm, epochs, measures);
		}
		MUST(hv_is_running(vm) == 1, "it does not run");
		hv_detach(vm);
		if (i < 3 || i == attaches - 1)
			must_be_same(before, "detaching");
	}
	if (kills)
		check_kills(&opts, kills, net != NULL, before);
	free(before);
	printf("ok\n");
	return 0;
}
