/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation: an invitation
 *
 * The port is open only while `twinvm cluster init` or `invite` waits, ten minutes by default. Three
 * kinds of processes:
 *
 *   the waiting one   root. Accepts connections and reads nothing of them.
 *   a handler         one for each connection, MOST_HANDLERS at once (the oldest ends when more come).
 *                     User nobody, no capabilities, a filter of system calls, HANDLER_S seconds in all.
 *                     TLS and JSON are parsed here. It hands on one struct of fixed size.
 *   a signer          one for each such struct. Checks the token before anything else, and alone reads
 *                     the CA's key (cl_admit).
 *
 * The host that connects has no certificate. It knows this one by the fingerprint of the CA, which the
 * handler sends in its chain, and it is known by the token. A wrong token costs one of WRONG_TOKENS; when
 * they are used up the invitation ends, and its token with it.
 */
#include "cluster/cluster_int.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_HANDLERS 16
#define HANDLER_S 10
#define WRONG_TOKENS 10
#define NOBODY 65534

struct handler {
	pid_t pid; /* 0: none */
	int fd;	   /* for its question, and the signer's answer */
};
struct inviting {
	const struct cl_invite *conf;
	int listen_fd;
	SSL_CTX *ctx;
	struct handler handlers[MOST_HANDLERS]; /* the oldest first */
	unsigned n, wrong;
};
/* What a signer's exit status is, for the waiting process. */
enum signed_as { SIGNED, REFUSED_TOKEN, REFUSED };

/* ---- set up ---- */
static int open_port(struct inviting *v, struct tv_err *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST,
				 .ai_socktype = SOCK_STREAM},
			*ai;
	char port[8];
	int one = 1, r;

	snprintf(port, sizeof(port), "%u", v->conf->port);
	r = getaddrinfo(v->conf->listen, port, &hints, &ai);
	if (r)
		return tv_fail(e, -EINVAL, "%s: %s", v->conf->listen, gai_strerror(r));
	v->listen_fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = v->listen_fd < 0 ||
	    setsockopt(v->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(v->listen_fd, ai->ai_addr, ai->ai_addrlen) || listen(v->listen_fd, MOST_HANDLERS);
	freeaddrinfo(ai);
	return r ? tv_fail(e, -errno, "waiting on %s:%s: %s", v->conf->listen, port,
			   strerror(errno))
		 : 0;
}

/* The chain has the CA, whose fingerprint the joining host compares. */
static int open_tls(struct inviting *v, struct tv_err *e)
{
	struct cl_path host = cl_path(v->conf->dir, "host.pem");
	X509 *ca = cl_cert_read(cl_path(v->conf->dir, "ca.crt").text);
	CL_CERT *cert = cl_cert_read(host.text);
	CL_KEY *key = cl_key_read(host.text);

	v->ctx = SSL_CTX_new(TLS_server_method());
	if (v->ctx && ca && cert && key &&
	    SSL_CTX_set_min_proto_version(v->ctx, TLS1_3_VERSION) == 1 &&
	    SSL_CTX_set_num_tickets(v->ctx, 0) == 1 && SSL_CTX_use_certificate(v->ctx, cert) == 1 &&
	    SSL_CTX_use_PrivateKey(v->ctx, key) == 1 &&
	    SSL_CTX_add_extra_chain_cert(v->ctx, ca) == 1)
		return 0;
	X509_free(ca);
	return tv_fail(e, -EINVAL, "the key of this host, %s, cannot be used", host.text);
}

/* ---- the handler ---- */
static bool read_all(SSL *ssl, void *to, size_t n)
{
	size_t got, at = 0;

	while (at < n && SSL_read_ex(ssl, (char *)to + at, n - at, &got) == 1)
		at += got;
	return at == n;
}

static bool take_question(SSL *ssl, struct cl_join *j)
{
	char text[CL_REQUEST_BYTES];
	uint8_t head[4];
	uint32_t n;

	if (!read_all(ssl, head, sizeof(head)))
		return false;
	n = tv_get_le32(head);
	return n && n <= sizeof(text) && read_all(ssl, text, n) && !cl_join_parse(text, n, j);
}

