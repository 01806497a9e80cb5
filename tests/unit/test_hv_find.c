/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines, and finding VMs over a made-up /proc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hv/qemu/cmdline.h"
#include "hv/attach/describe.h"
#include "hv/qemu/find.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/readconfig.h"
#include "tests/unit/hv_find_kit.h"

static int setup(void **state)
{
	const char *qemu = "/usr/bin/qemu-system-x86_64";

	(void)state;
	snprintf(root, sizeof(root), "/tmp/twinvm-test-find.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	make_process(10, qemu, "/",
		     "qemu-system-x86_64|-name|web|-qmp|unix:/run/web.qmp,server=on|");
	make_process(11, qemu, "/srv/vm",
		     "qemu|--name|guest=db,debug-threads=on|-qmp-pretty|unix:./db,server|");
	make_process(12, "/usr/bin/qemu-system-x86_64 (deleted)", "/",
		     "kvm|-chardev|socket,id=m,path=/run/"
		     "a,,b,server=on|-mon|chardev=m,mode=control|-name|mail|");
	make_process(13, qemu, "/", "qemu|-name|none|-monitor|stdio|");
	make_process(14, qemu, "/", "qemu|-name|web|-qmp|unix:/run/web2.qmp,server=on|");
	make_process(15, "/usr/bin/vim", "/", "vim|-name|web|-qmp|unix:/x|");
	make_process(16, qemu, "/",
		     "qemu|-mon|chardev=m,mode=readline|-chardev|socket,id=m,path=/run/h|"
		     "-chardev|socket,id=q,path=/run/q,server=on|-qmp|chardev:q|-name|two|"
		     "-qmp|unix:/run/second,server=on|");
	/* QEMU is the client of the first, as on Proxmox VE with the lines exchanged. */
	make_process(19, qemu, "/",
		     "qemu|-chardev|socket,id=ev,path=/run/eventd,reconnect=5|-mon|chardev=ev,mode="
		     "control|-chardev|socket,id=m,path=/run/19,server=on,wait=off|-mon|chardev=m,"
		     "mode=control|-name|client|");
	make_process(20, qemu, "/", "qemu|-name|only-client|-qmp|unix:/run/eventd|");
	/* Proxmox VE: its own socket comes first, and its number is another VM's pid. */
	make_process(
		21, qemu, "/",
		"kvm|-id|10|-name|pve,debug-threads=on|-chardev|socket,id=qmp,path=/var/run/"
		"qemu-server/10.qmp,server=on,wait=off|-mon|chardev=qmp,mode=control|-qmp|unix:"
		"/x/free,server=on|-qmp|unix:/run/twinvm/10.qmp,server=on,wait=off|");
	make_process(22, qemu, "/",
		     "kvm|-name|pve2|-pidfile|/var/run/qemu-server/102.pid|-chardev|socket,id=qmp,"
		     "path=/var/run/qemu-server/102.qmp,server=on|-mon|chardev=qmp,mode=control|"
		     "-qmp|unix:/x/free2,server=on|");
	make_process(
		23, qemu, "/",
		"kvm|-name|pve3|-pidfile|/run/other/103.pid|-id|x|-qmp|unix:/run/103,server=on|");
	/* Another user's: of a name that root has too, and of one that only this user has. */
	make_process_of(ANOTHER, 17, qemu, "/", "qemu|-name|db|-qmp|unix:/run/db,server=on|");
	make_process_of(ANOTHER, 18, qemu, "/", "qemu|-name|own|-qmp|unix:/run/own,server=on|");
	return 0;
}

