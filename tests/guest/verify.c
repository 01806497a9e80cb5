/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clang-format off */
/*
 * verify: do a machine's memory and its disk belong to the same moment?
 *
 *   verify DISK [--writers N] [--mib N] [--rate N] [--zero]   in the guest: writes, compares, for ever
 *   verify --check IMAGE                        on a host: is the image one moment of such a disk?
 *
 * Theory of operation. N writers, each with a region of its own, write runs of 1 to 8 blocks at
 * random places, one O_DIRECT|O_SYNC request at a time. Write number n of writer w always goes to
 * the same place (a hash of seed, w and n), and a block's content follows from seed, block number
 * and n alone (verify_pattern.h). The program keeps in memory which n every block holds. So a block
 * on the disk is what memory says, or, while the one write under way covers it, what that write
 * brings. Nothing else is ever right, and every way of mixing moments shows:
 *   disk ahead of memory     the next write is made again: the blocks it covers hold its number
 *                            already, and each run is read and compared before it is overwritten
 *   disk behind memory       a block holds an older number: seen at the latest by CHECK
 *   torn or foreign block    its content does not follow from its head
 * Then "GUEST MISMATCH: ..." goes to the console, and every answer from then on begins with
 * MISMATCH. With --zero one write in sixteen is a write-zeroes request; n = 0 stands for zeroes.
 * tests/local/04-verify-checks.sh does each of these things to it.
 *
 * Because places follow from n, a host can tell from an image alone whether it is the state after
 * exactly n(w) writes of each writer w. (That the n(w) are of one moment only the memory knows.)
 *
 * TCP port 7001, one line each: STATE, or CHECK, which holds the writers, reads the whole disk and
 * compares. Answer: ok|MISMATCH writes=N mismatches=N errors=N first="..."
 * A disk that holds such a state when the program starts is checked and then written on from there.
 */
/* clang-format on */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "verify_pattern.h"

#define PORT 7001

struct writer {
	struct disk *disk;
	uint32_t index;
	pthread_mutex_t gate; /* held during one write */
	uint64_t number;      /* of the last write that is done */
	int64_t pause_ns;
};

static struct disk disk;
static struct writer writers[WRITERS_MAX];
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t mismatches, errors;
static char first_bad[256];
static FILE *console;

__attribute__((format(printf, 2, 3))) static void report(uint64_t *count, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&report_lock);
	if (!first_bad[0])
		snprintf(first_bad, sizeof(first_bad), "%s", text);
	if (++*count <= 20) {
		fprintf(console, "%s: %s\n", count == &errors ? "GUEST IO ERROR" : "GUEST MISMATCH",
			text);
		fflush(console);
	}
	pthread_mutex_unlock(&report_lock);
}

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(console, "GUEST FAILED: verify: ");
	vfprintf(console, fmt, ap);
	va_end(ap);
	fprintf(console, "\n");
	exit(2);
}

/* ---- memory and disk ---- */

static void remember(struct disk *d, const struct run *r, uint64_t number)
{
	for (unsigned i = 0; i < r->count; i++)
		d->holds[r->first + i] = r->zero ? 0 : number;
}

/* Compares blocks from the disk with what memory says; the number that differ. */
static unsigned compare(const struct disk *d, uint64_t first, unsigned count, const uint64_t *data)
{
	uint64_t good[WORDS];
	unsigned bad = 0;
	char is[64];

	for (unsigned i = 0; i < count; i++, data += WORDS) {
		fill(d, first + i, d->holds[first + i], good);
		if (!memcmp(good, data, BLOCK))
			continue;
		bad++;
		report(&mismatches,
		       "block %" PRIu64 ": memory says write %" PRIu64 ", the disk holds %s",
		       first + i, d->holds[first + i],
		       describe(d, first + i, data, is, sizeof(is)));
	}
	return bad;
}

/* ---- the disk ---- */

static int read_blocks(const struct disk *d, uint64_t first, unsigned count, void *buf)
{
	size_t bytes = (size_t)count * BLOCK;
	ssize_t n = pread(d->fd, buf, bytes, (off_t)(first * BLOCK));

	if (n == (ssize_t)bytes)
		return 0;
	report(&errors, "reading block %" PRIu64 ": %s", first, n < 0 ? strerror(errno) : "short");
	return -1;
}

static void write_run(const struct disk *d, const struct run *r, uint64_t number, uint64_t *buf)
{
	uint64_t range[2] = {r->first * BLOCK, (uint64_t)r->count * BLOCK};

	for (unsigned i = 0; i < r->count; i++)
		fill(d, r->first + i, number, buf + i * WORDS);
	if (r->zero) {
		if (ioctl(d->fd, BLKZEROOUT, range))
			report(&errors, "zeroing block %" PRIu64 ": %s", r->first, strerror(errno));
	} else if (pwrite(d->fd, buf, range[1], (off_t)range[0]) != (ssize_t)range[1]) {
		report(&errors, "writing block %" PRIu64 ": %s", r->first, strerror(errno));
	}
}

