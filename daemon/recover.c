/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helper processes of the daemon, each short-lived: QEMU, a shared directory or an arbiter may keep
 * them waiting.
 *
 * recover_main, after a replicator died on the primary. Rule 4 first: the record must state that
 * the VM runs alone before a frame may pass; the daemon drops frames until then (frames held in the
 * kernel wait there, and leave now). Then rule 5: the VM is released and resumed. Exit status: 0
 * cleaned up, RECOVER_TAKEN_BACK the same, RECOVER_FENCED another host runs the VM (this instance
 * must be stopped), 1 try again. A replicator that has learned that before it ended has left it in
 * the page: then the record is not asked (without an arbiter it would grant everything).
 *
 * fence_main, for a VM that another host runs (rule 3): stops it, for good, and takes out of it
 * what twinvm added, so that the operator finds nothing but the VM as it stood. The stop comes
 * first and does not depend on QEMU: where the monitor does not answer, the process is stopped. One
 * thing stays: QEMU gives up an fd set only while its VM runs, so the file of the last device state
 * lies in it.
 *
 * settle_main, after the end of protection: the record states that no other host may run the VM, or
 * is removed.
 *
 * may_start_main, when libvirt is to start a VM that another host may have: the record states that this
 * host runs it alone, or why it does not.
 *
 * suspend_main, for an operator: stops a VM that nobody is attached to, or lets it run.
 *
 * proxy_main, while a VM is protected whose tools need its only monitor: lives as long as that.
 *
 * look_main, when another host offers a VM: what the arbiter has on record of it.
 */
#include "daemon/daemon.h"
#include "failover/arbiter/arbiter.h"
#include "hv/proxy/proxy.h"
#include "replicator/session/session.h"
#include "netbuffer/netbuffer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_arbiter(const struct job *j, struct fo_arbiter **a, struct tv_err *e)
{
	struct fo_arbiter_conf ac;
	struct fo_times times;

	fo_times_init(&times, j->conf.heartbeat_ms * TV_NS_PER_MS);
	ac = config_arbiter(&j->conf, &times);
	return fo_arbiter_open(j->arbiter, &ac, a, e);
}

/* generation: of the record. */
static int record_alone(const struct job *j, uint64_t *generation, struct tv_err *e)
{
	struct fo_arbiter *a = NULL;
	struct fo_record rec;
	struct fo_claim c;
	int rc = open_arbiter(j, &a, e);

	if (rc)
		return rc;
	job_claim(j, &c);
	rc = fo_claim(a, FO_ASK_ALONE, &c, &rec, e);
	*generation = rc ? 0 : rec.generation;
	fo_arbiter_close(a);
	return rc;
}

static struct hv_vm_id id_of(const struct job *j)
{
	struct hv_vm_id vm = {.pid = j->vm_pid, .start_ticks = j->vm_start_ticks};

	tv_copy(vm.qmp_path, sizeof(vm.qmp_path), j->vm_qmp);
	tv_copy(vm.name, sizeof(vm.name), j->vm_name);
	return vm;
}

/*
 * Rule 3: no lease is kept any more, so the backup may be asking for the VM at this moment, and the
 * instance here does not run until the record allows it. The page remembers, whatever happens to
 * this process, that it was not the operator who stopped it. For a VM that cannot be stopped the
 * arbiter is asked all the same: its output is dropped.
 */
static void stop_meanwhile(const struct hv_vm_id *vm, struct cap_page *page)
{
	struct tv_err e = {0};
	int rc = hv_vm_runs(vm, &e);

	if (rc > 0) {
		page->in_pause = 1;
		rc = hv_stop_vm(vm, &e);
	}
	if (rc < 0)
		tv_log(TV_WARN, "%s: stopping it while the arbiter is asked: %s", vm->name, e.text);
}

/* The record states that the VM runs alone: it continues, without anything of twinvm. page: NULL when
 * the replicator died before it touched the VM. */
static int release(const struct job *j, const struct hv_vm_id *vm, struct cap_page *page)
{
	struct tv_err e = {0};
	/* Held in the kernel since it died: rule 4, the VM continues the history that sent it. */
	int rc = nb_plug_clean(j->vm_id, true, &e);

	if (!rc && page)
		rc = hv_cleanup(vm, &page->in_pause, &e);
	if (rc && rc != TV_E_GONE) {
		tv_log(TV_ERROR, "%s: clean-up: %s; it is tried again", j->vm_name, e.text);
		return 1;
	}
	if (page) {
		page->attached = page->in_pause = page->yielded = 0;
		tv_log(TV_INFO, "%s keeps running, nothing of twinvm is left in it", j->vm_name);
	}
	return 0;
}

