/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/common.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *log_tag = "twinvm";
static enum tv_level log_level = TV_INFO;

int tv_fail(struct tv_err *e, int rc, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		tv_mend_utf8(e->text);
	}
	return rc;
}

int tv_fail_prefix(struct tv_err *e, int rc, const char *fmt, ...)
{
	char old[sizeof(e->text)];
	va_list ap;
	int n;

	if (!e)
		return rc;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(e->text))
		snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", old);
	tv_mend_utf8(e->text);
	return rc;
}

const char *tv_strerror(int rc)
{
	switch (rc) {
	case TV_E_REFUSED:
		return "refused to keep the data safe";
	case TV_E_AMBIGUOUS:
		return "ambiguous name";
	case TV_E_PROTOCOL:
		return "protocol violation by the peer";
	case TV_E_VERSION:
		return "the peer speaks another protocol version";
	case TV_E_CORRUPT:
		return "checksum mismatch";
	case TV_E_QMP:
		return "QEMU refused a command";
	case TV_E_GONE:
		return "the VM's process has ended";
	case TV_E_MONITOR:
		return "the connection to QEMU's monitor has ended";
	case TV_E_LOST:
		return "somebody else was first";
	case TV_E_POISON:
		return "a page of the VM's memory cannot be read";
	case TV_E_CHANGED:
		return "the VM has other devices than its standby";
	case TV_E_UNTRACKED:
		return "this host's memory was reclaimed, or its shmem_enabled changed, so this "
		       "kernel may have forgotten written pages";
	default:
		return strerror(rc < 0 ? -rc : rc);
	}
}

int64_t tv_now_ns(void)
{
	struct timespec t;

	/* Leases run while a host is suspended: its backup does not know that it is. */
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * TV_NS_PER_S + t.tv_nsec;
}

struct timeval tv_timeval(int64_t ns)
{
	int64_t us = ns > 0 ? ns / 1000 + (ns % 1000 != 0) : 0;

	return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

void tv_log_init(const char *tag)
{
	log_tag = tag;
	if (getenv("TWINVM_DEBUG"))
		log_level = TV_DEBUG;
}

void tv_log(enum tv_level level, const char *fmt, ...)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};
	char line[1024];
	struct timespec t;
	struct tm tm;
	va_list ap;
	int n;

	if (level < log_level)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	n = snprintf(line, sizeof(line), "%02d:%02d:%02d.%03ld %s %s: ", tm.tm_hour, tm.tm_min,
		     tm.tm_sec, t.tv_nsec / 1000000, log_tag, names[level]);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* One write: lines of several processes that share a log do not mix. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void tv_assert_failed(const char *file, int line, const char *cond)
{
	tv_log(TV_ERROR, "%s:%d: assertion failed: %s", file, line, cond);
	abort();
}

void tv_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void tv_free_ptr(void *p)
{
	void **q = p;

	free(*q);
	*q = NULL;
}

void tv_buf_init(struct tv_buf *b, size_t limit_bytes)
{
	*b = (struct tv_buf){.limit_bytes = limit_bytes};
}

void tv_buf_dispose(struct tv_buf *b)
{
	free(b->data);
	tv_buf_init(b, b->limit_bytes);
}

int tv_buf_reserve(struct tv_buf *b, size_t more_bytes)
{
	size_t want, room;
	uint8_t *p;

	if (more_bytes > b->limit_bytes || b->bytes > b->limit_bytes - more_bytes)
		return -ENOBUFS;
	want = b->bytes + more_bytes;
	if (want <= b->room_bytes)
		return 0;
	room = b->room_bytes ? b->room_bytes : 4096;
	while (room < want)
		room *= 2;
	if (room > b->limit_bytes)
		room = b->limit_bytes;
	p = realloc(b->data, room);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->room_bytes = room;
	return 0;
}

int tv_buf_add(struct tv_buf *b, const void *p, size_t n)
{
	int rc = tv_buf_reserve(b, n);

	if (rc)
		return rc;
	if (n)
		memcpy(b->data + b->bytes, p, n);
	b->bytes += n;
	return 0;
}

