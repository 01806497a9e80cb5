/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's verbs for the standby's QEMU (hv/host). What the sink cannot choose: the program (a
 * QEMU of this host, by its name), the user, the run directory, the names of taps, another VM's
 * images,
 * and a second QEMU beside a living one. The command line is the sink's: the QEMU that gets it has
 * no rights either.
 */
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- what is asked for ---- */

/* The words of the tail, and after the end of that vector the domain, or NULL; the caller frees it.
 * NULL: they are not as many as the body has. */
static char **words_of(struct mon_request *q)
{
	unsigned n = q->body.start.n_words, domain = q->body.start.has_domain;
	char *p = (char *)q->tail, *end = p + q->head.tail_bytes;
	char **words;

	if (!n || n > MON_MAX_WORDS || domain > 1 || end[-1])
		return NULL;
	words = calloc(n + 2, sizeof(*words));
	for (unsigned i = 0; words && i < n + domain; i++) {
		if (p == end) {
			free(words);
			return NULL;
		}
		words[i < n ? i : n + 1] = p;
		p += strlen(p) + 1;
	}
	if (words && p != end) {
		free(words);
		return NULL;
	}
	return words;
}

static bool is_valid(const struct mon_start *b)
{
	if (b->again > 1 || b->kvm > 1 || b->tpm > 1 || b->n_taps > HV_HOST_MAX_TAPS ||
	    b->n_images > HV_MAX_DISKS || b->oom_score_adj < HV_HOST_OOM_MIN ||
	    b->oom_score_adj > HV_HOST_OOM_MAX || b->nice < HV_HOST_NICE_MIN ||
	    b->nice > HV_HOST_NICE_MAX)
		return false;
	for (unsigned i = 0; i < b->n_images; i++)
		if (!mon_is_text(b->images[i], sizeof(b->images[i])))
			return false;
	return true;
}

static bool lives(const struct mon_state *s)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

	return s->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

/* ---- which QEMU ---- */

static int find(const struct mon_state *s, const char *name, size_t room, char **binary,
		struct tv_err *e)
{
	int rc = mon_is_text(name, room) && !strchr(name, '/')
			 ? hv_host_find_emulator(s->conf.qemu_path, name, binary)
			 : -EINVAL;

	return rc ? tv_fail(e, TV_E_REFUSED, "%s runs no such program as a standby", s->conf.host)
		  : 0;
}

