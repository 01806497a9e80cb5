/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The source: how the VM's output is held: below QEMU by the kernel, or by QEMU's filters. */
#include "replicator/source/source_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static void on_first_held(void *arg, int64_t now_ns)
{
	(void)now_ns;
	src_schedule(arg);
}

static void on_nb_failed(void *arg, const char *port, int rc)
{
	char why[256];

	snprintf(why, sizeof(why), "network port %s failed: %s", port, tv_strerror(rc));
	src_fail_soon(arg, rc, why);
}

static void begin_sync(struct source *s)
{
	s->p.in_flight_max = nb_max_in_flight(s->nb);
	s->net_held = true;
	cap_post(s->cap, CAP_SYNC, 0);
}

/* Below QEMU, by the kernel. When that fails QEMU's filters are tried. */
static void hold_taps(struct source *s, const struct cap_event *ev, const struct nb_conf *conf)
{
	struct nb_plug_tap taps[HV_MAX_NICS] = {0};

	for (unsigned i = 0; i < ev->ntaps; i++) {
		snprintf(taps[i].name, sizeof(taps[i].name), "%s", ev->taps[i].netdev);
		snprintf(taps[i].ifname, sizeof(taps[i].ifname), "%s", ev->taps[i].ifname);
		taps[i].ifindex = ev->taps[i].ifindex;
	}
	if (nb_plug_new(s->base, taps, ev->ntaps, s->job.vm_id, conf, &s->nb, &s->net_why)) {
		cap_post(s->cap, CAP_HOLD_NET, CAP_NET_FILTERS);
		return;
	}
	tv_log(TV_INFO, "output is held in the kernel, by a plug queue for each tap");
	for (unsigned i = 0; i < ev->ntaps; i++)
		src_replay_watch(s, ev->taps[i].ifname);
	begin_sync(s);
}

void src_on_net_held(struct source *s, const struct cap_event *ev)
{
	struct nb_port ports[HV_MAX_NICS] = {0};
	struct nb_conf conf = {.generation = s->p.generation,
			       .first_held = on_first_held,
			       .failed = on_nb_failed,
			       .arg = s};
	struct tv_err e = {0};
	int rc;

	if (ev->text)
		tv_fail(&s->net_why, 0, "%s", ev->text);
	free(ev->text);
	if (ev->rc) {
		tv_fail(&e, ev->rc, "%s%s%s", ev->e.text,
			s->net_why.text[0] ? "; nor can it be held in the kernel: " : "",
			s->net_why.text);
		src_give_up(s, "refused", ev->rc, e.text);
		return;
	}
	if (ev->ntaps) {
		if (!s->leaving)
			hold_taps(s, ev, &conf);
		return;
	}
	if (ev->nports)
		tv_log(TV_INFO, "output is held by QEMU's filters, not in the kernel%s%s",
		       s->net_why.text[0] ? ": " : "", s->net_why.text);
	for (unsigned i = 0; i < ev->nports; i++) {
		snprintf(ports[i].name, sizeof(ports[i].name), "%s", ev->ports[i].netdev);
		ports[i].capture_fd = ev->ports[i].capture_fd;
		ports[i].inject_fd = ev->ports[i].inject_fd;
		ports[i].vnet_hdr = ev->ports[i].vnet_hdr;
		/* The daemon holds them too: were we to die, QEMU would let frames pass unheld. */
		s->stash[s->stash_n++] = fcntl(ev->ports[i].capture_fd, F_DUPFD_CLOEXEC, 0);
		s->stash[s->stash_n++] = fcntl(ev->ports[i].inject_fd, F_DUPFD_CLOEXEC, 0);
		src_replay_watch(s, ev->ports[i].ifname);
	}
	if (s->stash_n)
		report_send_fds(s->report, json_pack("{ss}", "op", "stash"), s->stash, s->stash_n);
	rc = nb_relay_new(s->base, ports, ev->nports, &conf, &s->nb, &e);
	if (rc) {
		src_give_up(s, "failed", rc, e.text);
		return;
	}
	begin_sync(s);
}
