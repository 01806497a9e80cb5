/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: hashes of disk blocks at the end of an epoch, while the VM runs
 *
 * Blocks are read through QEMU (a read-only export, hv/attach/export.c), so in any format, and as
 * the guest would read them. A block counts for the epoch in whose course it was read, if no write
 * to it came from its mirror between the begin of the read and the epoch's end. Why it is then what
 * it is at that end: QEMU writes to the disk first and to the mirror after that (block/mirror.c:
 * bdrv_mirror_top_do_write), and answers the guest when both are done. A write that came before the
 * read began is on the disk, and was read. A write that the read may have seen in part, and that
 * had not come, comes later, in this epoch: the pause that ends it waits until every write has
 * ended. So it is seen here, and the block is read again for another epoch. The same holds for
 * what is discarded or zeroed.
 *
 * What is wanted belongs to the thread that reads, until an epoch's end takes what is ready
 * (SEALED), and to the loop after that; a read may end in a later epoch than it began in. One lock, held for moments: by that thread between two
 * reads, by a mirror's thread for one look at what is wanted, and in the pause to seal. While a
 * pause is asked for nothing new is read: QEMU would wait for it.
 */
#include "replicator/source/compare_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "hv/hv.h"

#define READ_MS 10000

enum state { IDLE, WANTED, SEALED };

struct item {
	uint64_t block;
	bool begun, read, written, sent;
	uint8_t hash[CDISK_HASH_BYTES];
};

struct cdisk {
	pthread_mutex_t
		order; /* of records: a write that has come, and one that is repeated; taken before lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	atomic_bool watching; /* something is wanted: looked at before the lock is taken */
	enum state state;
	bool pausing, stop;
	unsigned turn; /* how often something was wanted */
	uint64_t epoch;
	unsigned disk, n;
	bool repair;
	struct item items[CDISK_BLOCKS];
	int rc;
	/* the thread's */
	pthread_t thread;
	bool running;
	cdisk_send *send;
	void *send_arg;
	struct ckpt_hasher *hasher;
	int fds[NBD_MAX_DISKS];
	struct nbd_reader *readers[NBD_MAX_DISKS];
	unsigned nfds;
	uint8_t block[CKPT_BLOCK_BYTES];
};

int cdisk_new(struct cdisk **out)
{
	struct cdisk *c = calloc(1, sizeof(*c));

	*out = c;
	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->order, NULL);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++)
		c->fds[i] = -1;
	return 0;
}

/* ---- the connections ---- */
static int connect_to(const struct sockaddr_un *a, int *fd)
{
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	return connect(*fd, (const struct sockaddr *)a, sizeof(*a)) ? -errno : 0;
}

/* A folder that only this process's user can enter, for the moment in which the socket has a name. */
int cdisk_connect(struct cdisk *c, const char *dir, unsigned n, int *listen_fd, struct tv_err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char folder[sizeof(a.sun_path) - 8];
	int rc = 0;

	*listen_fd = -1;
	if (snprintf(folder, sizeof(folder), "%s/nbd-XXXXXX", dir) >= (int)sizeof(folder))
		return tv_fail(e, -ENAMETOOLONG, "run_dir is too long for a socket in it");
	if (!mkdtemp(folder))
		return tv_fail(e, -errno, "%s: %s", folder, strerror(errno));
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", folder);
	*listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listen_fd < 0 || bind(*listen_fd, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(*listen_fd, NBD_MAX_DISKS))
		rc = -errno;
	for (c->nfds = 0; c->nfds < n && c->nfds < NBD_MAX_DISKS && !rc; c->nfds++)
		rc = connect_to(&a, &c->fds[c->nfds]);
	unlink(a.sun_path);
	rmdir(folder);
	if (!rc)
		return 0;
	tv_close_fd(listen_fd);
	cdisk_end(c);
	return tv_fail(e, rc, "a socket for QEMU's disks: %s", tv_strerror(rc));
}

