/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm snapshot: the files. Each is made for its owner alone, made durable, and hashed as it is read
 * again from the file. Disks are converted by qemu-img, which reads them through the still's sockets.
 */
#include "cli/snapshot.h"
#include "hv/dump/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DISK_NAME "disk-%u.qcow2"

static int cannot(struct tv_err *e, const char *name, int rc)
{
	return tv_fail(e, rc, "%s cannot be written: %s", name, tv_strerror(rc));
}

static int create(struct snapshot *n, const char *name, struct tv_err *e)
{
	int fd = openat(n->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? cannot(e, name, -errno) : fd;
}

/* Of a file that is complete; what: for people. */
static int note(struct snapshot *n, const char *name, const char *what, struct tv_err *e)
{
	TV_CLOSE int fd = openat(n->dir, name, O_RDONLY | O_CLOEXEC);
	char hash[TV_SHA256_ROOM];
	struct stat st;
	int rc;

	if (fd < 0 || fsync(fd) || fstat(fd, &st))
		return cannot(e, name, -errno);
	rc = tv_sha256(fd, (uint64_t)st.st_size, hash);
	if (rc)
		return cannot(e, name, rc);
	json_array_append_new(n->files, json_pack("{ss ss sI ss}", "name", name, "what", what,
						  "bytes", (json_int_t)st.st_size, "sha256", hash));
	return 0;
}

static int put_text(struct snapshot *n, const char *name, const char *text, struct tv_err *e)
{
	TV_CLOSE int fd = create(n, name, e);
	int rc;

	if (fd < 0)
		return fd;
	rc = text ? tv_write_all(fd, text, strlen(text)) : -ENOMEM;
	return rc ? cannot(e, name, rc) : 0;
}

static int put_json(struct snapshot *n, const char *name, const json_t *o, struct tv_err *e)
{
	TV_FREE char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(15));

	return put_text(n, name, text, e);
}

/* ---- the command line ---- */

/* As a shell reads it. */
static int add_word(struct tv_buf *b, const char *word)
{
	int rc = tv_buf_add(b, b->bytes ? " '" : "'", b->bytes ? 2 : 1);

	for (; *word && !rc; word++)
		rc = *word == '\'' ? tv_buf_add(b, "'\\''", 4) : tv_buf_add(b, word, 1);
	return rc ? rc : tv_buf_add(b, "'", 1);
}

static int put_command(struct snapshot *n, struct tv_err *e)
{
	struct tv_buf b;
	json_t *word;
	size_t i;
	int rc = 0;

	tv_buf_init(&b, 4u << 20);
	json_array_foreach(json_object_get(n->s.desc, "argv"), i, word)
		rc = rc || !json_is_string(word) ? rc : add_word(&b, json_string_value(word));
	rc = rc ? rc : tv_buf_add(&b, "\n", 2);
	rc = rc ? cannot(e, "command.txt", rc)
		: put_text(n, "command.txt", (const char *)b.data, e);
	tv_buf_dispose(&b);
	return rc;
}

/* ---- memory ---- */

struct part {
	struct snapshot *n;
	const char *name;
};

static bool more(void *arg, uint64_t done, uint64_t all)
{
	struct part *p = arg;

	if (p->n->show)
		p->n->show(p->n->arg, p->name, done, all);
	return !*p->n->stop;
}

/* "max-ram-below-4g=2G" of -machine, in bytes; 0: not given. */
static uint64_t max_below_4g(const json_t *argv)
{
	static const char key[] = "max-ram-below-4g=";
	uint64_t v = 0;
	json_t *word;
	size_t i;

	json_array_foreach(argv, i, word) {
		const char *at = json_is_string(word) ? strstr(json_string_value(word), key) : NULL;
		char *end;

		if (!at)
			continue;
		v = strtoull(at + sizeof(key) - 1, &end, 0);
		v <<= *end == 'G' || *end == 'g' ? 30 : *end == 'M' || *end == 'm' ? 20 : 0;
	}
	return v;
}

static int write_dumps(struct snapshot *n, struct hv_dump *d, struct tv_err *e)
{
	struct part p = {n, "memory"};
	TV_CLOSE int fd = create(n, "memory.qemu", e);
	TV_CLOSE int core = -1;
	int rc;

	if (fd < 0)
		return fd;
	d->more = more;
	d->arg = &p;
	rc = hv_dump_stream(d, fd, e);
	if (!rc)
		rc = note(n, "memory.qemu", "memory and device state, for qemu -incoming", e);
	if (rc || !n->elf)
		return rc;
	core = create(n, "core.elf", e);
	if (core < 0)
		return core;
	p.name = "ELF core";
	rc = hv_dump_elf(d, max_below_4g(json_object_get(n->s.desc, "argv")), core, e);
	return rc ? rc : note(n, "core.elf", "an ELF core of main memory", e);
}

