/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether this host can run a VM's standby, asked before anything is started. */
#include "hv/standby/media.h"
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* QEMU itself, its devices' queues and the page tables, besides the guest's memory. */
#define MARGIN_BYTES (UINT64_C(128) << 20)

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

/* A clone's main RAM is there already. */
static int check_memory(json_t *desc, bool clone, struct tv_err *e)
{
	uint64_t need = MARGIN_BYTES, free_bytes;
	TV_FREE char *text = NULL;
	json_t *block;
	size_t i;
	int rc;

	json_array_foreach(json_object_get(desc, "blocks"), i, block)
		if (!clone || !json_is_true(json_object_get(block, "main")))
			need += (uint64_t)json_integer_value(json_object_get(block, "bytes"));
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

static int check_bridge(const struct hv_standby_conf *conf, bool has_taps, struct tv_err *e)
{
	if (!conf->bridge || !has_taps || if_nametoindex(conf->bridge))
		return 0;
	return tv_fail(e, -ENOTSUP,
		       "the VM's network is to join the bridge %s, which %s does not have",
		       conf->bridge, host_name());
}

/* ---- QEMU: a name from the peer, a folder from this host's operator ---- */
static int find_binary(const char *name, const struct hv_standby_conf *conf, char **out,
		       struct tv_err *e)
{
	const char *peer = conf->peer ? conf->peer : "the other host";
	const char *base = hv_host_base_name(name);
	int rc = hv_host_find_emulator(conf->qemu_path, name, out);

	if (rc == -EINVAL)
		return tv_fail(e, TV_E_REFUSED,
			       "%s asks for the program %.200s: not allowed on this host; only "
			       "qemu-system-ARCH can run a standby",
			       peer, name);
	if (rc == -ENOENT)
		return tv_fail(
			e, -ENOTSUP,
			"the VM's QEMU (%.200s) is not installed on %s in any of %s; install "
			"it, or add its folder to 'qemu_path' in that host's configuration",
			base, host_name(), conf->qemu_path ? conf->qemu_path : "no folder");
	return rc ? tv_fail(e, rc, "%s: %s", base, tv_strerror(rc)) : 0;
}

/* The form of a machine's state goes with its versioned type; a newer QEMU knows the older
 * forms. */
int hv_standby_match(json_t *desc, const char *binary, const struct hv_qemu *m, json_t *machines,
		     struct tv_err *e)
{
	const char *machine = json_string_value(json_object_get(desc, "machine"));
	const char *theirs = json_string_value(json_object_get(desc, "version"));
	unsigned have = m->major * 1000 + m->minor, need = hv_qemu_number(theirs);
	char version[160];

	hv_qemu_version(m, version, sizeof(version));
	machine = machine ? machine : "?";
	if (have < need)
		return tv_fail(
			e, -ENOTSUP,
			"the VM runs in QEMU %s, and %s on %s is older (%s); install at least "
			"the same version",
			theirs, binary, host_name(), version);
	if (!hv_qemu_has_machine(machines, machine))
		return tv_fail(e, -ENOTSUP,
			       "the VM's machine type %s is not known to %s on %s (%s); install "
			       "a QEMU that has it",
			       machine, binary, host_name(), version);
	if (have != need && need && !hv_qemu_is_versioned(machine))
		return tv_fail(e, -ENOTSUP,
			       "the VM's machine type %s has no version, so that both hosts need "
			       "the same QEMU: the VM runs in %s, and %s on %s is %s",
			       machine, theirs, binary, host_name(), version);
	if (!m->send_configuration)
		return tv_fail(e, -ENOTSUP,
			       "%s on %s (%s) cannot be set to load a state without a "
			       "configuration section (migration.send-configuration); install "
			       "another version",
			       binary, host_name(), version);
	return 0;
}

int hv_standby_qemu(json_t *desc, const struct hv_standby_conf *conf, char **binary,
		    struct hv_qemu *out, struct tv_err *e)
{
	const char *name = json_string_value(json_array_get(json_object_get(desc, "argv"), 0));
	json_t *machines = NULL;
	int rc;

	*binary = NULL;
	if (!name)
		return tv_fail(e, -EINVAL, "the VM's description has no command line");
	rc = find_binary(name, conf, binary, e);
	if (!rc)
		rc = conf->host->qemu(conf->host_arg, *binary, out, &machines, e);
	if (!rc)
		rc = hv_standby_match(desc, *binary, out, machines, e);
	json_decref(machines);
	if (rc) {
		free(*binary);
		*binary = NULL;
	}
	return rc;
}

/* The user that runs standbys must be able to open what its QEMU will. */
static int check_files(json_t *desc, const struct hv_standby_conf *conf, json_t *files,
		       struct tv_err *e)
{
	struct hv_host_file f = {.what = HV_HOST_KVM};
	const char *path;
	json_t *v;
	size_t i;
	int rc = 0;

	if (json_is_true(json_object_get(desc, "kvm")))
		rc = conf->host->check(conf->host_arg, &f, e);
	json_array_foreach(files, i, v) {
		const char *kind = json_string_value(json_object_get(v, "kind"));

		if (rc)
			return rc;
		path = json_string_value(json_object_get(v, "path"));
		f.what = !strcmp(kind, HV_MEDIA_FOLDER) ? HV_HOST_FOLDER : HV_HOST_FILE;
		if (json_is_true(json_object_get(v, "copy"))) {
			f.what = HV_HOST_COPY; /* its name in the folder of replicas */
			path = strrchr(path, '/') + 1;
		}
		if (!tv_copy(f.path, sizeof(f.path), path))
			return tv_fail(e, -ENAMETOOLONG, "the name of a file is too long: %.200s",
				       f.path);
		rc = conf->host->check(conf->host_arg, &f, e);
	}
	return rc;
}

int hv_standby_oom(json_t *desc)
{
	json_int_t n = json_integer_value(json_object_get(desc, "oom_score_adj"));

	return n < HV_HOST_OOM_MIN   ? HV_HOST_OOM_MIN
	       : n > HV_HOST_OOM_MAX ? HV_HOST_OOM_MAX
				     : (int)n;
}

int hv_standby_nice(json_t *desc)
{
	json_int_t n = json_integer_value(json_object_get(desc, "nice"));

	return n < HV_HOST_NICE_MIN   ? HV_HOST_NICE_MIN
	       : n > HV_HOST_NICE_MAX ? HV_HOST_NICE_MAX
				      : (int)n;
}

bool hv_standby_has_file(const struct hv_standby_conf *conf, const char *path, uint64_t bytes,
			 const char *sha256)
{
	struct hv_host_file f = {.what = HV_HOST_FILE};
	struct tv_err e;

	return tv_copy(f.path, sizeof(f.path), path) &&
	       hv_media_has(path, conf->media ? conf->media : "", bytes, sha256) &&
	       !conf->host->check(conf->host_arg, &f, &e);
}

int hv_standby_check(json_t *desc, const struct hv_standby_conf *conf, json_t *files,
		     const struct hv_host_start *what, struct tv_err *e)
{
	int rc = check_memory(desc, conf->clone, e);

	if (!rc)
		rc = check_bridge(conf, what->n_taps > 0, e);
	if (!rc && what->tpm && !hv_host_swtpm())
		rc = tv_fail(e, -ENOTSUP,
			     "the VM has a TPM, and %s has no swtpm to emulate it with; there: apt "
			     "install swtpm",
			     host_name());
	return rc ? rc : check_files(desc, conf, files, e);
}
