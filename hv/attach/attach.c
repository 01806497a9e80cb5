/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * twinvm adds five things to an attached VM: a QMP connection, a write-only descriptor of our memfd
 * in a QEMU fd set (device state), a userfaultfd on its RAM (dirty pages; held by us, not by QEMU),
 * and, if asked for, filters and chardevs on its NICs. Nothing runs inside QEMU.
 *
 * Invariants: what is ours in QEMU is named HV_PREFIX..., so that hv_cleanup finds it without us;
 * if we die, the kernel takes the userfaultfd away with us, and QEMU before 9.1 drops the fd set
 * with the connection (later ones leave it to hv_cleanup); if we die between hv_pause and
 * hv_resume, the VM stays paused until hv_cleanup.
 *
 * Attach goes: connect, remove what an attachment has left that lost its monitor, look at everything
 * that could stand in the way, find the RAM blocks, give QEMU the state file, inject and register.
 * Any failure takes the same way back as hv_detach.
 */
#include "hv/attach/attach_int.h"
#include "hv/attach/files.h"
#include "hv/attach/check.h"
#include "hv/attach/as_qemu.h"
#include "hv/dirty/dirty.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GREETING_MS 2000
#define CLEAN_AGAIN_MS 500
#define REFUSED_AGAIN 10
#define MAX_NICS_LOOKED_AT (HV_MAX_NICS + 1)

static bool still_the_same(const struct hv_vm_id *id)
{
	return tv_pid_start_ticks(id->pid) == id->start_ticks;
}

/* Without this look, its silence on QMP would be taken for another client's doing. */
static bool is_stopped(pid_t pid)
{
	TV_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	return !tv_read_file(path, 1 << 16, &text, NULL) && strstr(text, "State:\tT");
}

static int open_process(struct hv_vm *vm, struct tv_err *e)
{
	vm->pidfd = (int)syscall(SYS_pidfd_open, vm->id.pid, 0);
	/* Compared after the open: from here on the pidfd stands for this process and no other. */
	if (vm->pidfd < 0 || !still_the_same(&vm->id))
		return tv_fail(e, TV_E_GONE, "the VM %s (pid %d) has ended", vm->id.name,
			       vm->id.pid);
	if (is_stopped(vm->id.pid))
		return tv_fail(e, -EBUSY, "QEMU (pid %d) is held by SIGSTOP; send it SIGCONT",
			       vm->id.pid);
	return 0;
}

/* ---- looking ---- */

struct look { /* what hv_check_facts needs, and its owners */
	struct hv_policy policy;
	struct hv_devs devs;
	struct hv_nic nics[MAX_NICS_LOOKED_AT];
	struct hv_link ports[MAX_NICS_LOOKED_AT], masters[MAX_NICS_LOOKED_AT];
	char **argv;
	char lock_manager[32];
	json_t *status;
	struct hv_check check;
};

static void look_dispose(struct look *l)
{
	json_decref(l->status);
	json_decref(l->check.migrate);
	json_decref(l->check.block);
	json_decref(l->check.jobs);
	json_decref(l->check.nodes);
	hv_devs_dispose(&l->devs);
	free(l->argv);
	free(l);
}

/* Is some RAM shared memory of which hv/dirty cannot see what is discarded? */
static bool is_shared_unseen(const struct hv_vm *vm)
{
	struct hv_maps maps;
	bool unseen = false;

	if (hv_maps_read(vm->id.pid, &maps))
		return true;
	for (unsigned i = 0; i < vm->n_blocks; i++) {
		const struct hv_map *m = hv_maps_at(&maps, vm->blocks[i].host.v);

		unseen = unseen ||
			 (m && m->shared && !hv_dirty_sees_discards(vm, &vm->blocks[i], m));
	}
	hv_maps_dispose(&maps);
	return unseen;
}

static int ask_kvm(struct hv_vm *vm, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(vm->qmp, "query-kvm", NULL, &ret, HV_CMD_MS, e);

	vm->kvm = !rc && json_is_true(json_object_get(ret, "enabled"));
	json_decref(ret);
	return rc;
}

static void look_at_ports(struct hv_vm *vm, struct look *l)
{
	hv_tap_names(vm->id.pid, l->nics, l->check.n_nics);
	for (unsigned i = 0; i < l->check.n_nics; i++) {
		if (!l->nics[i].ifname[0] || hv_link_read(l->nics[i].ifname, &l->ports[i]) ||
		    !l->ports[i].master[0] || hv_link_read(l->ports[i].master, &l->masters[i]))
			l->masters[i].kind[0] = '\0';
	}
	l->check.ports = l->ports;
	l->check.masters = l->masters;
}

static int look_around(struct hv_vm *vm, const struct hv_opts *opts, struct look *l,
		       struct tv_err *e)
{
	TV_FREE char *network = NULL;
	int rc;

