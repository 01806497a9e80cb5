/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding VMs: every process whose executable is a QEMU system emulator is one. What its QMP socket
 * is, its command line says, or a configuration file that it names; a socket that came in by file
 * descriptor cannot be seen there. Where that is libvirt's, and the QEMU has no other, commands go
 * through libvirt.
 */
#include "hv/qemu/find.h"
#include "hv/qemu/cmdline.h"
#include "hv/qemu/libvirt.h"
#include "hv/qemu/proc.h"
#include "hv/qemu/readconfig.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Starting time from ROOT/PID/stat: field 22, counted behind the command's closing bracket. */
static uint64_t start_ticks(const char *root, pid_t pid)
{
	TV_FREE char *text = NULL;
	char path[512], *p;

	snprintf(path, sizeof(path), "%s/%d/stat", root, (int)pid);
	if (tv_read_file(path, 4096, &text, NULL) || !(p = strrchr(text, ')')))
		return 0;
	for (int field = 2; field < 22 && p; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p, NULL, 10) : 0;
}

/*
 * A path as QEMU wrote it, as one that we can connect to: relative to QEMU's folder, through
 * /proc when it is too long for a socket address or lies in another mount namespace.
 */
static bool reachable_path(const char *root, pid_t pid, char *const *argv, const char *raw,
			   char *out, size_t room)
{
	char cwd[PATH_MAX], full[2 * PATH_MAX];
	struct stat st;
	int n;

	if (!strncmp(raw, "fd:", 3))
		return hv_proc_socket(root, pid, atoi(raw + 3), out, room);
	if (*raw == '/')
		snprintf(full, sizeof(full), "%s", raw);
	else if (hv_proc_start_dir(root, pid, argv, raw, cwd, sizeof(cwd)))
		snprintf(full, sizeof(full), "%s/%s", strcmp(cwd, "/") ? cwd : "",
			 raw[0] == '.' && raw[1] == '/' ? raw + 2 : raw);
	else
		return false;
	n = snprintf(out, room, "%s", full);
	if (n < (int)room && !stat(out, &st))
		return true;
	if (*raw != '/')
		n = snprintf(out, room, "%s/%d/cwd/%s", root, (int)pid, raw);
	else
		n = snprintf(out, room, "%s/%d/root%s", root, (int)pid, raw);
	if (n < (int)room && !stat(out, &st))
		return true;
	/* Nothing is there; the plain path makes the better error message. */
	return snprintf(out, room, "%s", full) < (int)room;
}

/* ---- whose ---- */
static bool is_user(uid_t uid, const char *name)
{
	struct passwd *p = getpwnam(name);

	return p && p->pw_uid == uid;
}

static bool is_one_of(uid_t uid, const char *users)
{
	for (const char *p = users; *p; p += strspn(p, ": ")) {
		size_t n = strcspn(p, ": ");
		char name[64];

		if (n && n < sizeof(name)) {
			memcpy(name, p, n);
			name[n] = '\0';
			if (is_user(uid, name))
				return true;
		}
		p += n;
	}
	return false;
}

static bool is_libvirts(uid_t uid)
{
	return !uid || is_one_of(uid, "libvirt-qemu:qemu");
}

static bool counts(uid_t uid, const char *users)
{
	return is_libvirts(uid) || uid == geteuid() || (users && is_one_of(uid, users));
}

/* ---- what ---- */
/*
 * Of several sockets one that was made for twinvm is taken first; Proxmox VE's own last, which its
 * tools want all the time, each for a moment.
 */
static int preference(const char *path)
{
	if (strstr(path, "twinvm"))
		return 2;
	return !strstr(path, "/qemu-server/");
}

/* Its only monitor came by descriptor, and libvirt has it. What the command line says anybody may
 * write into his own: whose the process is, libvirt is asked when it is connected to (lv/). */
static void through_libvirt(const char *root, struct hv_vm_id *id, int domain)
{
	uid_t uid;

	if (domain && *id->uuid && hv_proc_uid(root, id->pid, &uid) && is_libvirts(uid))
		snprintf(id->qmp_path, sizeof(id->qmp_path), HV_LIBVIRT_PATH "%s", id->uuid);
}