/* ---- the thread ---- */
static struct nbd_reader *reader_of(struct cdisk *c, unsigned disk, int *rc)
{
	char name[HV_EXPORT_BYTES];

	if (disk >= c->nfds) {
		*rc = -ENODEV;
	} else if (!c->readers[disk]) {
		struct nbd_reader *r;
		int fd = fcntl(c->fds[disk], F_DUPFD_CLOEXEC, 3); /* the other one is cdisk_end's */

		hv_export_name(disk, name);
		*rc = fd < 0 ? -errno : nbd_reader_new(fd, name, READ_MS, &r);
		if (!*rc)
			c->readers[disk] = r;
	}
	return *rc ? NULL : c->readers[disk];
}

static int read_block(struct cdisk *c, unsigned disk, uint64_t block, uint64_t *bytes)
{
	int rc = 0;
	struct nbd_reader *r = reader_of(c, disk, &rc);
	uint64_t at = block * CKPT_BLOCK_BYTES, left = 0;

	if (r)
		left = at < nbd_reader_bytes(r) ? nbd_reader_bytes(r) - at : 0;
	if (!rc && !left)
		rc = -ERANGE;
	left = left < CKPT_BLOCK_BYTES ? left : CKPT_BLOCK_BYTES;
	if (!rc)
		rc = nbd_reader_read(r, at, c->block, (uint32_t)left);
	*bytes = left;
	return rc;
}

/* Under lock. The next one to be read; NULL: there is none now. */
static struct item *next_item(struct cdisk *c)
{
	if (c->state != WANTED || c->pausing || c->rc)
		return NULL;
	for (unsigned i = 0; i < c->n; i++)
		if (!c->items[i].begun)
			return &c->items[i];
	return NULL;
}

/*
 * What was read goes as a record of its own between those of the guest's writes. No write has come since the
 * read began, and while `order` is held none does; one that comes later is a later record. If the read has seen
 * some of that one, its record brings it all.
 */
static void send_again(struct cdisk *c, struct item *it, unsigned turn, uint64_t block,
		       uint64_t bytes)
{
	bool good;
	int rc;

	pthread_mutex_lock(&c->order);
	pthread_mutex_lock(&c->lock);
	good = c->state == WANTED && c->turn == turn && !it->written;
	pthread_mutex_unlock(&c->lock);
	rc = good ? c->send(c->send_arg, c->disk, block * CKPT_BLOCK_BYTES, c->block,
			    (uint32_t)bytes)
		  : -EAGAIN;
	pthread_mutex_lock(&c->lock);
	if (c->turn == turn)
		it->sent = !rc;
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_unlock(&c->order);
}

