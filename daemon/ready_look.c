/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that looks what a failover would find on this host, the backup's, and at the arbiter. It
 * changes nothing: the record is only read, files and interfaces are only looked at, and fence_command is
 * asked with --check, which the configuration has to allow (fence_check), as a program that does not know
 * the word would switch the other host off. Any of that may hang; so it is a process, with a limit.
 */
#include "daemon/ready.h"
#include "failover/arbiter/arbiter.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_S 30
#define FENCE_MS 15000

#define L(member, kind, unit, meaning) FIELD(struct ready_look, member, kind, unit, meaning)
static const struct field list[] = {
	L(record_rc, INT, "", "0: read"),
	L(record_text, TEXT, "", "why not"),
	L(record_generation, U64, "", ""),
	L(record_alone, BOOL, "", ""),
	L(record_primary, TEXT, "", ""),
	L(record_backup, TEXT, "", ""),
	L(record_session, TEXT, "", ""),
	L(bridge, TEXT, "", "that taps join"),
	L(bridge_is, TEXT, "", "ok, missing, other, down"),
	L(taps, U64, "", "of the standby"),
	L(taps_lost, U64, "", "gone from the host"),
	L(run, TEXT, "", "state of its process"),
	L(swap_kib, U64, "KiB", ""),
	L(locked_kib, U64, "KiB", ""),
	L(free_kib, U64, "KiB", "of the host"),
	L(limit_left_kib, U64, "KiB", "of its control group"),
	L(program_gone, BOOL, "", ""),
	L(images, U64, "", ""),
	L(image_bytes, U64, "bytes", ""),
	L(grow_bytes, U64, "bytes", "that they may still take"),
	L(disk_free_bytes, U64, "bytes", ""),
	L(disks_rc, INT, "", ""),
	L(fence_asked, BOOL, "", ""),
	L(fence_status, INT, "", "exit status; -1: none"),
	L(fence_text, TEXT, "", "its last line"),
};
const struct fields ready_look_fields = FIELDS("look", list);

/* ---- the record ---- */
static void look_at_record(const struct job *j, struct ready_look *k)
{
	struct fo_arbiter *a = NULL;
	struct fo_arbiter_conf ac;
	struct fo_record rec = {0};
	struct fo_times times;
	struct tv_err e = {0};

	if (!strcmp(j->arbiter, "none"))
		return;
	fo_times_init(&times, j->conf.heartbeat_ms * TV_NS_PER_MS);
	ac = config_arbiter(&j->conf, &times);
	k->record_rc = config_check_arbiter(&j->conf, j->arbiter, &e);
	if (!k->record_rc)
		k->record_rc = fo_arbiter_open(j->arbiter, &ac, &a, &e);
	if (!k->record_rc)
		k->record_rc = fo_arbiter_read(a, j->vm_id, &rec, &e);
	fo_arbiter_close(a);
	tv_copy(k->record_text, sizeof(k->record_text), e.text);
	k->record_generation = rec.generation;
	k->record_alone = rec.state == FO_ALONE;
	tv_copy(k->record_primary, sizeof(k->record_primary), rec.primary);
	tv_copy(k->record_backup, sizeof(k->record_backup), rec.backup);
	tv_copy(k->record_session, sizeof(k->record_session), rec.session);
}

/* ---- the network ---- */
static void look_at_bridge(const struct config *c, struct ready_look *k)
{
	TV_FREE char *flags = NULL;
	char path[80];

	tv_copy(k->bridge, sizeof(k->bridge), c->bridge);
	if (!c->bridge[0])
		return;
	snprintf(path, sizeof(path), "/sys/class/net/%s/flags", c->bridge);
	if (tv_read_file(path, 64, &flags, NULL)) {
		strcpy(k->bridge_is, "missing");
		return;
	}
	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", c->bridge);
	strcpy(k->bridge_is, access(path, F_OK)				 ? "other"
			     : strtoul(flags, NULL, 16) & 1 /* IFF_UP */ ? "ok"
									 : "down");
}

