/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nsinit: makes a "host" out of namespaces and runs programs in it (tests/lib/hosts.sh).
 *
 *   nsinit up NAME [--state DIR] [--keep DIR]...
 *       New network, PID, mount and UTS namespaces; the host's init is a child of this process. It
 *       mounts its own /proc and /sys and private, empty /run, /var/lib and /dev/shm, prints its
 *       process id (as seen from outside) on stdout and then only reaps. SIGKILL to that id kills
 *       everything in the host at once: a power cut. --state: /var/lib is DIR, which outlives the
 *       host as a disk would. --keep: DIR stays visible although it is below /run or /var/lib.
 *       When whoever started nsinit dies, the host dies.
 *
 *   nsinit run PID [--log FILE] COMMAND...
 *       Runs COMMAND in that host (PID is its init), in the same working folder. Signals that ask
 * for something (TERM, INT, HUP, USR1, USR2) are passed on; the exit status is the command's, or
 *       128 plus the signal that killed it. --log: a background program: its output is appended to
 *       FILE, and its process id as seen from outside is printed first.
 *
 *   nsinit freeze PID | nsinit thaw PID
 *       Stops, or continues, everything in the host: a host that hangs and comes back.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_KEEP 8
#define HOST_NAMESPACES (CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS)

struct keep {
	const char *path;
	int fd;
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	int e = errno;
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "nsinit: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "%s%s\n", e ? ": " : "", e ? strerror(e) : "");
	va_end(ap);
	exit(125);
}

static void mkdirs(const char *path)
{
	char p[4096];
	snprintf(p, sizeof(p), "%s", path);
	for (char *c = p + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = 0;
		mkdir(p, 0755);
		*c = '/';
	}
	mkdir(p, 0755);
}

static bool below(const char *path, const char *dir)
{
	size_t n = strlen(dir);
	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

/* An empty file system on dir, or the folder from; what is to be kept is put back into it. */
static void mount_private(const char *dir, const char *from_dir, const char *options,
			  const struct keep *keep, int keeps)
{
	if (from_dir ? mount(from_dir, dir, NULL, MS_BIND, NULL)
		     : mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options))
		die("private %s", dir);
	for (int i = 0; i < keeps; i++) {
		char from[64];
		if (!below(keep[i].path, dir))
			continue;
		mkdirs(keep[i].path);
		snprintf(from, sizeof(from), "/proc/self/fd/%d", keep[i].fd);
		if (mount(from, keep[i].path, NULL, MS_BIND | MS_REC, NULL))
			die("keeping %s", keep[i].path);
	}
}

/* No stray neighbour discovery on the test networks; kernels without IPv6 have nothing to turn
 * off. */
static void ipv6_off(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "1", 1) != 1)
		fprintf(stderr, "nsinit: IPv6 stays on\n");
	close(fd);
}

/* Process 1 of the host. ready is the pipe to the outer process. */
__attribute__((noreturn)) static void host_init(const char *name, const char *state,
						const struct keep *keep, int keeps, int ready)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		die("parent death signal");
	if (sethostname(name, strlen(name)))
		die("host name %s", name);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mounts");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		die("/proc");
	/* /sys shows the network namespace of whoever mounted it */
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		die("/sys");
	mount_private("/run", NULL, "mode=755", keep, keeps);
	mount_private("/var/lib", state, "mode=755", keep, keeps);
	mount_private("/dev/shm", NULL, "mode=1777", keep, keeps);
	ipv6_off();
	for (int i = 0; i < keeps; i++)
		close(keep[i].fd);
	if (write(ready, "1", 1) != 1)
		die("telling the starter");
	close(ready);
	int null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
	}
	close_range(3, ~0u, 0);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		siginfo_t info;
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwaitinfo(&set, &info);
	}
}

static int cmd_up(int argc, char **argv)
{
	struct keep keep[MAX_KEEP];
	int keeps = 0, ready[2];
	if (argc < 1)
		die("up needs a name");
	const char *name = argv[0];
	const char *state = NULL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--state")) {
			state = argv[i + 1];
			continue;
		}
		if (strcmp(argv[i], "--keep"))
			die("unknown option %s", argv[i]);
		if (keeps == MAX_KEEP)
			die("too many folders to keep");
		keep[keeps].path = argv[i + 1];
		keep[keeps].fd = open(argv[i + 1], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (keep[keeps].fd < 0)
			die("%s", argv[i + 1]);
		keeps++;
	}
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		die("parent death signal");
	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	if (unshare(HOST_NAMESPACES))
		die("new namespaces (root is needed)");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(ready[0]);
		host_init(name, state, keep, keeps, ready[1]);
	}
	close(ready[1]);
	char c;
	if (read(ready[0], &c, 1) != 1) {
		errno = 0;
		die("host %s did not start", name);
	}
	printf("%d\n", (int)pid);
	fclose(stdout);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static pid_t child_pid;

