/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel counts of a VM's processes: CPU, memory, disk and network of its QEMU; of a standby,
 * CPU and memory of its QEMU and its sink. Read once a second from /proc, which asks neither QEMU nor a
 * replicator; so a pause is not longer for it. What cannot be read stays unknown.
 */
#include "daemon/daemon.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EVERY_NS TV_NS_PER_S
#define TAPS_EVERY 30 /* samples: its network cards may change */

#define V(member, kind, unit, meaning) FIELD_SPARSE(struct vm_vitals, member, kind, unit, meaning)
static const struct field list[] = {
	V(cpu_percent, F64, "%",
	  "primary: CPU time of the VM's QEMU in the last second; 100: one CPU"),
	V(memory_bytes, U64, "bytes", "primary: memory of the VM's QEMU"),
	V(disk_read_bytes_s, F64, "bytes/s",
	  "primary: read by the VM's QEMU from storage, not from the host's cache"),
	V(disk_write_bytes_s, F64, "bytes/s", "primary: written by the VM's QEMU to storage"),
	V(net_rx_bytes_s, F64, "bytes/s", "primary: received by the VM through its taps"),
	V(net_tx_bytes_s, F64, "bytes/s", "primary: sent by the VM through its taps"),
	V(wire_bytes_s, F64, "bytes/s", "rate of `wire_bytes`"),
	V(standby_cpu_percent, F64, "%",
	  "backup: CPU time of the standby's QEMU and its replicator; 100: one CPU"),
	V(standby_memory_bytes, U64, "bytes",
	  "backup: memory of the standby's QEMU and its replicator; what they share counts once"),
};
const struct fields vitals_fields = FIELDS("vitals", list);

static void forget(struct vm_vitals *v)
{
	*v = (struct vm_vitals){.cpu_percent = NAN,
				.disk_read_bytes_s = NAN,
				.disk_write_bytes_s = NAN,
				.net_rx_bytes_s = NAN,
				.net_tx_bytes_s = NAN,
				.wire_bytes_s = NAN,
				.link_used_bytes_s = NAN,
				.standby_cpu_percent = NAN,
				.memory_bytes = UINT64_MAX,
				.standby_memory_bytes = UINT64_MAX};
}

/* ---- /proc ---- */
static char *read_proc(pid_t pid, const char *file)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return pid <= 0 || tv_read_file(path, 256 << 10, &text, NULL) ? NULL : text;
}

/* The number after `key`; UINT64_MAX: there is none. */
static uint64_t number_after(const char *text, const char *key)
{
	const char *p = text ? strstr(text, key) : NULL;

	return p ? strtoull(p + strlen(key), NULL, 10) : UINT64_MAX;
}

static uint64_t cpu_ticks(pid_t pid)
{
	TV_FREE char *text = read_proc(pid, "stat");
	const char *p = text ? strrchr(text, ')') : NULL;
	unsigned long long user, system;

	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
			 &system) != 2)
		return UINT64_MAX;
	return user + system;
}

/* private: its own; shared: pages of shared memory that it has touched. */
static bool memory(pid_t pid, uint64_t *private, uint64_t *shared)
{
	TV_FREE char *text = read_proc(pid, "status");
	uint64_t anon = number_after(text, "\nRssAnon:"), file = number_after(text, "\nRssFile:"),
		 shmem = number_after(text, "\nRssShmem:"),
		 huge = number_after(text, "\nHugetlbPages:");

	if (anon == UINT64_MAX || file == UINT64_MAX || shmem == UINT64_MAX)
		return false;
	*private = (anon + file) << 10;
	*shared = (shmem + (huge == UINT64_MAX ? 0 : huge)) << 10;
	return true;
}

/* ---- taps ---- */
static void add_tap(struct vm_vitals *v, const char *name, size_t n)
{
	char tap[sizeof(v->taps[0])];

	if (!n || !tv_copy_n(tap, sizeof(tap), name, n))
		return;
	for (unsigned i = 0; i < v->taps_n; i++)
		if (!strcmp(v->taps[i], tap)) /* another queue of it */
			return;
	if (v->taps_n < sizeof(v->taps) / sizeof(*v->taps))
		strcpy(v->taps[v->taps_n++], tap);
}

static void find_taps(struct vm_vitals *v, pid_t pid)
{
	char path[64], link[64], file[64];
	struct dirent *de;
	DIR *dir;

	v->taps_n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), de->d_name, link, sizeof(link) - 1);
		TV_FREE char *text = NULL;
		const char *p;

		if (n < 0 || n != (ssize_t)strlen("/dev/net/tun") ||
		    memcmp(link, "/dev/net/tun", (size_t)n) != 0)
			continue;
		snprintf(file, sizeof(file), "fdinfo/%.20s", de->d_name);
		text = read_proc(pid, file);
		p = text ? strstr(text, "\niff:\t") : NULL;
		if (p)
			add_tap(v, p + 6, strcspn(p + 6, "\n"));
	}
	if (dir)
		closedir(dir);
}

/* What a tap receives the VM has sent. Both UINT64_MAX: it has no tap. */
static void count_net(const struct vm_vitals *v, pid_t pid, struct vm_counts *c)
{
	TV_FREE char *text = v->taps_n ? read_proc(pid, "net/dev") : NULL;
	unsigned long long tap_rx, tap_tx;
	char key[20], *p;

	for (unsigned i = 0; text && i < v->taps_n; i++) {
		snprintf(key, sizeof(key), "%s:", v->taps[i]);
		p = strstr(text, key);
		while (p && p != text && !isspace((unsigned char)p[-1]))
			p = strstr(p + 1, key);
		if (!p || sscanf(p + strlen(key), "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &tap_rx,
				 &tap_tx) != 2)
			continue;
		c->net_tx = (c->net_tx == UINT64_MAX ? 0 : c->net_tx) + tap_rx;
		c->net_rx = (c->net_rx == UINT64_MAX ? 0 : c->net_rx) + tap_tx;
	}
}