	l->argv = hv_proc_args("/proc", vm->id.pid);
	rc = hv_kernel_probe(&vm->features);
	if (rc)
		return tv_fail(e, rc, "the kernel self-test failed: %s", tv_strerror(rc));
	if ((rc = hv_qemu_ask(vm->qmp, &vm->qemu, e)) ||
	    (rc = hv_qmp_cmd(vm->qmp, "query-status", NULL, &l->status, HV_CMD_MS, e)) ||
	    (rc = hv_qmp_cmd(vm->qmp, "query-migrate", NULL, &l->check.migrate, HV_CMD_MS, e)) ||
	    (rc = hv_qmp_cmd(vm->qmp, "query-block", NULL, &l->check.block, HV_CMD_MS, e)) ||
	    (rc = hv_qmp_cmd(vm->qmp, "query-named-block-nodes", NULL, &l->check.nodes, HV_CMD_MS,
			     e)) ||
	    (rc = hv_qmp_cmd(vm->qmp, "query-block-jobs", NULL, &l->check.jobs, HV_CMD_MS, e)) ||
	    (rc = ask_kvm(vm, e)) || (rc = hv_devs_read(vm->qmp, &l->devs, e)) ||
	    (rc = hv_qmp_hmp(vm->qmp, "info network", &network, HV_CMD_MS, e)))
		return rc;
	l->check.n_nics = hv_nics(&l->devs, network, l->argv, l->nics, MAX_NICS_LOOKED_AT);
	l->check.status = json_string_value(json_object_get(l->status, "status"));
	if (!l->check.status)
		return tv_fail(e, TV_E_PROTOCOL, "QEMU's answer to query-status has no status");
	l->policy = hv_policy;
	l->policy.vhost = hv_policy.vhost || (opts && opts->net_below);
	l->policy.plaintext = opts && opts->plaintext;
	l->check.policy = &l->policy;
	l->check.features = &vm->features;
	l->check.qemu = &vm->qemu;
	l->check.devs = &l->devs;
	l->check.nics = l->nics;
	look_at_ports(vm, l);
	l->check.argv = l->argv;
	hv_libvirt_locks(l->argv, l->lock_manager, sizeof(l->lock_manager));
	l->check.lock_manager = l->lock_manager;
	if (hv_changed_user(l->argv)) {
		l->check.can_open = hv_can_open;
		l->check.can_open_arg = &vm->id.pid;
	}
	return 0;
}

static int find_ram(struct hv_vm *vm, uint64_t *page_bytes, struct tv_err *e)
{
	struct hv_proc_fds fds;
	int rc = hv_proc_open(vm->id.pid, &fds);

	if (rc)
		return tv_fail(e, rc, "cannot open the memory of QEMU (pid %d): %s",
			       (int)vm->id.pid, tv_strerror(rc));
	rc = hv_ramblock_find(vm->qmp, &fds, &vm->qemu, vm->blocks, HV_MAX_BLOCKS, &vm->n_blocks,
			      page_bytes, e);
	hv_proc_close(&fds);
	return rc;
}

/* Finds the RAM blocks, and collects all reasons against protecting this VM. */
static int examine(struct hv_vm *vm, const struct hv_opts *opts, struct hv_refusals *refusals,
		   struct tv_err *e)
{
	struct look *l = calloc(1, sizeof(*l));
	struct tv_err ram_err = {0};
	int rc, ram_rc;

	if (!l)
		return tv_fail(e, -ENOMEM, "no memory");
	rc = look_around(vm, opts, l, e);
	if (rc)
		goto out;
	ram_rc = find_ram(vm, &l->check.page_bytes, &ram_err);
	vm->discards = hv_check_discards(&l->devs);
	l->check.shared_unseen = !ram_rc && vm->discards && is_shared_unseen(vm);
	hv_check_facts(&l->check, refusals);
	if (refusals->n)
		rc = tv_fail(e, TV_E_REFUSED, "%s%s", refusals->text[0],
			     refusals->n > 1 ? " (and more)" : "");
	else if (ram_rc)
		rc = tv_fail(e, ram_rc, "%s", ram_err.text);
	else
		rc = hv_disks_setup(vm, l->check.block, e);
out:
	look_dispose(l);
	return rc;
}

/* ---- attach and detach ---- */

static struct hv_vm *vm_new(const struct hv_vm_id *id, const struct hv_opts *opts)
{
	struct hv_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->id = *id;
	vm->stopped = opts ? opts->stopped : NULL;
	vm->hashes = opts ? opts->hashes : NULL;
	vm->pidfd = vm->state_fd = vm->write_fd = -1;
	vm->pipe.read_fd = vm->pipe.write_fd = vm->pipe.look_fd = -1;
	vm->fdset = -1;
	for (unsigned i = 0; i < HV_MAX_NICS; i++)
		vm->drain_fds[i] = -1;
	return vm;
}

int hv_attach(const struct hv_vm_id *id, const struct hv_opts *opts, struct hv_vm **out,
	      struct hv_refusals *refusals, struct tv_err *e)
{
	struct hv_vm *vm = vm_new(id, opts);
	struct hv_refusals unwanted;
	char text[512];
	int rc;

