/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `standby`: a domain is defined and started, paused, as the standby of another host's. What is asked
 * for comes as JSON on stdin: in "ask" the peer's part, a text that nobody has read yet; the rest was
 * chosen by the process that starts us, on this host.
 *
 * The stored definition is what a cold start here uses after a promotion. The run is started from an
 * XML of its own, which waits for a state: libvirt keeps both.
 */
#include "lv/domains.h"
#include "lv/question.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PID_DIR "/run/libvirt/qemu"
#define LOG_DIR "/var/log/libvirt/qemu"

struct work {
	struct lv_question q;
	struct lv_xml_made made;
	char qmp[108], owner[64];
	char *before;
	uid_t uid;
	gid_t gid;
	virConnectPtr c;
};

static int read_question(struct work *w)
{
	struct tv_buf b;
	char part[16384];
	int rc = 0;
	size_t n;

	tv_buf_init(&b, LV_QUESTION_BYTES);
	while (!rc && (n = fread(part, 1, sizeof(part), stdin)))
		rc = tv_buf_add(&b, part, n);
	rc = rc ? lv_say(LV_EXIT_USAGE, "the question is too long")
		: lv_question_take((const char *)b.data, b.bytes, &w->q);
	tv_buf_dispose(&b);
	return rc;
}

/* ---- what is there ---- */

/* A domain that is shut off, of the VM's name and UUID: the VM's own, from when it ran here? A peer says
 * which name and UUID its VM has. */
static int take_place(struct work *w, virDomainPtr d)
{
	const char *name = virDomainGetName(d);

	w->before = lv_domain_definition(d);
	if (!w->before)
		return lv_say_virt("the definition of the domain %s", name);
	if (lv_xml_may_replace(w->before, w->made.uuid, w->q.own_uuid))
		return LV_EXIT_OK;
	return lv_say(LV_EXIT_REFUSED,
		      "libvirt has a domain %s (%s) here, shut off, and this host does not know it "
		      "as a VM of twinvm's: it is not replaced. If it is the same VM, remove its "
		      "definition there (virsh undefine %s)",
		      name, w->made.uuid, name);
}

static int look_at(struct work *w, virDomainPtr d)
{
	const char *name = virDomainGetName(d);
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	bool ours;

	(void)virDomainGetUUIDString(d, uuid);
	if (strcmp(name, w->made.name) != 0 || strcasecmp(uuid, w->made.uuid) != 0)
		return lv_say(LV_EXIT_REFUSED,
			      "libvirt has the domain %s (%s) here already, which is not the VM %s "
			      "(%s); rename it or undefine it",
			      name, uuid, w->made.name, w->made.uuid);
	ours = lv_domain_is_ours(d, w->q.xml.vm_id, &w->before);
	if (virDomainIsActive(d) == 1) {
		if (!ours || lv_domain_has_run(d))
			return lv_say(
				LV_EXIT_REFUSED,
				"libvirt runs the domain %s here already; end it (virsh destroy)",
				name);
		if (virDomainDestroy(d)) /* an earlier session's standby */
			return lv_say_virt("the domain %s", name);
	}
	/* A cold start would take it for the VM as it is then. */
	if (virDomainHasManagedSaveImage(d, 0) == 1)
		return lv_say(LV_EXIT_REFUSED,
			      "libvirt has a saved state of the domain %s, which is older than the "
			      "VM; remove it (virsh managedsave-remove %s)",
			      name, name);
	return ours ? LV_EXIT_OK : take_place(w, d);
}

static int look(struct work *w)
{
	virDomainPtr by_uuid = virDomainLookupByUUIDString(w->c, w->made.uuid), by_name = NULL;
	int rc = LV_EXIT_OK;

	if (!by_uuid)
		by_name = virDomainLookupByName(w->c, w->made.name);
	if (by_uuid || by_name)
		rc = look_at(w, by_uuid ? by_uuid : by_name);
	if (by_uuid)
		virDomainFree(by_uuid);
	if (by_name)
		virDomainFree(by_name);
	return rc;
}

/* ---- start ---- */

/* Twice: the name decides on the monitor's folder, and what is there is kept in the mark. */
static int rewrite(struct work *w)
{
	char folder[96];
	struct tv_err e;

	lv_xml_free(&w->made);
	if (lv_xml_make(&w->q.xml, &w->made, &e))
		return lv_say(LV_EXIT_FAILED, "%s", e.text);
	lv_folder(w->made.name, folder, sizeof(folder));
	snprintf(w->qmp, sizeof(w->qmp), "%s/monitor.sock", folder);
	return LV_EXIT_OK;
}

static int make_xml(struct work *w)
{
	int rc;

	if (lv_owner(w->c, &w->uid, &w->gid)) {
		snprintf(w->owner, sizeof(w->owner), "+%u:+%u", (unsigned)w->uid, (unsigned)w->gid);
		w->q.xml.owner = w->owner;
	}
	w->q.xml.qmp_path = w->qmp;
	rc = rewrite(w);
	if (!rc)
		rc = look(w);
	w->q.xml.before = w->before;
	return rc ? rc : rewrite(w);
}