/* ---- a sample ---- */
/* Per second; NAN: one of the two is not known, or it counts anew. */
static double rate(uint64_t before, uint64_t now, double seconds)
{
	if (before == UINT64_MAX || now == UINT64_MAX || now < before)
		return NAN;
	return (double)(int64_t)((double)(now - before) / seconds * 10 + 0.5) / 10;
}

static struct vm_counts count(const struct vm *vm)
{
	const struct vm_vitals *v = &vm->vitals;
	struct vm_counts c = {.at_ns = tv_now_ns(),
			      .pid = vm->saved.qemu.pid,
			      .other = vm->role == SESSION_BACKUP ? vm->now.replicator : 0,
			      .disk_read = UINT64_MAX,
			      .disk_write = UINT64_MAX,
			      .net_rx = UINT64_MAX,
			      .net_tx = UINT64_MAX,
			      .cpu_ticks = UINT64_MAX,
			      .other_ticks = UINT64_MAX};

	c.wire = vm->phase == VM_RUNNING ? vm->now.stats.wire_bytes : UINT64_MAX;
	c.acked = vm->phase == VM_RUNNING ? vm->now.stats.link_acked_bytes : UINT64_MAX;
	c.other_ticks = cpu_ticks(c.other);
	if (!vm_lives(vm))
		return c;
	c.cpu_ticks = cpu_ticks(c.pid);
	if (vm->role == SESSION_PRIMARY) {
		TV_FREE char *io = read_proc(c.pid, "io");

		c.disk_read = number_after(io, "\nread_bytes: ");
		c.disk_write = number_after(io, "\nwrite_bytes: ");
		count_net(v, c.pid, &c);
	}
	return c;
}

static void sample_primary(struct vm_vitals *v, const struct vm_counts *c, double seconds,
			   double per_tick)
{
	const struct vm_counts *b = &v->before;
	uint64_t private, shared;

	v->cpu_percent = rate(b->cpu_ticks, c->cpu_ticks, seconds) * per_tick;
	v->disk_read_bytes_s = rate(b->disk_read, c->disk_read, seconds);
	v->disk_write_bytes_s = rate(b->disk_write, c->disk_write, seconds);
	v->net_rx_bytes_s = rate(b->net_rx, c->net_rx, seconds);
	v->net_tx_bytes_s = rate(b->net_tx, c->net_tx, seconds);
	v->memory_bytes = c->cpu_ticks != UINT64_MAX && memory(c->pid, &private, &shared)
				  ? private + shared
				  : UINT64_MAX;
}

/* The RAM is one memory file that both map: the one that has touched more of it counts. */
static void sample_backup(struct vm_vitals *v, const struct vm_counts *c, double seconds,
			  double per_tick)
{
	const struct vm_counts *b = &v->before;
	uint64_t private[2] = {0}, shared[2] = {0};
	double cpu = rate(b->cpu_ticks, c->cpu_ticks, seconds);
	bool lives = c->cpu_ticks != UINT64_MAX && memory(c->pid, &private[0], &shared[0]);
	bool works = memory(c->other, &private[1], &shared[1]);

	v->standby_cpu_percent = rate(b->other_ticks, c->other_ticks, seconds) * per_tick;
	if (!isnan(cpu))
		v->standby_cpu_percent += cpu * per_tick;
	v->standby_memory_bytes =
		lives || works
			? private[0] + private[1] + (shared[0] > shared[1] ? shared[0] : shared[1])
			: UINT64_MAX;
}

void vitals_sample(struct vm *vm)
{
	struct vm_vitals *v = &vm->vitals;
	double per_tick = 100.0 / (double)sysconf(_SC_CLK_TCK), seconds;
	struct vm_counts c;

	if (!v->before.at_ns || v->before.pid != vm->saved.qemu.pid || v->role != vm->role)
		forget(v);
	v->role = vm->role;
	if (vm->role == SESSION_PRIMARY && v->samples++ % TAPS_EVERY == 0)
		find_taps(v, vm->saved.qemu.pid);
	c = count(vm);
	if (v->before.other != c.other)
		v->before.other_ticks = UINT64_MAX;
	seconds = (double)(c.at_ns - v->before.at_ns) / TV_NS_PER_S;
	if (v->before.at_ns && seconds > 0) {
		v->wire_bytes_s = rate(v->before.wire, c.wire, seconds);
		v->link_used_bytes_s = rate(v->before.acked, c.acked, seconds);
		if (vm->role == SESSION_PRIMARY)
			sample_primary(v, &c, seconds, per_tick);
		else
			sample_backup(v, &c, seconds, per_tick);
	}
	v->before = c;
}

int vitals_add(const struct vm *vm, json_t *to)
{
	return vm->vitals.before.at_ns ? fields_add(&vitals_fields, &vm->vitals, to) : 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timeval tv = tv_timeval(EVERY_NS);
	struct daemon *d = arg;
	struct vm *vm;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(vm, &d->vms, link) {
		vitals_sample(vm);
		shown_note(vm);
	}
	event_add(d->vitals, &tv);
}

void vitals_start(struct daemon *d)
{
	d->vitals = evtimer_new(d->base, on_timer, d);
	on_timer(-1, 0, d);
}