static void test_options(void **state)
{
	char v[64];

	(void)state;
	assert_true(hv_arg_is("--qmp", "qmp") && hv_arg_is("-qmp", "qmp"));
	assert_false(hv_arg_is("-qmp-pretty", "qmp") || hv_arg_is("qmp", "qmp"));
	assert_true(hv_opt_get("tap,id=n0,ifname=a,,b,vhost", "type", "type", v, sizeof(v)));
	assert_string_equal(v, "tap");
	assert_true(hv_opt_get("tap,id=n0,ifname=a,,b,vhost", "type", "ifname", v, sizeof(v)));
	assert_string_equal(v, "a,b");
	assert_true(hv_opt_get("tap,id=n0,vhost", "type", "vhost", v, sizeof(v)));
	assert_string_equal(v, "on");
	assert_true(hv_opt_get("tap,novhost", "type", "vhost", v, sizeof(v)));
	assert_string_equal(v, "off");
	assert_true(hv_opt_get("a=1,a=2", NULL, "a", v, sizeof(v)));
	assert_string_equal(v, "2");
	assert_false(hv_opt_get("tap,id=n0", "type", "n0", v, sizeof(v)));
	assert_true(
		hv_opt_get("{\"type\": \"tap\", \"vhost\": true}", "type", "vhost", v, sizeof(v)));
	assert_string_equal(v, "on");
	assert_false(hv_opt_get("{broken", "type", "vhost", v, sizeof(v)));
}

/* A name that has no room ends between two letters, and one in another alphabet's bytes is text. */
static void test_names_are_text(void **state)
{
	char long_name[200], small[8], *argv[] = {"qemu", "-name", long_name, NULL};

	(void)state;
	strcpy(long_name, "abcdef\xc3\xa4 and more");
	hv_cmdline_name(argv, small, sizeof(small));
	assert_string_equal(small, "abcdef");
	strcpy(long_name, "guest=M\xfcller");
	hv_cmdline_name(argv, small, sizeof(small));
	assert_string_equal(small, "M?ller");
	strcpy(long_name, "M\xc3\xbcll");
	hv_cmdline_name(argv, small, sizeof(small));
	assert_string_equal(small, "M\xc3\xbcll");
}

