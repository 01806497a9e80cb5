/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running one line against the allow-list, with a folder of media. */
#ifndef HV_ALLOW_KIT_H
#define HV_ALLOW_KIT_H

#include "hv/standby/allow.h"
#include "hv/standby/rewrite.h"
#include "tests/unit/hv_argv_kit.h"

#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static char folder[64]; /* of media; "%" in a line stands for it */

static inline int run(const char *options, char *out, size_t room, struct tv_err *e)
{
	const struct hv_standby_conf conf = {
		.dir = DIR, .vm_id = "ab12", .peer = "hostA", .media = folder};
	char line[4096] = "qemu-system-x86_64 ";
	size_t n = strlen(line);

	for (const char *p = options; *p && n + sizeof(folder) < sizeof(line); p++)
		if (*p == '%')
			n += (size_t)sprintf(line + n, "%s", folder);
		else
			line[n++] = *p;
	line[n] = '\0';
	return rewrite_conf(line, &(struct vm){0}, &conf, out, room, e);
}

/* Allowed. */
static inline void fine(const char *options)
{
	struct tv_err e = {0};
	char out[8192];

	if (run(options, out, sizeof(out), &e))
		fail_msg("%s: %s", options, e.text);
}

/* Allowed, and word does not arrive. */
static inline void gone(const char *options, const char *word)
{
	struct tv_err e = {0};
	char out[8192];

	if (run(options, out, sizeof(out), &e))
		fail_msg("%s: %s", options, e.text);
	if (strstr(out, word))
		fail_msg("%s: %s is still in %s", options, word, out);
}

/* Refused, in the form of hv_rw_deny, and the sentence has that name. */
static inline void refused(const char *options, const char *name)
{
	struct tv_err e = {0};
	char out[8192];
	int rc = run(options, out, sizeof(out), &e);

	if (rc != TV_E_REFUSED)
		fail_msg("%s: %d, %s%s", options, rc, e.text, out);
	if (!strstr(e.text, name) || strncmp(e.text, "hostA asks for ", 15) ||
	    !strstr(e.text, "not allowed on this host"))
		fail_msg("%s: no \"%s\" in: %s", options, name, e.text);
}

static inline void write_file(const char *name, const void *p, size_t n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(p, n, 1, f), 1);
	fclose(f);
}

static inline void make_link(const char *name, const char *to)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(symlink(to, path), 0);
}

static inline int media_setup(void **state)
{
	char path[128];
	uint8_t head[512] = "QFI\xfb\0\0\0\3";

	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/twinvm-test-media.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	write_file("plain", "just bytes", 10);
	write_file("whole", head, sizeof(head));
	head[15] = 112; /* a backing file's name is there */
	write_file("backed", head, sizeof(head));
	snprintf(path, sizeof(path), "%s/sub", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	write_file("sub/kernel", "kernel", 6);
	make_link("in", "plain");
	make_link("out", "/etc/passwd");
	make_link("device", "/dev/zero");
	snprintf(path, sizeof(path), "%s/fifo", folder);
	return mkfifo(path, 0600);
}

static inline int media_teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -r %s", folder);
	return system(cmd);
}

#endif
