/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sink's side: the monitor's start, and each verb as a call. */
#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct monitor {
	pid_t pid;
	int pidfd;
	int fds[MON_CHANNELS];
};

/* ---- start and end ---- */

/* In the child: what is not its own is closed, the connection to the other host above all. */
static void become_monitor(const struct config *c, const int fds[MON_CHANNELS])
{
	int own[MON_CHANNELS];

	/* Above all others first, then to 3, 4, 5. */
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		own[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		if (own[i] < 0 || dup3(own[i], 3 + (int)i, O_CLOEXEC) < 0)
			_exit(1);
	if (syscall(SYS_close_range, 3u + MON_CHANNELS, ~0u, 0))
		_exit(1);
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		own[i] = 3 + (int)i;
	prctl(PR_SET_NAME, "twinvm-monitor");
	tv_set_title("twinvmd monitor");
	mon_serve(c, own);
}

int monitor_start(const struct config *c, struct monitor **out, struct tv_err *e)
{
	struct monitor *m = calloc(1, sizeof(*m));
	int theirs[MON_CHANNELS] = {-1, -1, -1}, pair[2], rc = 0;

	*out = NULL;
	if (!m)
		return tv_fail(e, -ENOMEM, "no memory");
	*m = (struct monitor){.pid = -1, .pidfd = -1, .fds = {-1, -1, -1}};
	for (unsigned i = 0; i < MON_CHANNELS && !rc; i++) {
		rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) ? -errno : 0;
		if (!rc) {
			m->fds[i] = pair[0];
			theirs[i] = pair[1];
		}
	}
	if (!rc) {
		m->pid = fork();
		if (!m->pid)
			become_monitor(c, theirs);
		m->pidfd = m->pid > 0 ? (int)syscall(SYS_pidfd_open, m->pid, 0) : -1;
		rc = m->pidfd < 0 ? -errno : 0;
	}
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		tv_close_fd(&theirs[i]);
	if (rc) {
		monitor_free(m);
		return tv_fail(e, rc, "%s cannot start the monitor process: %s", c->host,
			       tv_strerror(rc));
	}
	*out = m;
	return 0;
}

int monitor_fd(const struct monitor *m)
{
	return m->pidfd;
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < MON_CHANNELS; i++)
		tv_close_fd(&m->fds[i]);
	tv_close_fd(&m->pidfd);
	if (m->pid > 0)
		waitpid(m->pid, NULL, 0);
	free(m);
}

/* ---- calls ---- */

static int failed(int rc, struct tv_err *e)
{
	return tv_fail(e, rc, "the monitor process, which has the rights for this, has ended");
}

/* The verb's rc; with a sentence when that is not 0. */
static int call(struct monitor *m, enum mon_verb verb, const void *body, struct mon_reply *r,
		int fds[MON_MAX_FDS], struct tv_err *e)
{
	int rc = mon_call(m->fds[mon_shapes[verb].channel], verb, body, NULL, 0, r, fds);

	if (rc)
		return failed(rc, e);
	return r->rc ? tv_fail(e, r->rc, "%s", r->text) : 0;
}

/* For verbs whose answer has no descriptors. */
static int plain(struct monitor *m, enum mon_verb verb, const void *body, struct mon_reply *r,
		 struct tv_err *e)
{
	int fds[MON_MAX_FDS];

	return call(m, verb, body, r, fds, e);
}

int monitor_vm(struct monitor *m, const char *vm_id, uint64_t generation, struct tv_err *e)
{
	struct mon_vm b = {.generation = generation};
	struct mon_reply r;

	tv_copy(b.vm_id, sizeof(b.vm_id), vm_id);
	return plain(m, MON_V_VM, &b, &r, e);
}

int monitor_slot(struct monitor *m, unsigned slot, char dir[256], struct tv_err *e)
{
	struct mon_slot b = {slot};
	struct mon_reply r;
	int rc = plain(m, MON_V_SLOT, &b, &r, e);

	if (!rc)
		tv_copy(dir, 256, r.dir);
	return rc;
}

int monitor_promoted(struct monitor *m, uint64_t generation, struct tv_err *e)
{
	struct mon_promoted b = {generation};
	struct mon_reply r;

	return plain(m, MON_V_PROMOTED, &b, &r, e);
}

int monitor_frame(struct monitor *m, const void *frame, size_t bytes)
{
	int fds[MON_MAX_FDS];
	struct mon_reply r;
	int rc = mon_call(m->fds[MON_LOOP], MON_V_FRAME, NULL, frame, bytes, &r, fds);

	return rc ? rc : r.rc;
}

int monitor_arbiter(struct monitor *m, const char *url, int heartbeat_ms, struct tv_err *e)
{
	struct mon_arbiter b = {.heartbeat_ms = (uint32_t)heartbeat_ms};
	struct mon_reply r;

	tv_copy(b.url, sizeof(b.url), url);
	return plain(m, MON_V_ARBITER, &b, &r, e);
}

int monitor_claim(void *arg, enum fo_question q, const struct fo_claim *c, struct fo_record *out,
		  struct tv_err *e)
{
	struct mon_claim b = {
		.question = q, .had_record = c->had_record, .generation = c->generation};
	struct monitor *m = arg;
	struct mon_reply r;
	int rc;

	tv_copy(b.peer, sizeof(b.peer), c->peer);
	tv_copy(b.session, sizeof(b.session), c->session);
	rc = plain(m, MON_V_CLAIM, &b, &r, e);
	if (!rc)
		*out = r.record;
	return rc;
}

