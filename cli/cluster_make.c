/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm cluster init, invite, join: hosts become members. */
#include "cli/cluster.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what is not given ---- */
static bool is_wildcard(const char *host)
{
	return !strcmp(host, "0.0.0.0") || !strcmp(host, "::");
}

/* Not a loopback or link-local one. */
static bool is_usable(const struct ifaddrs *i, char *out, size_t room)
{
	const struct sockaddr_in6 *a6 = (const void *)i->ifa_addr;
	int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;

	if (!(i->ifa_flags & IFF_UP) || (i->ifa_flags & IFF_LOOPBACK) ||
	    (family != AF_INET && family != AF_INET6) ||
	    (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a6->sin6_addr)))
		return false;
	return !getnameinfo(i->ifa_addr,
			    family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*a6), out,
			    (socklen_t)room, NULL, 0, NI_NUMERICHOST);
}

/* The only address that others can reach this host by; -EINVAL when there is none, or more than one. */
static int only_address(char *out, size_t room, struct tv_err *e)
{
	char all[300] = "", one[INET6_ADDRSTRLEN];
	struct ifaddrs *list = NULL;
	unsigned n = 0;

	if (getifaddrs(&list))
		return tv_fail(e, -errno, "addresses of this host: %s", strerror(errno));
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!is_usable(i, one, sizeof(one)))
			continue;
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", n ? ", " : "", one);
		if (!n++)
			tv_copy(out, room, one);
	}
	freeifaddrs(list);
	if (n == 1)
		return 0;
	return tv_fail(e, -EINVAL,
		       "this host has %s (%s): give the one that the other hosts are to use with "
		       "--address",
		       n ? "several addresses" : "no address", all);
}

