/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a standby needs rights for: its process, its memory, its taps, its run directory. */
#include "hv/host/cgroup.h"
#include "hv/host/host_int.h"
#include "hv/host/taps.h"
#include "tests/unit/hv_host_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <signal.h>
#include <string.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* Any program does; it waits until it is killed. */
static void test_ops(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", run[64], log[128];
	char *argv[] = {"sh", "-c", "echo up; id -u; exec tail -f /dev/null", NULL};
	struct hv_host_conf conf = {.dir = run, .user = "twinvm-vm", .tap_prefix = "tvhh"};
	struct hv_host_start what = {.binary = "/bin/sh", .argv = argv, .ram_bytes = 8192};
	const struct hv_host_ops *ops = &hv_host_ops;
	struct hv_host_qemu q;
	struct hv_maps maps;
	struct hv_host *h;
	struct tv_err e = {0};
	struct stat st;
	char want[32];
	uint64_t word;
	char byte;
	int fd;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	snprintf(run, sizeof(run), "%s/run", dir);
	assert_int_equal(mkdir(run, 0700), 0);
	snprintf(log, sizeof(log), "%s/standby.log", run);
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	assert_int_equal(ops->taps(h, &e), TV_E_GONE);
	assert_int_equal(ops->signal(h, SIGKILL), 0); /* nothing runs: no error */
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	assert_int_equal(q.start_ticks, tv_pid_start_ticks(q.pid));
	assert_false(hv_pidfd_ended(q.pidfd, 0));
	/* Its memory, as it is mapped. */
	assert_int_equal(hv_maps_read_fd(q.fds.maps, &maps), 0);
	assert_true(maps.n > 3);
	assert_int_equal(pread(q.fds.mem, &word, 8, (off_t)maps.map[0].start), 8);
	assert_memory_equal(&word, "\177ELF", 4);
	assert_int_equal(pread(q.fds.exe, &word, 8, 0), 8);
	assert_memory_equal(&word, "\177ELF", 4);
	hv_maps_dispose(&maps);
	assert_int_equal(fstat(q.ram_fd, &st), 0);
	assert_int_equal(st.st_size, 8192);
	/* What it prints. */
	snprintf(want, sizeof(want), "up\n%u\n", (unsigned)vm_user.uid);
	while (pread(q.log_fd, &byte, 1, (off_t)strlen(want) - 1) < 1)
		;
	must_hold(log, want);
	/* Its monitor's socket is there before it is; whose it is, is known. */
	assert_int_equal(ops->qmp(h, &fd, &e), 0);
	close(fd);
	assert_true(has(run, "vm") && has(run, "standby.qmp"));
	assert_int_equal(ops->taps(h, &e), 0); /* it has none */
	assert_int_equal(ops->signal(h, SIGTERM), -EINVAL);
	assert_int_equal(ops->signal(h, SIGSTOP), 0);
	assert_int_equal(ops->signal(h, SIGCONT), 0);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	assert_int_equal(pread(q.fds.mem, &word, 8, 4096), 0);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_int_equal(ops->taps(h, &e), TV_E_GONE);
	hv_host_qemu_dispose(&q);
	ops->clean(h, true);
	hv_host_free(h);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_starts_that_fail(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", run[64], log[128];
	char *bad[] = {"sh", "-c", "echo no; exit 3", NULL};
	struct hv_host_conf conf = {.dir = run, .user = "twinvm-vm", .tap_prefix = "tvhh"};
	struct hv_host_start what = {.binary = "/bin/sh", .argv = bad, .again = true};
	const struct hv_host_ops *ops = &hv_host_ops;
	struct hv_host_qemu q;
	struct hv_host *h;
	struct tv_err e = {0};

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	snprintf(run, sizeof(run), "%s/run", dir);
	assert_int_equal(mkdir(run, 0700), 0);
	snprintf(log, sizeof(log), "%s/standby.log", run);
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	/* One that ends at once: what it printed can be read. */
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	must_hold(log, "no\n");
	hv_host_qemu_dispose(&q);
	hv_host_qemu_dispose(&q);
	what.binary = "/nowhere/x";
	assert_int_equal(ops->start(h, &what, &q, &e), -ENOENT);
	hv_host_qemu_dispose(&q);
	/* Another VM's image, and no image at all. */
	strcpy(what.images[0], "other-0.raw");
	what.n_images = 1;
	assert_int_equal(ops->start(h, &what, &q, &e), -EINVAL);
	strcpy(what.images[0], "run-0.raw/../other-0.raw");
	assert_int_equal(ops->start(h, &what, &q, &e), -EINVAL);
	ops->clean(h, true);
	hv_host_free(h);
	hv_host_free(NULL);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(dir), 0);
	conf.bridge = "a-name-that-is-too-long";
	assert_int_equal(hv_host_new(&conf, &h, &e), -EINVAL);
	conf.bridge = NULL;
	conf.user = "root";
	assert_int_equal(hv_host_new(&conf, &h, &e), TV_E_REFUSED);
}