	*out = NULL;
	if (!vm)
		return tv_fail(e, -ENOMEM, "no memory to attach to a VM");
	if (!refusals)
		refusals = &unwanted;
	refusals->n = 0;
	if ((rc = open_process(vm, e)) ||
	    (rc = hv_qmp_open_any(id->qmp_path, id->pid, GREETING_MS, &vm->qmp, e)) ||
	    (rc = hv_remove_traces(vm->qmp, vm->stopped, e)) ||
	    (rc = examine(vm, opts, refusals, e)) ||
	    (rc = hv_state_setup(vm, opts && opts->three_commands, e)) ||
	    (rc = hv_dirty_setup(vm, vm->kvm || (opts && opts->two_step), e))) {
		hv_detach(vm);
		return rc;
	}
	hv_qemu_text(&vm->qemu, text, sizeof(text));
	tv_log(TV_INFO, "%s: %s", vm->id.name, text);
	if (hv_round_needs_pause(vm))
		tv_log(TV_INFO, "%s: dirty pages come from soft-dirty bits (%s)", vm->id.name,
		       vm->features.why);
	*out = vm;
	return 0;
}

/*
 * Over a connection of its own: that of the attachment has ended, and QEMU has not. As long as another
 * program holds every monitor it is tried again: the caller passes the VM's frames on and answers its
 * mirrors meanwhile, while QEMU drops what a filter without a peer gets.
 */
static int clean_anew(struct hv_vm *vm)
{
	volatile uint32_t unwatched = 0, *stopped = vm->stopped ? vm->stopped : &unwatched;
	struct tv_err e = {0};
	bool reported = false;
	unsigned refused = 0;
	int rc;

	*stopped = *stopped || vm->paused;
	for (;;) {
		rc = hv_cleanup(&vm->id, stopped, &e);
		if (rc && rc != TV_E_GONE && !reported)
			tv_log(TV_WARN,
			       "%s: its monitor's connection has ended, and what twinvm added to "
			       "the VM is still in it: %s",
			       vm->id.name, e.text);
		reported = true;
		/* Of a proxy that has died the socket is put back in a moment (daemon/proxies.c). */
		if ((rc != -EBUSY && (rc != -ECONNREFUSED || ++refused > REFUSED_AGAIN)) ||
		    hv_pidfd_ended(vm->pidfd, CLEAN_AGAIN_MS))
			return rc == TV_E_GONE ? 0 : rc;
	}
}

static int clean(struct hv_vm *vm)
{
	struct tv_err e;
	int rc = 0, r;

	if ((r = hv_disks_unmirror(vm, &e))) {
		tv_log(TV_WARN, "%s: %s", vm->id.name, e.text);
		rc = r;
	}
	if (vm->n_ports && (r = hv_net_unhold(vm, &e))) {
		tv_log(TV_WARN, "%s: %s", vm->id.name, e.text);
		rc = r;
	}
	if (vm->fdset >= 0 && (r = hv_remove_traces(vm->qmp, vm->stopped, &e))) {
		tv_log(TV_WARN, "%s: %s", vm->id.name, e.text);
		rc = r;
	}
	return rc;
}

/* Is its connection there? That it is not says nothing about QEMU. */
static bool has_monitor(const struct hv_vm *vm)
{
	struct pollfd p = {hv_qmp_fd(vm->qmp), POLLRDHUP, 0};

	return poll(&p, 1, 0) <= 0 || !(p.revents & (POLLRDHUP | POLLHUP));
}

int hv_detach(struct hv_vm *vm)
{
	bool monitor = vm && vm->qmp && has_monitor(vm);
	int rc = 0, r;

	if (!vm)
		return 0;
	if (vm->pipe.held)
		hv_pipe_give_up(vm, "detached");
	if (vm->paused && monitor && (rc = hv_resume(vm, HV_CMD_MS)))
		tv_log(TV_WARN, "%s: could not resume the VM while detaching from it", vm->id.name);
	hv_dirty_stop(vm);
	if (monitor && (r = clean(vm)))
		rc = r;
	if (vm->qmp && !monitor && !hv_ended(vm, false))
		rc = clean_anew(vm);
	if (vm->qmp)
		hv_qmp_close(vm->qmp);
	hv_state_teardown(vm);
	hv_watch_end(vm);
	hv_files_close(vm);
	json_decref(vm->drives);
	for (unsigned i = 0; i < HV_MAX_NICS; i++)
		tv_close_fd(&vm->drain_fds[i]);
	tv_close_fd(&vm->pidfd);
	hv_dirty_teardown(vm); /* last: it may take long, and the VM's output is free by now */
	free(vm);
	return rc;
}

/* ---- facts ---- */

const struct hv_block *hv_blocks(const struct hv_vm *vm, unsigned *n)
{
	*n = vm->n_blocks;
	return vm->blocks;
}

bool hv_is_kvm(const struct hv_vm *vm)
{
	return vm->kvm;
}

int hv_fd(const struct hv_vm *vm)
{
	return hv_qmp_fd(vm->qmp);
}

int hv_pidfd(const struct hv_vm *vm)
{
	return vm->pidfd;
}
