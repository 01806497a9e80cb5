/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * diskbench DISK seq|rand MIB [DEPTH]: writes that many MiB with O_DIRECT, DEPTH requests at a time
 * (threads): seq: 256 KiB requests one after the other, rand: 4 KiB at random places of the whole
 * disk; fsync at the end. Prints "done BYTES". There is no clock in it: a guest's clock stops while
 * its VM is paused, so the time is taken outside (bench/disk.sh).
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 32u
#define SEQ_BYTES (256u << 10)
#define RAND_BYTES 4096u

static int fd;
static bool sequential;
static uint64_t disk_bytes, requests, request_bytes;
static atomic_ullong next_request;
static atomic_bool failed;

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static void *work(void *arg)
{
	uint64_t x = UINT64_C(88172645463325252) + (uintptr_t)arg * 7919, n;
	uint64_t *buf = NULL;

	if (posix_memalign((void **)&buf, 4096, request_bytes))
		abort();
	for (uint64_t i = 0; i < request_bytes / sizeof(*buf); i++)
		buf[i] = next_random(&x);
	while ((n = atomic_fetch_add(&next_request, 1)) < requests) {
		uint64_t slots = disk_bytes / request_bytes;
		uint64_t at = (sequential ? n % slots : next_random(&x) % slots) * request_bytes;

		buf[0] = next_random(&x); /* no two requests alike */
		if (pwrite(fd, buf, request_bytes, (off_t)at) != (ssize_t)request_bytes)
			failed = true;
	}
	free(buf);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned depth = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	pthread_t id[DEPTH_MAX];
	off_t end;

	if (argc < 4 || !depth || depth > DEPTH_MAX) {
		fprintf(stderr, "usage: diskbench DISK seq|rand MIB [DEPTH]\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (end < (off_t)SEQ_BYTES) {
		fprintf(stderr, "diskbench: %s does not open or is too small\n", argv[1]);
		return 2;
	}
	disk_bytes = (uint64_t)end;
	sequential = !strcmp(argv[2], "seq");
	request_bytes = sequential ? SEQ_BYTES : RAND_BYTES;
	requests = ((uint64_t)atoll(argv[3]) << 20) / request_bytes;
	for (unsigned i = 0; i < depth; i++)
		if (pthread_create(&id[i], NULL, work, (void *)(uintptr_t)i))
			return 2;
	for (unsigned i = 0; i < depth; i++)
		pthread_join(id[i], NULL);
	if (fsync(fd) || failed) {
		printf("failed\n");
		return 1;
	}
	printf("done %llu\n", (unsigned long long)(requests * request_bytes));
	return 0;
}
