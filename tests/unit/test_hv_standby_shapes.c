/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Command lines as managers write them (tests/shapes/NAME.args, an argument a line): those that can
 * have a standby get one, the others are refused by name.
 *
 *   # words               what it is
 *   !expect fine          or: !expect refused OPTION
 *   !main NAME            main RAM's block
 *   !machine TYPE         the versioned type
 *   !disk DEVICE NODE FILE   a writable disk; "-": no device name
 */
#include <dirent.h>

#include "tests/unit/hv_argv_kit.h"

#define FOLDER "tests/shapes"

struct shape {
	char expect[64], main[64], machine[64];
	json_t *argv, *disks;
};

static void take_line(struct shape *s, char *line)
{
	char device[64], node[64], file[128];

	line[strcspn(line, "\n")] = '\0';
	if (*line == '#')
		return;
	if (*line != '!') {
		json_array_append_new(s->argv, json_string(line));
		return;
	}
	if (sscanf(line, "!main %63s", s->main) == 1 ||
	    sscanf(line, "!machine %63s", s->machine) == 1 ||
	    sscanf(line, "!expect %63[^\n]", s->expect) == 1)
		return;
	if (sscanf(line, "!disk %63s %63s %127s", device, node, file) != 3)
		fail_msg("%s", line);
	json_array_append_new(s->disks, json_pack("{s:s, s:s, s:s, s:s, s:i}", "name", node,
						  "device", strcmp(device, "-") ? device : "",
						  "node", node, "file", file, "bytes", 1 << 20));
}

static json_t *read_shape(const char *name, struct shape *s)
{
	char path[300], line[4096];
	FILE *f;

	*s = (struct shape){.argv = json_array(), .disks = json_array()};
	snprintf(path, sizeof(path), FOLDER "/%s", name);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		take_line(s, line);
	fclose(f);
	return json_pack("{s:o, s:s, s:s, s:i, s:[{s:s, s:i, s:b}], s:s, s:o}", "argv", s->argv,
			 "machine", s->machine, "version", "7.2.22", "ram_bytes", 256 * MIB,
			 "blocks", "name", s->main, "bytes", 256 * MIB, "main", 1, "cwd", "/",
			 "disks", s->disks);
}

static void check(const char *name)
{
	static const char *const images[] = {"/r/0.raw", "/r/1.raw"};
	struct shape s;
	json_t *d = read_shape(name, &s), *files = json_array();
	const struct hv_standby_conf conf = {.dir = DIR,
					     .vm_id = "ab12",
					     .peer = "hostA",
					     .replicas = images,
					     .n_replicas = (unsigned)json_array_size(s.disks)};
	struct tv_err e = {0};
	char **argv = NULL;
	int rc;

	assert_non_null(d);
	rc = hv_standby_argv(d, &conf, &argv_qemu, files, &argv_what, &argv, &e);
	if (!strcmp(s.expect, "fine")) {
		if (rc)
			fail_msg("%s: %s", name, e.text);
		for (char **p = argv; *p; p++)
			if (strstr(*p, "passw0rd") || strstr(*p, "/var/lib/shapes/d0"))
				fail_msg("%s: the standby gets %s", name, *p);
	} else {
		assert_memory_equal(s.expect, "refused ", 8);
		if (rc != TV_E_REFUSED || !strstr(e.text, s.expect + 8) ||
		    !strstr(e.text, "hostA asks for"))
			fail_msg("%s: %d, not '%s': %s", name, rc, s.expect, e.text);
	}
	hv_argv_free(argv);
	json_decref(files);
	json_decref(d);
}

static void test_shapes(void **state)
{
	struct dirent *de;
	unsigned n = 0;
	void *dir = opendir(FOLDER);

	(void)state;
	assert_non_null(dir);
	while ((de = readdir(dir)))
		if (strstr(de->d_name, ".args")) {
			check(de->d_name);
			n++;
		}
	closedir(dir);
	assert_true(n >= 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