static void *aligned(size_t bytes)
{
	void *p = NULL;

	if (posix_memalign(&p, BLOCK, bytes))
		die("no memory");
	return p;
}

static void *write_for_ever(void *arg)
{
	struct writer *w = arg;
	struct disk *d = w->disk;
	uint64_t *buf = aligned((size_t)RUN_MAX * BLOCK);
	struct timespec pause = {.tv_sec = w->pause_ns / 1000000000,
				 .tv_nsec = w->pause_ns % 1000000000};

	for (;;) {
		pthread_mutex_lock(&w->gate);
		uint64_t number = w->number + 1;
		struct run r = place(d, w->index, number);

		if (!read_blocks(d, r.first, r.count, buf))
			compare(d, r.first, r.count, buf);
		write_run(d, &r, number, buf);
		remember(d, &r, number);
		w->number = number;
		pthread_mutex_unlock(&w->gate);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return NULL;
}

/* Reads everything; the number of blocks that are not what memory says. */
static uint64_t compare_all(const struct disk *d)
{
	enum { STEP = 64 };
	uint64_t *buf = aligned((size_t)STEP * BLOCK), bad = 0;

	for (uint64_t at = 0; at < d->blocks; at += STEP) {
		unsigned n = d->blocks - at < STEP ? (unsigned)(d->blocks - at) : STEP;

		if (!read_blocks(d, at, n, buf))
			bad += compare(d, at, n, buf);
	}
	free(buf);
	return bad;
}

/* ---- a disk found as it is ---- */

/* The largest number each writer has on the disk, and the seed and shape that the disk names; 0:
 * nothing there. */
static bool survey(struct disk *d, uint64_t last[WRITERS_MAX])
{
	uint64_t *buf = aligned(BLOCK);
	bool known = false;
	struct head h;

	memset(last, 0, WRITERS_MAX * sizeof(*last));
	for (uint64_t at = 0; at < d->blocks; at++) {
		if (read_blocks(d, at, 1, buf))
			break;
		memcpy(&h, buf, sizeof(h));
		if (h.magic != MAGIC)
			continue;
		if (!known && h.writers && h.writers <= WRITERS_MAX && h.blocks &&
		    h.blocks <= d->blocks) {
			known = true;
			d->seed = h.seed;
			d->writers = h.writers;
			d->zero = h.zero;
			d->blocks = h.blocks;
			d->region = d->blocks / d->writers;
		}
		if (known && at / d->region < d->writers && h.number > last[at / d->region])
			last[at / d->region] = h.number;
	}
	free(buf);
	return known;
}

static uint64_t differing(const struct disk *d, uint32_t writer, const uint64_t *image)
{
	uint64_t good[WORDS], bad = 0, first = writer * d->region;

	for (uint64_t i = 0; i < d->region; i++) {
		fill(d, first + i, d->holds[first + i], good);
		bad += memcmp(good, image + i * WORDS, BLOCK) != 0;
	}
	return bad;
}

/* Sets d->holds and *number to the state in which a writer's region is; false if it is no such
 * state. */
static bool find_state(struct disk *d, uint32_t writer, uint64_t last, uint64_t *number)
{
	uint64_t *image = aligned(d->region * BLOCK), n = 0;
	bool found = false;

	for (uint64_t i = 0; i < d->region; i++)
		if (read_blocks(d, writer * d->region + i, 1, image + i * WORDS))
			goto out;
	for (; n < last + ZERO_TAIL; n++) {
		if (n >= last && !differing(d, writer, image)) {
			found = true;
			break;
		}
		struct run r = place(d, writer, n + 1);

		if (n >= last && !r.zero)
			break; /* a write with a number would have shown */
		remember(d, &r, n + 1);
	}
	*number = n;
out:
	free(image);
	return found;
}

static bool find_all_states(struct disk *d, const uint64_t last[WRITERS_MAX],
			    uint64_t number[WRITERS_MAX])
{
	bool good = true;

	d->holds = calloc(d->blocks, sizeof(*d->holds));
	if (!d->holds)
		die("no memory");
	for (uint32_t w = 0; w < d->writers; w++) {
		if (find_state(d, w, last[w], &number[w]))
			continue;
		good = false;
		report(&mismatches,
		       "the region of writer %u, whose last number is %" PRIu64
		       ", is no state that ever was",
		       w, last[w]);
	}
	return good;
}

static uint64_t disk_blocks(int fd)
{
	off_t bytes = lseek(fd, 0, SEEK_END);

	return bytes < 0 ? 0 : (uint64_t)bytes / BLOCK;
}

static int check_image(const char *path)
{
	uint64_t last[WRITERS_MAX], number[WRITERS_MAX] = {0};

	disk.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (disk.fd < 0 || !(disk.blocks = disk_blocks(disk.fd)))
		die("%s: %s", path, strerror(errno));
	if (!survey(&disk, last)) {
		printf("empty\n");
		return 3;
	}
	if (!find_all_states(&disk, last, number)) {
		printf("MISMATCH %s\n", first_bad);
		return 1;
	}
	printf("ok");
	for (uint32_t w = 0; w < disk.writers; w++)
		printf(" %" PRIu64, number[w]);
	printf("\n");
	return 0;
}

/* ---- questions ---- */

static void answer(int fd)
{
	char line[128] = "", out[512];
	uint64_t writes = 0;
	ssize_t n = 0;
	bool all;

	for (size_t used = 0; used < sizeof(line) - 1 && !strchr(line, '\n'); used += (size_t)n) {
		n = recv(fd, line + used, sizeof(line) - 1 - used, 0);
		if (n <= 0)
			return;
	}
	all = !strncmp(line, "CHECK", 5);
	if (all)
		for (uint32_t w = 0; w < disk.writers; w++)
			pthread_mutex_lock(&writers[w].gate);
	if (all)
		compare_all(&disk);
	for (uint32_t w = 0; w < disk.writers; w++)
		writes += writers[w].number;
	pthread_mutex_lock(&report_lock);
	n = snprintf(
		out, sizeof(out),
		"%s writes=%" PRIu64 " mismatches=%" PRIu64 " errors=%" PRIu64 " first=\"%s\"\n",
		mismatches || errors ? "MISMATCH" : "ok", writes, mismatches, errors, first_bad);
	pthread_mutex_unlock(&report_lock);
	if (all)
		for (uint32_t w = 0; w < disk.writers; w++)
			pthread_mutex_unlock(&writers[w].gate);
	if (send(fd, out, (size_t)n, MSG_NOSIGNAL) < 0)
		fprintf(console, "verify: an answer could not be sent: %s\n", strerror(errno));
}

static void serve(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct timeval patience = {.tv_sec = 10};
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c;

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, (struct sockaddr *)&at, sizeof(at)) || listen(s, 16))
		die("port %d: %s", PORT, strerror(errno));
	fprintf(console, "verify: %" PRIu64 " blocks, %u writers\n", disk.blocks, disk.writers);
	fflush(console);
	for (;;) {
		c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
		if (c < 0)
			continue;
		setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		answer(c);
		close(c);
	}
}

