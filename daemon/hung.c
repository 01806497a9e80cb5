/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A replicator that hangs while its VM stands still for an epoch. QEMU waits for it then, in its own
 * command or for our `cont` (hv/attach/pipe.c), and the guest with it. One that dies lets the VM run
 * again, so one that hangs is ended; what follows is as after any death (supervise.c).
 *
 * A long pause alone is no sign: with more dirty pages than staging holds the VM stands while they
 * are sent. A replicator that lives reports itself all that time. It hangs if it has reported nothing
 * for HUNG_LOOKS looks, all of them in the same pause. Looks are counted, not seconds: a daemon
 * that was itself held up, with the reports unread in its socket, counts one.
 */
#include "daemon/daemon.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HUNG_LOOKS 7

/* See page.h; 0: the VM runs, or there is no page. */
static uint32_t pause_of(const struct vm *vm)
{
	char path[CAP_PAGE_PATH];
	struct cap_page *page;
	uint32_t n;

	cap_page_path(vm->d->conf.run_dir, vm->id, path);
	if (cap_page_map(path, false, &page))
		return 0;
	n = page->pauses;
	cap_page_unmap(page);
	return n % 2 ? n : 0;
}

static void look(struct vm *vm)
{
	struct vm_session *s = &vm->now;
	uint32_t pause;

	if (vm->role != SESSION_PRIMARY || vm->phase != VM_RUNNING || !s->rep || s->replicator <= 0)
		return;
	if (s->stats_ns != s->hung_stats_ns) {
		s->hung_stats_ns = s->stats_ns;
		s->hung_looks = 0;
		return;
	}
	pause = pause_of(vm);
	if (!pause || pause != s->hung_pause) {
		s->hung_pause = pause;
		s->hung_looks = 0;
		return;
	}
	if (++s->hung_looks != HUNG_LOOKS)
		return;
	events_vm(vm, EVENTS_REPLICATOR_HUNG, json_pack("{si}", "pid", (int)s->replicator),
		  "%s: its replicator hangs, and the VM waits for it: it is ended", vm->name);
	kill(s->replicator, SIGKILL);
}

/*
 * A replicator that hung when its daemon died never registers with the next one, and QEMU waits for it.
 * Its page has its pid. The pidfd comes first: what it means cannot change after the start time was read.
 */
void hung_end_unregistered(const struct vm *vm)
{
	char path[CAP_PAGE_PATH];
	struct cap_page *page;
	TV_CLOSE int fd = -1;

	cap_page_path(vm->d->conf.run_dir, vm->id, path);
	if (cap_page_map(path, false, &page))
		return;
	if (page->pid > 0 && page->pid != getpid())
		fd = (int)syscall(SYS_pidfd_open, page->pid, 0);
	if (fd >= 0 && tv_pid_start_ticks(page->pid) == page->start_ticks) {
		events_vm(vm, EVENTS_REPLICATOR_HUNG, json_pack("{si}", "pid", (int)page->pid),
			  "%s: its replicator (pid %d) hangs, it does not register: it is ended",
			  vm->name, (int)page->pid);
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	}
	cap_page_unmap(page);
}

static void arm(struct daemon *d)
{
	struct fo_times t = daemon_times(d);
	struct timeval tv = tv_timeval(t.hung_look_ns);

	event_add(d->hung, &tv);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	struct vm *vm;

	(void)fd;
	(void)what;
	TAILQ_FOREACH(vm, &d->vms, link)
		look(vm);
	arm(d);
}

void hung_start(struct daemon *d)
{
	d->hung = evtimer_new(d->base, on_look, d);
	arm(d);
}
