/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A standby that is a domain of this host's libvirt. libvirt starts it: with its user, its control
 * group, its labels. From then on it is like any other to us: its process, its memory, its monitor and
 * its taps are at hand without libvirt, so that nothing of a promotion waits for libvirtd.
 *
 * Another process asks libvirt, twinvm-libvirt (lv/), and reads what the peer has sent. Here that
 * stays a text.
 */
#include "hv/host/domain.h"
#include "hv/host/files.h"
#include "hv/host/spawn.h"
#include "lv/lv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWNER_MS 5000	/* libvirt answers, or it is away */
#define START_MS 120000 /* where the host's name does not resolve, libvirt takes 20 s */
#define END_MS 10000
#define LATER_S "600"
#define KILL_MS 10000
#define ANSWER_BYTES (64u << 10)
#define RAM_LINK "/memfd:memory-backend-memfd"

static void note_path(const char *dir, char out[300])
{
	snprintf(out, 300, "%s/" HV_HOST_DOMAIN, dir);
}

/* ---- libvirt's user ---- */

static int find_user(struct hv_host_user *u, struct tv_err *e)
{
	static const char *const args[] = {"owner", NULL};
	struct lv_ask ask = {.args = args, .most_bytes = ANSWER_BYTES, .timeout_ms = OWNER_MS};
	TV_FREE char *text = NULL;
	int rc = lv_ask(&ask, &text, NULL, e);
	struct passwd *pw;
	json_t *j;

	/* One that hangs is as good as none, as long as it has been asked for nothing else. */
	if (rc)
		return rc == -ETIMEDOUT ? -ENOTCONN : rc;
	j = json_loads(text, 0, NULL);
	pw = getpwuid((uid_t)json_integer_value(json_object_get(j, "uid")));
	rc = pw ? hv_host_user_find(pw->pw_name, u, e)
		: tv_fail(e, -ENOENT, "the user of libvirt's QEMUs has no name");
	if (!rc)
		u->gid = (gid_t)json_integer_value(json_object_get(j, "gid"));
	json_decref(j);
	return rc;
}

/* Images and copies get its group: libvirt is to change no owner (lv/xml.c). */
static int give_files(struct hv_host *h, const struct hv_host_start *what, json_t *images,
		      struct tv_err *e)
{
	struct hv_host_user u = {0};
	char path[512];
	int rc = find_user(&u, e);

	for (unsigned i = 0; i < what->n_images && !rc; i++) {
		rc = hv_host_image_path(h->replica_dir, h->dir, what->images[i], path, sizeof(path),
					e);
		if (!rc)
			rc = hv_host_give_image(path, &u, e);
		if (!rc)
			json_array_append_new(images, json_string(path));
	}
	for (unsigned i = 0; i < h->n_copies && !rc; i++) {
		snprintf(path, sizeof(path), "%s/%s", h->replica_dir, h->copies[i]);
		rc = hv_host_give_copy(path, &u, false, e);
	}
	return rc;
}

/* ---- the question ---- */

static json_t *bridges_of(const struct hv_host *h, unsigned n)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_string(h->taps[i].bridge));
	return list;
}

static char *question(struct hv_host *h, const struct hv_host_start *what, json_t *images)
{
	char note[300], *text;
	json_t *j;

	note_path(h->dir, note);
	tv_random_hex(h->nonce, 16);
	j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O, s:o}", "ask",
		      what->domain, "own_uuid", what->own_uuid ? what->own_uuid : "", "emulator",
		      what->binary, "folder", h->replica_dir, "media", h->media, "id",
		      hv_host_name(h->dir), "vm_id", h->vm_id, "note", note, "nonce", h->nonce,
		      "images", images, "bridges", bridges_of(h, what->n_taps));
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return text;
}

static int place_taps(struct hv_host *h, const struct hv_host_start *what, struct tv_err *e)
{
	int rc;

	h->n_taps = 0;
	rc = hv_host_taps_place(what->taps, what->n_taps, h->bridge, h->bridges, h->taps, e);
	return rc ? rc : hv_host_bridges_check(h->taps, what->n_taps, e);
}

static int ask_libvirt(struct hv_host *h, const struct hv_host_start *what, json_t **answer,
		       struct tv_err *e)
{
	static const char *const args[] = {"standby", NULL};
	TV_FREE char *text = NULL, *out = NULL;
	struct lv_ask ask = {.args = args, .most_bytes = ANSWER_BYTES, .timeout_ms = START_MS};
	json_t *images = json_array();
	int rc = place_taps(h, what, e);

	if (!rc)
		rc = give_files(h, what, images, e);
	if (!rc)
		text = question(h, what, images);
	json_decref(images);
	if (rc)
		return rc;
	if (!text)
		return tv_fail(e, -EINVAL, "the domain's description is no text");
	ask.input = text;
	ask.input_bytes = strlen(text);
	rc = lv_ask(&ask, &out, NULL, e);
	*answer = rc ? NULL : json_loads(out, 0, NULL);
	return rc || *answer ? rc : tv_fail(e, -EPROTO, "the answer of " LV_PROGRAM " is no JSON");
}

/* ---- what runs then ---- */

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

/* Frames are neither sent nor received before the promotion. */
static int take_taps(struct hv_host *h, const json_t *answer, unsigned n, struct tv_err *e)
{
	json_t *taps = json_object_get(answer, "taps");

	if (json_array_size(taps) != n)
		return tv_fail(e, -EPROTO, "libvirt has made %zu taps for %u NICs",
			       json_array_size(taps), n);
	for (unsigned i = 0; i < n; i++)
		if (!tv_copy(h->taps[i].name, IFNAMSIZ, json_string_value(json_array_get(taps, i))))
			return tv_fail(e, -EPROTO, "libvirt has given a tap too long a name");
	h->n_taps = n;
	return hv_host_taps_down(h->taps, n, e);
}