static void pass_on(int sig)
{
	if (child_pid > 0)
		kill(child_pid, sig);
}

static void to_background(int log)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	setsid();
	if (null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		die("redirecting output");
}

static int cmd_run(int argc, char **argv)
{
	static const int passed[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	int i = 1, log = -1;
	if (argc > 3 && !strcmp(argv[1], "--log")) {
		log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (log < 0)
			die("%s", argv[2]);
		i = 3;
	}
	if (argc <= i)
		die("run needs a process id and a command");
	/* The old view of the working folder is left with the namespace; find it again by name. */
	char cwd[4096];
	if (!getcwd(cwd, sizeof(cwd)))
		snprintf(cwd, sizeof(cwd), "/");
	int pidfd = (int)syscall(SYS_pidfd_open, atoi(argv[0]), 0);
	if (pidfd < 0)
		die("host's init %s", argv[0]);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/root", argv[0]);
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		die("%s", path);
	if (setns(pidfd, CLONE_NEWPID))
		die("entering the host");
	sigset_t set, old;
	sigemptyset(&set);
	for (size_t s = 0; s < sizeof(passed) / sizeof(*passed); s++)
		sigaddset(&set, passed[s]);
	sigprocmask(SIG_BLOCK, &set, &old);
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (log >= 0)
			to_background(log);
		if (setns(pidfd, HOST_NAMESPACES & ~CLONE_NEWPID))
			die("entering the host");
		/* setns leaves a chroot, if all of this runs in one */
		if (fchdir(root) || chroot("."))
			die("the host's root");
		if (chdir(cwd) && chdir("/"))
			die("%s", cwd);
		sigprocmask(SIG_SETMASK, &old, NULL);
		execvp(argv[i], argv + i);
		fprintf(stderr, "nsinit: %s: %s\n", argv[i], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	child_pid = pid;
	if (log >= 0) {
		printf("%d\n", (int)pid);
		fclose(stdout);
	}
	struct sigaction sa = {.sa_handler = pass_on};
	for (size_t s = 0; s < sizeof(passed) / sizeof(*passed); s++)
		sigaction(passed[s], &sa, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waiting for %s", argv[i]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* How many processes of the host got sig; skips its init and what is already stopped as wanted. */
static int signal_all(pid_t init, int sig, bool patient)
{
	char path[64], self[64], ns[64];
	int n = 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)init);
	ssize_t r = readlink(path, ns, sizeof(ns) - 1);
	if (r < 0)
		die("host's init %d", (int)init);
	ns[r] = 0;
	DIR *proc = opendir("/proc");
	if (!proc)
		die("/proc");
	for (struct dirent *e; (e = readdir(proc));) {
		pid_t pid = atoi(e->d_name);
		if (!isdigit((unsigned char)e->d_name[0]) || pid == init)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
		r = readlink(path, self, sizeof(self) - 1);
		if (r < 0)
			continue;
		self[r] = 0;
		if (strcmp(self, ns))
			continue;
		char stat[512] = "", *paren;
		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		r = read(fd, stat, sizeof(stat) - 1);
		close(fd);
		paren = r > 0 ? strrchr(stat, ')') : NULL;
		/* D: waiting in vfork for a child that was stopped before its exec: it runs
		 * nothing. */
		bool stopped = paren && (paren[2] == 'T' || paren[2] == 'Z' ||
					 (patient && sig == SIGSTOP && paren[2] == 'D'));
		if (stopped != (sig == SIGCONT) || (paren && paren[2] == 'Z'))
			continue;
		n += kill(pid, sig) == 0;
	}
	closedir(proc);
	return n;
}

static int cmd_signal(const char *pid, int sig)
{
	/* Until a round finds nobody: what was forked meanwhile is caught as well. */
	for (int round = 0; round < 200; round++) {
		if (!signal_all(atoi(pid), sig, round > 50))
			return 0;
		poll(NULL, 0, 1); /* the signals take effect when their receivers are scheduled */
	}
	errno = 0;
	die("host's init %s: its processes do not %s", pid, sig == SIGSTOP ? "stop" : "continue");
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "up"))
		return cmd_up(argc - 2, argv + 2);
	if (argc > 2 && !strcmp(argv[1], "run"))
		return cmd_run(argc - 2, argv + 2);
	if (argc == 3 && !strcmp(argv[1], "freeze"))
		return cmd_signal(argv[2], SIGSTOP);
	if (argc == 3 && !strcmp(argv[1], "thaw"))
		return cmd_signal(argv[2], SIGCONT);
	fprintf(stderr, "usage: nsinit up NAME [--state DIR] [--keep DIR]... |\n"
			"       nsinit run PID [--log FILE] COMMAND... | nsinit freeze|thaw PID\n");
	return 2;
}