/* A TPM: the channel is where QEMU's line names it, with no other descriptor in between; a swtpm that
 * never met a QEMU ends all the same. */
static void test_tpm(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", run[64], log[128];
	char *argv[] = {"bash", "-c",
			"[[ $(readlink /proc/$$/fd/53) = socket:* ]] && echo tpm; "
			"[[ -e /proc/$$/fd/6 ]] || echo none; exec tail -f /dev/null",
			NULL};
	struct hv_host_conf conf = {.dir = run, .user = "twinvm-vm", .tap_prefix = "tvhh"};
	struct hv_host_start what = {
		.binary = "/bin/bash", .argv = argv, .ram_bytes = 8192, .tpm = true};
	const struct hv_host_ops *ops = &hv_host_ops;
	struct hv_host_qemu q;
	struct tv_err e = {0};
	struct hv_host *h;
	int first;
	char byte;

	(void)state;
	need_root();
	if (!hv_host_swtpm())
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0711), 0);
	snprintf(run, sizeof(run), "%s/run", dir);
	assert_int_equal(mkdir(run, 0711), 0);
	snprintf(log, sizeof(log), "%s/standby.log", run);
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	while (pread(q.log_fd, &byte, 1, (off_t)strlen("tpm\nnone\n") - 1) < 1)
		;
	must_hold(log, "tpm\nnone\n");
	assert_true(has(run, "tpm"));
	assert_false(hv_pidfd_ended(h->tpm_pidfd, 0));
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	hv_host_qemu_dispose(&q);
	first = fcntl(h->tpm_pidfd, F_DUPFD_CLOEXEC, 3);
	/* Another one gets another TPM. */
	what.again = true;
	assert_int_equal(ops->start(h, &what, &q, &e), 0);
	assert_true(hv_pidfd_ended(first, 0));
	assert_false(hv_pidfd_ended(h->tpm_pidfd, 0));
	close(first);
	first = fcntl(h->tpm_pidfd, F_DUPFD_CLOEXEC, 3);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	hv_host_qemu_dispose(&q);
	ops->clean(h, true);
	assert_true(hv_pidfd_ended(first, 0));
	close(first);
	hv_host_free(h);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_check(void **state)
{
	struct hv_host_conf conf = {.dir = "/tmp/none", .user = "twinvm-vm"};
	struct hv_host_file f = {.what = HV_HOST_FILE, .path = "/etc/shadow"};
	struct tv_err e = {0};
	struct hv_host *h;

	(void)state;
	need_root();
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	assert_int_equal(hv_host_ops.check(h, &f, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "twinvm-vm"));
	assert_non_null(strstr(e.text, "chmod o+r"));
	strcpy(f.path, "/etc/passwd");
	assert_int_equal(hv_host_ops.check(h, &f, &e), 0);
	f.what = HV_HOST_FOLDER;
	assert_int_equal(hv_host_ops.check(h, &f, &e), -ENOTSUP);
	hv_host_free(h);
}

