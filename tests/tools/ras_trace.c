/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ras_trace DIR make               a folder that stands in for a kernel's trace of hardware errors
 * ras_trace DIR mc LABEL ERRORS    a memory controller reports that many corrected errors of a DIMM
 * ras_trace DIR mf PAGE RESULT     the kernel reports what it did about a page (hexadecimal) that has failed:
 *                                  0 ignored (its own page), 1 failed, 2 delayed, 3 recovered
 *
 * Raw pages of trace data with records as a kernel writes them; twinvmd reads them where its environment has
 * TWINVM_TEST_TRACING=DIR. All above the kernel is what a host runs.
 */
#include "common/common.h"
#include "tests/unit/ras_formats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define HEAD 16 /* of a page: time, length */

static void die(const char *what)
{
	fprintf(stderr, "ras_trace: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void format(const char *dir, const char *event, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/events/%s", dir, event);
	if (tv_mkdirs(path))
		die(path);
	snprintf(path, sizeof(path), "%s/events/%s/format", dir, event);
	if (tv_write_file(path, text, strlen(text)))
		die(path);
}

static void pipe_of(const char *dir, char *out, size_t room)
{
	snprintf(out, room, "%s/per_cpu/cpu0", dir);
	if (tv_mkdirs(out))
		die(out);
	snprintf(out, room, "%s/per_cpu/cpu0/trace_pipe_raw", dir);
}

static void make(const char *dir)
{
	char path[512];

	format(dir, "mce/mce_record", mce_6_12);
	format(dir, "ras/mc_event", mc_format);
	format(dir, "ras/memory_failure_event", mf_6_12);
	pipe_of(dir, path, sizeof(path));
	if (mkfifo(path, 0600) && errno != EEXIST)
		die(path);
}

/* A dynamic field: its place and length at offset, its bytes at the end. */
static size_t put_text(uint8_t *r, size_t offset, size_t end, const char *text)
{
	size_t n = strlen(text) + 1;

	tv_put_le32(r + offset, (uint32_t)(end | n << 16));
	memcpy(r + end, text, n);
	return end + n;
}

static size_t mc(uint8_t *r, const char *label, unsigned errors)
{
	size_t end = 60;

	tv_put_le16(r, 481);
	tv_put_le16(r + 20, (uint16_t)errors);
	end = put_text(r, 12, end, "memory read error");
	end = put_text(r, 16, end, label);
	return put_text(r, 56, end, "");
}

static size_t mf(uint8_t *r, uint64_t page, unsigned result)
{
	tv_put_le16(r, 482);
	tv_put_le64(r + 8, page);
	tv_put_le32(r + 16, result == 3 ? 15 : 0); /* a free page, or the kernel's */
	tv_put_le32(r + 20, result);
	return 24;
}

int main(int argc, char **argv)
{
	uint8_t page[PAGE] = {0}, *record = page + HEAD + 8;
	struct timespec now;
	char path[512];
	size_t n, padded;
	int fd;

	if (argc == 3 && !strcmp(argv[2], "make")) {
		make(argv[1]);
		return 0;
	}
	if (argc != 5 || strlen(argv[3]) > 64) {
		fputs("usage: ras_trace DIR make | DIR mc LABEL ERRORS | DIR mf PAGE RESULT\n",
		      stderr);
		return 2;
	}
	n = !strcmp(argv[2], "mc")
		    ? mc(record, argv[3], (unsigned)atoi(argv[4]))
		    : mf(record, strtoull(argv[3], NULL, 16), (unsigned)atoi(argv[4]));
	padded = (n + 3) & ~(size_t)3;
	clock_gettime(CLOCK_MONOTONIC, &now);
	tv_put_le64(page, (uint64_t)now.tv_sec * TV_NS_PER_S + (uint64_t)now.tv_nsec);
	tv_put_le64(page + 8, padded + 8);
	tv_put_le32(page + HEAD + 4, (uint32_t)padded + 4); /* its length is a word of its own */
	pipe_of(argv[1], path, sizeof(path));
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* ENXIO: nobody reads */
	if (fd < 0 || write(fd, page, sizeof(page)) != (ssize_t)sizeof(page))
		die(path);
	return 0;
}
