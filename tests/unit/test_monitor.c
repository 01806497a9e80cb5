/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor, as a process of its own: what it does for a sink, and what it refuses. */
#include "failover/arbiter/arbiter.h"
#include "monitor_kit.h"

#include <poll.h>
#include <sched.h>
#include <sys/stat.h>

static void begin(void)
{
	struct tv_err e = {0};

	assert_int_equal(monitor_start(&conf, &m, &e), 0);
}

static void begin_vm(void)
{
	struct tv_err e = {0};
	char dir[256];

	begin();
	assert_int_equal(monitor_vm(m, ID, 3, &e), 0);
	assert_int_equal(monitor_slot(m, 2, dir, &e), 0);
}

/* ---- one VM, one slot ---- */

static void a_session_has_one_vm_and_one_slot(void **state)
{
	struct tv_err e = {0};
	char dir[256], want[300];
	struct stat st;

	(void)state;
	begin();
	assert_int_equal(monitor_slot(m, 0, dir, &e), -EINVAL); /* of which VM? */
	assert_int_equal(monitor_vm(m, "../../etc", 3, &e), -EINVAL);
	assert_int_equal(monitor_vm(m, "", 3, &e), -EINVAL);
	assert_int_equal(monitor_vm(m, ID, 0, &e), -EINVAL);
	assert_int_equal(monitor_vm(m, ID, 3, &e), 0);
	assert_int_equal(monitor_vm(m, OTHER, 3, &e), -EINVAL);
	assert_int_equal(monitor_slot(m, SLOTS_MAX, dir, &e), -EINVAL);
	note_path("", want);
	assert_int_equal(promotion_note(want, 9), 0); /* of an earlier session */
	assert_int_equal(monitor_slot(m, 2, dir, &e), 0);
	assert_string_equal(dir, want);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(promotion_noted(dir), 0);
	assert_int_equal(monitor_slot(m, 3, dir, &e), -EINVAL);
}

/* ---- the arbiter ---- */

/* Another host's record: hostA runs the VM, hostB may promote it. */
static void pair(const char *vm_id)
{
	struct fo_claim c = {.self = "hostA", .peer = "hostB", .session = "s1", .generation = 3};
	struct fo_arbiter_conf ac;
	struct fo_arbiter *a;
	struct fo_record rec;
	struct fo_times t;
	struct tv_err e = {0};

	fo_times_init(&t, 100 * TV_NS_PER_MS);
	ac = (struct fo_arbiter_conf){.times = &t};
	assert_int_equal(fo_arbiter_open(conf.arbiter, &ac, &a, &e), 0);
	strcpy(c.vm_id, vm_id);
	assert_int_equal(fo_claim(a, FO_ASK_PAIR, &c, &rec, &e), 0);
	fo_arbiter_close(a);
}

static void only_this_vm_is_claimed_and_only_by_a_backup(void **state)
{
	struct fo_claim c = {.peer = "hostA", .session = "s1", .generation = 3};
	struct fo_record rec;
	struct tv_err e = {0};
	char dir[300];
	int score;

	(void)state;
	pair(ID);
	pair(OTHER);
	begin_vm();
	note_path("", dir);
	assert_int_equal(monitor_claim(m, FO_ASK_PROMOTE, &c, &rec, &e), -EINVAL); /* not open */
	assert_int_equal(monitor_promoted(m, 4, &e), -EPERM);
	assert_int_equal(monitor_arbiter(m, conf.arbiter, 100, &e), 0);
	assert_int_equal(monitor_arbiter(m, conf.arbiter, 100, &e), -EINVAL);
	strcpy(c.vm_id, OTHER); /* it does not matter: its own VM is meant */
	assert_int_equal(monitor_claim(m, FO_ASK_PAIR, &c, &rec, &e), -EINVAL);
	assert_int_equal(monitor_claim(m, FO_ASK_ALONE, &c, &rec, &e), -EINVAL);
	assert_int_equal(monitor_claim(m, FO_ASK_BACK, &c, &rec, &e), -EINVAL);
	/* To read the record claims nothing. */
	assert_int_equal(monitor_claim(m, FO_ASK_LOOK, &c, &rec, &e), 0);
	assert_true(rec.generation == 3 && rec.state == FO_PAIRED);
	assert_int_equal(monitor_promoted(m, 3, &e), -EPERM);
	strcpy(c.session, "s2");
	assert_int_equal(monitor_claim(m, FO_ASK_PROMOTE, &c, &rec, &e), TV_E_LOST);
	assert_int_equal(monitor_promoted(m, 4, &e), -EPERM);
	strcpy(c.session, "s1");
	assert_int_equal(monitor_claim(m, FO_ASK_PROMOTE, &c, &rec, &e), 0);
	assert_true(rec.generation == 4 && rec.state == FO_ALONE);
	assert_string_equal(rec.primary, "hostB");
	/* The note is of the generation that was granted, and no other. */
	assert_int_equal(monitor_promoted(m, 5, &e), -EPERM);
	assert_int_equal(promotion_noted(dir), 0);
	score = hv_host_score();
	hv_host_first_victim(getpid()); /* as a sink, which this test stands for */
	assert_int_equal(hv_host_score(), 900);
	assert_int_equal(monitor_promoted(m, 5, &e), -EPERM);
	assert_int_equal(hv_host_score(), 900);
	assert_int_equal(monitor_promoted(m, 4, &e), 0);
	assert_int_equal(hv_host_score(), score);
	assert_int_equal(promotion_noted(dir), 4);
}

