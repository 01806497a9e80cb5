/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A VM of a few variables in the place of hv/: the functions of hv.h that a replicator's capture
 * thread calls, so the archive's are not linked. Calls can be held up, as by a QEMU that does not
 * answer. Included by one test program.
 */
#ifndef TESTS_UNIT_HV_FAKE_KIT_H
#define TESTS_UNIT_HV_FAKE_KIT_H

#include "tests/unit/hv_fake_compare.h"
#include "hv/hv.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum call { CALL_NONE, CALL_PAUSE, CALL_HOLD_NET };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum call held;	   /* this call waits */
	enum call waiting; /* it does now */
	bool running, attached;
	bool iothreads;	 /* has it any? */
	bool paused;	 /* and hv_resume is due */
	bool one;	 /* an epoch of one command is under way */
	unsigned ran_on; /* after such an epoch, by itself */
	int epoch_rc;
	bool rounds_without_end;	    /* a first copy never ends */
	unsigned stills, suspends, outside; /* outside: of a VM that is not attached */
	unsigned pauses, resumes, states, barriers;
	unsigned disks, mirrors;
	uint64_t barrier;  /* epoch of the last one */
	unsigned events;   /* that it has to report */
	int events_rc;	   /* of hv_events after them */
	const char *state; /* its run state, NULL: running */
	unsigned run_on;
	int fd, never_fd;
	int media;
	bool disk_failed, disk_gone; /* its mirror has ended; as the disk was unplugged */
	bool poison;		     /* QEMU has reported a memory error, after the next stop */
	int copy_rc;		     /* of hv_copy */
	unsigned dirty_pages, dirtied_again; /* found while it runs, and while it does not */
	unsigned harvests_running;
} vm = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Under lock. */
static void may_wait(enum call what)
{
	while (vm.held == what) {
		vm.waiting = what;
		pthread_cond_broadcast(&vm.changed);
		pthread_cond_wait(&vm.changed, &vm.lock);
	}
	vm.waiting = CALL_NONE;
}

__attribute__((unused)) static void hold(enum call what)
{
	pthread_mutex_lock(&vm.lock);
	vm.held = what;
	pthread_cond_broadcast(&vm.changed);
	pthread_mutex_unlock(&vm.lock);
}

__attribute__((unused)) static void await_waiting(enum call what)
{
	pthread_mutex_lock(&vm.lock);
	while (vm.waiting != what)
		pthread_cond_wait(&vm.changed, &vm.lock);
	pthread_mutex_unlock(&vm.lock);
}

static void await_running(void)
{
	pthread_mutex_lock(&vm.lock);
	while (!vm.running)
		pthread_cond_wait(&vm.changed, &vm.lock);
	pthread_mutex_unlock(&vm.lock);
}

#define READ_VM(field)                          \
	({                                      \
		__typeof__(vm.field) v_;        \
		pthread_mutex_lock(&vm.lock);   \
		v_ = vm.field;                  \
		pthread_mutex_unlock(&vm.lock); \
		v_;                             \
	})

static struct hv_vm *the_vm(void)
{
	return (struct hv_vm *)&vm;
}

int hv_attach(const struct hv_vm_id *id, const struct hv_opts *opts, struct hv_vm **out,
	      struct hv_refusals *refusals, struct tv_err *e)
{
	(void)id;
	(void)opts;
	(void)refusals;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	vm.attached = true;
	pthread_mutex_unlock(&vm.lock);
	*out = the_vm();
	return 0;
}

