/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this host can run a VM's standby, asked before anything is started. */
#include "hv/standby.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* QEMU itself, its devices' queues and the page tables, besides the guest's memory. */
#define MARGIN_BYTES (UINT64_C(128) << 20)
#define HELP_MS 20000

static const char *host_name(void)
{
	static __thread char name[65];

	if (gethostname(name, sizeof(name) - 1))
		strcpy(name, "this host");
	return name;
}

uint64_t hv_meminfo_available(const char *text)
{
	const char *p = strstr(text, "MemAvailable:");

	return p ? strtoull(p + strlen("MemAvailable:"), NULL, 10) << 10 : 0;
}

unsigned hv_version_number(const char *text)
{
	for (const char *p = text; *p; p++) {
		unsigned major, minor;

		if (isdigit((unsigned char)*p) && sscanf(p, "%u.%u", &major, &minor) == 2)
			return major * 1000 + minor;
	}
	return 0;
}

bool hv_machine_listed(const char *help, const char *machine)
{
	size_t n = strlen(machine);

	for (const char *l = help; l && *l; l = strchr(l, '\n')) {
		l += *l == '\n';
		if (!strncmp(l, machine, n) && isspace((unsigned char)l[n]))
			return true;
	}
	return false;
}

/* Only what the standby's own command line still names: main RAM's file, for one, it does not. */
static bool is_named(char *const *argv, const char *file)
{
	for (char *const *p = argv + 1; *p; p++)
		if (strstr(*p, file))
			return true;
	return false;
}

static int check_files(json_t *desc, char *const *argv, struct tv_err *e)
{
	json_t *file;
	size_t i;

	json_array_foreach(json_object_get(desc, "files"), i, file)
	{
		const char *path = json_string_value(file);

		if (path && is_named(argv, path) && access(path, R_OK))
			return tv_fail(e, -ENOTSUP,
				       "the VM needs the file %s, which cannot be read on %s (%s); "
				       "copy it there, under the same name",
				       path, host_name(), strerror(errno));
	}
	return 0;
}

static int check_memory(json_t *desc, struct tv_err *e)
{
	uint64_t need = MARGIN_BYTES, free_bytes;
	TV_FREE char *text = NULL;
	json_t *block;
	size_t i;
	int rc;

	json_array_foreach(json_object_get(desc, "blocks"), i, block) need +=
		(uint64_t)json_integer_value(json_object_get(block, "bytes"));
	rc = tv_read_file("/proc/meminfo", 1u << 16, &text, NULL);
	if (rc)
		return tv_fail(e, rc, "cannot read /proc/meminfo: %s", tv_strerror(rc));
	free_bytes = hv_meminfo_available(text);
	if (free_bytes < need)
		return tv_fail(e, -ENOMEM,
			       "the VM needs %" PRIu64 " MiB of memory and %s has %" PRIu64
			       " MiB free",
			       need >> 20, host_name(), free_bytes >> 20);
	return 0;
}

static int check_bridge(const struct hv_standby_conf *conf, char *const *argv, struct tv_err *e)
{
	char tap[IFNAMSIZ];

	if (!conf->bridge || !hv_standby_tap(argv, 0, tap) || if_nametoindex(conf->bridge))
		return 0;
	return tv_fail(e, -ENOTSUP,
		       "the VM's network is to join the bridge %s, which %s does not have",
		       conf->bridge, host_name());
}

static char *find_in_path(const char *name)
{
	const char *path = getenv("PATH");

	for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		char *full = NULL;

		if (n && asprintf(&full, "%.*s/%s", (int)n, p, name) >= 0 && !access(full, X_OK))
			return full;
		free(full);
		p += n + (p[n] == ':');
	}
	return NULL;
}

static int find_binary(const char *name, char **out, struct tv_err *e)
{
	const char *base = strrchr(name, '/');

	*out = base && !access(name, X_OK) ? strdup(name) : find_in_path(base ? base + 1 : name);
	if (!*out)
		return tv_fail(e, -ENOTSUP, "the VM's QEMU (%s) is not installed on %s", name,
			       host_name());
	return 0;
}

static int check_version(const char *binary, json_t *desc, char **version, struct tv_err *e)
{
	char *const ask[] = {(char *)binary, "-version", NULL};
	const char *theirs = json_string_value(json_object_get(desc, "version"));
	int rc = hv_spawn_capture(binary, ask, HELP_MS, version, e);

	if (rc)
		return rc;
	(*version)[strcspn(*version, "\r\n")] = '\0';
	if (!hv_version_number(*version))
		return tv_fail(e, -ENOTSUP, "%s on %s does not say its version", binary,
			       host_name());
	if (theirs && hv_version_number(*version) < hv_version_number(theirs))
		return tv_fail(
			e, -ENOTSUP,
			"the VM runs in QEMU %s, and %s on %s is older (%s); install at least "
			"the same version",
			theirs, binary, host_name(), *version);
	return 0;
}

static int check_machine(const char *binary, json_t *desc, const char *version, struct tv_err *e)
{
	char *const ask[] = {(char *)binary, "-machine", "help", NULL};
	const char *machine = json_string_value(json_object_get(desc, "machine"));
	TV_FREE char *help = NULL;
	int rc = hv_spawn_capture(binary, ask, HELP_MS, &help, e);

	if (rc)
		return rc;
	if (!machine || !hv_machine_listed(help, machine))
		return tv_fail(e, -ENOTSUP,
			       "the VM's machine type %s is not known to %s on %s (%s)",
			       machine ? machine : "?", binary, host_name(), version);
	return 0;
}

static int check_kvm(json_t *desc, struct tv_err *e)
{
	if (!json_is_true(json_object_get(desc, "kvm")) || !access("/dev/kvm", R_OK | W_OK))
		return 0;
	return tv_fail(e, -ENOTSUP, "the VM runs under KVM, and /dev/kvm on %s cannot be used: %s",
		       host_name(), strerror(errno));
}

int hv_standby_check(json_t *desc, const struct hv_standby_conf *conf, char *const *argv,
		     char **binary, struct tv_err *e)
{
	TV_FREE char *version = NULL;
	int rc = check_files(desc, argv, e);

	*binary = NULL;
	if (!rc)
		rc = check_memory(desc, e);
	if (!rc)
		rc = check_bridge(conf, argv, e);
	if (!rc)
		rc = check_kvm(desc, e);
	if (!rc)
		rc = find_binary(argv[0], binary, e);
	if (!rc)
		rc = check_version(*binary, desc, &version, e);
	if (!rc)
		rc = check_machine(*binary, desc, version, e);
	if (rc) {
		free(*binary);
		*binary = NULL;
	}
	return rc;
}
