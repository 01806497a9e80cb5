/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * checkpoint: one epoch as bytes. Encodes captured pages and device state into records, checks and
 * applies records to a replica's memory. Knows neither QEMU nor sockets: memory is reached through
 * struct ckpt_mem. Format: docs/WIRE.md, "Page records".
 *
 * Primary: ckpt_enc_new, then per epoch ckpt_enc_page... in ascending (block, offset) order and
 *   ckpt_enc_state. Backup: ckpt_dec_new, per epoch ckpt_dec_begin, ckpt_dec_add...,
 * ckpt_dec_verify (whole epoch checked, nothing touched), then ckpt_dec_apply (cannot fail for
 * reasons of format). Before the first epoch ckpt_dec_stream takes the first copy. One encoder and
 * one decoder belong together: what the one made, the other has to apply, in that order and without
 * a gap. Return codes: see common.h. One thread at a time per struct.
 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "common/common.h"

#define CKPT_RECORD_HEADER_BYTES 32u
/* Largest device state accepted: lengths are checked before memory is taken, and only as much is
 * taken. Most are below 1 MiB; a virtual graphics card's has what is on its screens. */
#define CKPT_MAX_STATE_BYTES (256u << 20)
#define CKPT_MAX_BLOCKS 256u

enum ckpt_encoding {
	CKPT_ZERO = 0,	  /* page of zeroes, no payload */
	CKPT_RAW = 1,	  /* payload is the page */
	CKPT_LZ4 = 2,	  /* LZ4 block of the page */
	CKPT_XOR_LZ4 = 3, /* LZ4 block of (page XOR what the receiver has there now) */
};

/* The replica's memory as the decoder sees it. */
struct ckpt_mem {
	void *arg;
	unsigned blocks;
	uint64_t (*block_bytes)(void *arg, uint32_t block);
	/* Pointer to the block's memory if it is mapped, else NULL: then read and write are
	 * used. */
	uint8_t *(*map)(void *arg, uint32_t block);
	int (*read)(void *arg, uint32_t block, uint64_t offset, void *p, size_t n);
	int (*write)(void *arg, uint32_t block, uint64_t offset, const void *p, size_t n);
	/* An epoch's page is about to be written there. May be NULL. */
	void (*before)(void *arg, uint32_t block, uint64_t offset);
};

struct ckpt_stats {
	uint64_t pages, zero_pages, raw_pages, lz4_pages, xor_pages;
	uint64_t raw_bytes;	/* what would go over the wire without encoding */
	uint64_t wire_bytes;	/* what goes */
	uint64_t state_records; /* records of device state; records of all kinds: pages +
				   state_records */
};

/* ---- encoder ---- */
struct ckpt_enc;
/* cache_bytes of page contents are kept as XOR bases (at least recently used, bounded; 0: no
 * deltas). All memory is taken here. */
int ckpt_enc_new(size_t cache_bytes, struct ckpt_enc **out) TV_MUST_CHECK;
void ckpt_enc_free(struct ckpt_enc *enc);
/* Forgets all bases and the last device state: the receiver starts from nothing. */
void ckpt_enc_reset(struct ckpt_enc *enc);
/* Appends one record for a page to out. -ENOBUFS when out is full (then nothing changed: send what
 * is there and call again). CKPT_RECORD_HEADER_BYTES + TV_PAGE_BYTES are always enough. -EINVAL: no
 * such block, or offset not page aligned. page may be at any address and must not change during the
 * call. */
int ckpt_enc_page(struct ckpt_enc *enc, uint32_t block, uint64_t offset, const void *page,
		  struct tv_buf *out) TV_MUST_CHECK;
/* The next record of that page is made without a base: what the receiver has there is not trusted. */
void ckpt_enc_forget(struct ckpt_enc *enc, uint32_t block, uint64_t offset);
/*
 * Appends the device state as one or more records (block CKPT_BLOCK_STATE, pieces of at most 256
 * KiB, XOR against the last state sent where it helps). The last records of an epoch.
 */
#define CKPT_BLOCK_STATE 0xffffu
int ckpt_enc_state(struct ckpt_enc *enc, const void *state, size_t bytes,
		   struct tv_buf *out) TV_MUST_CHECK;
