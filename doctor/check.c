/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration: certificates, users, folders, arbiter. */
#include "doctor/doctor_int.h"
#include "failover/arbiter/arbiter.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SOON_DAYS 14
#define ROOM_BYTES (256ull << 20)

/* ---- certificates ---- */
static X509 *read_certificate(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

static void check_expiry(const char *name, const char *path, json_t *checks)
{
	X509 *x = read_certificate(path);
	int days = 0, seconds = 0;

	if (!x || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
		doctor_add(checks, name, DOCTOR_PROBLEM, "%s is no certificate in PEM form", path);
	else if (days < 0 || seconds < 0)
		doctor_add(checks, name, DOCTOR_PROBLEM, "%s has expired: make a new one", path);
	else if (days < SOON_DAYS)
		doctor_add(checks, name, DOCTOR_WARNING, "%s expires in %d days: make a new one",
			   path, days);
	else
		doctor_add(checks, name, DOCTOR_OK, "%s is valid for %d days", path, days);
	X509_free(x);
}

static void check_name(const struct config *c, json_t *checks)
{
	X509 *x = read_certificate(c->cert);
	char name[256] = "";

	if (x)
		X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, name,
					  sizeof(name));
	if (x && strcmp(name, c->host) != 0)
		doctor_add(
			checks, "certificate", DOCTOR_PROBLEM,
			"%s is of '%s', and this host is '%s' (host in %s): peers know it by the "
			"certificate's common name",
			c->cert, name, c->host, c->path);
	X509_free(x);
}

static void check_tls(const struct config *c, json_t *checks)
{
	struct tv_err e = {0};

	if (config_check_tls(c, &e)) {
		doctor_add(checks, "certificate", DOCTOR_PROBLEM, "%s", e.text);
		return;
	}
	check_expiry("certificate", c->cert, checks);
	check_expiry("CA", c->ca, checks);
	check_name(c, checks);
}

/* ---- lists ---- */
static void each(const char *list, const char *between, const struct config *c, json_t *checks,
		 void (*one)(const char *word, const struct config *c, json_t *checks))
{
	char copy[1024], *rest = copy, *word;

	tv_copy(copy, sizeof(copy), list);
	while ((word = strsep(&rest, between)))
		if (*word)
			one(word, c, checks);
}

static void check_user(const char *name, const struct config *c, json_t *checks)
{
	if (!getpwnam(name))
		doctor_add(checks, "vm_users", DOCTOR_WARNING,
			   "there is no user '%s' on %s: remove the name from %s, or make the user",
			   name, c->host, c->path);
}

static void check_sink_user(const struct config *c, json_t *checks)
{
	struct tv_err e = {0};
	uid_t uid;
	gid_t gid;

	if (config_sink_user(c, &uid, &gid, &e))
		doctor_add(checks, "sink_user", DOCTOR_PROBLEM, "%s", e.text);
	else
		doctor_add(checks, "sink_user", DOCTOR_OK, "%s is uid %u", c->sink_user,
			   (unsigned)uid);
}

static void check_media(const char *folder, const struct config *c, json_t *checks)
{
	struct stat st;

	if (stat(folder, &st) || !S_ISDIR(st.st_mode))
		doctor_add(
			checks, "media", DOCTOR_WARNING,
			"%s is no folder on %s: a VM with files in it cannot be protected by this "
			"host",
			folder, c->host);
}

static bool has_qemu(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *ent;
	bool found = false;

	while (!found && dir && (ent = readdir(dir)))
		found = !fnmatch("qemu-system-*", ent->d_name, 0);
	if (dir)
		closedir(dir);
	return found;
}

static void check_qemu(const struct config *c, json_t *checks)
{
	char copy[512], *rest = copy, *folder;

	tv_copy(copy, sizeof(copy), c->qemu_path);
	while ((folder = strsep(&rest, ":")))
		if (*folder && has_qemu(folder)) {
			doctor_add(checks, "qemu_path", DOCTOR_OK, "%s has a QEMU", folder);
			return;
		}
	doctor_add(
		checks, "qemu_path", DOCTOR_PROBLEM,
		"no qemu-system-* in %s on %s: this host cannot be a backup; install QEMU, or set "
		"qemu_path in %s",
		c->qemu_path, c->host, c->path);
}

/* ---- folders ---- */
static void check_folder(const char *key, const char *path, json_t *checks)
{
	unsigned long long room;
	struct statvfs fs;

	if (access(path, W_OK) || statvfs(path, &fs)) {
		doctor_add(checks, key, DOCTOR_PROBLEM, "%s cannot be written (%s)", path,
			   strerror(errno));
		return;
	}
	room = (unsigned long long)fs.f_bavail * fs.f_frsize;
	if (room < ROOM_BYTES && fs.f_bavail < fs.f_blocks / 10)
		doctor_add(checks, key, DOCTOR_WARNING,
			   "%s has only %llu MiB left: make room there", path, room >> 20);
	else
		doctor_add(checks, key, DOCTOR_OK, "%s has %llu MiB left", path, room >> 20);
}

/* ---- arbiter ---- */
static void check_arbiter(const struct config *c, json_t *checks)
{
	struct fo_arbiter *a = NULL;
	struct fo_arbiter_conf ac;
	struct fo_times times;
	struct tv_err e = {0};
	int rc;

	if (!strcmp(c->arbiter, "none")) {
		doctor_add(checks, "arbiter", DOCTOR_OK,
			   "none: after the loss of a host an operator promotes its VMs");
		return;
	}
	fo_times_init(&times, c->heartbeat_ms * TV_NS_PER_MS);
	ac = config_arbiter(c, &times);
	rc = fo_arbiter_open(c->arbiter, &ac, &a, &e);
	if (!rc)
		rc = fo_arbiter_probe(a, &e);
	fo_arbiter_close(a);
	if (rc)
		doctor_add(checks, "arbiter", DOCTOR_PROBLEM, "%s: %s", c->arbiter, e.text);
	else
		doctor_add(checks, "arbiter", DOCTOR_OK, "%s answers", c->arbiter);
}

void doctor_check_config(const struct config *c, json_t *checks)
{
	check_tls(c, checks);
	check_sink_user(c, checks);
	each(c->vm_users, ": ,", c, checks, check_user);
	if (strcmp(c->media, CONFIG_DEFAULT_MEDIA) != 0) /* those that are missing are no mistake */
		each(c->media, ":", c, checks, check_media);
	check_qemu(c, checks);
	check_folder("state_dir", c->state_dir, checks);
	if (access(c->replica_dir, F_OK)) /* made with the first replica */
		doctor_add(checks, "replica_dir", DOCTOR_OK, "%s is not there yet", c->replica_dir);
	else
		check_folder("replica_dir", c->replica_dir, checks);
	check_folder("run_dir", c->run_dir, checks);
	check_arbiter(c, checks);
}