static void test_reap(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", log[128];
	char *argv[] = {"/usr/bin/tail", "-f", "/dev/null", NULL};
	struct tv_err e = {0};
	uint64_t ticks;
	int pidfd;
	pid_t pid;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	snprintf(log, sizeof(log), "%s/standby.log", dir);
	assert_int_equal(spawn(argv, log, NULL, 0, -1, &pid, &pidfd, &e), 0);
	ticks = tv_pid_start_ticks(pid);
	hv_host_reap(pid, ticks + 1, dir); /* another process's time */
	assert_false(hv_pidfd_ended(pidfd, 0));
	assert_false(has(dir, "standby.log"));
	hv_host_reap(pid, ticks, dir);
	assert_true(hv_pidfd_ended(pidfd, 0));
	hv_host_reap(0, 0, dir);
	close(pidfd);
	assert_int_equal(rmdir(dir), 0);
}

/* A made-up hierarchy of version 1: two folders, in which the limits' files are ordinary ones. */
static void test_cgroup(void **state)
{
	char dir[] = "/tmp/test_hv_host.XXXXXX", path[256], text[1024], out[128];
	struct hv_host_cgroup g;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/mountinfo", dir);
	put(dir, "mountinfo", "1 2 0:1 / /proc rw - proc proc rw\n");
	assert_int_equal(hv_host_cgroup_new(path, "vm1", 1 << 20, 9, &g), -EOPNOTSUPP);
	assert_int_equal(g.n, 0);
	assert_int_equal(hv_host_cgroup_new(path, "../x", 1 << 20, 9, &g), -EINVAL);
	snprintf(text, sizeof(text), "%s/m", dir);
	assert_int_equal(mkdir(text, 0700), 0);
	snprintf(text, sizeof(text), "%s/m/twinvm/vm1", dir);
	assert_int_equal(tv_mkdirs(text), 0);
	put(text, "memory.limit_in_bytes", "");
	put(text, "cgroup.procs", "");
	snprintf(text, sizeof(text),
		 "1 2 0:1 / %s/covered rw,nosuid shared:9 - cgroup cgroup rw,memory\n"
		 "1 2 0:1 / %s/m rw,nosuid shared:9 - cgroup cgroup rw,memory\n",
		 dir, dir);
	put(dir, "mountinfo", text);
	assert_int_equal(hv_host_cgroup_new(path, "vm1", 1 << 20, 9, &g), 0);
	assert_int_equal(g.n, 1);
	assert_int_equal(hv_host_cgroup_add(&g, 77), 0);
	snprintf(out, sizeof(out), "%s/memory.limit_in_bytes", g.paths[0]);
	must_hold(out, "1048576");
	assert_int_equal(unlink(out), 0);
	snprintf(out, sizeof(out), "%s/cgroup.procs", g.paths[0]);
	must_hold(out, "77");
	assert_int_equal(unlink(out), 0);
	hv_host_cgroup_remove(path, "vm1");
	assert_int_equal(access(g.paths[0], F_OK), -1);
	snprintf(text, sizeof(text), "rm -r %s", dir);
	assert_int_equal(system(text), 0);
}

static bool is_up(const char *tap)
{
	char path[64], *text = NULL;
	bool up;

	snprintf(path, sizeof(path), "/sys/class/net/%s/flags", tap);
	assert_int_equal(tv_read_file(path, 64, &text, NULL), 0);
	up = strtoul(text, NULL, 16) & 1;
	free(text);
	return up;
}

