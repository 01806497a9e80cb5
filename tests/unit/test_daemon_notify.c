/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What systemd is sent. */
#include "daemon/daemon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static struct daemon d;

static void awaits(int fd, const char *want)
{
	char got[256];
	ssize_t n;

	while ((n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT)) < 0) {
		assert_int_equal(errno, EAGAIN);
		event_base_loop(d.base, EVLOOP_ONCE);
	}
	got[n] = 0;
	assert_string_equal(got, want);
}

static void systemd_is_kept_informed(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@twinvm-test-notify-%d", getpid());
	memcpy(a.sun_path, name, strlen(name));
	a.sun_path[0] = 0;
	assert_int_equal(bind(fd, (struct sockaddr *)&a,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	TAILQ_INIT(&d.vms);
	d.base = event_base_new();
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "30000", 1);
	notify_start(&d);
	awaits(fd, "READY=1");
	awaits(fd, "WATCHDOG=1");
	awaits(fd, "STATUS=0 of 0 VMs protected");
	/* By the loop, and the line only when it changes. */
	awaits(fd, "WATCHDOG=1");
	awaits(fd, "WATCHDOG=1");
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_null(getenv("WATCHDOG_USEC"));
	notify_stop();
	awaits(fd, "STOPPING=1");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(systemd_is_kept_informed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