/* Fills out from a process; false when it is no VM. want_qmp, may be NULL, prefers that socket. */
static bool look_at(const char *root, pid_t pid, const char *want_qmp, struct hv_vm_id *out,
		    bool *is_wanted)
{
	TV_FREE char **plain = hv_proc_argv(root, pid), **argv = NULL;
	char raw[4096], path[sizeof(out->qmp_path)];
	struct stat want = {0}, have;
	int domain;

	if (!plain || !hv_proc_is_qemu(root, pid, plain) || !(argv = hv_proc_args(root, pid)))
		return false;
	*out = (struct hv_vm_id){.pid = pid, .start_ticks = start_ticks(root, pid)};
	*is_wanted = false;
	hv_cmdline_name(argv, out->name, sizeof(out->name));
	hv_cmdline_uuid(argv, out->uuid);
	domain = hv_cmdline_domain(argv);
	out->number = domain ? domain : hv_cmdline_number(argv);
	for (unsigned i = 0; i < HV_MAX_QMP && hv_cmdline_qmp(argv, i, raw, sizeof(raw)); i++) {
		if (!reachable_path(root, pid, argv, raw, path, sizeof(path)))
			continue;
		if (!*is_wanted &&
		    (!out->qmp_path[0] || preference(path) > preference(out->qmp_path)))
			memcpy(out->qmp_path, path, sizeof(path));
		if (!want_qmp)
			continue;
		if (!strcmp(want_qmp, path) || !strcmp(want_qmp, raw) ||
		    (!stat(want_qmp, &want) && !stat(path, &have) && want.st_ino == have.st_ino &&
		     want.st_dev == have.st_dev)) {
			memcpy(out->qmp_path, path, sizeof(path));
			*is_wanted = true;
		}
	}
	if (!out->qmp_path[0])
		through_libvirt(root, out, domain);
	return true;
}

bool hv_find_qmp(const char *root, pid_t pid, unsigned nth, char *out, size_t room)
{
	TV_FREE char **argv = hv_proc_args(root, pid);
	char raw[4096];

	return argv && hv_cmdline_qmp(argv, nth, raw, sizeof(raw)) &&
	       reachable_path(root, pid, argv, raw, out, room);
}

/* Calls back for every VM until it returns false. */
static int each_vm(const char *root, const char *want_qmp,
		   bool (*cb)(const struct hv_vm_id *id, bool is_wanted, void *arg), void *arg)
{
	DIR *d = opendir(root);
	struct dirent *de;
	struct hv_vm_id id;
	bool is_wanted;

	if (!d)
		return -errno;
	while ((de = readdir(d))) {
		char *end;
		long pid = strtol(de->d_name, &end, 10);

		if (pid <= 0 || *end)
			continue;
		if (look_at(root, (pid_t)pid, want_qmp, &id, &is_wanted) &&
		    !cb(&id, is_wanted, arg))
			break;
	}
	closedir(d);
	return 0;
}

struct list {
	struct hv_vm_id *out;
	unsigned n, max;
};

static bool add_to_list(const struct hv_vm_id *id, bool is_wanted, void *arg)
{
	struct list *l = arg;

	(void)is_wanted;
	if (l->n == l->max)
		return false;
	l->out[l->n++] = *id;
	return true;
}

int hv_list_at(const char *root, struct hv_vm_id *out, unsigned max, unsigned *n)
{
	struct list l = {.out = out, .max = max};
	int rc = each_vm(root, NULL, add_to_list, &l);

	*n = l.n;
	return rc;
}

static int not_ours(const char *what, pid_t pid, uid_t uid, struct tv_err *e)
{
	struct passwd *p = getpwuid(uid);
	char number[16];

	snprintf(number, sizeof(number), "%u", (unsigned)uid);
	return tv_fail(
		e, TV_E_REFUSED,
		"the QEMU that matches '%s' (pid %d) is user %s's, and only VMs of root and of "
		"libvirt are protected; if that user may have VMs run on other hosts, add it "
		"to 'vm_users' in this host's configuration",
		what, (int)pid, p ? p->pw_name : number);
}

struct search {
	const char *root, *what, *users;
	pid_t pid; /* or a manager's number; 0: what is no number */
	bool (*skip)(pid_t pid, void *arg);
	void *skip_arg;
	struct hv_vm_id *out;
	unsigned matches, vms;
	pid_t foreign_pid; /* one that matches and does not count, 0: none */
	uid_t foreign_uid;
	char pids[256];
};

