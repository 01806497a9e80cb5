/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a replicator died on the primary: a short-lived process of its own (QEMU or a shared
 * directory may keep it waiting). Rule 4 first: the record must say that we run alone before a
 * frame may pass; the daemon throws frames away until then (frames held in the kernel wait there,
 * and leave now). Then rule 5: the VM is let go and resumed. Exit status: 0 cleaned up,
 * RECOVER_FENCED another host runs the VM (ours was stopped), 1 try again.
 */
#include "daemon/capture.h"
#include "daemon/daemon.h"
#include "daemon/job.h"
#include "netbuffer/netbuffer.h"

#include <stdio.h>
#include <string.h>

static int record_alone(const struct job *j, struct tv_err *e)
{
	struct fo_claim c = {.generation = j->generation};
	struct fo_arbiter *a = NULL;
	struct fo_record rec;
	int rc = fo_arbiter_open(j->arbiter, &a, e);

	if (rc)
		return rc;
	snprintf(c.vm_id, sizeof(c.vm_id), "%s", j->vm_id);
	snprintf(c.self, sizeof(c.self), "%s", j->conf.host);
	snprintf(c.peer, sizeof(c.peer), "%s", j->peer_name);
	snprintf(c.session, sizeof(c.session), "%s", j->session);
	rc = fo_claim(a, FO_ASK_ALONE, &c, &rec, e);
	fo_arbiter_close(a);
	return rc;
}

int recover_main(const char *job_text)
{
	struct cap_page *page = NULL;
	struct hv_vm_id vm = {0};
	struct tv_err e = {0};
	struct job j;
	char path[512];
	bool resume;
	int rc = job_from_text(job_text, &j, &e);

	if (rc) {
		tv_log(TV_ERROR, "%s", e.text);
		return 1;
	}
	tv_log_init("recovery");
	vm.pid = j.vm_pid;
	vm.start_ticks = j.vm_start_ticks;
	snprintf(vm.qmp_path, sizeof(vm.qmp_path), "%s", j.vm_qmp);
	snprintf(vm.name, sizeof(vm.name), "%s", j.vm_name);
	if (tv_pid_start_ticks(vm.pid) != vm.start_ticks)
		return 0; /* nothing left to clean up */
	rc = record_alone(&j, &e);
	if (rc == TV_E_LOST) {
		tv_log(TV_ERROR, "%s: %s; stopping our copy and keeping it for inspection",
		       j.vm_name, e.text);
		rc = hv_stop_vm(&vm, &e);
		if ((!rc || rc == TV_E_GONE) && nb_plug_clean(j.vm_id, false, &e))
			tv_log(TV_WARN, "%s: %s", j.vm_name, e.text);
		return rc && rc != TV_E_GONE ? 1 : RECOVER_FENCED;
	}
	if (rc) {
		tv_log(TV_WARN, "%s: %s; its output is thrown away until the arbiter answers",
		       j.vm_name, e.text);
		return 1;
	}
	/* Held in the kernel since it died: rule 4, the VM goes on with the history that sent it.
	 */
	rc = nb_plug_clean(j.vm_id, true, &e);
	if (rc) {
		tv_log(TV_ERROR, "%s: clean-up: %s; trying again", j.vm_name, e.text);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/%s/page", j.conf.run_dir, j.vm_id);
	if (cap_page_map(path, false, &page) || !page->attached)
		return 0; /* it died before it touched the VM */
	resume = page->in_pause;
	rc = hv_cleanup(&vm, resume, &e);
	if (rc && rc != TV_E_GONE) {
		tv_log(TV_ERROR, "%s: clean-up: %s; trying again", j.vm_name, e.text);
		return 1;
	}
	page->attached = page->in_pause = 0;
	tv_log(TV_INFO, "%s runs on, nothing of twinvm is left in it", j.vm_name);
	return 0;
}
