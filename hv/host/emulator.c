/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which program may run a standby: a QEMU by its name, in a folder that this host's operator named. */
#include "hv/host/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

const char *hv_host_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static char *find_in(const char *folders, const char *name)
{
	for (const char *p = folders ? folders : ""; *p;) {
		size_t n = strcspn(p, ":");
		char *full = NULL;

		if (*p == '/' && asprintf(&full, "%.*s/%s", (int)n, p, name) >= 0 &&
		    !access(full, X_OK))
			return full;
		free(full);
		p += n + (p[n] == ':');
	}
	return NULL;
}

/* "qemu-system-ARCH", or what distributions call the host's own architecture's. */
static bool is_emulator(const char *base, bool *own)
{
	static const char arch[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	*own = !strcmp(base, "kvm") || !strcmp(base, "qemu-kvm");
	if (*own)
		return true;
	if (strncmp(base, "qemu-system-", 12))
		return false;
	base += 12;
	/* Debian's qemu-system-x86_64-microvm is a smaller build of the same. */
	return *base && (!base[strspn(base, arch)] || !strcmp(base, "x86_64-microvm"));
}

int hv_host_find_emulator(const char *folders, const char *name, char **out)
{
	const char *base = hv_host_base_name(name);
	char system[96];
	struct utsname u;
	bool own;

	*out = NULL;
	if (!is_emulator(base, &own))
		return -EINVAL;
	/* Debian's "kvm" is a script that adds -enable-kvm: the emulator itself comes first. */
	if (own && !uname(&u)) {
		snprintf(system, sizeof(system), "qemu-system-%s", u.machine);
		*out = find_in(folders, system);
	}
	if (!*out)
		*out = find_in(folders, base);
	if (!*out && own)
		*out = find_in(folders, !strcmp(base, "kvm") ? "qemu-kvm" : "kvm");
	return *out ? 0 : -ENOENT;
}