/* ---- hv_host_ops ---- */

static int ask_qemu(void *arg, const char *binary, struct hv_qemu *out, json_t **machines,
		    struct tv_err *e)
{
	struct mon_qemu b = {0};
	struct mon_reply r;
	int fds[MON_MAX_FDS], rc;

	*machines = NULL;
	tv_copy(b.binary, sizeof(b.binary), hv_host_base_name(binary));
	rc = call(arg, MON_V_QEMU, &b, &r, fds, e);
	if (rc)
		return rc;
	*out = r.abilities;
	if (r.fds != 1)
		return tv_fail(e, TV_E_PROTOCOL, "no list of machines came");
	/* The file's position is the writer's, at its end. */
	*machines = lseek(fds[0], 0, SEEK_SET) ? NULL : json_loadfd(fds[0], 0, NULL);
	close(fds[0]);
	return *machines ? 0 : tv_fail(e, TV_E_PROTOCOL, "no list of machines came");
}

static int check(void *arg, const struct hv_host_file *f, struct tv_err *e)
{
	struct mon_reply r;

	return plain(arg, MON_V_CHECK, f, &r, e);
}

/* A domain that has no room is none: its VM can do without. */
static int pack_words(const struct hv_host_start *what, struct tv_buf *b, struct mon_start *to)
{
	int rc = 0;

	tv_buf_init(b, MON_TAIL_BYTES);
	for (to->n_words = 0; what->argv[to->n_words] && !rc; to->n_words++)
		rc = tv_buf_add(b, what->argv[to->n_words], strlen(what->argv[to->n_words]) + 1);
	to->has_domain = !rc && what->domain && !what->again &&
			 !tv_buf_add(b, what->domain, strlen(what->domain) + 1);
	if (what->domain && !what->again && !to->has_domain)
		tv_log(TV_WARN,
		       "the domain's XML is too long: the standby is no domain of libvirt");
	return rc;
}

static void take_qemu(const struct mon_reply *r, const int fds[MON_MAX_FDS],
		      struct hv_host_qemu *out)
{
	int *to[MON_Q_COUNT] = {
		[MON_Q_PIDFD] = &out->pidfd,   [MON_Q_MEM] = &out->fds.mem,
		[MON_Q_MAPS] = &out->fds.maps, [MON_Q_EXE] = &out->fds.exe,
		[MON_Q_RAM] = &out->ram_fd,    [MON_Q_LOG] = &out->log_fd,
	};
	unsigned n = 0;

	out->pid = r->qemu.pid;
	out->start_ticks = r->qemu.start_ticks;
	out->domain = r->qemu.domain;
	memcpy(out->qmp_path, r->qemu.qmp_path, sizeof(out->qmp_path));
	for (unsigned i = 0; i < MON_Q_COUNT; i++)
		if (r->qemu.open & 1u << i)
			*to[i] = fds[n++];
}

static int start(void *arg, const struct hv_host_start *what, struct hv_host_qemu *out,
		 struct tv_err *e)
{
	struct mon_start b = {.again = what->again,
			      .kvm = what->kvm,
			      .oom_score_adj = what->oom_score_adj,
			      .nice = what->nice,
			      .tpm = what->tpm,
			      .ram_bytes = what->ram_bytes,
			      .memory_bytes = what->memory_bytes,
			      .n_taps = what->n_taps,
			      .n_images = what->n_images};
	struct monitor *m = arg;
	struct tv_buf words;
	int fds[MON_MAX_FDS], rc;
	struct mon_reply r;

	hv_host_qemu_init(out);
	tv_copy(b.binary, sizeof(b.binary), hv_host_base_name(what->binary));
	memcpy(b.taps, what->taps, sizeof(b.taps));
	memcpy(b.images, what->images, sizeof(b.images));
	rc = pack_words(what, &words, &b);
	if (rc)
		tv_fail(e, rc, "the VM's command line is too long");
	else if ((rc = mon_call(m->fds[MON_APPLY], MON_V_START, &b, words.data, words.bytes, &r,
				fds)))
		failed(rc, e);
	else if (r.rc)
		rc = tv_fail(e, r.rc, "%s", r.text);
	else
		take_qemu(&r, fds, out);
	tv_buf_dispose(&words);
	return rc;
}

static int connect_qmp(void *arg, int *fd, struct tv_err *e)
{
	int fds[MON_MAX_FDS], rc;
	struct mon_reply r;

	rc = call(arg, MON_V_QMP, NULL, &r, fds, e);
	if (!rc && r.fds != 1)
		rc = tv_fail(e, TV_E_PROTOCOL, "no connection to QEMU came");
	*fd = rc ? -1 : fds[0];
	return rc;
}

static int send_signal(void *arg, int sig)
{
	struct mon_signal b = {sig};
	struct mon_reply r;

	return plain(arg, MON_V_SIGNAL, &b, &r, NULL);
}

static int attach_taps(void *arg, struct tv_err *e)
{
	struct mon_reply r;

	return plain(arg, MON_V_TAPS, NULL, &r, e);
}

static void clean(void *arg, bool with_log)
{
	struct mon_clean b = {with_log};
	struct mon_reply r;

	(void)!plain(arg, MON_V_CLEAN, &b, &r, NULL);
}

const struct hv_host_ops monitor_host_ops = {
	.qemu = ask_qemu,
	.check = check,
	.start = start,
	.qmp = connect_qmp,
	.signal = send_signal,
	.taps = attach_taps,
	.clean = clean,
};