int hv_detach(struct hv_vm *v)
{
	(void)v;
	pthread_mutex_lock(&vm.lock);
	vm.attached = false;
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

bool hv_ended(const struct hv_vm *v, bool ending)
{
	(void)v;
	(void)ending;
	return false;
}

int hv_look(struct hv_vm *v, const struct hv_run_state **state)
{
	(void)v;
	*state = hv_run_state_of(vm.state ? vm.state : "running");
	return 0;
}

int hv_run_on(struct hv_vm *v)
{
	(void)v;
	vm.run_on++;
	return 1;
}

int64_t hv_asked_ns(const struct hv_vm *v)
{
	(void)v;
	return 0;
}

const char *hv_stuck(const struct hv_vm *v)
{
	(void)v;
	return "";
}

int hv_kill(const struct hv_vm *v)
{
	(void)v;
	return 0;
}

struct hv_hashes *hv_hashes_open(const char *path)
{
	(void)path;
	return NULL;
}

void hv_hashes_free(struct hv_hashes *h)
{
	(void)h;
}

int hv_hash_files(const struct hv_vm_id *id, struct hv_hashes *h, hv_hash_more *more, void *arg,
		  struct tv_err *e)
{
	(void)id;
	(void)h;
	(void)more;
	(void)arg;
	(void)e;
	return 0;
}

json_t *hv_describe(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	(void)e;
	return json_object();
}

int hv_devices_check(struct hv_vm *v, const void *state, size_t bytes, struct tv_err *e)
{
	(void)v;
	(void)state;
	(void)bytes;
	(void)e;
	return 0;
}

int hv_devices_look(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	return READ_VM(disk_gone) ? tv_fail(e, TV_E_CHANGED, "device vd1 was unplugged") : 0;
}

int hv_pause(struct hv_vm *v, int timeout_ms)
{
	int rc = 0;

	(void)v;
	(void)timeout_ms;
	pthread_mutex_lock(&vm.lock);
	may_wait(CALL_PAUSE);
	if (!vm.running)
		rc = -EALREADY;
	vm.running = false;
	vm.pauses += !rc;
	vm.paused = !rc;
	pthread_mutex_unlock(&vm.lock);
	return rc;
}

int hv_resume(struct hv_vm *v, int timeout_ms)
{
	(void)v;
	(void)timeout_ms;
	pthread_mutex_lock(&vm.lock);
	if (vm.paused) {
		vm.running = true;
		vm.resumes++;
	}
	vm.paused = false;
	pthread_cond_broadcast(&vm.changed);
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

/* One command, but for a VM that is to stay stopped. */
int hv_epoch_begin(struct hv_vm *v, bool stay, int timeout_ms)
{
	int rc = hv_pause(v, timeout_ms);

	pthread_mutex_lock(&vm.lock);
	vm.one = !rc && !stay;
	vm.paused = !rc && stay;
	vm.states += !rc;
	pthread_mutex_unlock(&vm.lock);
	return rc;
}

int hv_epoch_end(struct hv_vm *v, int timeout_ms, size_t *bytes)
{
	(void)v;
	(void)timeout_ms;
	*bytes = 64;
	pthread_mutex_lock(&vm.lock);
	vm.running = vm.running || vm.one;
	vm.ran_on += vm.one;
	vm.one = false;
	pthread_cond_broadcast(&vm.changed);
	pthread_mutex_unlock(&vm.lock);
	return vm.epoch_rc;
}

bool hv_is_paused(const struct hv_vm *v)
{
	(void)v;
	return READ_VM(paused);
}

const char *hv_epoch_way(const struct hv_vm *v)
{
	(void)v;
	return NULL;
}

int hv_net_hold(struct hv_vm *v, struct hv_net_port ports[HV_MAX_NICS], unsigned *n,
		struct tv_err *e)
{
	(void)v;
	(void)ports;
	(void)e;
	*n = 0;
	pthread_mutex_lock(&vm.lock);
	may_wait(CALL_HOLD_NET);
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_state_read(struct hv_vm *v, void *dst, size_t bytes)
{
	(void)v;
	memset(dst, 7, bytes);
	return 0;
}

int hv_harvest(struct hv_vm *v, struct hv_cursor *cursor, struct hv_run *runs, unsigned max_runs,
	       uint64_t max_pages)
{
	(void)v;
	(void)max_runs;
	(void)max_pages;
	pthread_mutex_lock(&vm.lock);
	runs[0] = (struct hv_run){.pages = vm.running ? vm.dirty_pages : vm.dirtied_again};
	vm.harvests_running += vm.running;
	cursor->done = !vm.rounds_without_end;
	pthread_mutex_unlock(&vm.lock);
	return 1;
}

/* Pages that do not compress: a few epochs fill the encoder's pieces. */
int hv_copy(struct hv_vm *v, const struct hv_run *runs, unsigned n, void *dst)
{
	uint64_t *p = dst;
	static uint64_t x = 88172645463325252u;

	(void)v;
	(void)n;
	for (size_t i = 0; i < runs[0].pages * TV_PAGE_BYTES / sizeof(*p); i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p[i] = x;
	}
	return READ_VM(copy_rc);
}

int hv_events(struct hv_vm *v, void (*cb)(enum hv_event ev, const char *name, void *arg), void *arg)
{
	unsigned n;

	(void)v;
	n = READ_VM(events);
	for (unsigned i = 0; i < n; i++)
		cb(HV_EV_RESET, "RESET", arg);
	if (READ_VM(poison) && READ_VM(pauses))
		cb(HV_EV_POISON, "MEMORY_FAILURE", arg);
	return READ_VM(events_rc);
}

int hv_fd(const struct hv_vm *v)
{
	(void)v;
	return vm.fd;
}

int hv_pidfd(const struct hv_vm *v)
{
	(void)v;
	return vm.never_fd;
}

const struct hv_disk *hv_disks(const struct hv_vm *v, unsigned *n)
{
	static const struct hv_disk disk = {.name = "d0", .bytes = 1 << 20};

	(void)v;
	*n = vm.disks;
	return &disk;
}

const struct hv_block *hv_blocks(const struct hv_vm *v, unsigned *n)
{
	(void)v;
	*n = 0;
	return NULL;
}

bool hv_round_needs_pause(const struct hv_vm *v)
{
	(void)v;
	return false;
}

int hv_round_begin(struct hv_vm *v)
{
	(void)v;
	return 0;
}

/* Not called in these tests. */
#define NEVER                   \
	{                       \
		abort();        \
		return -EINVAL; \
	}
int hv_quit(struct hv_vm *v __attribute__((unused)), int timeout_ms __attribute__((unused)),
	    struct tv_err *e __attribute__((unused))) NEVER
	int hv_net_taps(struct hv_vm *v __attribute__((unused)),
			struct hv_tap taps[HV_MAX_NICS] __attribute__((unused)),
			unsigned *n __attribute__((unused)),
			struct tv_err *e __attribute__((unused))) NEVER
	int hv_net_unhold(struct hv_vm *v __attribute__((unused)),
			  struct tv_err *e __attribute__((unused)))
{
	return 0;
}

/* ---- disks: one that is copied at once, when vm.disks is set ---- */
int hv_disk_connect(struct hv_vm *v, unsigned disk, int fd, struct tv_err *e)
{
	(void)v;
	(void)disk;
	(void)fd;
	(void)e;
	return 0;
}

bool hv_disks_need_pause(struct hv_vm *v)
{
	(void)v;
	return vm.iothreads;
}

/* With I/O threads, QEMU dies of a write that comes while a mirror begins: the VM must stand still. */
int hv_disk_mirror(struct hv_vm *v, unsigned disk, struct tv_err *e)
{
	(void)v;
	(void)disk;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	if (vm.running == vm.iothreads)
		abort();
	vm.mirrors++;
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_disks_unmirror(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	(void)e;
	pthread_mutex_lock(&vm.lock);
	if (vm.running == vm.iothreads)
		abort();
	vm.mirrors = 0;
	pthread_mutex_unlock(&vm.lock);
	return 0;
}

int hv_disks_ready(struct hv_vm *v, uint64_t *done, uint64_t *all, struct tv_err *e)
{
	(void)v;
	(void)e;
	*done = *all = 1;
	return 1;
}

int hv_disks_synced(struct hv_vm *v __attribute__((unused)),
		    struct tv_err *e __attribute__((unused))) NEVER
	bool hv_disks_ok(const struct hv_vm *v __attribute__((unused)))
{
	return !READ_VM(disk_failed);
}

/* A file of 300,000 bytes, each the low byte of its place. */
#define FAKE_FILE_BYTES 300000u
int hv_file_read(struct hv_vm *v, unsigned file, uint64_t offset, void *p, size_t n,
		 struct tv_err *e)
{
	(void)v;
	if (file || offset >= FAKE_FILE_BYTES)
		return tv_fail(e, -ERANGE, "no such part");
	n = n < FAKE_FILE_BYTES - offset ? n : FAKE_FILE_BYTES - (size_t)offset;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(offset + i);
	return (int)n;
}

/* media: what hv_media_changed answers. */
int hv_media_changed(struct hv_vm *v, struct tv_err *e)
{
	(void)v;
	return vm.media ? tv_fail(e, vm.media, "the medium in drive cd was taken out") : 0;
}

static void fake_hv_init(void)
{
	vm.media = vm.copy_rc = 0;
	vm.poison = vm.disk_failed = vm.disk_gone = false;
	vm.held = vm.waiting = CALL_NONE;
	vm.running = true;
	vm.attached = false;
	vm.iothreads = false;
	vm.pauses = vm.resumes = vm.states = vm.barriers = vm.events = 0;
	vm.disks = vm.mirrors = vm.ran_on = 0;
	vm.paused = vm.one = vm.rounds_without_end = false;
	vm.stills = vm.suspends = vm.outside = 0;
	vm.epoch_rc = 0;
	vm.dirty_pages = vm.dirtied_again = 4;
	vm.harvests_running = 0;
	vm.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vm.never_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void fake_hv_dispose(void)
{
	close(vm.fd);
	close(vm.never_fd);
}

#endif
