/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of the monitor have in common: a host with a folder, a fake QEMU and an arbiter. */
#ifndef MONITOR_KIT_H
#define MONITOR_KIT_H

#include "replicator/monitor/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIT __attribute__((unused)) static
#define ID "00112233445566778899aabbccddeeff"
#define OTHER "ff112233445566778899aabbccddeeff"

KIT struct config conf;
KIT char folder[64];
KIT struct monitor *m;

KIT void write_program(const char *path, const char *text)
{
	TV_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
}

KIT int set_up(void **state)
{
	char path[128];

	(void)state;
	strcpy(folder, "/tmp/twinvm-monitor-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	memset(&conf, 0, sizeof(conf));
	strcpy(conf.path, "/nowhere/twinvmd.conf");
	strcpy(conf.host, "hostB");
	strcpy(conf.sink_user, "nobody");
	strcpy(conf.standby_user, "twinvm-vm"); /* tests/deps.sh */
	snprintf(conf.run_dir, sizeof(conf.run_dir), "%s/run", folder);
	snprintf(conf.qemu_path, sizeof(conf.qemu_path), "%s/bin", folder);
	snprintf(conf.arbiter, sizeof(conf.arbiter), "file://%s/arb", folder);
	snprintf(path, sizeof(path), "%s/arb", folder);
	if (tv_mkdirs(path) || tv_mkdirs(conf.qemu_path) || tv_mkdirs(conf.run_dir) ||
	    chmod(folder, 0711) || chmod(conf.qemu_path, 0711))
		return -1;
	snprintf(path, sizeof(path), "%s/bin/qemu-system-test", folder);
	write_program(path, "#!/bin/sh\necho \"$@\"\nexec tail -f /dev/null\n");
	snprintf(path, sizeof(path), "%s/bin/canary", folder);
	write_program(path, "#!/bin/sh\ntouch /tmp/twinvm-canary\n");
	return 0;
}

KIT int tear_down(void **state)
{
	char command[128];

	(void)state;
	monitor_free(m);
	m = NULL;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

KIT void note_path(const char *what, char out[300])
{
	snprintf(out, 300, "%s/" ID "-2", conf.run_dir);
	if (*what)
		snprintf(out + strlen(out), 300 - strlen(out), ".%s", what);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#endif
