/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A test, step by step, in the inner process: the still is whole, its network is made, its QEMU loads the
 * epoch's state as a promotion does, the guest shows its address, probes run, the report goes to the daemon.
 * Nothing is cleaned up here: the end of this process does that.
 */
#include "clone/clone_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOAD_MS 30000
#define LEARN_S 3 /* for the guest's address */
#define NICE 10	  /* the VMs that this host runs go before it */
#define PIECE_BYTES (64u << 10)
#define STATE_BYTES (64u << 20)
#define MARK "test-of-" /* before its name: it is not the VM */
#define AGENT "org.qemu.guest_agent.0"

struct run {
	const struct config *conf;
	struct clone_copies copies;
	const struct clone_order *order;
	struct clone_watch *watch;
	struct clone_names names;
	struct still still;
	char bridges[256];
	struct hv_host_clone given;
	const char *images[STILL_MAX_DISKS];
	struct hv_host *host;
	struct hv_standby *sb;
	int frames_fd;
	struct clone_env env;
	double copied_ms, running_ms, frame_ms, answer_ms; /* since the order; 0: not */
	json_t *probes;
	bool passed;
};

static double since_ms(const struct run *r, int64_t ns)
{
	return (double)((ns - r->order->ordered_ns) / 1000) / 1e3;
}

static void progress(const char *state, double share)
{
	clone_say(json_pack("{ss ss sf}", "op", "progress", "state", state, "progress", share));
}

static void on_copied(void *arg, uint64_t copied, uint64_t total)
{
	(void)arg;
	progress("copying", total ? (double)copied / (double)total : 0.0);
}

/* ---- what it is made of ---- */
/* A VM's name is what operators and tools find it by. */
static json_t *marked_name(const char *arg)
{
	const char *at = strstr(arg, "guest=");

	if (at && at != arg && at[-1] != ',')
		at = NULL;
	at = at ? at + strlen("guest=") : arg;
	return json_sprintf("%.*s" MARK "%s", (int)(at - arg), arg, at);
}

static int change_desc(json_t *desc)
{
	json_t *argv = json_object_get(desc, "argv");

	for (size_t i = 1; i + 1 < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		const char *arg = json_string_value(json_array_get(argv, i + 1));

		if (word && arg && (!strcmp(word, "-name") || !strcmp(word, "--name")) &&
		    json_array_set_new(argv, i + 1, marked_name(arg)))
			return -ENOMEM;
	}
	return json_object_set_new(desc, "nice", json_integer(NICE)) ||
			       json_object_set_new(desc, "oom_score_adj",
						   json_integer(HV_HOST_OOM_MAX))
		       ? -ENOMEM
		       : 0;
}

static int make_folders(const struct run *r, struct tv_err *e)
{
	int rc = tv_mkdirs(r->names.images);

	if (!rc && mkdir(r->names.dir, 0711) && errno != EEXIST)
		rc = -errno;
	if (!rc && chmod(r->names.images, 0711))
		rc = -errno;
	return rc ? tv_fail(e, rc, "cannot make %s or %s: %s", r->names.images, r->names.dir,
			    tv_strerror(rc))
		  : 0;
}

static int make_images(struct run *r, struct tv_err *e)
{
	const struct passwd *p = getpwnam(r->conf->standby_user);
	json_t *disks = json_object_get(r->still.desc, "disks");

	if (json_array_size(disks) != r->still.n_disks || !p)
		return tv_fail(e, -EINVAL, "the epoch has %u disks, and the VM %zu",
			       r->still.n_disks, json_array_size(disks));
	for (unsigned i = 0; i < r->still.n_disks; i++) {
		const struct still_disk *d = &r->still.disks[i];
		char *path = r->watch->images[i];
		int rc;

		snprintf(path, sizeof(r->watch->images[i]), "%s/%s-%u.qcow2", r->names.images,
			 r->names.name, i);
		rc = clone_image(path, d->bytes, p->pw_uid);
		if (rc)
			return tv_fail(e, rc, "cannot make the image %s: %s", path,
				       tv_strerror(rc));
		r->images[i] = path;
		r->given.bases[i] = d->fd;
		atomic_store(&r->watch->n_images, i + 1);
	}
	r->given.n_bases = r->still.n_disks;
	return 0;
}

/* ---- its QEMU ---- */
static int start_qemu(struct run *r, struct tv_err *e)
{
	const struct config *c = r->conf;
	const struct hv_host_conf host = {.dir = r->names.dir,
					  .bridge = CLONE_BRIDGE,
					  .bridges = r->bridges,
					  .tap_prefix = "tvc",
					  .user = c->standby_user,
					  .replica_dir = r->names.images,
					  .state_dir = c->state_dir,
					  .media = c->media,
					  .clone = &r->given};
	struct hv_standby_conf standby = {.host = &hv_host_ops,
					  .dir = r->names.dir,
					  .bridge = CLONE_BRIDGE,
					  .vm_id = r->order->vm_id,
					  .replicas = r->images,
					  .n_replicas = r->still.n_disks,
					  .peer = r->order->peer,
					  .media = c->media,
					  .qemu_path = c->qemu_path,
					  .clone = true};
	const struct passwd *p = getpwnam(c->standby_user);
	int rc;

	r->given.ram_fd = r->still.ram_fd;
	r->given.closed = c->replica_dir;
	r->given.file_bytes = r->order->disk_bytes + (16u << 20); /* tables of the image */
	rc = hv_host_new(&host, &r->host, e);
	standby.host_arg = r->host;
	if (!rc)
		rc = p ? clone_copies(c, r->order, r->still.desc, &standby, p->pw_uid, &r->copies,
				      e)
		       : tv_fail(e, -ENOENT, "no user %s", c->standby_user);
	return rc ? rc : hv_standby_start(r->still.desc, &standby, &r->sb, e);
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return !*p && !memcmp(p, p + 1, n - 1);
}

