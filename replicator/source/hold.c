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

static struct nb_conf nb_conf(struct source *s)
{
	return (struct nb_conf){.generation = s->p.generation,
				.first_held = on_first_held,
				.failed = on_nb_failed,
				.arg = s};
}

static void begin_sync(struct source *s)
{
	s->p.in_flight_max = nb_max_in_flight(s->hold.nb);
	s->hold.held = true;
	cap_post(s->cap, CAP_SYNC, 0);
}

/* Below QEMU, by the kernel. When that fails QEMU's filters are tried. */
static void hold_taps(struct source *s, const struct cap_event *ev)
{
	struct nb_plug_tap taps[HV_MAX_NICS] = {0};
	struct nb_conf conf = nb_conf(s);

	for (unsigned i = 0; i < ev->ntaps; i++) {
		tv_copy(taps[i].name, sizeof(taps[i].name), ev->taps[i].netdev);
		tv_copy(taps[i].ifname, sizeof(taps[i].ifname), ev->taps[i].ifname);
		taps[i].ifindex = ev->taps[i].ifindex;
	}
	if (nb_plug_new(s->base, taps, ev->ntaps, s->job.vm_id, &conf, &s->hold.nb,
			&s->hold.not_below)) {
		cap_post(s->cap, CAP_HOLD_NET, CAP_NET_FILTERS);
		return;
	}
	tv_log(TV_INFO, "output is held in the kernel, by a plug queue for each tap");
	for (unsigned i = 0; i < ev->ntaps; i++)
		src_replay_watch(s, ev->taps[i].ifname);
	begin_sync(s);
}

/* The daemon holds the sockets too: should we die, QEMU would let frames pass unheld. */
static void stash(struct source *s, const struct hv_net_port *p)
{
	s->hold.stash[s->hold.stash_n++] = fcntl(p->capture_fd, F_DUPFD_CLOEXEC, 0);
	s->hold.stash[s->hold.stash_n++] = fcntl(p->inject_fd, F_DUPFD_CLOEXEC, 0);
}

/* By QEMU's filters, whose sockets are ours. */
static void hold_ports(struct source *s, const struct cap_event *ev)
{
	struct nb_port ports[HV_MAX_NICS] = {0};
	struct nb_conf conf = nb_conf(s);
	struct tv_err e = {0};
	int rc;

	if (ev->nports)
		tv_log(TV_INFO, "output is held by QEMU's filters, not in the kernel%s%s",
		       s->hold.not_below.text[0] ? ": " : "", s->hold.not_below.text);
	for (unsigned i = 0; i < ev->nports; i++) {
		tv_copy(ports[i].name, sizeof(ports[i].name), ev->ports[i].netdev);
		ports[i].capture_fd = ev->ports[i].capture_fd;
		ports[i].inject_fd = ev->ports[i].inject_fd;
		ports[i].vnet_hdr = ev->ports[i].vnet_hdr;
		stash(s, &ev->ports[i]);
		src_replay_watch(s, ev->ports[i].ifname);
	}
	if (s->hold.stash_n)
		report_send_fds(s->report, session_message(SESSION_OP_STASH, NULL), s->hold.stash,
				s->hold.stash_n);
	s->hold.by_qemu = true;
	rc = nb_relay_new(s->base, ports, ev->nports, &conf, &s->hold.nb, &e);
	if (rc)
		src_end(s, SESSION_FAILED, rc, e.text, SRC_DETACH_RUNNING);
	else
		begin_sync(s);
}

void src_on_net_held(struct source *s, const struct cap_event *ev)
{
	struct tv_err e = {0};

	if (ev->text)
		tv_fail(&s->hold.not_below, 0, "%s", ev->text);
	free(ev->text);
	if (ev->rc && s->p.state == FO_P_FENCED)
		return; /* the VM is being stopped, and must not be let go running */
	if (ev->rc) {
		tv_fail(&e, ev->rc, "%s%s%s", ev->e.text,
			s->hold.not_below.text[0] ? "; nor can it be held in the kernel: " : "",
			s->hold.not_below.text);
		src_end(s, SESSION_REFUSED, ev->rc, e.text, SRC_DETACH_RUNNING);
		return;
	}
	if (!ev->ntaps)
		hold_ports(s, ev);
	else if (!s->end.leaving)
		hold_taps(s, ev);
}
