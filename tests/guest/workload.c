/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * workload PORT cpu|write MIB: works without an end, and reports to who connects to PORT how much it has
 * done: each byte received is answered with the count in decimal and a newline.
 *   cpu        units of integer arithmetic that touch no memory
 *   write MIB  writes of eight bytes to random pages of that much memory, other contents each time
 * There is no clock in it: a guest's clock may stop while its VM is paused, so the time between two
 * answers is taken outside (bench/user.sh).
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNIT 4096

static atomic_ullong units;

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static void *serve(void *arg)
{
	int listener = *(int *)arg, fd, n;
	char asked, text[32];

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		while (read(fd, &asked, 1) == 1) {
			n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)units);
			if (write(fd, text, (size_t)n) != n)
				break;
		}
		close(fd);
	}
	return NULL;
}

static void compute(void)
{
	volatile uint64_t kept;
	uint64_t x = 88172645463325252;

	for (;;) {
		for (int i = 0; i < UNIT; i++)
			next_random(&x);
		kept = x;
		(void)kept;
		units++;
	}
}

static void write_memory(size_t bytes)
{
	uint64_t *m = malloc(bytes), x = 88172645463325252;

	if (!m)
		abort();
	memset(m, 1, bytes);
	for (;;) {
		for (int i = 0; i < UNIT; i++)
			m[next_random(&x) % (bytes / sizeof(*m))] = x;
		units++;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t id;

	if (argc < 3 || (strcmp(argv[2], "cpu") && argc < 4))
		return 2;
	a.sin_port = htons((uint16_t)atoi(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1) ||
	    pthread_create(&id, NULL, serve, &fd))
		return 1;
	if (!strcmp(argv[2], "cpu"))
		compute();
	write_memory((size_t)atoi(argv[3]) << 20);
	return 0;
}