/* The standby's own memory is zero when it has started. */
static int fill_block(struct run *r, const struct still_block *b, uint32_t number, uint8_t *piece)
{
	int rc = 0;

	for (uint64_t at = 0; at < b->bytes && !rc; at += PIECE_BYTES) {
		size_t n = b->bytes - at < PIECE_BYTES ? (size_t)(b->bytes - at) : PIECE_BYTES;

		if (pread(r->still.blocks_fd, piece, n, (off_t)(b->offset + at)) != (ssize_t)n)
			return TV_E_GONE;
		if (!is_zero(piece, n))
			rc = hv_standby_write(r->sb, number, at, piece, n);
	}
	return rc;
}

/* Blocks are numbered as in the description. */
static int fill_blocks(struct run *r, struct tv_err *e)
{
	json_t *list = json_object_get(r->still.desc, "blocks");
	TV_FREE uint8_t *piece = malloc(PIECE_BYTES);
	int rc = piece ? 0 : -ENOMEM;

	for (unsigned i = 0; i < r->still.n_blocks && !rc; i++) {
		const struct still_block *b = &r->still.blocks[i];
		size_t k = 0;

		if (b->main)
			continue;
		while (k < json_array_size(list) &&
		       strcmp(b->name, json_string_value(json_object_get(json_array_get(list, k),
									 "name"))) != 0)
			k++;
		rc = fill_block(r, b, (uint32_t)k, piece);
	}
	return rc ? tv_fail(e, rc, "cannot fill the clone's memory: %s", tv_strerror(rc)) : 0;
}

static int load(struct run *r, struct tv_err *e)
{
	size_t n = (size_t)r->still.state_bytes;
	TV_FREE uint8_t *state = r->still.state_bytes <= STATE_BYTES ? malloc(n + !n) : NULL;
	int rc;

	if (!state || pread(r->still.state_fd, state, n, 0) != (ssize_t)n)
		return tv_fail(e, TV_E_GONE, "the epoch's device state cannot be read");
	r->frames_fd = clone_net_listen();
	if (r->frames_fd < 0)
		return tv_fail(e, r->frames_fd, "no socket to see the guest's frames: %s",
			       tv_strerror(r->frames_fd));
	rc = hv_standby_promote(r->sb, state, n, LOAD_MS, e);
	if (!rc && *hv_standby_taps_why(r->sb))
		rc = tv_fail(e, -ENETDOWN, "the clone has no network: %s",
			     hv_standby_taps_why(r->sb));
	return rc;
}

/* ---- its guest ---- */
static bool needs_network(const struct clone_order *o)
{
	for (unsigned i = 0; i < o->n_probes; i++)
		if (o->probes[i].kind != CLONE_AGENT && o->probes[i].kind != CLONE_SCREEN)
			return true;
	return false;
}

/* Without a network the test continues: not each VM has one. Such probes fail by themselves. */
static void find_guest(struct run *r)
{
	const struct clone_order *o = r->order;
	char bridge[IFNAMSIZ] = CLONE_BRIDGE;
	struct in_addr guest = {0}, own;
	int64_t first_ns = 0;
	struct tv_err e = {0};
	int rc;

	if (!json_array_size(json_object_get(r->still.desc, "nics")) || !needs_network(o))
		return;
	rc = clone_net_learn(r->frames_fd, tv_now_ns() + LEARN_S * TV_NS_PER_S, &guest, bridge,
			     &first_ns);
	r->frame_ms = first_ns ? since_ms(r, first_ns) : 0;
	if (*o->guest)
		rc = inet_pton(AF_INET, o->guest, &guest) == 1 ? 0 : -EINVAL;
	if (rc)
		return;
	if (!*o->address || inet_pton(AF_INET, o->address, &own) != 1)
		own = clone_net_neighbour(guest);
	if (clone_net_join(bridge, own, guest, &e))
		tv_log(TV_WARN, "%s: %s", o->vm, e.text);
	else
		inet_ntop(AF_INET, &guest, r->env.guest, sizeof(r->env.guest));
}

