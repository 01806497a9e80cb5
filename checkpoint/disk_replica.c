/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: a VM's disks on the backup
 *
 * The first copy is written to the images as it comes. Until epoch 1 is applied, the state file
 * records MIXED: the images hold no epoch. After the first copy, records are kept per epoch
 * (memory, then a file: journal.c), and only ckpt_rep_apply touches the images, after the whole
 * epoch was verified, with "applying" in the state file around it. Records of an epoch arrive while
 * the one before is still being checked, so several epochs are open at once; they are applied in
 * order, each once.
 *
 * Every record is checked as soon as it is complete, contents against the hash in its header.
 * ckpt_rep_verify checks the rest: that all records came, in their order, by the checksum over
 * their headers.
 *
 * A failed write to an image (no room: room.c, I/O error) makes the replica dead: every later call fails,
 * and the state file records MIXED for the next session.
 */
#include "checkpoint/image.h"
#include "checkpoint/journal.h"
#include "checkpoint/repstate.h"
#include "checkpoint/room.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct kept {
	struct ckpt_journal *journal;
	uint64_t epoch; /* 0: free */
};

struct ckpt_rep {
	unsigned disks;
	uint64_t bytes[CKPT_MAX_DISKS];
	struct ckpt_image images[CKPT_MAX_DISKS];
	struct ckpt_slabs slabs;
	struct kept kept[CKPT_REP_EPOCHS];
	struct ckpt_repstate *state;
	struct ckpt_sum *sum; /* of the first copy */
	uint64_t applied, verified, written_bytes;
	bool streaming;
	bool handed_over; /* a VM runs from the images, or did */
	/* the first copy */
	struct tv_buf carry;
	uint64_t stream_records;
	uint8_t *scratch, *zeroes;
	struct ckpt_hasher *hasher;
	uint8_t zero_hash[CKPT_HASH_BYTES]; /* of a block of zeroes */
	ckpt_rep_before *before;	    /* NULL: none */
	void *before_arg;
	int failed;
	struct tv_err why;
};

void ckpt_rep_watch(struct ckpt_rep *r, ckpt_rep_before *before, void *arg)
{
	r->before = before;
	r->before_arg = arg;
}

static int die(struct ckpt_rep *r, struct tv_err *e, int rc)
{
	r->failed = rc;
	if (e)
		r->why = *e;
	return rc;
}

static int dead(const struct ckpt_rep *r, struct tv_err *e)
{
	return r->failed ? tv_fail(e, r->failed, "%s", r->why.text) : 0;
}

/* A checked record's contents into their image. */
static int apply_record(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
			struct tv_err *e)
{
	struct ckpt_rep *r = arg;
	struct ckpt_image *im = &r->images[rec->disk];
	const uint8_t *contents;

	if (r->before)
		r->before(r->before_arg, rec->disk, rec->offset, rec->bytes);
	if (rec->kind != CKPT_DISK_WRITE)
		return ckpt_image_zero(im, rec->offset, rec->bytes, r->zeroes, e);
	if (ckpt_disk_decode(rec, payload, r->scratch, &contents))
		return tv_fail(e, TV_E_CORRUPT, "damaged contents in a disk record");
	r->written_bytes += rec->bytes;
	return ckpt_image_write(im, rec->offset, contents, rec->bytes, e);
}

static const char *check_header(void *arg, const struct ckpt_disk_rec *rec)
{
	const struct ckpt_rep *r = arg;

	return ckpt_disk_check(rec, r->disks, r->bytes);
}

static int check_record(void *arg, const struct ckpt_disk_rec *rec, const uint8_t *payload,
			struct tv_err *e)
{
	struct ckpt_rep *r = arg;
	const uint8_t *contents;

	if (rec->kind == CKPT_DISK_WRITE && ckpt_disk_contents(rec, payload, r->scratch, &contents))
		return tv_fail(e, TV_E_CORRUPT,
			       "disk record for disk %u, offset %" PRIu64
			       ": the contents do not match their hash",
			       rec->disk, rec->offset);
	return 0;
}

static int bad_record(struct tv_err *e, uint64_t number, const struct ckpt_disk_rec *rec,
		      const char *what)
{
	return tv_fail(e, TV_E_PROTOCOL,
		       "disk record %" PRIu64 " (disk %u, offset %" PRIu64 "): %s", number,
		       rec->disk, rec->offset, what);
}

