/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taking everything of ours out of a VM: by what QEMU says is there and not by what we remember, so
 * that it serves hv_detach, a failed hv_attach, and a process that cleans up after a dead one.
 */
#include "hv/vm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static bool is_ours(const char *name)
{
	return name && !strncmp(name, HV_PREFIX, strlen(HV_PREFIX));
}

/* One QMP query that gives a list; NULL on failure, which is put into *rc unless one is there. */
static json_t *ask_list(struct hv_qmp *q, const char *cmd, json_t *args, int *rc, struct tv_err *e)
{
	json_t *ret = NULL;
	int r;

	if (*rc == -ETIMEDOUT || *rc == TV_E_GONE) {
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

	json_array_foreach(list, i, v)
	{
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

	json_array_foreach(list, i, v)
	{
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

	json_array_foreach(
		json_object_get(set, "fds"), i,
		fd) if (is_ours(json_string_value(json_object_get(fd, "opaque")))) return true;
	return false;
}

static void remove_fdsets(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "query-fdsets", NULL, rc, e), *v;
	size_t i;

	json_array_foreach(list, i, v) if (set_is_ours(v)) remove_one(
		q, "remove-fd",
		json_pack("{s:I}", "fdset-id", json_integer_value(json_object_get(v, "fdset-id"))),
		rc, e);
	json_decref(list);
}

static bool has_jobs(struct hv_qmp *q, bool cancel, int *rc, struct tv_err *e)
{
	json_t *list = ask_list(q, "query-block-jobs", NULL, rc, e), *v;
	bool found = false;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *id = json_string_value(json_object_get(v, "device"));

		if (!is_ours(id))
			continue;
		found = true;
		/* One that has failed ends by itself meanwhile: not finding it any more is no
		 * failure. */
		if (cancel && hv_qmp_cmd(q, "block-job-cancel",
					 json_pack("{s:s, s:b}", "device", id, "force", 1), NULL,
					 HV_CMD_MS, NULL) == TV_E_GONE)
			*rc = TV_E_GONE;
	}
	json_decref(list);
	return found;
}

/* The job first: its target cannot be removed while it is used. Cancelling is asked for, not waited
 * for. */
void hv_remove_mirrors(struct hv_qmp *q, int *rc, struct tv_err *e)
{
	int64_t until = tv_now_ns() + HV_CMD_MS * TV_NS_PER_MS;
	json_t *list, *v;
	size_t i;

	if (has_jobs(q, true, rc, e))
		while (has_jobs(q, false, rc, e) && tv_now_ns() < until)
			poll(NULL, 0, 1);
	list = ask_list(q, "query-named-block-nodes", json_pack("{s:b}", "flat", 1), rc, e);
	json_array_foreach(list, i, v)
	{
		const char *name = json_string_value(json_object_get(v, "node-name"));

		if (is_ours(name))
			remove_one(q, "blockdev-del", json_pack("{s:s}", "node-name", name), rc, e);
	}
	json_decref(list);
}

int hv_remove_traces(struct hv_qmp *q, struct tv_err *e)
{
	int rc = 0;

	hv_remove_mirrors(q, &rc, e);
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

int hv_cleanup(const struct hv_vm_id *id, bool resume, struct tv_err *e)
{
	struct hv_qmp *q;
	struct tv_err ignored;
	int rc, r;

	if (tv_pid_start_ticks(id->pid) != id->start_ticks)
		return tv_fail(e, TV_E_GONE, "the VM %s (pid %d) has ended", id->name, id->pid);
	rc = hv_qmp_open(id->qmp_path, HV_CMD_MS, &q, e);
	if (rc)
		return rc;
	/* Resume first: the guest waits for nothing else. */
	if (resume)
		rc = resume_paused(q, e);
	r = hv_remove_traces(q, rc ? &ignored : e);
	close_named_fds(q);
	hv_qmp_close(q);
	return rc ? rc : r;
}
