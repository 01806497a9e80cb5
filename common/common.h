/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * common: what every room uses and no room owns: errors with a sentence, time, logging, clean-up
 * attributes, and bounded byte buffers. Knows no other room.
 *
 * Return codes. Functions that can fail return int: 0, or a negative code. A negative errno means
 * what errno means; the project's own codes start at -10000, far from any errno. Functions at the
 * edge of a room also take a struct tv_err that carries a sentence for the operator: what failed,
 * where, and what to do about it.
 */
#ifndef TV_COMMON_H
#define TV_COMMON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#define TV_VERSION "0.9"

#define TV_MUST_CHECK __attribute__((warn_unused_result))
#define TV_PRINTF(a, b) __attribute__((format(printf, a, b)))

#define TV_PAGE_BYTES 4096u
#define TV_PAGE_SHIFT 12

#define TV_NS_PER_MS INT64_C(1000000)
#define TV_NS_PER_S INT64_C(1000000000)

/* The project's own error codes, used where no errno fits. */
enum {
	TV_E_REFUSED = -10001,	 /* refused to keep the data safe: exit status 3 */
	TV_E_AMBIGUOUS = -10002, /* more than one thing answers to that name */
	TV_E_PROTOCOL = -10003,	 /* the peer sent what the format does not allow */
	TV_E_VERSION = -10004,	 /* the peer speaks another protocol version */
	TV_E_CORRUPT = -10005,	 /* a checksum does not match its data */
	TV_E_QMP = -10006,	 /* QEMU answered a command with an error */
	TV_E_GONE = -10007,	 /* the VM's process has ended */
	TV_E_LOST = -10008,	 /* another host won a compare-and-swap */
	TV_E_UNTRACKED = -10009, /* written pages may have been forgotten by the kernel */
	TV_E_MONITOR = -10010,	 /* QEMU's monitor connection has ended; QEMU itself may live */
	TV_E_POISON = -10012,	 /* the kernel lets nobody read a page of the VM's memory */
	TV_E_CHANGED = -10011,	 /* the VM is not the one that its standby was made for */
};

/* A sentence for the operator. Zero-initialise it ({0}); text is always NUL-terminated. */
struct tv_err {
	char text[640];
};

/* Fills e (which may be NULL) and returns rc, so that a failing function can say it in one line. The
 * sentence is UTF-8 whatever it is made of. */