/* A file without a name that holds the text; -errno. */
static int file_of(const char *text)
{
	int fd = memfd_create("twinvm-machines", MFD_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = text ? tv_write_all(fd, text, strlen(text)) : -ENOMEM;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

void mon_on_qemu(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		 int fds[MON_MAX_FDS])
{
	struct mon_qemu *b = &q->body.qemu;
	TV_FREE char *binary = NULL, *text = NULL;
	json_t *machines = NULL;
	struct tv_err e = {0};
	int rc = find(s, b->binary, sizeof(b->binary), &binary, &e);

	if (!rc)
		rc = hv_host_ops.qemu(s->host, binary, &r->abilities, &machines, &e);
	if (rc) {
		mon_fail(r, rc, e.text);
		return;
	}
	text = json_dumps(machines, JSON_COMPACT);
	json_decref(machines);
	fds[0] = file_of(text);
	if (fds[0] < 0)
		mon_fail(r, fds[0], NULL);
	else
		r->fds = 1;
}

/* ---- start ---- */

/* Its slot is fixed: the lock is not needed any more. */
static bool has_slot(struct mon_state *s)
{
	bool has;

	pthread_mutex_lock(&s->lock);
	has = s->slot >= 0;
	pthread_mutex_unlock(&s->lock);
	return has;
}

static int open_host(struct mon_state *s, struct tv_err *e)
{
	struct hv_host_conf conf = {
		.dir = s->dir,
		.bridge = s->conf.bridge[0] ? s->conf.bridge : NULL,
		.bridges = s->conf.bridges,
		.tap_prefix = s->names.tap_prefix,
		.user = s->conf.standby_user,
		.replica_dir = s->conf.replica_dir,
		.state_dir = s->conf.state_dir,
		.media = s->conf.media,
		.vm_id = s->vm_id,
		.libvirt = config_has_libvirt(&s->conf),
	};

	return s->host ? 0 : hv_host_new(&conf, &s->host, e);
}

void mon_on_check(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		  int fds[MON_MAX_FDS])
{
	struct hv_host_file *f = &q->body.check;
	struct tv_err e = {0};
	int rc = -EINVAL;

	(void)fds;
	if (has_slot(s) && f->what <= HV_HOST_KVM && memchr(f->path, 0, sizeof(f->path)))
		rc = open_host(s, &e);
	if (!rc)
		rc = hv_host_ops.check(s->host, f, &e);
	if (rc)
		mon_fail(r, rc, e.text[0] ? e.text : NULL);
}

/* For twinvmd, which ends the standby should the sink die. */
static int note(struct mon_state *s, const struct hv_host_qemu *qemu, struct tv_err *e)
{
	struct standby_note n = {.pid = qemu->pid, .start_ticks = qemu->start_ticks};
	int rc;

	snprintf(n.qmp, sizeof(n.qmp), "%s%s", qemu->domain ? qemu->qmp_path : s->dir,
		 qemu->domain ? "" : "/" HV_HOST_QMP);
	rc = standby_note(s->dir, &n);
	return rc ? tv_fail(e, rc, "the note of the standby cannot be written on %s: %s",
			    s->conf.host, tv_strerror(rc))
		  : 0;
}

/* All of qemu's descriptors that are open go into fds. */
static void give(struct hv_host_qemu *qemu, struct mon_reply *r, int fds[MON_MAX_FDS])
{
	const int all[MON_Q_COUNT] = {
		[MON_Q_PIDFD] = qemu->pidfd,   [MON_Q_MEM] = qemu->fds.mem,
		[MON_Q_MAPS] = qemu->fds.maps, [MON_Q_EXE] = qemu->fds.exe,
		[MON_Q_RAM] = qemu->ram_fd,    [MON_Q_LOG] = qemu->log_fd,
	};

	r->qemu.pid = qemu->pid;
	r->qemu.start_ticks = qemu->start_ticks;
	r->qemu.domain = qemu->domain;
	memcpy(r->qemu.qmp_path, qemu->qmp_path, sizeof(r->qemu.qmp_path));
	for (unsigned i = 0; i < MON_Q_COUNT; i++) {
		if (all[i] < 0)
			continue;
		r->qemu.open |= 1u << i;
		fds[r->fds++] = all[i];
	}
}

/* What the peer says of the domain; "": nothing. Only that UUID's start does libvirt's hook let pass
 * meanwhile, and only that UUID can be this host's own. domain: as the peer sent it, or NULL. */
static void uuid_of(const char *domain, char out[37])
{
	const char *p = domain ? strstr(domain, "<uuid>") : NULL;

	snprintf(out, 37, "%s", p ? p + strlen("<uuid>") : "");
}

static int start(struct mon_state *s, struct mon_request *q, char **words,
		 struct hv_host_qemu *qemu, struct tv_err *e)
{
	const struct mon_start *b = &q->body.start;
	struct hv_host_start what = {.argv = words,
				     .domain = words[b->n_words + 1],
				     .again = b->again,
				     .kvm = b->kvm,
				     .oom_score_adj = b->oom_score_adj,
				     .nice = b->nice,
				     .tpm = b->tpm,
				     .ram_bytes = b->ram_bytes,
				     .memory_bytes = b->memory_bytes,
				     .n_taps = b->n_taps,
				     .n_images = b->n_images};
	TV_FREE char *binary = NULL;
	char uuid[37];
	int rc = find(s, b->binary, sizeof(b->binary), &binary, e);

	if (!rc)
		rc = open_host(s, e);
	if (rc)
		return rc;
	what.binary = binary;
	memcpy(what.taps, b->taps, sizeof(what.taps));
	memcpy(what.images, b->images, sizeof(what.images));
	uuid_of(what.domain, uuid);
	what.own_uuid = uuid[0] && own_noted(s->conf.state_dir, uuid) ? uuid : "";
	if (uuid[0] && start_note(s->conf.run_dir, uuid))
		tv_log(TV_WARN, "the note for libvirt's hook cannot be written");
	rc = hv_host_ops.start(s->host, &what, qemu, e);
	if (uuid[0])
		start_note_end(s->conf.run_dir, uuid);
	if (rc)
		return rc;
	tv_close_fd(&s->pidfd);
	s->pidfd = dup(qemu->pidfd);
	rc = s->pidfd < 0 ? tv_fail(e, -errno, "no descriptor for the standby") : note(s, qemu, e);
	if (rc) {
		(void)!hv_host_ops.signal(s->host, SIGKILL);
		hv_host_qemu_dispose(qemu);
	}
	return rc;
}

void mon_on_start(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		  int fds[MON_MAX_FDS])
{
	TV_FREE char **words = NULL;
	struct hv_host_qemu qemu;
	struct tv_err e = {0};
	int rc;

	hv_host_qemu_init(&qemu);
	if (has_slot(s) && is_valid(&q->body.start))
		words = words_of(q);
	if (!words) {
		mon_fail(r, -EINVAL, "no command line of a standby, or not now");
	} else if (lives(s)) {
		mon_fail(r, -EBUSY, "the standby runs already");
	} else if ((rc = start(s, q, words, &qemu, &e))) {
		mon_fail(r, rc, e.text);
	} else {
		give(&qemu, r, fds); /* closed when they have been sent */
	}
}

void mon_end_qemu(struct mon_state *s)
{
	(void)!hv_host_ops.signal(s->host, SIGKILL);
	hv_host_ops.clean(s->host, true);
}

/* ---- the rest ---- */

void mon_on_qmp(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		int fds[MON_MAX_FDS])
{
	struct tv_err e = {0};
	int rc = s->host ? hv_host_ops.qmp(s->host, &fds[0], &e) : -ENOENT;

	(void)q;
	if (rc)
		mon_fail(r, rc, e.text[0] ? e.text : NULL);
	else
		r->fds = 1;
}

void mon_on_signal(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		   int fds[MON_MAX_FDS])
{
	(void)fds;
	r->rc = s->host ? hv_host_ops.signal(s->host, q->body.signal.signal) : -ENOENT;
}

/* Taps that are up let frames of the VM out: rule 3. */
void mon_on_taps(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		 int fds[MON_MAX_FDS])
{
	struct tv_err e = {0};
	bool promoted;
	int rc;

	(void)q;
	(void)fds;
	pthread_mutex_lock(&s->lock);
	promoted = s->promoted;
	pthread_mutex_unlock(&s->lock);
	if (!promoted || !s->host) {
		mon_fail(r, -EPERM, "the VM is not promoted: its taps stay down");
		return;
	}
	rc = hv_host_ops.taps(s->host, &e);
	if (rc)
		mon_fail(r, rc, e.text);
}

void mon_on_clean(struct mon_state *s, struct mon_request *q, struct mon_reply *r,
		  int fds[MON_MAX_FDS])
{
	(void)r;
	(void)fds;
	if (s->host)
		hv_host_ops.clean(s->host, q->body.clean.with_log == 1);
}