/* The id of the chardev behind the agent's port, as the VM's command line has it. */
static bool agent_chardev(const json_t *desc, char *id, size_t room)
{
	json_t *word, *argv = json_object_get(desc, "argv");
	size_t i;

	json_array_foreach(argv, i, word) {
		const char *text = json_string_value(word), *at;

		if (!text || !strstr(text, AGENT) || !(at = strstr(text, "chardev")))
			continue;
		at += strlen("chardev");
		at += strspn(at, "\"=: ");
		return tv_copy_n(id, room, at, strcspn(at, ",\"} "));
	}
	return false;
}

static void find_agent(struct run *r)
{
	char id[128], prefix[300];
	json_t *list = NULL, *c;
	struct tv_err e;
	size_t i;

	if (!agent_chardev(r->still.desc, id, sizeof(id)) ||
	    hv_standby_ask(r->sb, "query-chardev", NULL, &list, 2000, &e))
		return;
	snprintf(prefix, sizeof(prefix), "unix:%s/" HV_HOST_FOLDER_NAME "/", r->names.dir);
	json_array_foreach(list, i, c) {
		const char *label = json_string_value(json_object_get(c, "label"));
		const char *file = json_string_value(json_object_get(c, "filename"));
		const char *at = file ? strstr(file, prefix) : NULL;

		if (at && label && !strcmp(label, id) &&
		    !tv_copy_n(r->env.agent, sizeof(r->env.agent), at + strlen("unix:"),
			       strcspn(at + strlen("unix:"), ",")))
			r->env.agent[0] = '\0';
	}
	json_decref(list);
}

static void run_probes(struct run *r)
{
	const struct clone_order *o = r->order;

	r->passed = true;
	for (unsigned i = 0; i < o->n_probes; i++) {
		struct clone_result res;

		progress("probing", (double)i / o->n_probes);
		clone_probe_run(&o->probes[i], &r->env, &res);
		if (res.passed && r->answer_ms == 0)
			r->answer_ms = since_ms(r, tv_now_ns());
		r->passed = r->passed && res.passed;
		json_array_append_new(r->probes,
				      json_pack("{ss sb sf si ss}", "probe", o->probes[i].text,
						"passed", res.passed, "ms", res.ms, "status",
						res.status, "output", res.output));
	}
}

/* ---- the whole ---- */
static void report(struct run *r, int rc, const struct tv_err *e)
{
	struct tv_err why = *e;

	tv_mend_utf8(why.text);
	clone_say(json_pack(
		"{ss sb sb ss sI sI sf sf sf sf ss sI sI sI sO}", "op", "report", "passed",
		!rc && r->passed, "refused", rc == -ENOMEM && !r->copied_ms, "reason",
		rc	     ? why.text
		: !r->passed ? "a probe has failed"
			     : "",
		"generation", (json_int_t)r->still.generation, "epoch", (json_int_t)r->still.epoch,
		"copied_ms", r->copied_ms, "running_ms", r->running_ms, "frame_ms", r->frame_ms,
		"answer_ms", r->answer_ms, "guest", r->env.guest, "ram_bytes",
		(json_int_t)r->still.ram_bytes, "copied_bytes", (json_int_t)r->still.copied_bytes,
		"saved_bytes", (json_int_t)r->still.saved_bytes, "probes", r->probes));
}

static int run(struct run *r, int still_fd, struct tv_err *e)
{
	int rc = still_receive(still_fd, on_copied, r, &r->still, e);

	if (rc)
		return rc;
	atomic_store(&r->watch->still, &r->still);
	r->copied_ms = since_ms(r, tv_now_ns());
	progress("starting", 0);
	rc = change_desc(r->still.desc);
	if (!rc)
		rc = make_folders(r, e);
	if (!rc)
		rc = clone_net_make(r->still.desc, r->bridges, sizeof(r->bridges), e);
	if (!rc)
		rc = make_images(r, e);
	if (!rc)
		rc = start_qemu(r, e);
	if (!rc)
		rc = fill_blocks(r, e);
	if (!rc)
		rc = load(r, e);
	if (rc)
		return rc;
	atomic_store(&r->watch->qemu_fd, hv_standby_pidfd(r->sb));
	r->running_ms = since_ms(r, tv_now_ns());
	r->env.generation = r->still.generation;
	r->env.epoch = r->still.epoch;
	r->env.sb = r->sb;
	find_agent(r);
	find_guest(r);
	run_probes(r);
	return 0;
}

int clone_run(const struct config *c, const struct clone_order *o, struct clone_watch *w,
	      int still_fd)
{
	static struct run state; /* the watching thread uses what it points to */
	struct run *r = &state;
	struct tv_err e = {0};
	int rc;

	*r = (struct run){.conf = c, .order = o, .watch = w, .probes = json_array()};
	clone_names(c, o->vm_id, &r->names);
	r->env = (struct clone_env){.conf = c, .order = o, .host = c->host, .dir = r->names.dir};
	tv_copy(r->env.screen, sizeof(r->env.screen), r->names.screen);
	rc = run(r, still_fd, &e);
	report(r, rc, &e);
	if (rc || !o->keep)
		return rc || !r->passed ? CLONE_FAILED : CLONE_OK;
	for (;;) /* until the watching thread ends this process */
		(void)poll(NULL, 0, -1);
}