static void only_arbiters_of_this_host_are_opened(void **state)
{
	struct tv_err e = {0};

	(void)state;
	begin_vm();
	assert_int_equal(monitor_arbiter(m, "file:///etc", 100, &e), TV_E_REFUSED);
	assert_int_equal(monitor_promoted(m, 4, &e), -EPERM);
	monitor_free(m);
	begin_vm();
	assert_int_equal(monitor_arbiter(m, "none", 100, &e), TV_E_REFUSED);
	assert_int_equal(monitor_promoted(m, 4, &e), -EPERM);
	monitor_free(m);
	strcpy(conf.arbiter, "none"); /* then an operator decides, and any higher one may be */
	begin_vm();
	assert_int_equal(monitor_arbiter(m, "none", 100, &e), 0);
	assert_int_equal(monitor_promoted(m, 3, &e), -EPERM);
	assert_int_equal(monitor_promoted(m, 4, &e), 0);
}

/* ---- QEMU ---- */

static int start(const char *binary, const char *image, struct hv_host_qemu *out, struct tv_err *e)
{
	char name[] = "qemu", option[] = "-x", word[] = "a b";
	char *argv[] = {name, option, word, NULL};
	struct hv_host_start what = {.binary = binary, .argv = argv, .ram_bytes = 4096};

	if (image) {
		what.n_images = 1;
		strcpy(what.images[0], image);
	}
	return monitor_host_ops.start(m, &what, out, e);
}

static bool ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 10000) == 1;
}

static void one_qemu_of_this_host_runs(void **state)
{
	struct hv_host_qemu qemu, none;
	struct standby_note n;
	struct tv_err e = {0};
	char dir[300], text[64] = "";

	(void)state;
	note_path("", dir);
	begin();
	assert_int_equal(start("qemu-system-test", NULL, &none, &e), -EINVAL); /* no slot */
	monitor_free(m);
	begin_vm();
	assert_int_equal(start("/x/canary", NULL, &none, &e), TV_E_REFUSED);
	assert_int_equal(start("/bin/sh", NULL, &none, &e), TV_E_REFUSED);
	assert_int_equal(start("qemu-system-../canary", NULL, &none, &e), TV_E_REFUSED);
	assert_int_equal(start("qemu-system-none", NULL, &none, &e), TV_E_REFUSED);
	/* Another VM's image, another slot's, another folder's, no image at all. */
	assert_int_equal(start("qemu-system-test", OTHER "-2-0.raw", &none, &e), -EINVAL);
	assert_int_equal(start("qemu-system-test", ID "-0.raw", &none, &e), -EINVAL);
	assert_int_equal(start("qemu-system-test", ID "-2-0.raw/../x", &none, &e), -EINVAL);
	assert_int_equal(start("qemu-system-test", "", &none, &e), -EINVAL);
	assert_false(standby_noted(dir, &n));
	/* A name with another folder is that name in this host's. */
	assert_int_equal(start("/evil/qemu-system-test", NULL, &qemu, &e), 0);
	assert_true(standby_noted(dir, &n));
	assert_true(n.pid == qemu.pid && n.start_ticks == qemu.start_ticks);
	assert_int_equal(n.start_ticks, tv_pid_start_ticks(qemu.pid));
	assert_true(qemu.fds.mem >= 0 && qemu.fds.maps >= 0 && qemu.log_fd >= 0);
	assert_true(qemu.ram_fd >= 0);
	assert_int_equal(start("qemu-system-test", NULL, &none, &e), -EBUSY);
	while (pread(qemu.log_fd, text, sizeof(text) - 1, 0) <= 0)
		sched_yield();
	assert_string_equal(text, "-x a b\n");
	assert_int_equal(monitor_host_ops.taps(m, &e), -EPERM); /* not promoted */
	assert_int_equal(monitor_host_ops.signal(m, SIGUSR1), -EINVAL);
	assert_int_equal(monitor_host_ops.signal(m, SIGKILL), 0);
	assert_true(ended(qemu.pidfd));
	hv_host_qemu_dispose(&qemu);
	assert_int_equal(start("qemu-system-test", NULL, &qemu, &e), 0);
	assert_int_equal(monitor_host_ops.signal(m, SIGKILL), 0);
	assert_true(ended(qemu.pidfd));
	hv_host_qemu_dispose(&qemu);
}