/* Needs room for all of it, else nothing changes and it returns -ENOBUFS;
 * CKPT_ENC_STATE_BYTES(bytes) are always enough. -EINVAL for 0 bytes, -EFBIG over
 * CKPT_MAX_STATE_BYTES, -ENOMEM. */
#define CKPT_ENC_STATE_BYTES(bytes) \
	((bytes) + ((bytes) / (256u << 10) + 1) * (size_t)CKPT_RECORD_HEADER_BYTES)
/* Counters since the start. */
void ckpt_enc_stats(const struct ckpt_enc *enc, struct ckpt_stats *out);

/* ---- room on the backup's disk (room.c) ---- */
struct ckpt_room;
/*
 * For one VM: dir is where its replicas and spools lie (it exists), spool_bytes how much all of its
 * spools may take together. Nothing grows so far that less than reserve_bytes of the file system
 * would be free. -ENOMEM.
 */
int ckpt_room_new(const char *dir, uint64_t spool_bytes, uint64_t reserve_bytes,
		  struct ckpt_room **out) TV_MUST_CHECK;
/* After all that were given it. NULL is allowed. */
void ckpt_room_free(struct ckpt_room *r);
/* What stands behind a failure: for -ENOSPC the sentence of the last refusal, if there was one. */
const char *ckpt_room_why(const struct ckpt_room *r, int rc);

/* ---- decoder ---- */
struct ckpt_dec;
/*
 * memory_bytes of encoded records are kept in memory for an epoch that is not committed yet; what
 * is more goes to an unlinked file in room, and -ENOSPC when that has none (NULL: at once).
 */
int ckpt_dec_new(const struct ckpt_mem *mem, size_t memory_bytes, struct ckpt_room *room,
		 struct ckpt_dec **out) TV_MUST_CHECK;
void ckpt_dec_free(struct ckpt_dec *dec);
/* Starts an epoch; drops what an unfinished one, or an unfinished stream, had left. */
void ckpt_dec_begin(struct ckpt_dec *dec);
/* Adds received bytes: any split, also in the middle of a record. Only bounds are checked here.
 * -ENOSPC, -ENOMEM or the spool file's errno: the epoch is lost, its room is freed, and every call
 * fails the same way until ckpt_dec_begin. Writes to a file, so it may take as long as a disk
 * takes. */
int ckpt_dec_add(struct ckpt_dec *dec, const void *p, size_t n) TV_MUST_CHECK;
/*
 * Checks the whole epoch against the replica as it is: every header, every length, ascending order
 * (so no page twice), every hash of decoded contents, the device state complete, and that the
 * number of records (pages and device state) and the checksum over all record bytes are what the
 * sender counted. An epoch without device state is refused: memory and devices belong together.
 * Touches nothing. TV_E_CORRUPT or TV_E_PROTOCOL with a sentence that names record and reason;
 * -ENOMEM.
 */
int ckpt_dec_verify(struct ckpt_dec *dec, uint64_t records, uint64_t checksum,
		    struct tv_err *e) TV_MUST_CHECK;
/* Applies a verified epoch: pages into the replica, the device state becomes the current one. Only
 * the replica's own read or write, or the spool file's read, can fail it: then the replica is lost
 * and this decoder refuses everything from then on (-EIO). -EINVAL: not verified. */
int ckpt_dec_apply(struct ckpt_dec *dec) TV_MUST_CHECK;
/*
 * First copy: decodes, checks and applies records one by one as they come, no epoch needed. Pages
 * in any order and repeated; no device state. After a failure, which leaves the records before it
 * applied, it fails the same way until ckpt_dec_begin.
 */
int ckpt_dec_stream(struct ckpt_dec *dec, const void *p, size_t n, struct tv_err *e) TV_MUST_CHECK;
/* Bytes of a streamed record that is not complete yet: 0 at the end of a whole first copy. */
size_t ckpt_dec_stream_pending(const struct ckpt_dec *dec);
/* The device state of the epoch that was verified and is not applied yet; NULL: there is none. */
const uint8_t *ckpt_dec_next_state(const struct ckpt_dec *dec, size_t *bytes);
/* The device state of the last applied epoch; valid until the next call. NULL before the first,
 * and after an apply that failed. */