static int recover(const struct job *j, const struct hv_vm_id *vm, struct cap_page *page)
{
	bool arbiter = strcmp(j->arbiter, "none") != 0;
	struct tv_err e = {0};
	uint64_t generation;
	int rc;

	if (page && page->yielded && !arbiter) {
		tv_log(TV_ERROR,
		       "%s: host %s was asked to take it over; if it does not run there, 'twinvm "
		       "unprotect %s --kept' here and `cont` in its monitor",
		       j->vm_name, j->peer.name, j->vm_name);
		return RECOVER_FENCED;
	}
	if (page && arbiter)
		stop_meanwhile(vm, page);
	rc = record_alone(j, &generation, &e);
	if (rc == TV_E_LOST) {
		tv_log(TV_ERROR, "%s: %s", j->vm_name, e.text);
		return RECOVER_FENCED; /* the daemon has it stopped: fence_main */
	}
	if (rc) {
		tv_log(TV_WARN, "%s: %s; its output is dropped until the arbiter answers",
		       j->vm_name, e.text);
		return 1;
	}
	rc = release(j, vm, page);
	return !rc && generation > j->generation ? RECOVER_TAKEN_BACK : rc;
}

int recover_main(const char *job_text)
{
	struct cap_page *page = NULL;
	struct hv_vm_id vm;
	struct tv_err e = {0};
	struct job j;
	char path[CAP_PAGE_PATH];
	int rc = job_from_text(job_text, &j, &e);

	if (rc) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	tv_log_init("recovery");
	vm = id_of(&j);
	if (tv_pid_start_ticks(vm.pid) != vm.start_ticks)
		return 0; /* nothing left to clean up */
	cap_page_path(j.conf.run_dir, j.vm_id, path);
	if (cap_page_map(path, false, &page))
		page = NULL;
	if (page && page->fenced) {
		tv_log(TV_ERROR, "%s: its replicator stopped it, as another host runs it",
		       j.vm_name);
		return RECOVER_FENCED;
	}
	return recover(&j, &vm, page && page->attached ? page : NULL);
}

/* A stopped process sends nothing, whatever state its monitor is in. */
static bool freeze(const struct hv_vm_id *vm)
{
	TV_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, vm->pid, 0);

	/* The pidfd first: what it means cannot change after the start time was read. */
	return pidfd >= 0 && tv_pid_start_ticks(vm->pid) == vm->start_ticks &&
	       !syscall(SYS_pidfd_send_signal, pidfd, SIGSTOP, NULL, 0);
}

/* Frames of a history that ends here. */
static void drop_held(const struct job *j)
{
	struct tv_err e = {0};

	if (nb_plug_clean(j->vm_id, false, &e))
		tv_log(TV_WARN, "%s: %s", j->vm_name, e.text);
}

int fence_main(const char *job_text)
{
	volatile uint32_t resume = 0; /* never */
	struct hv_vm_id vm;
	struct tv_err e = {0};
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	if (rc) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	tv_log_init("fence");
	vm = id_of(&j);
	rc = hv_stop_vm(&vm, &e);
	if (rc && tv_pid_start_ticks(vm.pid) != vm.start_ticks) {
		drop_held(&j);
		return FENCE_GONE;
	}
	if (rc) {
		/* What the kernel holds of it stays held: a worker of vhost may not be frozen. */
		tv_log(TV_ERROR, "%s: stop: %s; stopping its process", vm.name, e.text);
		return freeze(&vm) ? FENCE_FROZEN : 1;
	}
	drop_held(&j);
	rc = hv_cleanup(&vm, &resume, &e);
	if (rc && tv_pid_start_ticks(vm.pid) != vm.start_ticks)
		return FENCE_GONE;
	/* It is stopped, and that is what counts: what is left in it does not keep it from being
	 * kept. */
	if (rc)
		tv_log(TV_WARN, "%s: clean-up of the stopped VM: %s", vm.name, e.text);
	return 0;
}

