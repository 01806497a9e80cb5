/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removing all that twinvm added to a VM: what QEMU lists, not what we remember, so
 * that it serves hv_detach, a failed hv_attach, and a process that cleans up after a dead one.
 */
#include "hv/attach/attach_int.h"
#include "hv/attach/detached.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define GENTLE_MS 1000 /* for mirror jobs to end in step with their targets */

static bool is_ours(const char *name)
{
	return name && !strncmp(name, HV_PREFIX, strlen(HV_PREFIX));
}

/* One QMP query that gives a list; NULL on failure, which is put into *rc unless one is there. */
static json_t *ask_list(struct hv_qmp *q, const char *cmd, json_t *args, int *rc, struct tv_err *e)
{
	json_t *ret = NULL;
	int r;

	if (*rc == -ETIMEDOUT || *rc == TV_E_MONITOR) {
		json_decref(args);
		return NULL; /* it would be the same for everything that follows */
	}
	r = hv_qmp_cmd(q, cmd, args, &ret, HV_CMD_MS, *rc ? NULL : e);
	if (r && !*rc)
		*rc = r;
	return ret;
}

static void remove_one(struct hv_qmp *q, const char *cmd, json_t *args, int *rc, struct tv_err *e)
{
	int r = hv_qmp_cmd(q, cmd, args, NULL, HV_CMD_MS, *rc ? NULL : e);

	if (r && !*rc)
		*rc = r;
}

/*
 * The capturing filters go first: a guest frame that came after only the injecting one was removed
 * would be captured and never come back.
 */
static void remove_objects(struct hv_qmp *q, bool capture, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "qom-list", json_pack("{s:s}", "path", "/objects"), rc, e), *v;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *name = json_string_value(json_object_get(v, "name"));

		if (is_ours(name) && (strstr(name, "-out") != NULL) == capture)
			remove_one(q, "object-del", json_pack("{s:s}", "id", name), rc, e);
	}
	json_decref(list);
}

static void remove_chardevs(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "query-chardev", NULL, rc, e), *v;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *label = json_string_value(json_object_get(v, "label"));

		if (is_ours(label))
			remove_one(q, "chardev-remove", json_pack("{s:s}", "id", label), rc, e);
	}
	json_decref(list);
}

static bool set_is_ours(json_t *set)
{
	json_t *fd;
	size_t i;

	json_array_foreach(json_object_get(set, "fds"), i, fd)
		if (is_ours(json_string_value(json_object_get(fd, "opaque"))))
			return true;
	return false;
}

static void remove_fdsets(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "query-fdsets", NULL, rc, e), *v;
	size_t i;

	json_array_foreach(list, i, v)
		if (set_is_ours(v))
			remove_one(q, "remove-fd",
				   json_pack("{s:I}", "fdset-id",
					     json_integer_value(json_object_get(v, "fdset-id"))),
				   rc, e);
	json_decref(list);
}

/* Can it end in step with its target? Not before all is copied, nor when a target has failed. */
static bool is_gentle(json_t *job)
{
	return json_is_true(json_object_get(job, "ready")) &&
	       !json_is_true(json_object_get(job, "paused"));
}

enum jobs { ALL, GENTLE };

/*
 * Are there twinvm mirror jobs of that sort? cancel: they are cancelled, ALL by force, which QEMU
 * reports as "cancelled".
 */
static bool has_jobs(struct hv_qmp *q, enum jobs which, bool cancel, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "query-block-jobs", NULL, rc, e), *v;
	bool found = false;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *id = json_string_value(json_object_get(v, "device"));

		if (!is_ours(id) || (which == GENTLE && !is_gentle(v)))
			continue;
		found = true;
		/* One that ends by itself meanwhile is not found any more: no failure. */
		if (cancel &&
		    hv_qmp_cmd(q, "block-job-cancel",
			       json_pack("{s:s, s:b}", "device", id, "force", which == ALL), NULL,
			       HV_CMD_MS, NULL) == TV_E_MONITOR)
			*rc = TV_E_MONITOR;
	}
	json_decref(list);
	return found;
}