/* Of one descriptor of QEMU's that is a tap's. */
static void count_tap(const char *fdinfo, struct ready_look *k)
{
	const char *p = strstr(fdinfo, "\niff:\t");
	size_t n = p ? strcspn(p + 6, "\n") : 0;
	char path[80];

	if (!p)
		return;
	k->taps++;
	snprintf(path, sizeof(path), "/sys/class/net/%.*s", (int)(n < 16 ? n : 15), p + 6);
	if (!n || access(path, F_OK))
		k->taps_lost++;
}

static void look_at_taps(pid_t pid, struct ready_look *k)
{
	char path[64], link[64];
	struct dirent *de;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), de->d_name, link, sizeof(link) - 1);
		TV_FREE char *text = NULL;

		if (n != (ssize_t)strlen("/dev/net/tun") || memcmp(link, "/dev/net/tun", (size_t)n))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", (int)pid, de->d_name);
		if (!tv_read_file(path, 4096, &text, NULL))
			count_tap(text, k);
	}
	if (dir)
		closedir(dir);
}

/* ---- the standby's process ---- */
static uint64_t kib_after(const char *text, const char *word)
{
	const char *p = text ? strstr(text, word) : NULL;

	return p ? strtoull(p + strlen(word), NULL, 10) : UINT64_MAX;
}

static uint64_t file_number(const char *path)
{
	TV_FREE char *text = NULL;

	if (tv_read_file(path, 256, &text, NULL) || !isdigit((unsigned char)text[0]))
		return UINT64_MAX;
	return strtoull(text, NULL, 10);
}

static uint64_t limit_left_kib(pid_t pid)
{
	char path[64], file[700];
	TV_FREE char *text = NULL;
	uint64_t max, now;
	char *group;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (tv_read_file(path, 4096, &text, NULL) || !(group = strstr(text, "0::")))
		return UINT64_MAX;
	group += 3;
	group[strcspn(group, "\n")] = 0;
	snprintf(file, sizeof(file), "/sys/fs/cgroup%.600s/memory.max", group);
	max = file_number(file);
	snprintf(file, sizeof(file), "/sys/fs/cgroup%.600s/memory.current", group);
	now = file_number(file);
	if (max == UINT64_MAX || now == UINT64_MAX)
		return UINT64_MAX;
	return max > now ? (max - now) >> 10 : 0;
}

static void look_at_process(const struct job *j, struct ready_look *k)
{
	TV_FREE char *status = NULL, *memory = NULL;
	char path[64], program[512] = "";
	const char *p;

	if (!tv_read_file("/proc/meminfo", 1 << 16, &memory, NULL))
		k->free_kib = kib_after(memory, "MemAvailable:");
	if (j->vm_pid <= 0 || tv_pid_start_ticks(j->vm_pid) != j->vm_start_ticks)
		return;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)j->vm_pid);
	if (tv_read_file(path, 1 << 16, &status, NULL))
		return;
	p = strstr(status, "\nState:\t");
	tv_copy_n(k->run, sizeof(k->run), p ? p + strlen("\nState:\t") : "?", 1);
	k->swap_kib = kib_after(status, "\nVmSwap:");
	k->locked_kib = kib_after(status, "\nVmLck:");
	k->limit_left_kib = limit_left_kib(j->vm_pid);
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)j->vm_pid);
	k->program_gone =
		readlink(path, program, sizeof(program) - 1) > 0 && strstr(program, " (deleted)");
	look_at_taps(j->vm_pid, k);
}

/* ---- the disks ---- */
static void look_at_disks(const struct job *j, struct ready_look *k)
{
	DIR *dir = opendir(j->conf.replica_dir);
	struct statvfs fs;
	struct dirent *de;
	struct stat st;

	if (!dir || fstatvfs(dirfd(dir), &fs)) {
		k->disks_rc = -errno;
		if (dir)
			closedir(dir);
		return;
	}
	k->disk_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	while ((de = readdir(dir))) {
		if (strncmp(de->d_name, j->vm_id, strlen(j->vm_id)) != 0 ||
		    fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(st.st_mode))
			continue;
		k->images++;
		k->image_bytes += (uint64_t)st.st_blocks * 512;
		if (st.st_size > st.st_blocks * 512)
			k->grow_bytes += (uint64_t)(st.st_size - st.st_blocks * 512);
	}
	closedir(dir);
}