int proxy_main(const char *job_text, int report_fd)
{
	char note[HV_PROXY_PATH], tag[80];
	struct tv_err e = {0};
	struct hv_vm_id vm;
	struct job j;

	if (job_from_text(job_text, &j, &e)) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	snprintf(tag, sizeof(tag), "%s proxy %.20s", j.conf.host, j.vm_name);
	tv_log_init(tag);
	/* Its clients have a patience of seconds, and guests take what CPU there is. */
	job_raise_priority();
	vm = id_of(&j);
	hv_proxy_note(j.conf.run_dir, j.vm_id, note);
	return hv_proxy_run(&vm, note, report_fd);
}

/*
 * The VM's record at the arbiter is not needed any more; may hang with the directory's server. Only
 * this host's record is removed, and only after no host can promote by it any more.
 */
int settle_main(const char *job_text, bool remove)
{
	struct fo_arbiter *a = NULL;
	struct fo_claim c = {0};
	struct fo_record rec;
	struct tv_err e = {0};
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	if (!rc)
		rc = open_arbiter(&j, &a, &e);
	if (!rc) {
		job_claim(&j, &c);
		rc = fo_claim(a, FO_ASK_ALONE, &c, &rec, &e);
	}
	if (!rc && remove)
		rc = fo_arbiter_forget(a, j.vm_id, &e);
	fo_arbiter_close(a);
	if (rc == TV_E_LOST || rc == -ENODATA)
		return 0; /* another host's by now, or gone */
	if (rc)
		tv_log(TV_WARN, "%s", e.text);
	return rc ? 1 : 0;
}

/* The arbiter's words for people; where the record names another host, it is read to say which. */
static void why_not(const struct job *j, struct fo_arbiter *a, const struct fo_claim *c, int rc,
		    struct tv_err *e)
{
	struct fo_record rec = {0};
	struct tv_err was = *e;

	if (rc == TV_E_LOST && !fo_claim(a, FO_ASK_LOOK, c, &rec, NULL))
		tv_fail(e, rc,
			"%s runs on %s (generation %llu, by the arbiter's record); 'twinvm failover "
			"%s' there brings it home",
			j->vm_name, rec.primary, (unsigned long long)rec.generation, j->vm_name);
	else
		tv_fail(e, rc,
			"%s was protected by %s, and it cannot be asked whether it runs there: "
			"%.300s",
			j->vm_name, j->peer.name, was.text);
}

/* No other host can promote it when this returns 0. */
int may_start_main(const char *job_text, int fd)
{
	struct fo_arbiter *a = NULL;
	struct fo_record rec = {0};
	struct tv_err e = {0};
	struct fo_claim c = {0};
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	tv_log_init("may-start");
	if (!rc)
		rc = open_arbiter(&j, &a, &e);
	if (!rc) {
		job_claim(&j, &c);
		rc = fo_claim(a, FO_ASK_ALONE, &c, &rec, &e);
	}
	if (rc)
		why_not(&j, a, &c, rc, &e);
	fo_arbiter_close(a);
	if (rc)
		(void)!tv_write_all(fd, e.text, strlen(e.text));
	return rc ? 1 : 0;
}

int suspend_main(const char *job_text, bool suspend, int fd)
{
	struct hv_vm_id vm;
	struct tv_err e = {0};
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	tv_log_init(suspend ? "suspend" : "resume");
	if (!rc) {
		vm = id_of(&j);
		rc = hv_suspend_vm(&vm, suspend, &e);
	}
	if (!rc)
		return 0;
	tv_log(TV_WARN, "%s", e.text);
	(void)!tv_write_all(fd, e.text, strlen(e.text));
	return rc == TV_E_REFUSED ? SUSPEND_REFUSED : 1;
}

int look_main(const char *job_text, int fd)
{
	struct fo_arbiter *a = NULL;
	struct fo_record rec = {0};
	struct tv_err e = {0};
	struct fo_claim c;
	struct job j;
	int rc = job_from_text(job_text, &j, &e);

	tv_log_init("look");
	if (!rc) /* the URL is the peer's; the configuration is read anew, as by a sink */
		rc = config_check_arbiter(&j.conf, j.arbiter, &e);
	if (!rc)
		rc = open_arbiter(&j, &a, &e);
	if (!rc) {
		job_claim(&j, &c);
		rc = fo_claim(a, FO_ASK_LOOK, &c, &rec, &e);
	}
	fo_arbiter_close(a);
	if (rc == -ENOENT)
		return LOOK_NONE;
	if (!rc)
		rc = tv_write_all(fd, &rec, sizeof(rec));
	if (rc)
		tv_log(TV_WARN, "the record of %s: %s", j.vm_name,
		       e.text[0] ? e.text : tv_strerror(rc));
	return rc ? 1 : 0;
}