static bool match(const struct hv_vm_id *id, bool is_wanted, void *arg)
{
	struct search *s = arg;
	bool matches = is_wanted || !strcmp(id->name, s->what) || !strcasecmp(id->uuid, s->what) ||
		       !strcmp(id->qmp_path, s->what) ||
		       (s->pid && (s->pid == id->pid || s->pid == id->number));
	size_t used = strlen(s->pids);
	uid_t uid;

	if (s->skip && s->skip(id->pid, s->skip_arg))
		return true;
	if (!hv_proc_uid(s->root, id->pid, &uid))
		return true; /* it has just ended */
	if (!counts(uid, s->users)) {
		if (matches) {
			s->foreign_pid = id->pid;
			s->foreign_uid = uid;
		}
		return true;
	}
	s->vms++;
	if (!matches)
		return true;
	s->matches++;
	*s->out = *id;
	snprintf(s->pids + used, sizeof(s->pids) - used, "%s%d", used ? ", " : "", (int)id->pid);
	return true;
}

static int no_qmp(const char *root, const struct hv_vm_id *id, struct tv_err *e)
{
	TV_FREE char **argv = hv_proc_args(root, id->pid);

	for (unsigned i = 0; argv && argv[i]; i++)
		if (strstr(argv[i], "/libvirt/qemu/"))
			return hv_libvirt_remedy(
				id->name,
				tv_fail(e, -ENOTSUP,
					"%s (pid %d) has no QMP UNIX socket, and is no domain of "
					"this host's libvirt daemon",
					id->name, (int)id->pid),
				e);
	return tv_fail(e, -ENOTSUP,
		       "%s%s(pid %d) has no QMP UNIX socket on its command line; start it with "
		       "-qmp unix:/run/NAME.qmp,server=on,wait=off",
		       id->name, *id->name ? " " : "the VM ", (int)id->pid);
}

int hv_find_at(const char *root, const char *what, const char *users,
	       bool (*skip)(pid_t pid, void *arg), void *arg, struct hv_vm_id *out,
	       struct tv_err *e)
{
	struct search s = {.root = root,
			   .what = what,
			   .users = users,
			   .skip = skip,
			   .skip_arg = arg,
			   .out = out};
	char *end;
	long pid = strtol(what, &end, 10);
	int rc;

	if (!*what)
		return tv_fail(e, -EINVAL, "which VM? Give its name, its pid, or its QMP socket");
	if (!strchr(what, '/') && strlen(what) >= sizeof(out->name))
		return tv_fail(e, -EINVAL,
			       "the name has %zu characters, and twinvm knows VMs by at most %zu: "
			       "give the VM's pid, or its QMP socket",
			       strlen(what), sizeof(out->name) - 1);
	if (pid > 0 && pid <= INT_MAX && !*end)
		s.pid = (pid_t)pid;
	rc = each_vm(root, strchr(what, '/') ? what : NULL, match, &s);
	if (rc)
		return tv_fail(e, rc, "cannot read %s: %s", root, tv_strerror(rc));
	if (!s.matches && s.foreign_pid)
		return not_ours(what, s.foreign_pid, s.foreign_uid, e);
	if (!s.matches)
		return tv_fail(e, -ENOENT, "no running QEMU matches '%s' (%u VM%s on this host)",
			       what, s.vms, s.vms == 1 ? "" : "s");
	if (s.matches > 1)
		return tv_fail(e, TV_E_AMBIGUOUS, "%u VMs match '%s': pids %s; give %s of one",
			       s.matches, what, s.pids,
			       s.pid ? "the name, or the QMP socket," : "the pid");
	return out->qmp_path[0] ? 0 : no_qmp(root, out, e);
}

int hv_find(const char *what, const char *users, bool (*skip)(pid_t pid, void *arg), void *arg,
	    struct hv_vm_id *out, struct tv_err *e)
{
	return hv_find_at("/proc", what, users, skip, arg, out, e);
}

int hv_list(struct hv_vm_id *out, unsigned max, unsigned *n)
{
	return hv_list_at("/proc", out, max, n);
}

void hv_vm_uuid(pid_t pid, char out[37])
{
	TV_FREE char **argv = hv_proc_args("/proc", pid);

	*out = '\0';
	for (unsigned i = 1; argv && argv[i] && argv[i + 1]; i++)
		if (hv_arg_is(argv[i], "uuid"))
			snprintf(out, 37, "%.36s", argv[++i]);
	for (char *p = out; *p; p++)
		*p = (char)tolower((unsigned char)*p);
}
