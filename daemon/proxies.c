/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The processes that share a VM's only monitor with its tools (hv/proxy), one for each VM that needs
 * it, from its first session to the end of protection: replicators and daemons come and go meanwhile.
 * However such a process ends, QEMU's socket gets its place back here; what was left by a daemon
 * that has died is found by the notes. A replicator that was connected has lost its session then,
 * and the next one begins with another proxy.
 */
#include "daemon/daemon.h"
#include "hv/proxy/proxy.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define END_S 4 /* it serves those who are connected, and ends by itself in less */
#define ID_BYTES 32

static struct proxied *find(struct daemon *d, const char *id)
{
	struct proxied *x;

	TAILQ_FOREACH(x, &d->proxies, link)
		if (!strcmp(x->id, id) && !x->ending)
			return x;
	return NULL;
}

bool proxies_has(struct daemon *d, const char *vm_id)
{
	return find(d, vm_id) != NULL;
}

static void put_back(struct daemon *d, const char *id)
{
	char note[HV_PROXY_PATH];
	struct tv_err e;

	hv_proxy_note(d->conf.run_dir, id, note);
	if (hv_proxy_put_back(note, &e))
		tv_log(TV_ERROR, "%s", e.text);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct proxied *x = arg;

	if (what & EV_TIMEOUT) { /* it hangs */
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		event_add(x->ended, NULL);
		return;
	}
	put_back(x->d, x->id);
	if (!x->ending)
		tv_log(TV_WARN,
		       "the proxy of a VM's monitor has ended (%s): QEMU's own socket is in its "
		       "place again",
		       x->id);
	TAILQ_REMOVE(&x->d->proxies, x, link);
	event_free(x->ended);
	close(x->pidfd);
	free(x);
}

void proxies_add(struct daemon *d, const char *vm_id, pid_t pid)
{
	struct proxied *x = calloc(1, sizeof(*x));

	if (!x)
		abort(); /* as vm_new */
	x->d = d;
	tv_copy(x->id, sizeof(x->id), vm_id);
	x->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (x->pidfd < 0) { /* it has ended */
		free(x);
		put_back(d, vm_id);
		return;
	}
	x->ended = event_new(d->base, x->pidfd, EV_READ, on_ended, x);
	event_add(x->ended, NULL);
	TAILQ_INSERT_TAIL(&d->proxies, x, link);
}

void proxies_end(struct daemon *d, const char *vm_id)
{
	const struct timeval patience = {.tv_sec = END_S};
	struct proxied *x = find(d, vm_id);

	if (!x)
		return;
	x->ending = true;
	syscall(SYS_pidfd_send_signal, x->pidfd, SIGTERM, NULL, 0);
	event_add(x->ended, &patience);
}

static bool is_known(struct daemon *d, const char *id)
{
	struct vm *vm;

	TAILQ_FOREACH(vm, &d->vms, link)
		if (!strcmp(vm->id, id))
			return true;
	return false;
}

/* A note that an earlier daemon, or its proxy, has left. */
static void load(struct daemon *d, const char *id)
{
	char note[HV_PROXY_PATH];
	pid_t pid;

	hv_proxy_note(d->conf.run_dir, id, note);
	pid = hv_proxy_serves(note);
	if (!pid) {
		put_back(d, id);
		return;
	}
	proxies_add(d, id, pid);
	if (!is_known(d, id))
		proxies_end(d, id);
}

void proxies_load(struct daemon *d)
{
	DIR *dir = opendir(d->conf.run_dir);
	struct dirent *ent;
	char id[ID_BYTES + 1];

	while (dir && (ent = readdir(dir)))
		if (strlen(ent->d_name) == ID_BYTES + strlen(".proxy") &&
		    !strcmp(ent->d_name + ID_BYTES, ".proxy")) {
			tv_copy_n(id, sizeof(id), ent->d_name, ID_BYTES);
			load(d, id);
		}
	if (dir)
		closedir(dir);
}
