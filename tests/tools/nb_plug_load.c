/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many epochs under load, against a real kernel: two NICs, one with two queues, are written to by
 * threads that stop for each barrier as a VM does. No frame is lost, damaged or out of order, and
 * none leaves before its epoch is released. See nb_plug_bed.h.
 * usage: nb_plug_load [EPOCHS]   exit status: 0 all is as it should be; 77 skipped, with the reason
 */
#include "tests/tools/nb_plug_bed.h"

static unsigned epochs = 1000;

/* ---- many epochs under load: two queues and a second NIC written to by threads ---- */

struct sender {
	pthread_t thread;
	int fd;
	uint8_t id;
	uint32_t seq; /* of the next frame */
};
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, quit;
	unsigned running;
} guest = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, true, false, 0};

/* A virtual CPU, or vhost worker: sends without a pause until it is stopped, as `stop` does. */
static void *sender_main(void *arg)
{
	struct sender *s = arg;
	unsigned random = s->id + 1u;

	for (;;) {
		pthread_mutex_lock(&guest.lock);
		while (guest.stop && !guest.quit)
			pthread_cond_wait(&guest.changed, &guest.lock);
		if (guest.quit) {
			pthread_mutex_unlock(&guest.lock);
			return NULL;
		}
		guest.running++;
		pthread_mutex_unlock(&guest.lock);
		for (int n = 0; n < BURST && !__atomic_load_n(&guest.stop, __ATOMIC_ACQUIRE); n++) {
			put_frame(s->fd, (uint32_t)s->id << 24 | s->seq, 0x88b5,
				  60 + (size_t)rand_r(&random) % 1400);
			s->seq++;
			if (rand_r(&random) % 4 == 0)
				sched_yield();
		}
		pthread_mutex_lock(&guest.lock); /* more would be too much for the queues */
		while (!guest.stop)
			pthread_cond_wait(&guest.changed, &guest.lock);
		guest.running--;
		pthread_cond_broadcast(&guest.changed);
		pthread_mutex_unlock(&guest.lock);
	}
}

static void guest_stop(void)
{
	pthread_mutex_lock(&guest.lock);
	__atomic_store_n(&guest.stop, true, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&guest.changed);
	while (guest.running)
		pthread_cond_wait(&guest.changed, &guest.lock);
	pthread_mutex_unlock(&guest.lock);
}

static void guest_cont(void)
{
	pthread_mutex_lock(&guest.lock);
	__atomic_store_n(&guest.stop, false, __ATOMIC_RELEASE);
	pthread_cond_broadcast(&guest.changed);
	pthread_mutex_unlock(&guest.lock);
}

/* Takes all that has come out: in order for each sender, none missing, none after its limit. */
static unsigned take_out(struct bed *b, uint32_t next[3], const uint32_t limit[3])
{
	unsigned n = 0;
	uint32_t seq;

	while (world_gets(b, &seq)) {
		unsigned id = seq >> 24;
		uint32_t k = seq & 0xffffff;

		n++;
		if (id > 2) {
			CHECK(false, "frame of nobody: %x", seq);
			continue;
		}
		CHECK(k == next[id], "sender %u: frame %u came out, %u was due", id, k, next[id]);
		CHECK(k < limit[id],
		      "sender %u: frame %u came out, but only those before %u are released", id, k,
		      limit[id]);
		next[id] = k + 1;
		if (failures > 20)
			exit(1);
	}
	return n;
}

/* One epoch of all senders: all of its frames come out, and no others. Returns how long its barrier
 * took, in ns. */
static int64_t one_epoch(struct bed *b, unsigned n, const struct sender s[3], uint32_t next[3],
			 uint32_t released[3])
{
	struct pollfd p = {b->world, POLLIN, 0};
	uint32_t sealed[3];
	int64_t t0, until, barrier_took_ns;

	guest_cont();
	turn(b);
	poll(NULL, 0, 1 + (int)(n % 3)); /* an epoch's length */
	guest_stop();
	t0 = tv_now_ns();
	barrier(b, n + 2, 0);
	barrier_took_ns = tv_now_ns() - t0;
	for (unsigned i = 0; i < 3; i++)
		sealed[i] = s[i].seq;
	guest_cont(); /* the next epoch's frames mix with those that leave */
	take_out(b, next, released);
	memcpy(released, sealed, sizeof(sealed));
	nb_release(b->nb, GEN, n + 2);
	until = tv_now_ns() + WAIT_NS;
	while (tv_now_ns() < until &&
	       (next[0] < released[0] || next[1] < released[1] || next[2] < released[2])) {
		turn(b);
		if (!take_out(b, next, released))
			poll(&p, 1, 1);
	}
	for (unsigned i = 0; i < 3; i++)
		CHECK(next[i] == released[i], "epoch %u, sender %u: %u of %u came out", n + 2, i,
		      next[i], released[i]);
	guest_stop();
	return barrier_took_ns;
}

static void test_many(void)
{
	int64_t *barrier_ns = calloc(epochs, sizeof(int64_t));
	uint32_t next[3] = {0}, released[3] = {0};
	struct sender s[3] = {{0}};
	struct nb_stats st;
	unsigned frames = 0;
	struct bed b;

	set_up(&b, IFF_MULTI_QUEUE);
	plug_in(&b, 2, 64 << 20);
	nb_hold(b.nb);
	barrier(&b, 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		s[i].fd = i == 0 ? b.tap[0] : i == 1 ? b.queue2 : b.tap[1];
		s[i].id = (uint8_t)i;
		pthread_create(&s[i].thread, NULL, sender_main, &s[i]);
	}
	for (unsigned n = 0; n < epochs; n++)
		barrier_ns[n] = one_epoch(&b, n, s, next, released);
	CHECK(b.failed == 0, "failed: %d", b.failed_rc);
	CHECK(b.first_held > 0, "first_held never came");
	for (unsigned i = 0; i < 3; i++) {
		frames += s[i].seq;
		released[i] = s[i].seq;
	}
	nb_stats(b.nb, &st);
	CHECK(st.dropped_frames == 0, "%llu dropped", (unsigned long long)st.dropped_frames);
	nb_pass(b.nb);
	for (int64_t until = tv_now_ns() + WAIT_NS;
	     tv_now_ns() < until && next[0] + next[1] + next[2] < frames;) {
		turn(&b);
		take_out(&b, next, released);
	}
	CHECK(next[0] + next[1] + next[2] == frames, "%u of %u came out",
	      next[0] + next[1] + next[2], frames);
	pthread_mutex_lock(&guest.lock);
	guest.quit = true;
	pthread_cond_broadcast(&guest.changed);
	pthread_mutex_unlock(&guest.lock);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(s[i].thread, NULL);
	printf("  %u epochs, %u frames of 2 NICs, one with 2 queues\n", epochs, frames);
	print_times("barrier (2 NICs)", barrier_ns, epochs);
	free(barrier_ns);
	tear_down(&b);
}

int main(int argc, char **argv)
{
	int rc = bed_enter();

	if (argc > 1)
		epochs = (unsigned)atoi(argv[1]);
	if (!rc) {
		step("many epochs", test_many);
		rc = bed_verdict();
	}
	return rc;
}