const uint8_t *ckpt_dec_state(struct ckpt_dec *dec, size_t *bytes);
/* How often bits of that had flipped in memory, and were mended from its second copy, since this was asked
 * last; and where, the last time. */
struct ckpt_mended {
	unsigned times;
	size_t offset;
};
void ckpt_dec_mended(struct ckpt_dec *dec, struct ckpt_mended *out);
/* Counters of applied records since the start, streamed ones among them. */
void ckpt_dec_stats(const struct ckpt_dec *dec, struct ckpt_stats *out);

/* ---- disks: records (docs/WIRE.md, "Disk records") ---- */
#define CKPT_MAX_DISKS 64u
#define CKPT_DISK_HEADER_BYTES 32u
#define CKPT_DISK_PIECE_BYTES (256u << 10) /* contents of one WRITE record, at most */
#define CKPT_DISK_RECORD_BYTES (CKPT_DISK_HEADER_BYTES + CKPT_DISK_PIECE_BYTES)

enum ckpt_disk_kind { CKPT_DISK_WRITE = 0, CKPT_DISK_ZERO = 1, CKPT_DISK_TRIM = 2 };
/*
 * Makes one record in out (CKPT_DISK_RECORD_BYTES of room) and returns its length. bytes: 1 to
 * CKPT_DISK_PIECE_BYTES for a WRITE, anything for the others. A write of zeroes becomes ZERO.
 * data may lie in its place already (out + CKPT_DISK_HEADER_BYTES), and is not copied then.
 * scratch: CKPT_DISK_PIECE_BYTES.
 */
size_t ckpt_disk_record(enum ckpt_disk_kind kind, unsigned disk, uint64_t offset, const void *data,
			uint64_t bytes, uint8_t *scratch, uint8_t *out);

/* ---- disks: what the backup has already (sieve.c: theory of operation) ---- */
#define CKPT_BLOCK_BYTES (64u << 10)
#define CKPT_HASH_BYTES 16u
#define CKPT_HASH_KEY_BYTES 16u
#define CKPT_HASHED_BLOCKS_MAX (16u << 20) /* of one disk: 1 TiB, 256 MiB of hashes; more is sent */
struct ckpt_hasher;
int ckpt_hasher_new(const uint8_t key[CKPT_HASH_KEY_BYTES], struct ckpt_hasher **out) TV_MUST_CHECK;
void ckpt_hasher_free(struct ckpt_hasher *h);
/* 1 to CKPT_MAX_STATE_BYTES bytes. */
int ckpt_hash_block(struct ckpt_hasher *h, const void *p, size_t n,
		    uint8_t out[CKPT_HASH_BYTES]) TV_MUST_CHECK;

struct ckpt_sieve;
struct ckpt_sieve_out { /* what is to be sent; 0, or a negative code, which is returned */
	int (*write)(void *arg, uint64_t offset, const void *data, uint32_t bytes);
	int (*zero)(void *arg, uint64_t offset, uint64_t bytes, bool trim);
};
/*
 * For one disk of that size, whose first `known` blocks have these hashes on the backup. hashes is
 * taken over (malloc), also on failure. One thread at a time. -ENOMEM.
 */
int ckpt_sieve_new(uint64_t bytes, const uint8_t key[CKPT_HASH_KEY_BYTES], uint8_t *hashes,
		   uint64_t known, const struct ckpt_sieve_out *out, void *arg,
		   struct ckpt_sieve **sieve) TV_MUST_CHECK;
void ckpt_sieve_free(struct ckpt_sieve *s);
/* What the first copy brings, and the guest's writes meanwhile; inside of the disk. */
int ckpt_sieve_write(struct ckpt_sieve *s, uint64_t offset, const void *data,
		     uint32_t bytes) TV_MUST_CHECK;
int ckpt_sieve_zero(struct ckpt_sieve *s, uint64_t offset, uint64_t bytes, bool trim) TV_MUST_CHECK;
/* The first copy is complete: sends zeroes that were held back; then the image equals the copy.
 * From now on everything that comes is sent. */
int ckpt_sieve_end(struct ckpt_sieve *s) TV_MUST_CHECK;
/* Contents that were not sent because the backup had them. */
uint64_t ckpt_sieve_kept_bytes(const struct ckpt_sieve *s);

