/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This host: kernel, KVM, how output can be held, the bridge. */
#include "doctor/doctor_int.h"
#include "hv/hv.h"
#include "netbuffer/netbuffer.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void check_kernel(json_t *checks)
{
	struct hv_features f;
	int rc = hv_kernel_probe(&f);

	if (rc)
		doctor_add(checks, "kernel", DOCTOR_PROBLEM, "its self-test failed: %s",
			   tv_strerror(rc));
	else if (!(f.uffd_wp_async && f.pagemap_scan) && !f.soft_dirty)
		doctor_add(checks, "kernel", DOCTOR_PROBLEM,
			   "it reports no dirty pages (%s): no VM of this host can be protected",
			   f.why);
	else if (!(f.uffd_wp_async && f.pagemap_scan))
		doctor_add(checks, "kernel", DOCTOR_WARNING,
			   "dirty pages come from soft-dirty bits, which takes longer: %s", f.why);
	else
		doctor_add(checks, "kernel", DOCTOR_OK, "it reports dirty pages");
	if (rc || f.kvm_usable)
		return;
	doctor_add(checks, "kvm", DOCTOR_WARNING, "%s: VMs that run under KVM cannot run here",
		   access("/dev/kvm", F_OK)
			   ? "there is no /dev/kvm"
			   : "/dev/kvm is there, and the processor has neither vmx "
			     "nor svm");
}

static void check_output(json_t *checks)
{
	struct tv_err e = {0};

	if (nb_plug_probe(&e))
		doctor_add(checks, "output", DOCTOR_WARNING,
			   "it cannot be held in the kernel (%s): QEMU's filters hold it, which "
			   "excludes vhost and several queues",
			   e.text);
	else
		doctor_add(checks, "output", DOCTOR_OK, "it can be held in the kernel");
}

/* A port that joins listens and learns for 30 s before it forwards. */
static bool has_stp(const char *bridge)
{
	TV_FREE char *text = NULL;
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/net/%s/bridge/stp_state", bridge);
	return !tv_read_file(path, 16, &text, NULL) && text[0] != '0';
}

static void check_bridge(const struct config *c, json_t *checks)
{
	char path[100];

	if (!c->bridge[0]) {
		doctor_add(checks, "bridge", DOCTOR_WARNING,
			   "none is configured: after a failover to %s a VM has no network",
			   c->host);
		return;
	}
	snprintf(path, sizeof(path), "/sys/class/net/%s", c->bridge);
	if (!if_nametoindex(c->bridge)) {
		doctor_add(checks, "bridge", DOCTOR_PROBLEM,
			   "%s is missing on %s: after a failover to it a VM has no network",
			   c->bridge, c->host);
		return;
	}
	strcat(path, "/bridge");
	if (access("/sys/class/net/lo", F_OK) == 0 && access(path, F_OK))
		doctor_add(checks, "bridge", DOCTOR_PROBLEM, "%s on %s is no bridge", c->bridge,
			   c->host);
	else if (has_stp(c->bridge))
		doctor_add(checks, "bridge", DOCTOR_WARNING,
			   "%s has STP: a VM that fails over to %s is without network for 30 s; "
			   "'ip link set %s type bridge stp_state 0'",
			   c->bridge, c->host, c->bridge);
	else
		doctor_add(checks, "bridge", DOCTOR_OK, "%s is there", c->bridge);
}

#define LIBVIRT_HOOK "/etc/libvirt/hooks/qemu.d/twinvm"

/*
 * Without it libvirt starts, after a boot, what another host runs by then. A host on which libvirt is only
 * installed has no folder of a daemon, or of the sockets by which systemd starts one.
 */
static void check_libvirt(json_t *checks)
{
	if (access("/etc/libvirt/qemu.conf", F_OK) || access("/run/libvirt", F_OK))
		return;
	if (access(LIBVIRT_HOOK, X_OK))
		doctor_add(
			checks, "libvirt", DOCTOR_PROBLEM,
			"its hook %s is missing: libvirt would start a VM here that another host "
			"runs; 'make install' puts it there, then restart libvirtd",
			LIBVIRT_HOOK);
	else
		doctor_add(checks, "libvirt", DOCTOR_OK, "its hook asks twinvmd before each start");
}

void doctor_check_host(const struct config *c, json_t *checks)
{
	check_kernel(checks);
	check_output(checks);
	check_bridge(c, checks);
	check_libvirt(checks);
}