static void *read_thread(void *arg)
{
	struct cdisk *c = arg;

	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct item *it = next_item(c);
		uint8_t hash[CKPT_HASH_BYTES];
		uint64_t block, bytes;
		unsigned disk, turn = c->turn;
		bool repair;
		int rc;

		if (!it) {
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		it->begun = true;
		it->written = false;
		block = it->block;
		repair = c->repair;
		disk = c->disk;
		pthread_mutex_unlock(&c->lock);
		rc = read_block(c, disk, block, &bytes);
		if (!rc)
			rc = ckpt_hash_block(c->hasher, c->block, bytes, hash);
		if (!rc && repair)
			send_again(c, it, turn, block, bytes);
		pthread_mutex_lock(&c->lock);
		/* Sealed meanwhile: it belongs to the loop, as one that was not read. */
		if (c->state != WANTED || c->turn != turn)
			continue;
		memcpy(it->hash, hash, sizeof(it->hash));
		it->read = !rc && !repair;
		c->rc = c->rc ? c->rc : rc;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- the loop ---- */
int cdisk_begin(struct cdisk *c, const uint8_t key[CKPT_HASH_KEY_BYTES], cdisk_send *send,
		void *arg)
{
	int rc = ckpt_hasher_new(key, &c->hasher);

	c->send = send;
	c->send_arg = arg;
	c->stop = false;
	c->rc = 0;
	c->state = IDLE;
	if (!rc)
		rc = -pthread_create(&c->thread, NULL, read_thread, c);
	c->running = !rc;
	return rc;
}

void cdisk_end(struct cdisk *c)
{
	atomic_store(&c->watching, false);
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	c->state = IDLE;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	/* A read that waits for QEMU ends. */
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++)
		if (c->fds[i] >= 0)
			shutdown(c->fds[i], SHUT_RDWR);
	if (c->running)
		pthread_join(c->thread, NULL);
	c->running = false;
	for (unsigned i = 0; i < NBD_MAX_DISKS; i++) {
		nbd_reader_free(c->readers[i]);
		c->readers[i] = NULL;
		tv_close_fd(&c->fds[i]);
	}
	c->nfds = 0;
	ckpt_hasher_free(c->hasher);
	c->hasher = NULL;
}

void cdisk_free(struct cdisk *c)
{
	if (!c)
		return;
	cdisk_end(c);
	free(c);
}

bool cdisk_is_idle(struct cdisk *c)
{
	bool idle;

	pthread_mutex_lock(&c->lock);
	idle = c->state == IDLE;
	pthread_mutex_unlock(&c->lock);
	return idle;
}

void cdisk_want(struct cdisk *c, const struct cdisk_want *w)
{
	pthread_mutex_lock(&c->lock);
	c->disk = w->disk;
	c->repair = w->repair;
	c->n = w->n < CDISK_BLOCKS ? w->n : CDISK_BLOCKS;
	for (unsigned i = 0; i < c->n; i++)
		c->items[i] = (struct item){.block = w->blocks[i]};
	c->turn++;
	c->state = WANTED;
	atomic_store(&c->watching, true);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

bool cdisk_take(struct cdisk *c, uint64_t epoch, struct cdisk_out *out)
{
	bool ready;

	pthread_mutex_lock(&c->lock);
	ready = c->state == SEALED && c->epoch == epoch;
	if (ready) {
		*out = (struct cdisk_out){.epoch = epoch, .disk = c->disk, .rc = c->rc};
		for (unsigned i = 0; i < c->n; i++) {
			const struct item *it = &c->items[i];

			if (it->sent) {
				out->sent[out->nsent++] = it->block;
				continue;
			}
			if (!it->read || it->written) {
				out->written[out->nagain] = it->begun;
				out->again[out->nagain++] = it->block;
				continue;
			}
			memcpy(out->hashes + (size_t)out->n * CDISK_HASH_BYTES, it->hash,
			       CDISK_HASH_BYTES);
			out->blocks[out->n++] = it->block;
		}
		c->state = IDLE;
	}
	pthread_mutex_unlock(&c->lock);
	return ready;
}

/* ---- other threads ---- */
void cdisk_written(struct cdisk *c, unsigned disk, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset / CKPT_BLOCK_BYTES, last = (offset + bytes - 1) / CKPT_BLOCK_BYTES;

	if (!c || !bytes || !atomic_load(&c->watching))
		return;
	pthread_mutex_lock(&c->order);
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; c->state == WANTED && c->disk == disk && i < c->n; i++)
		if (c->items[i].block >= first && c->items[i].block <= last)
			c->items[i].written = true;
	pthread_mutex_unlock(&c->lock);
	pthread_mutex_unlock(&c->order);
}

void cdisk_pausing(struct cdisk *c, bool on)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->pausing = on;
	if (!on)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void cdisk_barrier(struct cdisk *c, uint64_t epoch)
{
	if (!c || !atomic_load(&c->watching))
		return;
	pthread_mutex_lock(&c->lock);
	if (c->state == WANTED && (c->items[0].read || c->items[0].sent || c->repair || c->rc)) {
		c->state = SEALED;
		c->epoch = epoch;
	}
	pthread_mutex_unlock(&c->lock);
}