/* ---- start ---- */

static void open_disk(const char *path, uint64_t mib)
{
	uint64_t last[WRITERS_MAX], number[WRITERS_MAX] = {0};
	struct timespec t;

	disk.fd = open(path, O_RDWR | O_DIRECT | O_SYNC | O_CLOEXEC);
	if (disk.fd < 0)
		die("%s: %s", path, strerror(errno));
	disk.blocks = disk_blocks(disk.fd);
	if (mib && mib << 20 < disk.blocks * BLOCK)
		disk.blocks = (mib << 20) / BLOCK;
	disk.region = disk.blocks / disk.writers;
	if (!disk.region)
		die("%s is too small", path);
	clock_gettime(CLOCK_REALTIME, &t);
	disk.seed = mix((uint64_t)t.tv_sec ^ ((uint64_t)t.tv_nsec << 32));
	if (survey(&disk, last))
		fprintf(console, "verify: the disk has a state already\n");
	find_all_states(&disk, last, number);
	for (uint32_t w = 0; w < disk.writers; w++)
		writers[w].number = number[w];
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"writers", 1, NULL, 'w'}, {"mib", 1, NULL, 'm'},
					      {"rate", 1, NULL, 'r'},	 {"zero", 0, NULL, 'z'},
					      {"check", 1, NULL, 'c'},	 {NULL, 0, NULL, 0}};
	uint64_t mib = 0;
	int64_t rate = 400; /* writes a second of all writers */

	console = stderr;
	disk.writers = 4;
	for (int ch; (ch = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (ch) {
		case 'w':
			disk.writers = (uint32_t)atoi(optarg);
			break;
		case 'm':
			mib = (uint64_t)atoll(optarg);
			break;
		case 'r':
			rate = atoll(optarg);
			break;
		case 'z':
			disk.zero = true;
			break;
		case 'c':
			return check_image(optarg);
		default:
			return 2;
		}
	}
	if (optind != argc - 1 || rate < 1 || !disk.writers || disk.writers > WRITERS_MAX) {
		fprintf(stderr, "usage: verify DISK [--writers N] [--mib N] [--rate N] [--zero] | "
				"verify --check IMAGE\n");
		return 2;
	}
	open_disk(argv[optind], mib);
	for (uint32_t w = 0; w < disk.writers; w++) {
		pthread_t id;

		writers[w].disk = &disk;
		writers[w].index = w;
		writers[w].pause_ns = INT64_C(1000000000) * disk.writers / rate;
		pthread_mutex_init(&writers[w].gate, NULL);
		if (pthread_create(&id, NULL, write_for_ever, &writers[w]))
			die("no thread");
	}
	serve();
}
