/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim: the clients outside. Each writes its own key and reads all of them, one request at a time,
 * sent again until it is answered. The VM gives every write a token by chance: a write that was
 * done, seen, lost and done again shows by its token, a lost one by a value that goes back.
 */
#include "tests/sim/sim.h"

#define MAX_REQUESTS 4096

struct client {
	uint64_t request, key, floor;
	bool write, waiting;
};
static struct client clients[CLIENTS];
static uint64_t seen[CLIENTS];		       /* newest value that anybody has seen */
static uint64_t tokens[CLIENTS][MAX_REQUESTS]; /* + 1; 0: never seen */
static uint64_t acked;

uint64_t clients_acked(void)
{
	return acked;
}

static void resend(void *arg, uint64_t request)
{
	struct client *c = arg;

	if (!c->waiting || c->request != request)
		return;
	vm_request((unsigned)(c - clients), c->request, c->write, c->key);
	after(between(40 * MS, 120 * MS), NULL, resend, c, request);
}

static void next_request(void *arg, uint64_t n)
{
	struct client *c = arg;

	(void)n;
	if (c->request + 1 >= MAX_REQUESTS)
		return;
	c->request++;
	c->write = chance(600);
	c->key = c->write ? (uint64_t)(c - clients) : rnd(CLIENTS);
	c->floor = seen[c->key];
	c->waiting = true;
	resend(c, c->request);
}

void clients_start(void)
{
	acked = 0;
	for (unsigned i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){0};
		seen[i] = 0;
		for (unsigned j = 0; j < MAX_REQUESTS; j++)
			tokens[i][j] = 0;
		after(between(0, 30 * MS), NULL, next_request, &clients[i], 0);
	}
}

void client_receives(const struct frame *f)
{
	struct client *c = &clients[f->client];
	uint64_t *token = &tokens[f->key][f->value];

	if (!c->waiting || f->request != c->request)
		return; /* an answer that came twice */
	if (f->value < c->floor)
		violation(4,
			  "client %u reads value %llu of key %llu, but %llu had been seen before",
			  f->client, (unsigned long long)f->value, (unsigned long long)f->key,
			  (unsigned long long)c->floor);
	if (c->write && f->value != c->request)
		violation(4, "client %u is answered a write that it did not make", f->client);
	if (*token && *token != f->token + 1)
		violation(4,
			  "client %u sees value %llu of key %llu as another write than before: "
			  "one of the two futures was discarded",
			  f->client, (unsigned long long)f->value, (unsigned long long)f->key);
	*token = f->token + 1;
	if (f->value > seen[f->key])
		seen[f->key] = f->value;
	c->waiting = false;
	acked++;
	sim.stats.acks++;
	after(between(MS, 20 * MS), NULL, next_request, c, 0);
}