/* The file of its main memory, by what QEMU calls it and by its size; -ENOENT. */
static int open_ram(pid_t pid, uint64_t bytes)
{
	char path[300], link[64];
	struct dirent *de;
	int fd = -1;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d && fd < 0 && (de = readdir(d))) {
		struct stat st;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, de->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < (ssize_t)strlen(RAM_LINK) || strncmp(link, RAM_LINK, strlen(RAM_LINK)) != 0)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && (fstat(fd, &st) || (uint64_t)st.st_size != bytes))
			tv_close_fd(&fd);
	}
	if (d)
		closedir(d);
	return fd < 0 ? -ENOENT : fd;
}

static int take_process(struct hv_host *h, const json_t *answer, uint64_t ram_bytes,
			struct hv_host_qemu *out, struct tv_err *e)
{
	int rc;

	h->pid = out->pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));
	h->pidfd = (int)syscall(SYS_pidfd_open, h->pid, 0);
	out->start_ticks = tv_pid_start_ticks(h->pid);
	if (h->pidfd < 0 || !out->start_ticks)
		return tv_fail(e, TV_E_GONE, "the domain's QEMU (pid %d) has ended", (int)h->pid);
	out->domain = true;
	if (!tv_copy(out->qmp_path, sizeof(out->qmp_path), text_of(answer, "qmp")) ||
	    !tv_copy(h->qmp_path, sizeof(h->qmp_path), out->qmp_path))
		return tv_fail(e, -ENAMETOOLONG, "the path of the domain's monitor is too long");
	tv_close_fd(&h->ram_fd);
	h->ram_fd = open_ram(h->pid, ram_bytes);
	if (h->ram_fd < 0)
		return tv_fail(e, h->ram_fd, "the domain has no main memory in a file");
	hv_host_first_victim(h->pid);
	rc = hv_proc_open(h->pid, &out->fds);
	if (rc)
		return tv_fail(e, rc, "cannot open the memory of the domain (pid %d): %s",
			       (int)h->pid, tv_strerror(rc));
	out->log_fd = open(text_of(answer, "log"), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (out->log_fd < 0) /* only for sentences */
		out->log_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	out->pidfd = fcntl(h->pidfd, F_DUPFD_CLOEXEC, 3);
	out->ram_fd = fcntl(h->ram_fd, F_DUPFD_CLOEXEC, 3);
	return out->pidfd < 0 || out->ram_fd < 0 || out->log_fd < 0
		       ? tv_fail(e, -errno, "no descriptor for the standby: %s", strerror(errno))
		       : 0;
}

/* ---- door ---- */

/* Not there, or it does not do this VM: then it is no domain. */
static bool is_plain(int rc)
{
	return rc != TV_E_REFUSED && rc != -ETIMEDOUT && rc != TV_E_GONE && rc != -EPROTO;
}

int hv_host_domain_start(struct hv_host *h, const struct hv_host_start *what,
			 struct hv_host_qemu *out, struct tv_err *e)
{
	struct tv_err why = {0};
	json_t *answer = NULL;
	int rc;

	rc = ask_libvirt(h, what, &answer, &why);
	if (rc && is_plain(rc)) {
		tv_log(rc == -ENOENT || rc == -ENOTCONN ? TV_INFO : TV_WARN,
		       "the standby is a QEMU of its own, and no domain of libvirt: %s", why.text);
		return -ENOTSUP;
	}
	if (!rc)
		rc = take_process(h, answer, what->ram_bytes, out, &why);
	if (!rc)
		rc = take_taps(h, answer, what->n_taps, &why);
	json_decref(answer);
	if (rc) {
		if (h->pidfd >= 0)
			(void)!hv_pidfd_kill(h->pidfd, KILL_MS);
		hv_host_domain_end(h->dir, true);
	}
	return rc ? tv_fail(e, rc, "%s", why.text) : 0;
}

/* twinvm-libvirt as a child of init: what it waits for holds nobody up. */
static void end_later(const char *note, const char *nonce)
{
	char path[PATH_MAX];
	const char *const argv[] = {LV_PROGRAM, "end", note, nonce, LATER_S, NULL};
	pid_t pid;

	if (lv_program(path, sizeof(path), NULL))
		return;
	pid = fork();
	if (!pid) {
		if (!fork()) {
			setsid();
			syscall(SYS_close_range, 3, ~0u, 0);
			execv(path, (char *const *)argv);
		}
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void hv_host_domain_end(const char *dir, bool wait)
{
	char note[300], nonce[33];
	const char *args[] = {"end", note, nonce, "0", NULL};
	struct lv_ask ask = {.args = args, .most_bytes = ANSWER_BYTES, .timeout_ms = END_MS};
	TV_FREE char *text = NULL, *out = NULL;
	struct tv_err e = {0};

	note_path(dir, note);
	if (tv_read_file(note, 1024, &text, NULL))
		return;
	tv_copy_n(nonce, sizeof(nonce), text, strcspn(text, " "));
	if (wait && !lv_ask(&ask, &out, NULL, &e))
		return;
	if (wait)
		tv_log(TV_WARN, "libvirt still has the standby's domain, it is removed later: %s",
		       e.text);
	end_later(note, nonce);
}

void hv_host_domain_keep(const char *dir)
{
	char note[300];

	note_path(dir, note);
	(void)unlink(note);
}