/* ---- disks: the replica on the backup ---- */
/*
 * The images of one VM and what is to be written to them. ckpt_rep_open, then ckpt_rep_stream...
 * (first copy, applied as it comes) and ckpt_rep_stream_end; then for every epoch ckpt_rep_add...
 * (kept, nothing touched; up to CKPT_REP_EPOCHS of them at once, in order), ckpt_rep_verify,
 * ckpt_rep_apply; ckpt_rep_close. One thread at a time.
 *
 * Beside the images lies a state file that says whether they are one whole epoch's, also after a
 * SIGKILL at any moment (ckpt_rep_state).
 */
#define CKPT_REP_EPOCHS 4u
struct ckpt_rep_conf {
	const char *dir; /* where images and state file lie; exists */
	const char *vm_id, *session;
	unsigned disks;
	uint64_t bytes[CKPT_MAX_DISKS];
	size_t memory_bytes; /* of all epochs' records kept in memory; the rest in files of room */
	struct ckpt_room *room; /* the caller's, outlives it; NULL: images grow, epochs do not */
	/* Images of the right size that are there already keep what they hold, for ckpt_rep_hash
	 * under this key. NULL: they become empty. */
	const uint8_t *hash_key;
};
struct ckpt_rep;
/* Makes the images, empty (all zero, sparse) where they are new, and of the right size. -EBUSY: a
 * running VM uses one of them; -ENOSPC, -EFBIG and others: the sentence names the file. */
int ckpt_rep_open(const struct ckpt_rep_conf *conf, struct ckpt_rep **out,
		  struct tv_err *e) TV_MUST_CHECK;
/* Does any image hold data from before? Then only a complete first copy makes it usable, and hashes
 * may be asked for. */
bool ckpt_rep_has_old(const struct ckpt_rep *rep);
/*
 * Hashes of up to n blocks from first on, as the image is now, into out (CKPT_HASH_BYTES each).
 * Returns how many (0: the end, the image was empty, or the limit is reached) or a negative errno.
 */
int ckpt_rep_hash(struct ckpt_rep *rep, unsigned disk, uint64_t first, unsigned n, uint8_t *out,
		  struct tv_err *e) TV_MUST_CHECK;
/* before(arg) is called before an epoch's record is written to an image. NULL: nobody wants to
 * know. */
typedef void ckpt_rep_before(void *arg, unsigned disk, uint64_t offset, uint64_t bytes);
void ckpt_rep_watch(struct ckpt_rep *rep, ckpt_rep_before *before, void *arg);
/* What the image holds, n bytes from offset on. -ERANGE; else errors of the file. */
int ckpt_rep_read(struct ckpt_rep *rep, unsigned disk, uint64_t offset, void *p, size_t n,
		  struct tv_err *e) TV_MUST_CHECK;
/* NULL: no such disk. */
const char *ckpt_rep_path(const struct ckpt_rep *rep, unsigned disk);
/* 0: no such disk. */
uint64_t ckpt_rep_bytes(const struct ckpt_rep *rep, unsigned disk);
/* The path, also before it is opened. -ENAMETOOLONG. */
int ckpt_image_path(const char *dir, const char *vm_id, unsigned disk, char *out,
		    size_t room) TV_MUST_CHECK;
/* What an image takes in its file system; 0: not known. */
uint64_t ckpt_rep_image_bytes(const struct ckpt_rep *rep, unsigned disk);
/* After a failure of this or of any of the next five, all of them fail the same way. */
int ckpt_rep_stream(struct ckpt_rep *rep, const void *p, size_t n, struct tv_err *e) TV_MUST_CHECK;
/* Checks count and checksum of the first copy. */
int ckpt_rep_stream_end(struct ckpt_rep *rep, uint64_t records, uint64_t checksum,
			struct tv_err *e) TV_MUST_CHECK;
/* Keeps bytes of an epoch; TV_E_PROTOCOL for an epoch that is applied or too far ahead. */
int ckpt_rep_add(struct ckpt_rep *rep, uint64_t epoch, const void *p, size_t n,
		 struct tv_err *e) TV_MUST_CHECK;