static void join_port(const char *host, uint16_t port, char out[CL_ADDRESS_BYTES])
{
	snprintf(out, CL_ADDRESS_BYTES, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

struct places {
	char host[CL_NAME_BYTES];
	char listen_host[128], listen[CL_ADDRESS_BYTES], address[CL_ADDRESS_BYTES];
	uint16_t port;
};

/* Name, where to listen, and by which address others reach this host ("": not known yet). */
static int find_places(const struct cluster_options *o, bool first, struct places *p,
		       struct tv_err *e)
{
	char own[128] = "";
	uint16_t port;
	int rc = 0;

	if (o->name)
		tv_copy(p->host, sizeof(p->host), o->name);
	else if (!gethostname(p->host, sizeof(p->host) - 1))
		p->host[strcspn(p->host, ".")] = '\0';
	if (!cl_is_name(p->host) || (o->name && strcmp(p->host, o->name) != 0))
		return tv_fail(e, -EINVAL,
			       "'%.80s' is no name for a host: up to 63 letters, digits, dots and "
			       "dashes; give one with --name",
			       o->name ? o->name : p->host);
	if (config_address(o->listen ? o->listen : "0.0.0.0", p->listen_host,
			   sizeof(p->listen_host), &p->port))
		return tv_fail(e, -EINVAL, "--listen '%s' is not ADDRESS:PORT", o->listen);
	join_port(p->listen_host, p->port, p->listen);
	if (o->address) {
		if (!cl_is_address(o->address) ||
		    config_address(o->address, own, sizeof(own), &port))
			return tv_fail(e, -EINVAL, "--address '%s' is not HOST:PORT", o->address);
		join_port(own, strchr(o->address, ':') ? port : p->port, p->address);
		return 0;
	}
	if (!is_wildcard(p->listen_host))
		tv_copy(own, sizeof(own), p->listen_host);
	else if (first)
		rc = only_address(own, sizeof(own), e);
	if (!rc && own[0])
		join_port(own, p->port, p->address);
	return rc;
}

/* ---- an invitation ---- */
struct inviting {
	struct cli *c;
	const struct cluster_options *o;
	char line[400], token[CL_TOKEN_ROOM], print[CL_FINGERPRINT_ROOM];
	char address[CL_ADDRESS_BYTES];
	int seconds;
};

static void show_line(struct inviting *v)
{
	if (v->c->json) {
		cli_print(v->c, json_pack("{ss ss ss ss si}", "join", v->line, "address",
					  v->address, "token", v->token, "fingerprint", v->print,
					  "seconds", v->seconds));
	} else {
		printf("On the other host, within %d minutes:\n\n    %s\n\n",
		       (v->seconds + 59) / 60, v->line);
		if (!v->o->background)
			puts("Waiting for it here; Ctrl-C ends the invitation.");
	}
	fflush(stdout);
}

static void on_ready(void *arg)
{
	struct inviting *v = arg;
	pid_t pid;
	int null;

	show_line(v);
	if (!v->o->background)
		return;
	pid = fork();
	if (pid > 0)
		_exit(EXIT_OK);
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
}

static void on_refused(const char *why, void *arg)
{
	(void)arg;
	fprintf(stderr, "twinvm: a host was refused: %s\n", why);
}

static void show_joined(struct cli *c, const char *dir, const char *name)
{
	char print[CL_FINGERPRINT_ROOM] = "?";
	struct cl_roster *r = NULL;
	const struct cl_member *m;
	struct tv_err e = {0};

	if (!cl_load(dir, &r, &e)) {
		m = cl_member_of(r, name);
		if (m && cl_fingerprint(m->cert, print, NULL, NULL))
			print[0] = '\0';
		if (!c->json && m)
			printf("%s (%s) has joined; its certificate's fingerprint, which it shows "
			       "too:\n  %s\n",
			       m->name, m->address, print);
	}
	free(r);
}

static int invite(struct cli *c, const struct cluster_options *o, const struct config *conf)
{
	struct inviting v = {.c = c, .o = o, .seconds = o->seconds ? o->seconds : CL_INVITE_S};
	struct cl_invite i = {.dir = conf->cluster,
			      .host = conf->host,
			      .listen = conf->listen_host,
			      .token = v.token,
			      .seconds = v.seconds,
			      .ready = on_ready,
			      .refused = on_refused,
			      .arg = &v};
	char host[128], joined[CL_NAME_BYTES], path[PATH_MAX];
	struct tv_err e = {0};
	uint16_t port;
	int rc;

	i.port = (uint16_t)(o->port ? o->port : conf->listen_port + CL_PORT_OFFSET);
	if (!cl_is_authority(conf->cluster)) {
		struct cl_roster *r = NULL;

		rc = cl_load(conf->cluster, &r, &e);
		rc = rc ? cli_fail(c, EXIT_FAILED, "%s", e.text)
			: cli_fail(c, EXIT_FAILED, "the key of the CA is on %s: invite there",
				   r->authority);
		free(r);
		return rc;
	}
	snprintf(path, sizeof(path), "%s/ca.crt", conf->cluster);
	rc = cl_fingerprint_file(path, v.print, &e);
	if (!rc && config_address(conf->address, host, sizeof(host), &port))
		rc = tv_fail(&e, -EINVAL, "%s: address is invalid", conf->path);
	if (!rc)
		rc = cl_token_make(conf->cluster, v.seconds, v.token, &e);
	if (rc)
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	join_port(host, i.port, v.address);
	snprintf(v.line, sizeof(v.line), "twinvm cluster join %s --token %s --fingerprint %s",
		 v.address, v.token, v.print);
	rc = cl_invite(&i, joined, &e);
	if (rc)
		return cli_fail(c, EXIT_FAILED, "%s", e.text);
	cluster_changed(c);
	show_joined(c, conf->cluster, joined);
	return EXIT_OK;
}

int cluster_invite(struct cli *c, const struct cluster_options *o)
{
	struct config conf;
	int rc = cluster_config(c, o, &conf);

	return rc ? rc : invite(c, o, &conf);
}

/* ---- the first host ---- */
static int write_conf(struct cli *c, const struct cluster_options *o, const struct places *p,
		      const char *arbiter, struct tv_err *e)
{
	const struct cl_conf conf = {.path = o->config,
				     .host = p->host,
				     .listen = o->listen ? p->listen : "",
				     .address = p->address,
				     .dir = o->dir,
				     .arbiter = arbiter};
	bool added;
	int rc = cl_conf_write(&conf, &added, e);

	if (!rc && !c->json)
		printf(added ? "%s was there: lines were added at its end\n" : "%s is written\n",
		       o->config);
	return rc;
}

int cluster_init(struct cli *c, const struct cluster_options *o)
{
	struct places p = {0};
	struct cl_first first = {.host = p.host,
				 .address = p.address,
				 .arbiter = o->arbiter ? o->arbiter : "none",
				 .days = o->days ? o->days : CL_DAYS};
	struct tv_err e = {0};
	struct config conf;
	int rc = find_places(o, true, &p, &e);

	if (!rc)
		rc = cl_conf_check(o->config, o->dir, &e);
	if (!rc)
		rc = cl_init(o->dir, &first, &e);
	if (!rc) {
		struct tv_err ignored;

		rc = write_conf(c, o, &p, first.arbiter, &e);
		if (rc && cl_forget(o->dir, &ignored))
			tv_log(TV_WARN, "%s", ignored.text);
	}
	if (rc)
		return cli_fail(c, rc == -EEXIST ? EXIT_REFUSED : EXIT_FAILED, "%s", e.text);
	if (!c->json)
		printf("%s is the first host of a new cluster; the key of its CA is %s/ca.key: keep a "
		       "copy elsewhere\n",
		       p.host, o->dir);
	cluster_changed(c);
	rc = cluster_config(c, o, &conf);
	if (!rc && o->no_invite && c->json)
		cli_print(c, json_pack("{ss ss}", "host", p.host, "address", p.address));
	return rc || o->no_invite ? rc : invite(c, o, &conf);
}

/* ---- the others ---- */
static int check_line(const struct cluster_options *o, struct cl_joining *j, char *host,
		      size_t room, struct tv_err *e)
{
	size_t n = o->token ? strlen(o->token) : 0;

	if (config_address(o->host, host, room, &j->to_port) || !strchr(o->host, ':'))
		return tv_fail(e, -EINVAL, "'%s' is not HOST:PORT", o->host);
	if (n != CL_TOKEN_ROOM - 1 || strspn(o->token, "0123456789abcdef") != n)
		return tv_fail(e, -EINVAL, "the token is not whole: copy the whole line");
	if (!tv_is_sha256(o->fingerprint))
		return tv_fail(e, -EINVAL, "the fingerprint is not whole: copy the whole line");
	j->to_host = host;
	return 0;
}

static void show_member(struct cli *c, const struct cluster_options *o, const struct cl_roster *r,
			const char *self)
{
	char print[CL_FINGERPRINT_ROOM] = "";
	const struct cl_member *me = cl_member_of(r, self);
	json_t *members = json_array();

	if (!me || cl_fingerprint(me->cert, print, NULL, NULL))
		print[0] = '\0';
	for (unsigned i = 0; i < r->members_n; i++)
		json_array_append_new(members, json_string(r->members[i].name));
	if (!c->json) {
		printf("%s is a member of the cluster of %s (%u hosts); its certificate's "
		       "fingerprint, which %s shows too:\n  %s\n",
		       self, r->authority, r->members_n, r->authority, print);
		printf("Start twinvmd now, if it does not run (configuration: %s).\n", o->config);
	}
	cli_print(c, json_pack("{ss ss ss so}", "host", self, "authority", r->authority,
			       "fingerprint", print, "members", members));
}

int cluster_join(struct cli *c, const struct cluster_options *o)
{
	char to[128], address[CL_ADDRESS_BYTES] = "";
	struct cl_roster *r = NULL;
	struct places p = {0};
	struct cl_joining j = {.dir = o->dir,
			       .host = p.host,
			       .address = p.address,
			       .token = o->token,
			       .fingerprint = o->fingerprint};
	struct tv_err e = {0};
	int rc = check_line(o, &j, to, sizeof(to), &e);

	if (!rc)
		rc = find_places(o, false, &p, &e);
	j.port = p.port;
	if (!rc)
		rc = cl_conf_check(o->config, o->dir, &e);
	if (!rc)
		rc = cl_join(&j, &r, address, &e);
	if (!rc) {
		tv_copy(p.address, sizeof(p.address), address);
		rc = write_conf(c, o, &p, o->arbiter ? o->arbiter : r->arbiter, &e);
	}
	if (rc) {
		free(r);
		return cli_fail(c, rc == -EEXIST ? EXIT_REFUSED : EXIT_FAILED, "%s", e.text);
	}
	cluster_changed(c);
	show_member(c, o, r, p.host);
	free(r);
	return EXIT_OK;
}