/* ---- opening and closing ---- */
static int take_memory(struct ckpt_rep *r, const struct ckpt_rep_conf *c)
{
	int rc = 0;

	tv_buf_init(&r->carry, CKPT_DISK_RECORD_BYTES);
	r->sum = ckpt_sum_new();
	r->scratch = malloc(CKPT_DISK_PIECE_BYTES);
	r->zeroes = calloc(1, CKPT_DISK_PIECE_BYTES);
	if (!r->sum || !r->scratch || !r->zeroes)
		return -ENOMEM;
	ckpt_slabs_init(&r->slabs, c->memory_bytes);
	for (unsigned i = 0; i < CKPT_REP_EPOCHS && !rc; i++)
		rc = ckpt_journal_new(&r->slabs, c->room, &r->kept[i].journal);
	return rc;
}

/* Before anything is written: what an earlier session left must not suffer from a bad description. */
static int check_sizes(const struct ckpt_rep_conf *c, struct tv_err *e)
{
	if (c->disks > CKPT_MAX_DISKS)
		return tv_fail(e, -EINVAL, "more than %u disks", CKPT_MAX_DISKS);
	for (unsigned i = 0; i < c->disks; i++)
		if (!c->bytes[i] || c->bytes[i] > INT64_MAX)
			return tv_fail(e, -EINVAL, "disk %u has an impossible size", i);
	return 0;
}

int ckpt_rep_open(const struct ckpt_rep_conf *c, struct ckpt_rep **out, struct tv_err *e)
{
	struct ckpt_rep *r;
	int rc;

	*out = NULL;
	rc = check_sizes(c, e);
	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return tv_fail(e, -ENOMEM, "no memory for the replica's journal");
	r->streaming = true;
	for (unsigned i = 0; i < CKPT_MAX_DISKS; i++)
		r->images[i].fd = -1;
	/* A replica that cannot grow is refused before the copy begins. */
	rc = ckpt_room_grow(c->room, 1);
	if (rc)
		tv_fail(e, rc, "%s", ckpt_room_why(c->room, rc));
	else if (take_memory(r, c))
		rc = tv_fail(e, -ENOMEM, "no memory for the replica's journal");
	/* MIXED before the first image is touched. */
	if (!rc)
		rc = ckpt_repstate_begin(c->dir, c->vm_id, c->session, &r->state, e);
	if (!rc && c->hash_key &&
	    (ckpt_hasher_new(c->hash_key, &r->hasher) ||
	     ckpt_hash_block(r->hasher, r->zeroes, CKPT_BLOCK_BYTES, r->zero_hash)))
		rc = tv_fail(e, -ENOMEM, "no memory for a hash");
	for (; !rc && r->disks < c->disks; r->disks++) {
		r->bytes[r->disks] = c->bytes[r->disks];
		rc = ckpt_image_open(&r->images[r->disks], c, r->disks, e);
	}
	if (rc) {
		ckpt_rep_free(r);
		return rc;
	}
	*out = r;
	return 0;
}

void ckpt_rep_free(struct ckpt_rep *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < CKPT_MAX_DISKS; i++)
		tv_close_fd(&r->images[i].fd);
	for (unsigned i = 0; i < CKPT_REP_EPOCHS; i++)
		ckpt_journal_free(r->kept[i].journal);
	ckpt_slabs_dispose(&r->slabs);
	ckpt_repstate_free(r->state);
	ckpt_hasher_free(r->hasher);
	ckpt_sum_free(r->sum);
	tv_buf_dispose(&r->carry);
	free(r->scratch);
	free(r->zeroes);
	free(r);
}

const char *ckpt_rep_path(const struct ckpt_rep *r, unsigned disk)
{
	return disk < r->disks ? r->images[disk].path : NULL;
}

uint64_t ckpt_rep_bytes(const struct ckpt_rep *r, unsigned disk)
{
	return disk < r->disks ? r->bytes[disk] : 0;
}

uint64_t ckpt_rep_image_bytes(const struct ckpt_rep *r, unsigned disk)
{
	struct stat st;

	return disk < r->disks && !fstat(r->images[disk].fd, &st) ? (uint64_t)st.st_blocks * 512
								  : 0;
}

uint64_t ckpt_rep_written_bytes(const struct ckpt_rep *r)
{
	return r->written_bytes;
}

/* The images, and their names in the folder. */
static int sync_images(struct ckpt_rep *r, struct tv_err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < r->disks && !rc; i++)
		rc = ckpt_image_sync(&r->images[i], e);
	if (!rc && r->disks) {
		rc = tv_sync_folder_of(r->images[0].path);
		if (rc)
			tv_fail(e, rc, "folder of replica image %s: sync: %s", r->images[0].path,
				tv_strerror(rc));
	}
	return rc;
}

void ckpt_rep_hand_over(struct ckpt_rep *r)
{
	ckpt_repstate_applying(r->state);
	r->handed_over = true;
}