static int write_note(struct work *w)
{
	struct lv_note n;
	int rc;

	tv_copy(n.nonce, sizeof(n.nonce), lv_question_text(w->q.j, "nonce"));
	tv_copy(n.vm_id, sizeof(n.vm_id), w->q.xml.vm_id);
	memcpy(n.name, w->made.name, sizeof(n.name));
	memcpy(n.uuid, w->made.uuid, sizeof(n.uuid));
	rc = lv_note_write(lv_question_text(w->q.j, "note"), &n);
	return rc ? lv_say(LV_EXIT_FAILED, "%s: %s", lv_question_text(w->q.j, "note"),
			   tv_strerror(rc))
		  : LV_EXIT_OK;
}

/* The domain, running; NULL: what was made is removed again. */
static virDomainPtr start(struct work *w, int *status)
{
	virDomainPtr stored = virDomainDefineXML(w->c, w->made.clean), d;

	if (!stored) {
		*status = lv_say_virt("libvirt does not take the domain %s", w->made.name);
		if (!w->before)
			lv_folder_remove(w->made.name);
		return NULL;
	}
	d = virDomainCreateXML(w->c, w->made.live, VIR_DOMAIN_START_PAUSED);
	if (!d) {
		*status = lv_say_virt("libvirt cannot start the domain %s", w->made.name);
		(void)lv_domain_remove(w->c, stored, w->before);
	}
	virDomainFree(stored);
	return d;
}

/* ---- the answer ---- */

static pid_t pid_of(const char *name)
{
	TV_FREE char *pid = NULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PID_DIR "/%s.pid", name);
	return tv_read_file(path, 64, &pid, NULL) ? 0 : (pid_t)atol(pid);
}

/* The taps that libvirt has made, in the order of the NICs. */
static json_t *taps_of(virDomainPtr d)
{
	TV_FREE char *xml = virDomainGetXMLDesc(d, 0);
	json_t *taps = json_array();

	for (const char *p = xml; p && (p = strstr(p, "<interface type='bridge'>"));) {
		const char *end = strstr(p, "</interface>"), *dev = strstr(p, "<target dev='");
		char name[32];

		if (end && dev && dev < end && sscanf(dev, "<target dev='%31[^']", name) == 1)
			json_array_append_new(taps, json_string(name));
		p = end ? end : p + 1;
	}
	return taps;
}

static int answer(struct work *w, virDomainPtr d)
{
	char log[PATH_MAX];
	pid_t pid = pid_of(w->made.name);
	json_t *j;
	int rc;

	snprintf(log, sizeof(log), LOG_DIR "/%s.log", w->made.name);
	j = json_pack("{s:s, s:s, s:i, s:s, s:s, s:o}", "name", w->made.name, "uuid", w->made.uuid,
		      "pid", (int)pid, "qmp", w->qmp, "log", log, "taps", taps_of(d));
	rc = !pid || json_dumpf(j, stdout, JSON_COMPACT) || fflush(stdout);
	json_decref(j);
	if (!rc)
		return LV_EXIT_OK;
	rc = lv_say(LV_EXIT_FAILED, "the process of the domain %s is not known", w->made.name);
	(void)lv_domain_remove(w->c, d, w->before);
	return rc;
}

static int run(struct work *w)
{
	virDomainPtr d;
	int status = read_question(w);

	if (!status)
		w->c = lv_connect(&status);
	if (!status)
		status = lv_lock(lv_question_text(w->q.j, "note"));
	if (status)
		return status;
	status = make_xml(w);
	if (!status && (lv_folder_make(w->made.name, w->uid, w->gid)))
		status = lv_say(LV_EXIT_FAILED, "the folder of %s cannot be made: %s", w->qmp,
				strerror(errno));
	if (!status)
		status = write_note(w);
	if (status)
		return status;
	d = start(w, &status);
	if (d) {
		status = answer(w, d);
		virDomainFree(d);
	}
	return status;
}

int lv_standby_main(int argc, char **argv)
{
	struct work *w = calloc(1, sizeof(*w));
	int status;

	(void)argv;
	if (!w || argc != 1)
		return lv_say(LV_EXIT_USAGE, "usage: " LV_PROGRAM " standby <QUESTION");
	status = run(w);
	if (w->c)
		virConnectClose(w->c);
	return status; /* the process ends, and its memory with it */
}

/* ---- `owner` ---- */

int lv_owner_main(int argc, char **argv)
{
	int status = LV_EXIT_USAGE;
	virConnectPtr c;
	uid_t uid = 0;
	gid_t gid = 0;

	(void)argv;
	if (argc != 1)
		return lv_say(status, "usage: " LV_PROGRAM " owner");
	c = lv_connect(&status);
	if (!c)
		return status;
	status = LV_EXIT_OK;
	if (!lv_owner(c, &uid, &gid) || !uid)
		status = lv_say(
			LV_EXIT_FAILED,
			"libvirt's QEMUs run as root here, or as a user that it does not name");
	else
		printf("{\"uid\":%u,\"gid\":%u}\n", (unsigned)uid, (unsigned)gid);
	virConnectClose(c);
	return status;
}