/* The whole epoch, header by header and hash by hash; touches nothing. It must be the next one. */
int ckpt_rep_verify(struct ckpt_rep *rep, uint64_t epoch, uint64_t records, uint64_t checksum,
		    struct tv_err *e) TV_MUST_CHECK;
/* Writes a verified epoch to the images. */
int ckpt_rep_apply(struct ckpt_rep *rep, uint64_t epoch, struct tv_err *e) TV_MUST_CHECK;
/* Makes what is applied durable and records that in the state file. */
int ckpt_rep_settle(struct ckpt_rep *rep, struct tv_err *e) TV_MUST_CHECK;
/* A VM is about to run from the images: they hold no epoch any more, and the state file records
 * that. */
void ckpt_rep_hand_over(struct ckpt_rep *rep);
/* The VM runs from them, and they are not a replica any more: makes them durable, then removes the
 * state file. */
int ckpt_rep_let_go(struct ckpt_rep *rep, struct tv_err *e) TV_MUST_CHECK;
/* Deletes images and state file. */
void ckpt_rep_remove(struct ckpt_rep *rep);
/* Is what the images hold a committed epoch? */
bool ckpt_rep_is_whole(const struct ckpt_rep *rep);
/* Bytes written to the images since ckpt_rep_open. */
uint64_t ckpt_rep_written_bytes(const struct ckpt_rep *rep);
void ckpt_rep_free(struct ckpt_rep *rep);

enum ckpt_rep_phase {
	CKPT_REP_NONE,	/* there is no replica */
	CKPT_REP_WHOLE, /* exactly one epoch */
	CKPT_REP_MIXED, /* between two epochs, or not complete: needs a new first copy */
};
struct ckpt_rep_state {
	enum ckpt_rep_phase phase;
	uint64_t epoch;
	char session[33];
};
/* What a VM's replica in dir is now. */
void ckpt_rep_state(const char *dir, const char *vm_id, struct ckpt_rep_state *out);

/* Running checksum over an epoch's record bytes, the same on both sides (XXH3, 64 bits). */
struct ckpt_sum;
struct ckpt_sum *ckpt_sum_new(void);
void ckpt_sum_free(struct ckpt_sum *s);
void ckpt_sum_reset(struct ckpt_sum *s);
void ckpt_sum_add(struct ckpt_sum *s, const void *p, size_t n);
uint64_t ckpt_sum_value(const struct ckpt_sum *s);

/* ---- files that a VM only reads: store.c ---- */
/*
 * Of one VM, in the folder of the replicas; each is named after its contents. ckpt_store_find; where
 * that finds nothing, ckpt_store_add from the end of the part on, and ckpt_store_finish. Calls block.
 * The folder must exist. -ENOMEM, -ENAMETOOLONG, errors of the folder.
 */
struct ckpt_store;
int ckpt_store_new(const char *dir, const char *vm_id, struct ckpt_room *room,
		   struct ckpt_store **out) TV_MUST_CHECK;
/* NULL is allowed. */
void ckpt_store_free(struct ckpt_store *s);
/* 1: a file of these contents is this VM's, and was read just now; 0: there is none, but for the
 * first *part_bytes of it. */
int ckpt_store_find(struct ckpt_store *s, const char *sha256, uint64_t bytes, uint64_t *part_bytes,
		    struct tv_err *e) TV_MUST_CHECK;
/* More of it; offset: the size of the part. -ENOSPC as for a replica (ckpt_room_why). */
int ckpt_store_add(struct ckpt_store *s, const char *sha256, uint64_t offset, const void *p,
		   size_t n, struct tv_err *e) TV_MUST_CHECK;
/* All of it is there. TV_E_CORRUPT: it has other contents, and is removed. */
int ckpt_store_finish(struct ckpt_store *s, const char *sha256, uint64_t bytes,
		      struct tv_err *e) TV_MUST_CHECK;
/* Its path. -ENAMETOOLONG. */
int ckpt_store_path(const char *dir, const char *vm_id, const char *sha256, char *out,
		    size_t room) TV_MUST_CHECK;
/* Removes all others of this VM. */
void ckpt_store_keep(struct ckpt_store *s, const char *const *sha256, unsigned n);

#endif