/*
 * The images first: should the host crash in between, the state file still shows that they need a
 * new first copy. A file that stays costs nothing else.
 */
int ckpt_rep_let_go(struct ckpt_rep *r, struct tv_err *e)
{
	int rc = sync_images(r, e);

	if (!rc)
		ckpt_repstate_remove(r->state);
	return rc;
}

void ckpt_rep_remove(struct ckpt_rep *r)
{
	for (unsigned i = 0; i < r->disks; i++)
		unlink(r->images[i].path);
	ckpt_repstate_remove(r->state);
}

bool ckpt_rep_is_whole(const struct ckpt_rep *r)
{
	return r->applied && !r->failed;
}

int ckpt_rep_settle(struct ckpt_rep *r, struct tv_err *e)
{
	int rc = dead(r, e);

	if (!rc)
		rc = sync_images(r, e);
	if (!rc && !r->handed_over && ckpt_repstate_settle(r->state))
		rc = tv_fail(e, -EIO, "the replica's state file cannot be written");
	return rc;
}

/* ---- what is there already ---- */
bool ckpt_rep_has_old(const struct ckpt_rep *r)
{
	for (unsigned i = 0; i < r->disks; i++)
		if (r->images[i].old)
			return true;
	return false;
}

int ckpt_rep_hash(struct ckpt_rep *r, unsigned disk, uint64_t first, unsigned n, uint8_t *out,
		  struct tv_err *e)
{
	uint64_t hole_until = 0, end;
	unsigned done = 0;
	struct ckpt_image *im;

	if (disk >= r->disks || !r->images[disk].old)
		return 0;
	im = &r->images[disk];
	end = r->bytes[disk];
	for (; done < n && first + done < CKPT_HASHED_BLOCKS_MAX; done++) {
		uint64_t at = (first + done) * CKPT_BLOCK_BYTES;
		size_t bytes;
		bool hole;
		int rc;

		if (at >= end)
			break;
		bytes = end - at < CKPT_BLOCK_BYTES ? (size_t)(end - at) : CKPT_BLOCK_BYTES;
		hole = ckpt_image_is_hole(im, at, bytes, end, &hole_until);
		if (hole && bytes == CKPT_BLOCK_BYTES) {
			memcpy(out + (size_t)done * CKPT_HASH_BYTES, r->zero_hash, CKPT_HASH_BYTES);
			continue;
		}
		rc = hole ? 0 : ckpt_image_read(im, at, r->scratch, bytes, e);
		if (!rc && ckpt_hash_block(r->hasher, hole ? r->zeroes : r->scratch, bytes,
					   out + (size_t)done * CKPT_HASH_BYTES))
			rc = tv_fail(e, -EIO, "hashing replica image %s failed", im->path);
		if (rc)
			return rc;
	}
	return (int)done;
}

int ckpt_rep_read(struct ckpt_rep *r, unsigned disk, uint64_t offset, void *p, size_t n,
		  struct tv_err *e)
{
	if (disk >= r->disks || offset > r->bytes[disk] || n > r->bytes[disk] - offset)
		return tv_fail(e, -ERANGE, "no such place in a replica image");
	return ckpt_image_read(&r->images[disk], offset, p, n, e);
}

/* ---- first copy ---- */

/* Applies the record in carry when it is complete; *more is how many bytes it still needs. */
static int stream_record(struct ckpt_rep *r, size_t *more, struct tv_err *e)
{
	struct ckpt_disk_rec rec;
	const char *wrong;
	int rc;

	*more = CKPT_DISK_HEADER_BYTES - r->carry.bytes;
	if (r->carry.bytes < CKPT_DISK_HEADER_BYTES)
		return 0;
	ckpt_disk_get(r->carry.data, &rec);
	wrong = ckpt_disk_check(&rec, r->disks, r->bytes);
	if (wrong)
		return bad_record(e, r->stream_records, &rec, wrong);
	*more = CKPT_DISK_HEADER_BYTES + rec.payload_bytes - r->carry.bytes;
	if (*more)
		return 0;
	ckpt_sum_add(r->sum, r->carry.data, CKPT_DISK_HEADER_BYTES);
	rc = check_record(r, &rec, r->carry.data + CKPT_DISK_HEADER_BYTES, e);
	if (!rc)
		rc = apply_record(r, &rec, r->carry.data + CKPT_DISK_HEADER_BYTES, e);
	r->carry.bytes = 0;
	r->stream_records++;
	*more = CKPT_DISK_HEADER_BYTES;
	return rc;
}

