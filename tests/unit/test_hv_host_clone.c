/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A clone's QEMU beside a standby's: what it is given, and what its user cannot open. */
#include "hv/host/host_int.h"
#include "tests/unit/hv_host_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define RAM_BYTES 8192

static struct hv_host_clone given = {.n_bases = 1, .file_bytes = 4096};

/* What a shell in QEMU's place finds: its files and its rights, then it waits until it is killed. */
static char script[] =
	"[[ $(readlink /proc/$$/fd/54) = socket:* ]] && echo base; "
	"[[ $(readlink /proc/$$/fd/4) = *of-the-test* ]] && echo ram; "
	"[[ $(id -G) = $(id -g) ]] && echo alone; "
	"[[ $(ulimit -f) = 4 ]] && echo bounded; "
	"exec 9<>\"$0\" && echo overlay; "
	"( exec 8<\"$1\" ) 2>/dev/null || echo no replica; echo end; exec tail -f /dev/null";

static void make_file(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, uid, gid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void give(int pair[2])
{
	given.ram_fd = memfd_create("of-the-test", MFD_CLOEXEC);
	assert_int_equal(ftruncate(given.ram_fd, RAM_BYTES), 0);
	assert_int_equal(pwrite(given.ram_fd, "x", 1, 5), 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	given.bases[0] = pair[0];
}

static void test_clone(void **state)
{
	char dir[] = "/tmp/test_hv_clone.XXXXXX", run[64], log[128], image[128], replica[128];
	char *argv[] = {"bash", "-c", script, image, replica, NULL};
	struct hv_host_conf conf = {.dir = run,
				    .user = "twinvm-vm",
				    .tap_prefix = "tvhc",
				    .replica_dir = dir,
				    .clone = &given};
	struct hv_host_start what = {.binary = "/bin/bash",
				     .argv = argv,
				     .ram_bytes = RAM_BYTES,
				     .images = {"run-0.qcow2"},
				     .n_images = 1};
	const struct hv_host_ops *ops = &hv_host_ops;
	struct hv_host_qemu q;
	struct tv_err e = {0};
	struct hv_host *h;
	int pair[2];
	char byte;
	static const char want[] = "base\nram\nalone\nbounded\noverlay\nno replica\nend\n";

	(void)state;
	need_root();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0711), 0);
	snprintf(run, sizeof(run), "%s/run", dir);
	snprintf(log, sizeof(log), "%s/standby.log", run);
	snprintf(image, sizeof(image), "%s/run-0.qcow2", dir);
	snprintf(replica, sizeof(replica), "%s/vm-0.raw", dir);
	assert_int_equal(mkdir(run, 0711), 0);
	make_file(image, vm_user.uid, 0, 0600);
	make_file(replica, 0, vm_user.gid, 0660); /* as a standby's is */
	give(pair);
	assert_int_equal(hv_host_new(&conf, &h, &e), 0);
	assert_int_equal(h->user.uid, vm_user.uid);
	assert_int_not_equal(h->user.gid, vm_user.gid);
	if (ops->start(h, &what, &q, &e))
		fail_msg("%s", e.text);
	while (pread(q.log_fd, &byte, 1, (off_t)strlen(want) - 1) < 1)
		assert_false(hv_pidfd_ended(q.pidfd, 1));
	must_hold(log, want);
	/* Its memory is what was given, with what is in it; its bases are still the caller's. */
	assert_int_equal(pread(q.ram_fd, &byte, 1, 5), 1);
	assert_int_equal(byte, 'x');
	assert_true(fcntl(pair[0], F_GETFD) >= 0);
	assert_int_equal(ops->signal(h, SIGKILL), 0);
	assert_true(hv_pidfd_ended(q.pidfd, 20000));
	hv_host_qemu_dispose(&q);

	/* Memory of another size, and another number of disks. */
	what.ram_bytes = 2 * RAM_BYTES;
	assert_int_equal(ops->start(h, &what, &q, &e), -EINVAL);
	what.ram_bytes = RAM_BYTES;
	what.n_images = 0;
	assert_int_equal(ops->start(h, &what, &q, &e), -EINVAL);
	/* An image that its user cannot open. */
	what.n_images = 1;
	assert_int_equal(chown(image, 0, 0), 0);
	assert_int_equal(ops->start(h, &what, &q, &e), -EACCES);
	assert_non_null(strstr(e.text, image));
	ops->clean(h, true);
	hv_host_free(h);
	close(pair[0]);
	close(pair[1]);
	close(given.ram_fd);
	unlink(image);
	unlink(replica);
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