/* 1: it ran and is stopped now, 0: it did not run, or negative: it may be stopped or not. */
static int stop_running(struct hv_qmp *q, volatile uint32_t *stopped, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(q, "query-status", NULL, &ret, HV_CMD_MS, e);
	bool running = json_is_true(json_object_get(ret, "running"));

	json_decref(ret);
	if (rc || !running)
		return rc;
	*stopped = 1; /* first: a process that cleans up after us must know, whenever we die */
	rc = hv_qmp_cmd(q, "stop", NULL, NULL, HV_CMD_MS, e);
	return rc ? rc : 1;
}

static void await_end(struct hv_qmp *q, enum jobs which, int ms, int *rc, struct tv_err *e)
{
	int64_t until = tv_now_ns() + ms * TV_NS_PER_MS;

	while (has_jobs(q, which, false, rc, e) && tv_now_ns() < until)
		poll(NULL, 0, 1);
}

/*
 * A job that has copied all, and whose target answers, ends in step with it: it drains the disk and
 * flushes the target before it frees anything (mirror_run), while the VM runs. Nothing is stopped
 * then, so no other monitor's `stop` falls into our pause and is undone. Other jobs, and one
 * that does not end soon, are left for end_jobs. True: none is left.
 */
static bool end_gently(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	if (has_jobs(q, GENTLE, true, rc, e))
		await_end(q, GENTLE, GENTLE_MS, rc, e);
	return !has_jobs(q, ALL, false, rc, e);
}

/*
 * Ends our mirror jobs, with no write of the guest under way. QEMU (7.2 to 11, block/mirror.c)
 * frees a job's in_flight_bitmap in mirror_run as soon as the job has failed or is cancelled by
 * force, and only then drains the disk; a mirrored write that is under way at that moment clears
 * its bits in the freed memory (active_write_settle), and QEMU dies of it, or not, at its next
 * malloc. `stop` returns when every request has ended. Cancelling without force (end_gently) drains
 * first, too, but is force while the disk is still being copied, and refused when the target has
 * failed. (A failed job does not end by itself because of on-target-error=stop, in mirror.c.)
 */
static void end_jobs(struct hv_qmp *q, volatile uint32_t *stopped, int *rc, struct tv_err *e)
{
	struct tv_err ignored;
	int r = stop_running(q, stopped, *rc ? &ignored : e), c;

	if (r >= 0 && has_jobs(q, ALL, true, rc, e))
		await_end(q, ALL, HV_CMD_MS, rc, e);
	if (*stopped && r && r != TV_E_MONITOR) {
		/* Also after a stop that was not answered: QEMU takes them in order. */
		c = hv_qmp_cmd(q, "cont", NULL, NULL, HV_CMD_MS, *rc || r < 0 ? &ignored : e);
		if (!c)
			*stopped = 0;
		r = r < 0 ? r : c;
	}
	if (r < 0 && !*rc)
		*rc = r;
}

/* An older QEMU without that command, or one that refuses: nothing is known, nothing is deleted. */
static json_t *find_detached(struct hv_qmp *q)
{
	json_t *graph = NULL, *names = NULL;

	if (!hv_qmp_cmd(q, "x-debug-query-block-graph", NULL, &graph, HV_CMD_MS, NULL))
		names = hv_detached_nodes(graph);
	json_decref(graph);
	return names;
}

/* In order. One that something else uses is refused, and libvirt may have been first. */
static void remove_detached(struct hv_qmp *q, json_t *names)
{
	json_t *name;
	size_t i;

	json_array_foreach(names, i, name) {
		int rc = hv_qmp_cmd(q, "blockdev-del", json_pack("{s:O}", "node-name", name), NULL,
				    HV_CMD_MS, NULL);

		if (!rc)
			tv_log(TV_INFO, "the node %s of a disk that was detached is deleted",
			       json_string_value(name));
		else if (rc == -ETIMEDOUT || rc == TV_E_MONITOR)
			return;
	}
}

