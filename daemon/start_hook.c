/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `twinvmd hook --config FILE NAME OPERATION SUB-OPERATION`: what libvirt runs before it starts a domain
 * (/etc/libvirt/hooks/qemu.d/twinvm), with the domain's XML as input. Exit status 0: it may start. Else a
 * sentence on stderr, which reaches whoever has asked for the start.
 *
 * twinvmd decides (may_start.c). Where it does not answer (libvirtd is often up before it), the notes of
 * state_dir do: a VM that another host may have does not start while nobody can say that it is ours,
 * and a VM without a note starts. libvirt waits for us: LIMIT_S at most.
 */
#include "daemon/daemon.h"
#include "lv/lv.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LIMIT_S 5
#define CONNECT_MS 3000 /* a daemon that is being started */
#define AGAIN_MS 100
#define XML_BYTES (4u << 20)

struct domain {
	const char *name;
	char uuid[LV_UUID_ROOM];
	char mark[LV_VM_ID_ROOM]; /* the VM as whose standby twinvm made it; "": it did not */
};
struct known {
	const struct domain *domain;
	bool found, released;
	struct elsewhere x;
};

static char no_time[800]; /* the answer when LIMIT_S is over; "": it may start */

static void on_alarm(int sig)
{
	(void)sig;
	if (!no_time[0])
		_exit(0);
	(void)!write(STDERR_FILENO, no_time, strlen(no_time));
	_exit(1);
}

static void note(const struct elsewhere *x, void *arg)
{
	struct known *k = arg;

	if (x->released) {
		k->released = k->released || !strcmp(x->id, k->domain->mark);
		return;
	}
	if (strcmp(x->uuid, k->domain->uuid) != 0)
		return;
	k->found = true;
	k->x = *x;
}

/* The first <uuid> of a domain's XML is its own. */
static bool uuid_of(const char *xml, char out[LV_UUID_ROOM])
{
	const char *p = strstr(xml, "<uuid>");

	if (!p)
		return false;
	snprintf(out, LV_UUID_ROOM, "%s", p + strlen("<uuid>"));
	return elsewhere_is_uuid(out);
}

static char *read_input(void)
{
	char *text = calloc(1, XML_BYTES + 1);
	size_t n = 0;
	ssize_t r;

	while (text && n < XML_BYTES && (r = read(STDIN_FILENO, text + n, XML_BYTES - n)) != 0) {
		if (r < 0 && errno != EINTR)
			break;
		n += r > 0 ? (size_t)r : 0;
	}
	return text;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || !tv_copy(a.sun_path, sizeof(a.sun_path), path) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)))
		tv_close_fd(&fd);
	return fd;
}

/* Its last line; NULL: it does not answer. */
static json_t *ask(const char *socket_path, const struct domain *domain, bool wait)
{
	int64_t until_ns = tv_now_ns() + CONNECT_MS * TV_NS_PER_MS;
	int fd = connect_to(socket_path);
	TV_FREE char *text = NULL;
	json_t *o, *answer = NULL;
	FILE *in;

	while (fd < 0 && wait && tv_now_ns() < until_ns) {
		poll(NULL, 0, AGAIN_MS);
		fd = connect_to(socket_path);
	}
	if (fd < 0)
		return NULL;
	o = json_pack("{ss so ss ss}", "op", "may-start", "name", fields_text(domain->name), "uuid",
		      domain->uuid, "mark", domain->mark);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	in = fdopen(fd, "r");
	if (in && text && !tv_write_all(fd, text, strlen(text)) && !tv_write_all(fd, "\n", 1))
		answer = json_loadf(in, JSON_DISABLE_EOF_CHECK, NULL);
	if (in)
		fclose(in);
	return answer;
}

/* What the files of state_dir say against it; true: something. */
static bool is_noted(const struct config *c, const struct domain *domain, struct tv_err *e)
{
	const char *self = c->host[0] ? c->host : "this host";
	struct known k = {.domain = domain};
	struct fo_own own;

	elsewhere_each(c->state_dir, note, &k);
	if (k.found)
		elsewhere_why(&k.x, self, e);
	if (k.found || k.released || !domain->mark[0])
		return k.found;
	generation_on_disk(c->state_dir, domain->mark, &own);
	return elsewhere_is_left(domain->mark, domain->name, NULL, &own, self, e);
}

static int decide(const struct config *c, const struct domain *domain)
{
	struct tv_err e = {0};
	bool noted = is_noted(c, domain, &e);
	json_t *answer;
	const char *why;
	int rc;

	if (noted)
		snprintf(no_time, sizeof(no_time), "twinvm: twinvmd does not answer: %s\n", e.text);
	signal(SIGALRM, on_alarm);
	alarm(LIMIT_S);
	answer = ask(c->socket, domain, noted);
	if (!answer)
		on_alarm(0);
	rc = (int)json_integer_value(json_object_get(answer, "rc"));
	why = json_string_value(json_object_get(answer, "error"));
	/* A daemon of another version does not know the question. */
	if (rc && rc != TV_E_REFUSED)
		on_alarm(0);
	if (rc)
		fprintf(stderr, "twinvm: %s\n", why ? why : "refused");
	json_decref(answer);
	return rc ? 1 : 0;
}

int hook_main(int argc, char **argv)
{
	static struct config c;
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{NULL, 0, NULL, 0}};
	const char *path = "/etc/twinvm/twinvmd.conf";
	TV_FREE char *xml = NULL;
	struct tv_err e = {0};
	struct domain domain = {0};
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "+c:", options, NULL)) != -1)
		if (opt == 'c')
			path = optarg;
	/* Every way to start a domain comes past this one. */
	if (argc - optind < 2 || strcmp(argv[optind + 1], "prepare") != 0)
		return 0;
	xml = read_input();
	if (!xml || !uuid_of(xml, domain.uuid))
		return 0;
	if (access(path, F_OK)) /* installed, and not used */
		return 0;
	rc = config_load(path, &c, &e);
	if (rc && (!c.state_dir[0] || !c.run_dir[0])) {
		fprintf(stderr, "twinvm: %s\n", e.text);
		return 0;
	}
	if (start_noted(c.run_dir, domain.uuid)) /* by twinvm itself: the VM's standby */
		return 0;
	domain.name = argv[optind];
	if (!lv_mark_of(xml, domain.mark))
		domain.mark[0] = '\0';
	return decide(&c, &domain);
}