static void test_find_by_name(void **state)
{
	struct tv_err e = {0};
	struct hv_vm_id id;

	(void)state;
	assert_int_equal(hv_find_at(root, "db", NULL, NULL, NULL, &id, &e), 0);
	assert_int_equal(id.pid, 11);
	assert_int_equal(id.start_ticks, 1011);
	assert_string_equal(id.name, "db");
	assert_string_equal(id.qmp_path, "/srv/vm/db");
	assert_int_equal(hv_find_at(root, "mail", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.qmp_path, "/run/a,b");
	assert_int_equal(hv_find_at(root, "two", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.qmp_path, "/run/q");
	assert_int_equal(hv_find_at(root, "client", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.qmp_path, "/run/19");
	assert_int_equal(hv_find_at(root, "only-client", NULL, NULL, NULL, &id, &e), -ENOTSUP);
	assert_int_equal(hv_find_at(root, "nobody", NULL, NULL, NULL, &id, &e), -ENOENT);
	assert_int_equal(hv_find_at(root, "", NULL, NULL, NULL, &id, &e), -EINVAL);
	assert_int_equal(hv_find_at(root, "none", NULL, NULL, NULL, &id, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "-qmp unix:"));
}

static void test_find_by_number(void **state)
{
	struct tv_err e = {0};
	struct hv_vm_id id;

	(void)state;
	assert_int_equal(hv_find_at(root, "102", NULL, NULL, NULL, &id, &e), 0);
	assert_true(id.pid == 22 && id.number == 102);
	assert_string_equal(id.qmp_path, "/x/free2");
	assert_int_equal(hv_find_at(root, "pve", NULL, NULL, NULL, &id, &e), 0);
	assert_int_equal(id.number, 10);
	assert_string_equal(id.qmp_path, "/run/twinvm/10.qmp");
	assert_int_equal(hv_find_at(root, "/var/run/qemu-server/10.qmp", NULL, NULL, NULL, &id, &e),
			 0);
	assert_string_equal(id.qmp_path, "/var/run/qemu-server/10.qmp");
	assert_int_equal(hv_find_at(root, "10", NULL, NULL, NULL, &id, &e), TV_E_AMBIGUOUS);
	assert_non_null(strstr(e.text, "21"));
	assert_non_null(strstr(e.text, "give the name"));
	assert_int_equal(hv_find_at(root, "103", NULL, NULL, NULL, &id, &e), -ENOENT);
	assert_int_equal(hv_find_at(root, "pve3", NULL, NULL, NULL, &id, &e), 0);
	assert_int_equal(id.number, 0);
	assert_int_equal(hv_find_at(root, "0", NULL, NULL, NULL, &id, &e), -ENOENT);
}

static bool skip_14(pid_t pid, void *arg)
{
	(void)arg;
	return pid == 14;
}

static void test_find_ambiguous(void **state)
{
	struct tv_err e = {0};
	struct hv_vm_id id;

	(void)state;
	assert_int_equal(hv_find_at(root, "web", NULL, NULL, NULL, &id, &e), TV_E_AMBIGUOUS);
	assert_non_null(strstr(e.text, "10"));
	assert_non_null(strstr(e.text, "14"));
	assert_null(strstr(e.text, "15"));
	assert_int_equal(hv_find_at(root, "web", NULL, skip_14, NULL, &id, &e), 0);
	assert_int_equal(id.pid, 10);
	assert_int_equal(hv_find_at(root, "14", NULL, NULL, NULL, &id, &e), 0);
	assert_string_equal(id.qmp_path, "/run/web2.qmp");
	assert_int_equal(hv_find_at(root, "15", NULL, NULL, NULL, &id, &e), -ENOENT);
}

static void test_find_by_socket(void **state)
{
	struct hv_vm_id id;

	(void)state;
	assert_int_equal(hv_find_at(root, "/run/second", NULL, NULL, NULL, &id, NULL), 0);
	assert_int_equal(id.pid, 16);
	assert_string_equal(id.qmp_path, "/run/second");
	assert_int_equal(hv_find_at(root, "/run/h", NULL, NULL, NULL, &id, NULL), -ENOENT);
}

/* Any local user can run something of QEMU's name. */
static void test_find_owner(void **state)
{
	struct passwd *p = getpwuid(ANOTHER);
	struct tv_err e = {0};
	struct hv_vm_id id;
	char users[128];

	(void)state;
	if (geteuid() == ANOTHER || !p)
		skip();
	assert_int_equal(hv_find_at(root, "db", NULL, NULL, NULL, &id, &e), 0);
	assert_int_equal(id.pid, 11);
	assert_int_equal(hv_find_at(root, "own", NULL, NULL, NULL, &id, &e), TV_E_REFUSED);
	assert_non_null(strstr(e.text, p->pw_name));
	assert_non_null(strstr(e.text, "vm_users"));
	assert_int_equal(hv_find_at(root, "18", NULL, NULL, NULL, &id, &e), TV_E_REFUSED);
	assert_int_equal(hv_find_at(root, "/run/own", "root:none such", NULL, NULL, &id, &e),
			 TV_E_REFUSED);
	snprintf(users, sizeof(users), "no such user:%s", p->pw_name);
	assert_int_equal(hv_find_at(root, "own", users, NULL, NULL, &id, &e), 0);
	assert_int_equal(id.pid, 18);
	assert_int_equal(hv_find_at(root, "db", users, NULL, NULL, &id, &e), TV_E_AMBIGUOUS);
}

static void test_list(void **state)
{
	struct hv_vm_id ids[16];
	unsigned n;

	(void)state;
	assert_int_equal(hv_list_at(root, ids, 16, &n), 0);
	assert_int_equal(n, 13);
	assert_int_equal(hv_list_at(root, ids, 2, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(hv_list(ids, 16, &n), 0);
	assert_int_equal(hv_find("no such VM anywhere", NULL, NULL, NULL, ids, NULL), -ENOENT);
}

static void test_maps(void **state)
{
	const char *text = "1000-3000 rw-p 00000000 00:00 0 \n"
			   "3000-4000 r--p 00001000 08:01 12   /usr/bin/a b\n"
			   "4000-5000 ---p 00000000 00:00 0\n"
			   "6000-7000 rw-s 00000000 00:01 5 /memfd:x (deleted)\n";
	struct hv_maps m;

	(void)state;
	assert_int_equal(hv_maps_parse(text, &m), 0);
	assert_int_equal(m.n, 4);
	assert_string_equal(m.map[1].path, "/usr/bin/a b");
	assert_string_equal(m.map[0].path, "");
	assert_true(m.map[3].shared && !m.map[0].shared);
	assert_true(hv_maps_cover(&m, 0x1000, 0x3000));
	assert_false(hv_maps_cover(&m, 0x1000, 0x3001));
	assert_false(hv_maps_cover(&m, 0x5000, 1));
	assert_false(hv_maps_cover(&m, UINT64_MAX - 5, 10));
	hv_maps_dispose(&m);
}

static void test_described_files(void **state)
{
	char *argv[] = {"qemu",
			"-kernel",
			"cmdline",
			"-L",
			"/",
			"-initrd",
			"missing",
			"-device",
			"e1000,romfile=stat",
			"-drive",
			"file=cmdline,if=floppy",
			NULL};
	char cwd[80], want[100];
	json_t *files = json_array();

	(void)state;
	snprintf(cwd, sizeof(cwd), "%s/10", root);
	snprintf(want, sizeof(want), "%s/10/cmdline", root);
	hv_describe_files(argv, cwd, files);
	assert_int_equal(json_array_size(files), 2);
	assert_string_equal(json_string_value(json_array_get(files, 0)), want);
	json_decref(files);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The words with a blank behind each. */
static void words_are(const char *text, const char *want)
{
	struct tv_buf b;

	tv_buf_init(&b, 1 << 16);
	assert_int_equal(hv_readconfig_words(text, &b), 0);
	for (size_t i = 0; i < b.bytes; i++)
		b.data[i] = b.data[i] ? b.data[i] : ' ';
	assert_int_equal(tv_buf_add(&b, "", 1), 0);
	assert_string_equal((char *)b.data, want);
	tv_buf_dispose(&b);
}

static void test_config_files(void **state)
{
	static const char *const bad[] = {"driver = \"x\"\n", "[]\n",
					  "[device \"a\"]\n  driver: x\n",
					  "[device \"a\"]\n  driver = x\n"};

	(void)state;
	words_are("", "");
	words_are(
		"# a comment\n\n[device \"pci.0\"]\n  driver = \"pci-bridge\"\n  bus = \"pcidmi\"\n"
		"[machine]\n  type = \"q35\"\n[memory]\n  size = \"512\"\n"
		"[global]\n  driver = \"a\"\n  property = \"b\"\n  value = \"\"\n",
		"-device id=pci.0,driver=pci-bridge,bus=pcidmi -machine type=q35 -m size=512 "
		"-global driver=a,property=b,value= ");
	/* A value cannot become an option of its own, or a second key. */
	words_are("[chardev \"c\"]\npath = \"/a,server=on -qmp x\"\n",
		  "-chardev id=c,path=/a,,server=on -qmp x ");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tv_buf b;

		tv_buf_init(&b, 1 << 16);
		assert_int_equal(hv_readconfig_words(bad[i], &b), -EINVAL);
		tv_buf_dispose(&b);
	}
}

static void test_config_monitor(void **state)
{
	char path[128], line[400];
	struct hv_vm_id id;
	char **argv;

	(void)state;
	snprintf(path, sizeof(path), "%s/vm.cfg", root);
	write_file(path,
		   "[chardev \"m\"]\n backend = \"socket\"\n path = \"/run/cfg.qmp\"\n server = "
		   "\"on\"\n[mon \"q\"]\n chardev = \"m\"\n mode = \"control\"\n"
		   "[name]\n guest = \"fromfile\"\n");
	assert_int_equal(chmod(path, 0640), 0);
	snprintf(line, sizeof(line), "qemu|-readconfig|vm.cfg|-m|64|");
	make_process(30, "/usr/bin/qemu-system-x86_64", root, line);
	assert_int_equal(hv_find_at(root, "fromfile", NULL, NULL, NULL, &id, NULL), 0);
	assert_string_equal(id.qmp_path, "/run/cfg.qmp");
	/* Of a user who may not read it nothing is read, nor of what is no file. */
	make_process_of(ANOTHER, 31, "/usr/bin/qemu-system-x86_64", root, line);
	argv = hv_proc_args(root, 31);
	assert_string_equal(argv[1], "-readconfig");
	free(argv);
	make_process(32, "/usr/bin/qemu-system-x86_64", root, "qemu|-readconfig|/dev/zero|-m|64|");
	argv = hv_proc_args(root, 32);
	assert_string_equal(argv[2], "/dev/zero");
	assert_string_equal(argv[4], "64");
	assert_null(argv[5]);
	free(argv);
}

/* A daemon's working folder is not the one that its relative paths are from. */
static void test_daemonized(void **state)
{
	char path[128], line[128], dir[80], got[80];
	struct hv_vm_id id;
	char **argv;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/home", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/x.qmp", dir);
	write_file(path, "");
	make_process(33, "/usr/bin/qemu-system-x86_64", "/",
		     "qemu|-daemonize|-name|away|-qmp|unix:./x.qmp,server=on|");
	assert_int_equal(hv_find_at(root, "away", NULL, NULL, NULL, &id, NULL), 0);
	assert_string_equal(id.qmp_path, "/x.qmp"); /* nothing says more */
	/* By a file that it has open in that folder. */
	snprintf(line, sizeof(line), "%s/33/fd", root);
	assert_int_equal(mkdir(line, 0700), 0);
	strcat(line, "/7");
	snprintf(got, sizeof(got), "%s/disk", dir);
	assert_int_equal(symlink(got, line), 0);
	assert_int_equal(hv_find_at(root, "away", NULL, NULL, NULL, &id, NULL), 0);
	assert_string_equal(id.qmp_path, path);
	/* By its environment; a folder without that socket is not the one. */
	assert_int_equal(unlink(line), 0);
	snprintf(line, sizeof(line), "%s/33/environ", root);
	write_file(line, "PWD=/etc");
	assert_int_equal(hv_find_at(root, "away", NULL, NULL, NULL, &id, NULL), 0);
	assert_string_equal(id.qmp_path, "/x.qmp");
	snprintf(got, sizeof(got), "PWD=%s", dir);
	write_file(line, got);
	assert_int_equal(hv_find_at(root, "away", NULL, NULL, NULL, &id, NULL), 0);
	assert_string_equal(id.qmp_path, path);
	argv = hv_proc_argv(root, 33);
	assert_true(hv_proc_start_dir(root, 33, argv, NULL, got, sizeof(got)));
	assert_string_equal(got, dir);
	free(argv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),		cmocka_unit_test(test_names_are_text),
		cmocka_unit_test(test_find_by_name),	cmocka_unit_test(test_find_by_number),
		cmocka_unit_test(test_find_by_socket),	cmocka_unit_test(test_find_owner),
		cmocka_unit_test(test_find_ambiguous),	cmocka_unit_test(test_list),
		cmocka_unit_test(test_config_files),	cmocka_unit_test(test_config_monitor),
		cmocka_unit_test(test_daemonized),	cmocka_unit_test(test_maps),
		cmocka_unit_test(test_described_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
