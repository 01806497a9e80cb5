/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files: managers put devices into one (-readconfig), and QEMU reads it once, at its
 * start. Everything else here works on a command line, so the file's groups become options; the
 * backup needs no such file then. The format is that of QEMU's util/qemu-config.c.
 */
#include "hv/qemu/readconfig.h"
#include "hv/qemu/cmdline.h"
#include "hv/qemu/keyval.h"
#include "hv/qemu/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (256u << 10)
#define WORDS_LIMIT (1u << 20)
#define ENVIRON_LIMIT (1u << 20)

/* ---- the file ---- */

/* Where a group is not called like its option. */
static const char *option_of(const char *group)
{
	static const char *const names[][2] = {
		{"memory", "m"}, {"smp-opts", "smp"}, {"boot-opts", "boot"}, {"acpi", "acpitable"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(group, names[i][0]))
			return names[i][1];
	return group;
}

static int add_text(struct tv_buf *out, const char *text)
{
	return tv_buf_add(out, text, strlen(text));
}

static int add_pair(struct tv_buf *out, bool first, const char *key, const char *value)
{
	TV_FREE char *escaped = hv_keyval_escape(value);
	int rc = escaped ? 0 : -ENOMEM;

	if (!rc && !first)
		rc = add_text(out, ",");
	if (!rc)
		rc = add_text(out, key);
	if (!rc)
		rc = add_text(out, "=");
	return rc ? rc : add_text(out, escaped);
}

struct group {
	bool open, empty; /* empty: it has no key yet */
};

static int end_group(struct group *g, struct tv_buf *out)
{
	int rc = g->open ? tv_buf_add(out, "", 1) : 0;

	*g = (struct group){0};
	return rc;
}

static int begin_group(struct group *g, const char *line, struct tv_buf *out)
{
	char name[64], id[64] = "";
	int rc = end_group(g, out);

	if (sscanf(line, "[%63s \"%63[^\"]\"]", name, id) != 2 &&
	    sscanf(line, "[%63[^] \"]]", name) != 1)
		return -EINVAL;
	if (!rc)
		rc = add_text(out, "-");
	if (!rc)
		rc = add_text(out, option_of(name));
	if (!rc)
		rc = tv_buf_add(out, "", 1);
	*g = (struct group){.open = true, .empty = !*id};
	return rc || !*id ? rc : add_pair(out, true, "id", id);
}

static int take_line(struct group *g, const char *line, struct tv_buf *out)
{
	char key[64], value[1024] = "";
	bool first = g->empty;

	if (!line[strspn(line, " \t\r")] || *line == '#')
		return 0;
	if (*line == '[')
		return begin_group(g, line, out);
	if (!g->open || (sscanf(line, " %63s = \"%1023[^\"]\"", key, value) != 2 &&
			 (!strstr(line, "\"\"") || sscanf(line, " %63s = ", key) != 1)))
		return -EINVAL;
	g->empty = false;
	return add_pair(out, first, key, value);
}

int hv_readconfig_words(const char *text, struct tv_buf *out)
{
	TV_FREE char *copy = strdup(text);
	struct group g = {0};
	char *save = NULL;
	int rc = copy ? 0 : -ENOMEM;

	for (char *l = rc ? NULL : strtok_r(copy, "\n", &save); l && !rc;
	     l = strtok_r(NULL, "\n", &save))
		rc = take_line(&g, l, out);
	return rc ? rc : end_group(&g, out);
}

/* ---- the process ---- */

/*
 * Read with our rights what its process could have read with its own: a command line can name any
 * file of this host, and what is in it goes to another one.
 */
static char *read_config(const char *root, pid_t pid, const char *path)
{
	char full[2 * PATH_MAX];
	struct stat st;
	uid_t uid;
	char *text = NULL;
	ssize_t n;
	TV_CLOSE int fd = -1;

	snprintf(full, sizeof(full), "%s/%d/root%s", root, (int)pid, path);
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_LIMIT ||
	    !hv_proc_uid(root, pid, &uid) || (uid && uid != st.st_uid && !(st.st_mode & S_IROTH)))
		return NULL;
	text = malloc(FILE_LIMIT + 1);
	n = text ? read(fd, text, FILE_LIMIT) : -1;
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static int add_file(const char *root, pid_t pid, char *const *argv, const char *path,
		    struct tv_buf *out)
{
	char dir[PATH_MAX], full[2 * PATH_MAX];
	TV_FREE char *text = NULL;
	size_t before = out->bytes;
	int rc = -ENOENT;

	if (*path == '/')
		snprintf(full, sizeof(full), "%s", path);
	else if (hv_proc_start_dir(root, pid, argv, path, dir, sizeof(dir)))
		snprintf(full, sizeof(full), "%s/%s", dir, path);
	else
		return rc;
	text = read_config(root, pid, full);
	if (text)
		rc = hv_readconfig_words(text, out);
	if (rc)
		out->bytes = before; /* half a file is worse than none */
	return rc;
}

/* One allocation, as hv_proc_argv has it. */
static char **split(const struct tv_buf *b)
{
	size_t n = 0, k = 0;
	char **argv, *copy;

	for (size_t i = 0; i < b->bytes; i++)
		n += b->data[i] == '\0';
	argv = malloc((n + 1) * sizeof(*argv) + b->bytes + 1);
	if (!argv)
		return NULL;
	copy = (char *)(argv + n + 1);
	memcpy(copy, b->data, b->bytes);
	for (; k < n; copy += strlen(copy) + 1)
		argv[k++] = copy;
	argv[k] = NULL;
	return argv;
}

static bool has_config(char *const *argv)
{
	for (; argv && *argv; argv++)
		if (hv_arg_is(*argv, "readconfig"))
			return true;
	return false;
}

char **hv_proc_args(const char *root, pid_t pid)
{
	TV_FREE char **plain = hv_proc_argv(root, pid);
	struct tv_buf words;
	char **out;
	int rc = 0;

	if (!has_config(plain)) {
		out = plain;
		plain = NULL;
		return out;
	}
	tv_buf_init(&words, WORDS_LIMIT);
	for (unsigned i = 0; plain[i] && !rc; i++) {
		if (i && plain[i + 1] && hv_arg_is(plain[i], "readconfig") &&
		    !add_file(root, pid, plain, plain[i + 1], &words))
			i++;
		else
			rc = tv_buf_add(&words, plain[i], strlen(plain[i]) + 1);
	}
	out = rc ? NULL : split(&words);
	tv_buf_dispose(&words);
	return out;
}

/* ---- where it was started ---- */

static bool is_there(const char *dir, const char *name)
{
	char path[2 * PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name ? name : ".");
	return *dir == '/' && !stat(path, &st);
}

/* PWD of its environment: what a shell says. */
static bool from_environ(const char *root, pid_t pid, const char *witness, char *out, size_t room)
{
	TV_FREE char *text = NULL;
	char path[512];
	size_t n;

	snprintf(path, sizeof(path), "%s/%d/environ", root, (int)pid);
	if (tv_read_file(path, ENVIRON_LIMIT, &text, &n))
		return false;
	for (const char *p = text; p < text + n; p += strlen(p) + 1)
		if (!strncmp(p, "PWD=", 4))
			return tv_copy(out, room, p + 4) && is_there(out, witness);
	return false;
}

/* A folder of a file that it has open. */
static bool from_files(const char *root, pid_t pid, const char *witness, char *out, size_t room)
{
	char path[512], what[300];
	struct dirent *de;
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%d/fd", root, (int)pid);
	d = opendir(path);
	while (d && !found && (de = readdir(d))) {
		char *slash;

		snprintf(what, sizeof(what), "fd/%s", de->d_name);
		if (!hv_proc_link(root, pid, what, out, room) || *out != '/')
			continue;
		slash = strrchr(out, '/');
		slash[slash == out] = '\0';
		found = is_there(out, witness);
	}
	if (d)
		closedir(d);
	return found;
}

bool hv_proc_start_dir(const char *root, pid_t pid, char *const *argv, const char *witness,
		       char *out, size_t room)
{
	bool moved = false;

	for (unsigned i = 1; argv && argv[i]; i++)
		moved |= hv_arg_is(argv[i], "daemonize");
	if (!hv_proc_link(root, pid, "cwd", out, room))
		return false;
	if (!moved || strcmp(out, "/") || (witness && is_there(out, witness)))
		return true;
	if (from_environ(root, pid, witness, out, room) ||
	    (witness && from_files(root, pid, witness, out, room)))
		return true;
	return tv_copy(out, room, "/");
}