static void send_answer(SSL *ssl, const char *text, size_t n)
{
	size_t sent;
	uint8_t head[4];

	tv_put_le32(head, (uint32_t)n);
	if (SSL_write_ex(ssl, head, sizeof(head), &sent) == 1 &&
	    SSL_write_ex(ssl, text, n, &sent) == 1)
		SSL_shutdown(ssl);
}

static _Noreturn void handle(struct inviting *v, int conn, int fd)
{
	static char answer[CL_REPLY_BYTES];
	SSL *ssl = SSL_new(v->ctx);
	struct cl_join j;
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	alarm(HANDLER_S);
	close(v->listen_fd);
	for (unsigned i = 0; i < v->n; i++)
		close(v->handlers[i].fd);
	if (!ssl || SSL_set_fd(ssl, conn) != 1 || sandbox_drop(NOBODY, NOBODY, 0))
		_exit(1);
	if (SSL_accept(ssl) != 1 || !take_question(ssl, &j) ||
	    send(fd, &j, sizeof(j), MSG_NOSIGNAL) != (ssize_t)sizeof(j))
		_exit(1);
	n = recv(fd, answer, sizeof(answer), 0);
	if (n > 0)
		send_answer(ssl, answer, (size_t)n);
	_exit(0);
}

/* ---- the signer ---- */
static char *answer_text(const char *dir, int rc, const char *why)
{
	TV_FREE char *ca = NULL, *roster = NULL;
	char *text = NULL;
	json_t *o;

	if (!rc && (cl_read(dir, "ca.crt", 1 << 16, &ca, NULL) || cl_load_text(dir, &roster, NULL)))
		rc = -EIO;
	o = rc ? json_pack("{si ss}", "rc", rc, "error", why)
	       : json_pack("{si ss ss}", "rc", 0, "ca", ca, "roster", roster);
	if (o)
		text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(o);
	return text;
}

static _Noreturn void sign(struct inviting *v, int fd, struct cl_join *j, int report)
{
	struct tv_err e = {0};
	int rc = cl_admit(v->conf->dir, j, &e);
	TV_FREE char *text = answer_text(v->conf->dir, rc, e.text);

	if (text && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		tv_log(TV_WARN, "the answer to %s was not sent: %s", j->name, strerror(errno));
	if (rc && write(report, e.text, strlen(e.text)) < 0)
		_exit(REFUSED);
	_exit(!rc ? SIGNED : rc == -EACCES ? REFUSED_TOKEN : REFUSED);
}

/* ---- the waiting process ---- */
static void end_handler(struct inviting *v, unsigned i)
{
	if (v->handlers[i].pid) {
		kill(v->handlers[i].pid, SIGKILL);
		waitpid(v->handlers[i].pid, NULL, 0);
	}
	close(v->handlers[i].fd);
	v->n--;
	memmove(&v->handlers[i], &v->handlers[i + 1], (v->n - i) * sizeof(v->handlers[0]));
}

static void start_handler(struct inviting *v)
{
	int fds[2], conn = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	pid_t pid;

	if (conn < 0)
		return;
	if (v->n == MOST_HANDLERS)
		end_handler(v, 0);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		close(conn);
		return;
	}
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		handle(v, conn, fds[1]);
	}
	close(conn);
	close(fds[1]);
	if (pid < 0)
		close(fds[0]);
	else
		v->handlers[v->n++] = (struct handler){pid, fds[0]};
}