void hv_remove_mirrors(struct hv_qmp *q, volatile uint32_t *stopped, int *rc, struct tv_err *e)
{
	volatile uint32_t unwatched = 0;
	json_t *list, *v, *detached = find_detached(q);
	size_t i;

	if (!end_gently(q, rc, e))
		end_jobs(q, stopped ? stopped : &unwatched, rc, e);
	/* After its job, which uses it. */
	list = ask_list(q, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), rc, e);
	json_array_foreach(list, i, v) {
		const char *name = json_string_value(json_object_get(v, "node-name"));

		if (is_ours(name))
			remove_one(q, "blockdev-del", json_pack("{s:s}", "node-name", name), rc, e);
	}
	json_decref(list);
	remove_detached(q, detached);
	json_decref(detached);
}

/* A QEMU before 5.2 has no such command, and no exports by twinvm. */
void hv_remove_exports(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	json_t *list = NULL, *v;
	bool any = false;
	size_t i;

	if (hv_qmp_cmd(q, "query-block-exports", NULL, &list, HV_CMD_MS, NULL))
		return;
	json_array_foreach(list, i, v)
		any = any || is_ours(json_string_value(json_object_get(v, "id")));
	json_decref(list);
	/* It ends them; where one is ours, so is the server. */
	if (any)
		remove_one(q, "nbd-server-stop", NULL, rc, e);
}

int hv_remove_traces(struct hv_qmp *q, volatile uint32_t *stopped, struct tv_err *e)
{
	int rc = 0;

	hv_remove_exports(q, &rc, e);
	hv_remove_mirrors(q, stopped, &rc, e);
	remove_objects(q, true, &rc, e);
	remove_objects(q, false, &rc, e);
	remove_chardevs(q, &rc, e);
	remove_fdsets(q, &rc, e);
	return rc;
}

/*
 * Descriptors that were given by name and not taken yet: QEMU lists them nowhere, so all names that
 * hv_net_hold uses are tried. Refusals are the rule here.
 */
static void close_named_fds(struct hv_qmp *q)
{
	char name[32];

	for (int i = 0; i < 2 * HV_MAX_NICS; i++) {
		snprintf(name, sizeof(name), HV_PREFIX "-c%s%d", i % 2 ? "out" : "in", i / 2);
		if (hv_qmp_cmd(q, "closefd", json_pack("{s:s}", "fdname", name), NULL, HV_CMD_MS,
			       NULL) == -ETIMEDOUT)
			return;
	}
}

static int resume_paused(struct hv_qmp *q, struct tv_err *e)
{
	json_t *ret = NULL;
	int rc = hv_qmp_cmd(q, "query-status", NULL, &ret, HV_CMD_MS, e);
	const char *status = json_string_value(json_object_get(ret, "status"));

	if (!rc && status && !strcmp(status, "paused"))
		rc = hv_qmp_cmd(q, "cont", NULL, NULL, HV_CMD_MS, e);
	json_decref(ret);
	return rc;
}

int hv_cleanup(const struct hv_vm_id *id, volatile uint32_t *stopped, struct tv_err *e)
{
	struct hv_qmp *q;
	struct tv_err ignored;
	int rc, r;

	rc = hv_open_vm(id, &q, e);
	if (rc)
		return rc;
	/* Resume first: the guest waits for nothing else. */
	if (*stopped) {
		rc = resume_paused(q, e);
		*stopped = rc != 0;
	}
	r = hv_remove_traces(q, stopped, rc ? &ignored : e);
	close_named_fds(q);
	hv_qmp_close(q);
	return rc ? rc : r;
}