/* One tap that is missing does not keep another one down. */
static void test_taps(void **state)
{
	const struct hv_host_port taps[2] = {{.name = "tvhh-none", .bridge = "tvhh-nobr"},
					     {.name = "tvhh0", .bridge = "tvhh-nobr"}};
	const struct hv_host_tap three = {.queues = 3, .mtu = 9000};
	const struct hv_host_tap one = {.queues = 1, .no_vnet_hdr = true};
	const struct hv_host_tap huge = {.queues = 1, .mtu = 65534};
	const char *name = taps[1].name;
	struct tv_err e = {0};
	struct ifreq r = {0};
	struct hv_link link;
	int fds[3], more[1];

	(void)state;
	need_root();
	assert_int_equal(hv_host_tap_make(name, &three, fds, &e), 0);
	assert_false(is_up(name));
	assert_int_equal(ioctl(fds[2], TUNGETIFF, &r), 0);
	assert_string_equal(r.ifr_name, name);
	assert_true(r.ifr_flags & IFF_VNET_HDR && r.ifr_flags & IFF_MULTI_QUEUE);
	assert_int_equal(hv_link_read(name, &link), 0);
	assert_int_equal(link.mtu, 9000);
	assert_string_equal(link.kind, "tun");
	assert_string_equal(link.master, "");
	assert_int_equal(hv_host_tap_make(name, &one, more, &e), -EBUSY);
	assert_non_null(strstr(e.text, name));
	assert_int_equal(hv_host_taps_up(taps, 2, &e), -ENODEV);
	assert_non_null(strstr(e.text, "tvhh-none"));
	assert_true(is_up(name));
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	assert_int_equal(if_nametoindex(name), 0); /* gone with its descriptors */
	assert_int_equal(hv_link_read(name, &link), -ENODEV);
	assert_int_equal(hv_host_tap_make(name, &one, more, &e), 0);
	assert_int_equal(ioctl(more[0], TUNGETIFF, &r), 0);
	assert_false(r.ifr_flags & (IFF_VNET_HDR | IFF_MULTI_QUEUE));
	close(more[0]);
	assert_int_not_equal(hv_host_tap_make(name, &huge, more, &e), 0);
	assert_int_equal(if_nametoindex(name), 0);
}

static void place(const char *a, const char *b, const char *more, const char *want_a,
		  const char *want_b)
{
	struct hv_host_tap taps[2] = {{.queues = 1}, {.queues = 1}};
	struct hv_host_port out[2];
	struct tv_err e;

	tv_copy(taps[0].bridge, IFNAMSIZ, a);
	tv_copy(taps[1].bridge, IFNAMSIZ, b);
	if (!want_a) {
		assert_int_equal(hv_host_taps_place(taps, 2, "br0", more, out, &e), -ENOTSUP);
		assert_non_null(strstr(e.text, want_b));
		return;
	}
	assert_int_equal(hv_host_taps_place(taps, 2, "br0", more, out, &e), 0);
	assert_string_equal(out[0].bridge, want_a);
	assert_string_equal(out[1].bridge, want_b);
}

/* A peer says where the taps were: only what this host's operator named is joined. */
static void test_places(void **state)
{
	struct hv_host_tap bad = {.queues = 1};
	struct hv_host_port out[1];
	struct tv_err e;

	(void)state;
	place("br0", "br1", "br1 br2", "br0", "br1");
	place("br2", "br1", "br1:br2", "br2", "br1");
	place("lan", "lan", "", "br0", "br0"); /* called otherwise there */
	place("br1", "br1", "br1", "br1", "br1");
	place("", "br1", "br1", "br0", "br1");
	place("br0", "br1", "", NULL, "bridge br1");
	/* called otherwise there, by the list */
	place("br0", "vmbr1", "br2 vmbr1=br1", "br0", "br1");
	place("vmbr1", "vmbr1", "vmbr1=br1", "br1", "br1");
	place("br0", "br1", "br0=lan:br1=br0", "lan", "br0");
	place("br0", "br1", "vmbr1=br1", NULL, "bridge br1");
	place("br0", "vmbr1=br1", "vmbr1=br1", NULL, "bridge vmbr1=br1");
	place("br0", "vmbr", "vmbr1=br1", NULL, "bridge vmbr,");
	place("br0", "mgmt", "br1 br2", NULL, "bridge mgmt");
	place("br0", "br", "br1 br2", NULL, "bridge br,");
	memset(bad.bridge, 'x', sizeof(bad.bridge));
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad = (struct hv_host_tap){.queues = 1, .mtu = 67};
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad.mtu = 65535;
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad = (struct hv_host_tap){.queues = 1, .n_vlans = HV_LINK_MAX_VLANS + 1};
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad = (struct hv_host_tap){.queues = 1, .n_vlans = 1, .vlans = {{.id = 4095}}};
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad.vlans[0].id = 0;
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), TV_E_REFUSED);
	bad.vlans[0].id = 4094;
	assert_int_equal(hv_host_taps_place(&bad, 1, "br0", "", out, &e), 0);
}