static void what_its_user_can_open_is_checked(void **state)
{
	struct hv_host_file f = {.what = HV_HOST_FILE, .path = "/etc/shadow"};
	struct tv_err e = {0};

	(void)state;
	begin();
	assert_int_equal(monitor_host_ops.check(m, &f, &e), -EINVAL); /* no slot */
	monitor_free(m);
	begin_vm();
	assert_int_equal(monitor_host_ops.check(m, &f, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "twinvm-vm"));
	strcpy(f.path, "/etc/passwd");
	assert_int_equal(monitor_host_ops.check(m, &f, &e), 0);
	memset(f.path, 'x', sizeof(f.path));
	assert_int_equal(monitor_host_ops.check(m, &f, &e), -EINVAL);
}

static void a_program_that_is_no_qemu_is_reported(void **state)
{
	struct hv_qemu q;
	json_t *machines;
	struct tv_err e = {0};
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/bin/qemu-system-false", folder);
	write_program(path, "#!/bin/sh\necho no such thing >&2\n");
	begin();
	assert_int_equal(monitor_host_ops.qemu(m, "/x/canary", &q, &machines, &e), TV_E_REFUSED);
	assert_int_equal(monitor_host_ops.qemu(m, "qemu-system-false", &q, &machines, &e),
			 -ENOTSUP);
	assert_non_null(strstr(e.text, "no such thing"));
	assert_null(machines);
}

static void frames_are_those_of_a_promoted_vm(void **state)
{
	static const uint8_t frame[100];
	struct tv_err e = {0};

	(void)state;
	strcpy(conf.arbiter, "none");
	strcpy(conf.bridge, "nosuch");
	begin_vm();
	assert_int_equal(monitor_arbiter(m, "none", 100, &e), 0);
	assert_int_equal(monitor_frame(m, frame, sizeof(frame)), -EPERM);
	assert_int_equal(monitor_promoted(m, 4, &e), 0);
	assert_int_equal(monitor_frame(m, frame, 10), -EPERM);
	assert_int_equal(monitor_frame(m, frame, sizeof(frame)), -ENODEV);
}

/* ---- ends ---- */

static void it_ends_with_its_sink_and_the_sink_notices_its_end(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct fo_claim c = {.peer = "hostA", .session = "s1", .generation = 3};
	struct hv_host_qemu qemu;
	struct fo_record rec;
	struct tv_err e = {0};
	siginfo_t who;

	(void)state;
	begin_vm();
	p.fd = monitor_fd(m);
	assert_int_equal(poll(&p, 1, 0), 0);
	monitor_free(m); /* returns when it has ended */
	begin_vm();
	p.fd = monitor_fd(m);
	assert_int_equal(syscall(SYS_pidfd_send_signal, p.fd, SIGKILL, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(waitid(P_PIDFD, (id_t)p.fd, &who, WEXITED | WNOWAIT), 0);
	assert_int_equal(who.si_status, SIGKILL);
	assert_int_equal(monitor_promoted(m, 4, &e), TV_E_GONE);
	assert_int_equal(monitor_claim(m, FO_ASK_PROMOTE, &c, &rec, &e), TV_E_GONE);
	assert_int_equal(start("qemu-system-test", NULL, &qemu, &e), TV_E_GONE);
	assert_non_null(strstr(e.text, "monitor process"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_session_has_one_vm_and_one_slot),
		T(only_this_vm_is_claimed_and_only_by_a_backup),
		T(only_arbiters_of_this_host_are_opened),
		T(one_qemu_of_this_host_runs),
		T(what_its_user_can_open_is_checked),
		T(a_program_that_is_no_qemu_is_reported),
		T(frames_are_those_of_a_promoted_vm),
		T(it_ends_with_its_sink_and_the_sink_notices_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