/* What the signer has decided; its sentence, if it has refused. */
static enum signed_as run_signer(struct inviting *v, int fd, struct cl_join *j, char *why,
				 size_t room)
{
	int report[2], status = 0;
	ssize_t n;
	pid_t pid;

	why[0] = '\0';
	if (pipe2(report, O_CLOEXEC))
		return REFUSED;
	pid = fork();
	if (!pid)
		sign(v, fd, j, report[1]);
	close(report[1]);
	n = pid > 0 ? read(report[0], why, room - 1) : 0;
	why[n > 0 ? n : 0] = '\0';
	close(report[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return REFUSED;
	return (enum signed_as)WEXITSTATUS(status);
}

static bool is_ended_text(const struct cl_join *j)
{
	return memchr(j->token, 0, sizeof(j->token)) && memchr(j->name, 0, sizeof(j->name)) &&
	       memchr(j->address, 0, sizeof(j->address)) &&
	       memchr(j->fingerprint, 0, sizeof(j->fingerprint)) &&
	       memchr(j->csr, 0, sizeof(j->csr)) && cl_is_name(j->name);
}

/* A handler has asked, or has ended. 1: its host has joined. */
static int hear(struct inviting *v, unsigned i, char joined[CL_NAME_BYTES], struct tv_err *e)
{
	struct cl_join j;
	ssize_t n = recv(v->handlers[i].fd, &j, sizeof(j), MSG_DONTWAIT);
	enum signed_as as;
	char why[640];

	if (n != (ssize_t)sizeof(j) || !is_ended_text(&j)) {
		end_handler(v, i);
		return 0;
	}
	as = run_signer(v, v->handlers[i].fd, &j, why, sizeof(why));
	if (as == SIGNED) {
		waitpid(v->handlers[i].pid, NULL, 0); /* it sends the answer, within its time */
		v->handlers[i].pid = 0;
		tv_copy(joined, CL_NAME_BYTES, j.name);
		return 1;
	}
	if (v->conf->refused)
		v->conf->refused(why[0] ? why : "it cannot be signed", v->conf->arg);
	if (as == REFUSED_TOKEN && ++v->wrong == WRONG_TOKENS)
		return tv_fail(
			e, -EACCES,
			"%d wrong tokens came: the invitation has ended; invite again when you "
			"know who sends them",
			WRONG_TOKENS);
	return 0;
}

static int serve(struct inviting *v, char joined[CL_NAME_BYTES], struct tv_err *e)
{
	int64_t end = tv_now_ns() + v->conf->seconds * TV_NS_PER_S, left;
	struct pollfd p[MOST_HANDLERS + 1];
	int rc = 0;

	while (!rc && (left = end - tv_now_ns()) > 0) {
		unsigned n = v->n;

		for (unsigned i = 0; i < n; i++)
			p[i] = (struct pollfd){.fd = v->handlers[i].fd, .events = POLLIN};
		p[n] = (struct pollfd){.fd = v->listen_fd, .events = POLLIN};
		if (poll(p, n + 1, (int)(left / TV_NS_PER_MS) + 1) < 0 && errno != EINTR)
			return tv_fail(e, -errno, "poll: %s", strerror(errno));
		for (unsigned i = n; i-- > 0 && !rc;) /* the end first: one may leave the list */
			if (p[i].revents)
				rc = hear(v, i, joined, e);
		if (!rc && (p[n].revents & POLLIN))
			start_handler(v);
	}
	if (rc)
		return rc < 0 ? rc : 0;
	return tv_fail(e, -ETIMEDOUT, "no host has joined within %d s: invite again",
		       v->conf->seconds);
}

static void close_all(struct inviting *v)
{
	while (v->n)
		end_handler(v, 0);
	SSL_CTX_free(v->ctx);
	tv_close_fd(&v->listen_fd);
}

int cl_invite(const struct cl_invite *invite, char joined[CL_NAME_BYTES], struct tv_err *e)
{
	struct inviting v = {.conf = invite, .listen_fd = -1};
	int rc = open_port(&v, e);

	if (!rc)
		rc = open_tls(&v, e);
	if (!rc && invite->ready)
		invite->ready(invite->arg);
	if (!rc)
		rc = serve(&v, joined, e);
	close_all(&v);
	if (rc)
		cl_token_withdraw(invite->dir, invite->token);
	return rc;
}