/* In a network namespace of its own, so that no bridge is left behind. */
static void test_bridges(void **state)
{
	struct hv_host_port p = {.name = "tvhh0", .bridge = "tvbr1"};
	const struct hv_host_tap tap = {.queues = 1, .mtu = 9000};
	struct hv_link link;
	struct tv_err e;
	int fd;

	(void)state;
	need_root();
	if (unshare(CLONE_NEWNET) || system("ip link add tvbr1 type bridge") ||
	    system("ip link set tvbr1 up && ip link add tvhh-d type veth peer name tvhh-e"))
		skip(); /* no bridges in this kernel */
	assert_int_equal(hv_host_bridges_check(&p, 1, &e), 0);
	assert_int_equal(hv_host_tap_make(p.name, &tap, &fd, &e), 0);
	assert_int_equal(hv_host_taps_up(&p, 1, &e), 0);
	assert_int_equal(hv_link_read(p.name, &link), 0);
	assert_string_equal(link.master, "tvbr1");
	assert_int_equal(link.mtu, 9000);
	assert_true(hv_link_vlans_default(link.vlans, link.n_vlans));
	assert_int_equal(hv_link_read("tvbr1", &link), 0);
	assert_string_equal(link.kind, "bridge");
	assert_int_equal(link.mtu, 9000);
	assert_int_equal(hv_host_taps_up(&p, 1, &e), 0); /* again */
	close(fd);
	tv_copy(p.bridge, IFNAMSIZ, "tvhh-d");
	assert_int_equal(hv_host_bridges_check(&p, 1, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "no bridge (veth)"));
	tv_copy(p.bridge, IFNAMSIZ, "tvhh-x");
	assert_int_equal(hv_host_bridges_check(&p, 1, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "does not have"));
}

static void test_vlans(void **state)
{
	static const struct hv_link_vlan vlans[] = {{.id = 10, .pvid = true, .untagged = true},
						    {.id = 20}};
	struct hv_host_port p = {.name = "tvhh1", .bridge = "tvbr2", .n_vlans = 2};
	const struct hv_host_tap tap = {.queues = 1};
	struct hv_link link;
	struct tv_err e;
	int fd;

	(void)state;
	need_root();
	if (system("ip link add tvbr2 type bridge vlan_filtering 1 2>/dev/null"))
		skip(); /* a kernel without VLANs in bridges */
	memcpy(p.vlans, vlans, sizeof(vlans));
	assert_int_equal(hv_host_tap_make(p.name, &tap, &fd, &e), 0);
	assert_int_equal(hv_host_taps_up(&p, 1, &e), 0);
	assert_int_equal(hv_link_read(p.name, &link), 0);
	assert_int_equal(link.n_vlans, 2);
	assert_memory_equal(link.vlans, vlans, sizeof(vlans));
	assert_false(link.more_vlans || hv_link_vlans_default(link.vlans, link.n_vlans));
	close(fd);
	p.n_vlans = 0;
	assert_int_equal(hv_host_tap_make(p.name, &tap, &fd, &e), 0);
	assert_int_equal(hv_host_taps_up(&p, 1, &e), 0);
	assert_int_equal(hv_link_read(p.name, &link), 0);
	assert_true(link.n_vlans == 1 && hv_link_vlans_default(link.vlans, link.n_vlans));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ops),    cmocka_unit_test(test_starts_that_fail),
		cmocka_unit_test(test_check),  cmocka_unit_test(test_reap),
		cmocka_unit_test(test_cgroup), cmocka_unit_test(test_taps),
		cmocka_unit_test(test_places), cmocka_unit_test(test_bridges),
		cmocka_unit_test(test_vlans),  cmocka_unit_test(test_tpm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