/* ---- fence_command --check ---- */
static void run_fence(const struct job *j, int out)
{
	char *argv[] = {(char *)j->conf.fence_command, (char *)j->peer.name, (char *)"--check",
			NULL};
	char generation[32];

	snprintf(generation, sizeof(generation), "%llu", (unsigned long long)j->generation);
	setsid();
	dup2(out, 1);
	dup2(out, 2);
	setenv("TWINVM_CHECK", "1", 1);
	setenv("TWINVM_VM", j->vm_name, 1);
	setenv("TWINVM_VM_ID", j->vm_id, 1);
	setenv("TWINVM_HOST", j->peer.name, 1);
	setenv("TWINVM_ADDRESS", j->peer.address, 1);
	setenv("TWINVM_GENERATION", generation, 1);
	execv(argv[0], argv);
	dprintf(out, "%s: %s\n", argv[0], strerror(errno));
	_exit(126);
}

/* Its last line that says something, of the last bytes that it wrote. */
static void last_line(const char *text, char *out, size_t room)
{
	const char *best = text;
	json_t *t;

	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p != '\n')
			best = p;
	tv_copy_n(out, room, best, strcspn(best, "\n"));
	t = events_text(out);
	tv_copy(out, room, json_string_value(t));
	json_decref(t);
}

/* Until it closes its output, or the limit. */
static bool read_output(int fd, char *text, size_t room)
{
	int64_t until = tv_now_ns() + FENCE_MS * TV_NS_PER_MS, left;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	ssize_t r;

	for (;;) {
		left = (until - tv_now_ns()) / TV_NS_PER_MS;
		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return false;
		if (n > room / 2) { /* the end is what counts */
			memmove(text, text + n - room / 4, room / 4);
			n = room / 4;
		}
		r = read(fd, text + n, room - 1 - n);
		if (r <= 0)
			return true;
		n += (size_t)r;
		text[n] = 0;
	}
}

static void ask_fence(const struct job *j, struct ready_look *k)
{
	char text[2048] = "";
	int fds[2], status = 0;
	bool ended;
	pid_t pid;

	if (!j->conf.fence_command[0] || !j->conf.fence_check || pipe(fds))
		return;
	k->fence_asked = true;
	pid = fork();
	if (!pid)
		run_fence(j, fds[1]);
	close(fds[1]);
	ended = pid > 0 && read_output(fds[0], text, sizeof(text));
	close(fds[0]);
	if (pid > 0 && !ended)
		kill(-pid, SIGKILL);
	if (pid > 0)
		waitpid(pid, &status, 0);
	last_line(ended ? text : "it took too long and was ended", k->fence_text,
		  sizeof(k->fence_text));
	k->fence_status = ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int ready_look_main(const char *job_text, bool fence, int fd)
{
	struct ready_look k = {.swap_kib = UINT64_MAX,
			       .locked_kib = UINT64_MAX,
			       .free_kib = UINT64_MAX,
			       .limit_left_kib = UINT64_MAX};
	TV_FREE char *text = NULL;
	struct tv_err e = {0};
	struct job j;
	json_t *o;

	tv_log_init("ready");
	if (job_from_text(job_text, &j, &e)) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	alarm(LIMIT_S);
	look_at_record(&j, &k);
	look_at_bridge(&j.conf, &k);
	look_at_process(&j, &k);
	look_at_disks(&j, &k);
	if (fence)
		ask_fence(&j, &k);
	o = fields_write(&ready_look_fields, &k);
	text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return !text || tv_write_all(fd, text, strlen(text)) ? 1 : 0;
}