int tv_fail(struct tv_err *e, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Puts "fmt: " before what e already says; returns rc. */
int tv_fail_prefix(struct tv_err *e, int rc, const char *fmt, ...) TV_PRINTF(3, 4);
/* Name of a code from this header or of an errno ("ENOENT"-like sentence); never NULL. */
const char *tv_strerror(int rc);

/* Monotonic time of this host in ns, suspension included (CLOCK_BOOTTIME); never compared with
 * another host's. */
int64_t tv_now_ns(void);
/*
 * A moment as an operator writes it, in ms since 1970: "10m" ago (s, m, h, d, w), "now", "today",
 * "yesterday", "14:05", "2026-11-26", "2026-11-26T14:05:30Z"; without a zone by the local clock. now_ms:
 * the time now. -EINVAL.
 */
int tv_when(const char *text, int64_t now_ms, int64_t *out_ms) TV_MUST_CHECK;
/* A stretch of time as libevent and select want it, rounded up to whole microseconds; 0 if past. */
struct timeval tv_timeval(int64_t ns);

/* Copies a string; one that has no room is cut, between two letters of UTF-8. Returns whether all
 * of it had room. from may be NULL: as "". */
bool tv_copy(char *to, size_t room, const char *from);
/* The same for a part of a text: n bytes of from at most. */
bool tv_copy_n(char *to, size_t room, const char *from, size_t n);
/*
 * What is to be JSON or a string of a message must be UTF-8 (RFC 3629: no overlong forms, no
 * surrogates), or it is refused as a whole, and with it what it was in. A text that came from
 * outside, or that printf cut (%.60s, or for want of room), may be none. Mending drops what is left
 * of a letter at the end, and puts '?' for each other byte that belongs to none.
 */
bool tv_is_utf8(const char *s);
void tv_mend_utf8(char *s);
/* How many bytes the letter at s has; 0: it is none, or s is at its end. */
size_t tv_utf8_letter(const char *s);

enum tv_level { TV_DEBUG, TV_INFO, TV_WARN, TV_ERROR };
/*
 * One line on stderr: time, level, the tag set for this process, text. Never called between pause
 * and resume. tv_log_level drops what is below it (TV_INFO unless TWINVM_DEBUG is set).
 */
void tv_log_init(const char *tag);
void tv_log(enum tv_level level, const char *fmt, ...) TV_PRINTF(2, 3);

/*
 * An assertion that stays on in production, whatever NDEBUG says: for our own mistakes only, never
 * for input. When cond is false it logs file, line and cond, and aborts. cond has no side effects.
 */
#define tv_assert(cond) ((cond) ? (void)0 : tv_assert_failed(__FILE__, __LINE__, #cond))
_Noreturn void tv_assert_failed(const char *file, int line, const char *cond);

void tv_close_fd(int *fd);
void tv_free_ptr(void *p);
#define TV_CLOSE __attribute__((cleanup(tv_close_fd)))
#define TV_FREE __attribute__((cleanup(tv_free_ptr)))

/*
 * A byte buffer that grows up to limit_bytes and then says -ENOBUFS. bytes is what is used.
 * tv_buf_init takes no memory; tv_buf_dispose frees and leaves an empty buffer.
 */
struct tv_buf {
	uint8_t *data;
	size_t bytes, room_bytes, limit_bytes;
};
void tv_buf_init(struct tv_buf *b, size_t limit_bytes);
void tv_buf_dispose(struct tv_buf *b);
int tv_buf_reserve(struct tv_buf *b, size_t more_bytes) TV_MUST_CHECK;
int tv_buf_add(struct tv_buf *b, const void *p, size_t n) TV_MUST_CHECK;

/* Little-endian access to unaligned bytes. */
static inline void tv_put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}
static inline void tv_put_le32(uint8_t *p, uint32_t v)
{
	tv_put_le16(p, (uint16_t)v);
	tv_put_le16(p + 2, (uint16_t)(v >> 16));
}
static inline void tv_put_le64(uint8_t *p, uint64_t v)
{
	tv_put_le32(p, (uint32_t)v);
	tv_put_le32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t tv_get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t tv_get_le32(const uint8_t *p)
{
	return tv_get_le16(p) | (uint32_t)tv_get_le16(p + 2) << 16;
}
static inline uint64_t tv_get_le64(const uint8_t *p)
{
	return tv_get_le32(p) | (uint64_t)tv_get_le32(p + 4) << 32;
}

/* Whole read/write, restarted on EINTR and short counts. 0 or -errno; -EPIPE at end of file. */
int tv_write_all(int fd, const void *p, size_t n) TV_MUST_CHECK;
int tv_read_all(int fd, void *p, size_t n) TV_MUST_CHECK;
/* Reads a file up to limit_bytes; *out is NUL-terminated and the caller's to free. */
int tv_read_file(const char *path, size_t limit_bytes, char **out, size_t *bytes) TV_MUST_CHECK;
/* What `ps` shows of this process, where its arguments were: a title that is no longer than they. The
 * process must have them still, as it has after a fork. */
void tv_set_title(const char *title);
/* Replaces a file atomically and durably: temporary file, fsync, rename, fsync of the folder. */
int tv_write_file(const char *path, const void *p, size_t n) TV_MUST_CHECK;
/* fsync of the folder that a file is in: its name is durable. */
int tv_sync_folder_of(const char *path) TV_MUST_CHECK;
/* mkdir -p with mode 0700. */
int tv_mkdirs(const char *path) TV_MUST_CHECK;
/* SHA-256 of the first bytes of a file, in lower-case hex. -EIO: it is shorter. Blocks. */
#define TV_SHA256_ROOM 65
int tv_sha256(int fd, uint64_t bytes, char out[TV_SHA256_ROOM]) TV_MUST_CHECK;
/* The same; more (may be NULL) is called after each piece of it. False: -ECANCELED. */
typedef bool tv_sha256_more(void *arg, size_t piece_bytes);
int tv_sha256_while(int fd, uint64_t bytes, tv_sha256_more *more, void *arg,
		    char out[TV_SHA256_ROOM]) TV_MUST_CHECK;
/* Is it such a text, and no other? NULL is not. */
bool tv_is_sha256(const char *text);
/* Random bytes as lower-case hex; out takes 2 * n + 1. */
void tv_random_hex(char *out, size_t n);
/* Starting time of a process in clock ticks since boot (/proc/PID/stat field 22), 0 when gone. */
uint64_t tv_pid_start_ticks(pid_t pid);

/*
 * Fault points for tests: TV_FAULT("name") is true when the environment variable TWINVM_FAULT
 * names it ("name" or "name:N" for the Nth hit). The list of names is docs/FAULTS.md.
 */
bool tv_fault(const char *name);

#endif