static int write_memory(struct snapshot *n, struct tv_err *e)
{
	struct hv_dump_block blocks[STILL_MAX_BLOCKS];
	const char *machine = json_string_value(json_object_get(n->s.desc, "machine"));
	TV_FREE uint8_t *state = malloc(n->s.state_bytes);
	struct hv_dump d = {.machine = machine ? machine : "",
			    .blocks = blocks,
			    .n_blocks = n->s.n_blocks,
			    .state = state,
			    .state_bytes = n->s.state_bytes};

	for (unsigned i = 0; i < n->s.n_blocks; i++) {
		const struct still_block *b = &n->s.blocks[i];

		blocks[i] = (struct hv_dump_block){.name = b->name,
						   .fd = b->main ? n->s.ram_fd : n->s.blocks_fd,
						   .offset = b->offset,
						   .bytes = b->bytes,
						   .main = b->main};
	}
	if (!state)
		return tv_fail(e, -ENOMEM, "no memory");
	if (pread(n->s.state_fd, state, n->s.state_bytes, 0) != (ssize_t)n->s.state_bytes)
		return tv_fail(e, -EIO, "the device state is not complete");
	return write_dumps(n, &d, e);
}

/* ---- disks ---- */

/* In the child. */
static _Noreturn void run_qemu_img(const struct snapshot *n, unsigned disk, int err)
{
	char opts[100], name[40];
	int fd = n->s.disks[disk].fd;

	snprintf(opts, sizeof(opts), "driver=nbd,server.type=fd,server.str=%d", fd);
	snprintf(name, sizeof(name), DISK_NAME, disk);
	umask(077);
	if (fchdir(n->dir) || fcntl(fd, F_SETFD, 0) || dup2(err, STDERR_FILENO) < 0 ||
	    dup2(err, STDOUT_FILENO) < 0)
		_exit(126);
	execlp("qemu-img", "qemu-img", "convert", "-O", "qcow2", "--image-opts", opts, name, NULL);
	_exit(127);
}

/* Its exit status, -1 after a signal. */
static int await_child(pid_t pid, const volatile int *stop)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
		if (*stop)
			kill(pid, SIGKILL);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int write_disk(struct snapshot *n, unsigned disk, struct tv_err *e)
{
	TV_CLOSE int err = memfd_create("twinvm-snapshot", MFD_CLOEXEC);
	char name[40], why[300] = "";
	ssize_t r;
	pid_t pid;
	int status;

	snprintf(name, sizeof(name), DISK_NAME, disk);
	if (n->show)
		n->show(n->arg, n->s.disks[disk].name, 0, 0);
	pid = err < 0 ? -1 : fork();
	if (pid < 0)
		return cannot(e, name, -errno);
	if (!pid)
		run_qemu_img(n, disk, err);
	status = await_child(pid, n->stop);
	if (!status)
		return note(n, name, n->s.disks[disk].name, e);
	r = pread(err, why, sizeof(why) - 1, 0);
	why[r > 0 ? r : 0] = '\0';
	why[strcspn(why, "\n")] = '\0';
	return tv_fail(e, -EIO, "%s cannot be written: qemu-img %s", name,
		       status == 127 ? "is missing (package qemu-utils)"
		       : why[0]	     ? why
				     : "was ended");
}

/* ---- all ---- */

static json_t *manifest(const struct snapshot *n)
{
	const struct still *s = &n->s;
	json_t *o = json_pack("{si ss ss ss sI sI sf sb}", "format", 1, "vm", s->name, "id",
			      s->vm_id, "session", s->session, "generation",
			      (json_int_t)s->generation, "epoch", (json_int_t)s->epoch, "committed",
			      s->committed, "suspended", s->suspended);

	json_object_set(o, "machine", json_object_get(s->desc, "machine"));
	json_object_set(o, "qemu", json_object_get(s->desc, "version"));
	json_object_set(o, "files", n->files);
	return o;
}

int snapshot_write(struct snapshot *n, struct tv_err *e)
{
	struct tv_err why = {0};
	json_t *o;
	int rc = write_memory(n, e);

	for (unsigned i = 0; i < n->s.n_disks && !rc; i++)
		rc = write_disk(n, i, e);
	if (!rc)
		rc = put_command(n, e);
	if (!rc)
		rc = note(n, "command.txt", "QEMU's command line on the primary", e);
	if (!rc)
		rc = put_json(n, "vm.json", n->s.desc, e);
	if (!rc)
		rc = note(n, "vm.json", "the VM, as its primary has described it", e);
	/* Only now is it known that all that was read was of one epoch, and whole. */
	if (still_ended(&n->s, &why))
		return tv_fail(e, TV_E_GONE, "the epoch could not be held still so long: %s",
			       why.text);
	if (rc)
		return rc;
	o = manifest(n);
	rc = put_json(n, "manifest.json", o, e);
	json_decref(o);
	return rc || !fsync(n->dir) ? rc : cannot(e, "the folder", -errno);
}

void snapshot_remove_files(int dir)
{
	static const char *const names[] = {"memory.qemu", "core.elf", "command.txt", "vm.json",
					    "manifest.json"};
	char name[40];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlinkat(dir, names[i], 0);
	for (unsigned i = 0; i < STILL_MAX_DISKS; i++) {
		snprintf(name, sizeof(name), DISK_NAME, i);
		unlinkat(dir, name, 0);
	}
}

bool snapshot_has_qemu_img(void)
{
	const char *path = getenv("PATH"), *end;
	char full[4096];

	for (; path && *path; path = *end ? end + 1 : end) {
		end = strchrnul(path, ':');
		snprintf(full, sizeof(full), "%.*s/qemu-img", (int)(end - path), path);
		if (!access(full, X_OK))
			return true;
	}
	return false;
}
