/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * heapguard.so, for LD_PRELOAD: sees writes into freed memory, in a program as it is (a stock
 * QEMU). The last HELD blocks that were freed are kept, filled with a pattern; whenever one leaves,
 * and at the end, a pattern that is not whole any more is reported on stderr and the program aborted.
 * Unlike malloc's own checks it sees a single bit that was cleared, and unlike a sanitizer it costs
 * nothing that a test would notice.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELD 16384
#define HELD_MAX_BYTES (64u << 20)
#define BLOCK_MAX_BYTES (256u << 10)
#define LOOKS 32
#define PATTERN 0xff /* who clears a bit is seen; who sets one, in an already free one, is not */

void __libc_free(void *p); /* glibc's own */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held {
	unsigned char *p;
	size_t n;
} ring[HELD];
static size_t head, tail, bytes, looked_at;

static void die(void)
{
	static const char text[] = "heapguard: freed memory was written\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(3);
	abort();
}

static void look(const struct held *h)
{
	/* Is it PATTERN throughout? It is if the first byte is, and every byte equals the next. */
	if (h->p[0] != PATTERN || memcmp(h->p, h->p + 1, h->n - 1) != 0)
		die();
}

static void let_go(void)
{
	struct held h = ring[tail++ % HELD];

	look(&h);
	bytes -= h.n;
	__libc_free(h.p);
}

void free(void *p)
{
	size_t n = p ? malloc_usable_size(p) : 0;

	if (!n)
		return;
	if (n > BLOCK_MAX_BYTES) {
		__libc_free(p);
		return;
	}
	memset(p, PATTERN, n);
	pthread_mutex_lock(&lock);
	if (head - tail == HELD)
		let_go();
	ring[head++ % HELD] = (struct held){p, n};
	bytes += n;
	while (bytes > HELD_MAX_BYTES)
		let_go();
	/* Some more on each call: damage is found soon after it was done. */
	for (int i = 0; i < LOOKS; i++) {
		if (++looked_at < tail || looked_at >= head)
			looked_at = tail;
		look(&ring[looked_at % HELD]);
	}
	pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void at_end(void)
{
	for (size_t i = tail; i < head; i++)
		look(&ring[i % HELD]);
}