int ckpt_rep_stream(struct ckpt_rep *r, const void *p, size_t n, struct tv_err *e)
{
	const uint8_t *at = p;
	size_t more;
	int rc = dead(r, e);

	if (rc)
		return rc;
	if (!r->streaming)
		return die(r, e,
			   tv_fail(e, TV_E_PROTOCOL,
				   "disk data of epoch 0, but the first copy has ended"));
	rc = stream_record(r, &more, e);
	while (!rc && n) {
		size_t k = n < more ? n : more;

		rc = tv_buf_add(&r->carry, at, k);
		if (rc)
			tv_fail(e, rc, "no memory for a disk record");
		else
			rc = stream_record(r, &more, e);
		at += k;
		n -= k;
	}
	return rc ? die(r, e, rc) : 0;
}

int ckpt_rep_stream_end(struct ckpt_rep *r, uint64_t records, uint64_t checksum, struct tv_err *e)
{
	int rc = dead(r, e);

	if (rc)
		return rc;
	if (!r->streaming || r->carry.bytes)
		return die(r, e,
			   tv_fail(e, TV_E_PROTOCOL, "the disks' first copy ends inside a record"));
	if (records != r->stream_records || checksum != ckpt_sum_value(r->sum))
		return die(
			r, e,
			tv_fail(e, TV_E_CORRUPT, "the disks' first copy: wrong count or checksum"));
	r->streaming = false;
	return 0; /* the images hold no epoch yet: epoch 1 makes them whole */
}

/* ---- epochs ---- */
static struct kept *kept_of(struct ckpt_rep *r, uint64_t epoch)
{
	return &r->kept[epoch % CKPT_REP_EPOCHS];
}

int ckpt_rep_add(struct ckpt_rep *r, uint64_t epoch, const void *p, size_t n, struct tv_err *e)
{
	struct ckpt_journal_ops ops = {check_header, check_record, r};
	struct kept *k = kept_of(r, epoch);
	int rc = dead(r, e);

	if (rc)
		return rc;
	if (epoch <= r->applied || epoch <= r->verified || epoch > r->applied + CKPT_REP_EPOCHS)
		return die(r, e,
			   tv_fail(e, TV_E_PROTOCOL,
				   "unexpected disk data of epoch %" PRIu64 "; epoch %" PRIu64
				   " is applied",
				   epoch, r->applied));
	k->epoch = epoch;
	rc = ckpt_journal_add(k->journal, p, n, &ops, e);
	return rc ? die(r, e, rc) : 0;
}

int ckpt_rep_verify(struct ckpt_rep *r, uint64_t epoch, uint64_t records, uint64_t checksum,
		    struct tv_err *e)
{
	struct kept *k = kept_of(r, epoch);
	uint64_t count;
	int rc = dead(r, e);

	if (rc)
		return rc;
	if (r->streaming || epoch != r->applied + 1)
		rc = tv_fail(e, TV_E_PROTOCOL,
			     "epoch %" PRIu64 " is not the disks' next one, %" PRIu64, epoch,
			     r->applied + 1);
	else
		rc = ckpt_journal_whole(k->journal, e);
	/* A free journal is an empty one. */
	count = ckpt_journal_records(k->journal);
	if (!rc && (count != records || ckpt_journal_sum(k->journal) != checksum))
		rc = tv_fail(e, TV_E_CORRUPT,
			     "epoch %" PRIu64 ": %" PRIu64 " disk records instead of %" PRIu64
			     ", or a wrong checksum",
			     epoch, count, records);
	if (rc)
		return die(r, e, rc);
	r->verified = epoch;
	return 0;
}

int ckpt_rep_apply(struct ckpt_rep *r, uint64_t epoch, struct tv_err *e)
{
	struct ckpt_journal_ops ops = {check_header, apply_record, r};
	struct ckpt_journal_ops recheck = {check_header, check_record, r};
	struct kept *k = kept_of(r, epoch);
	int rc = dead(r, e);

	if (rc)
		return rc;
	if (r->verified != epoch || epoch != r->applied + 1)
		return die(r, e, tv_fail(e, -EINVAL, "epoch %" PRIu64 " was not checked", epoch));
	if (k->epoch == epoch) {
		ckpt_repstate_applying(r->state);
		rc = ckpt_journal_each(k->journal, &ops, &recheck, e);
		if (rc)
			return die(r, e, rc);
		if (tv_fault("replica_kill"))
			raise(SIGKILL); /* before the state file says LIVE */
		ckpt_journal_clear(k->journal);
		k->epoch = 0;
	}
	r->applied = epoch;
	ckpt_repstate_applied(r->state, epoch);
	return 0;
}