int tv_write_all(int fd, const void *p, size_t n)
{
	const char *q = p;

	while (n) {
		ssize_t r = write(fd, q, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		q += r;
		n -= (size_t)r;
	}
	return 0;
}

int tv_read_all(int fd, void *p, size_t n)
{
	char *q = p;

	while (n) {
		ssize_t r = read(fd, q, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EPIPE;
		q += r;
		n -= (size_t)r;
	}
	return 0;
}

int tv_read_file(const char *path, size_t limit_bytes, char **out, size_t *bytes)
{
	TV_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct tv_buf b;
	int rc;

	if (fd < 0)
		return -errno;
	tv_buf_init(&b, limit_bytes + 1);
	for (;;) {
		ssize_t r;

		/* /proc files have no size: read until nothing comes. */
		rc = tv_buf_reserve(&b, b.bytes + 4096 <= limit_bytes ? 4096
								      : limit_bytes + 1 - b.bytes);
		if (rc || b.bytes > limit_bytes) {
			rc = rc ? rc : -EFBIG;
			break;
		}
		r = read(fd, b.data + b.bytes, b.room_bytes - b.bytes);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0) {
			rc = -errno;
			break;
		}
		if (r == 0) {
			rc = tv_buf_add(&b, "", 1);
			break;
		}
		b.bytes += (size_t)r;
	}
	if (rc) {
		tv_buf_dispose(&b);
		return rc;
	}
	*out = (char *)b.data;
	if (bytes)
		*bytes = b.bytes - 1;
	return 0;
}

int tv_sync_folder_of(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int r;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder ? 1 : 0] = 0;
	else
		snprintf(folder, sizeof(folder), ".");
	TV_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fsync(fd);
	return r ? -errno : 0;
}

int tv_write_file(const char *path, const void *p, size_t n)
{
	char tmp[PATH_MAX];
	int rc;

	if (snprintf(tmp, sizeof(tmp), "%s.tmp.%d", path, (int)getpid()) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	{
		TV_CLOSE int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (fd < 0)
			return -errno;
		rc = tv_write_all(fd, p, n);
		if (!rc && fsync(fd))
			rc = -errno;
	}
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc) {
		unlink(tmp);
		return rc;
	}
	return tv_sync_folder_of(path);
}

int tv_mkdirs(const char *path)
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(copy, 0700) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, 0700) && errno != EEXIST)
		return -errno;
	return 0;
}

void tv_random_hex(char *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c;

		if (getrandom(&c, 1, 0) != 1)
			abort(); /* a kernel without randomness cannot keep identities apart */
		snprintf(out + 2 * i, 3, "%02x", c);
	}
}

uint64_t tv_pid_start_ticks(pid_t pid)
{
	TV_FREE char *text = NULL;
	unsigned long long ticks;
	char path[64];
	char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (tv_read_file(path, 8192, &text, NULL))
		return 0;
	p = strrchr(text, ')'); /* the name in parentheses may contain anything */
	if (!p || sscanf(p + 1,
			 " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
			 " %*s %*s %*s %llu",
			 &ticks) != 1)
		return 0;
	return ticks;
}

bool tv_fault(const char *name)
{
	static int hits;
	const char *armed = getenv("TWINVM_FAULT");
	size_t n = strlen(name);
	int at = 1;

	if (!armed || strncmp(armed, name, n) != 0 || (armed[n] && armed[n] != ':'))
		return false;
	if (armed[n] == ':')
		at = atoi(armed + n + 1);
	return __atomic_add_fetch(&hits, 1, __ATOMIC_RELAXED) == at;
}

void tv_set_title(const char *title)
{
	TV_FREE char *text = NULL;
	size_t n;

	/* The kernel shows what lies where the arguments were, one after the other, from argv[0] on. */
	if (tv_read_file("/proc/self/cmdline", 1u << 20, &text, &n) || strlen(title) >= n ||
	    strcmp(program_invocation_name, text) != 0)
		return;
	memset(program_invocation_name, 0, n);
	memcpy(program_invocation_name, title, strlen(title));
}
