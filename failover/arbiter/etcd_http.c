/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One question at a time, to several members at once where it has to be. A member that died (it
 * may have shared its host with the primary that the question is about) only shows by its silence,
 * so silence is not waited for: after arbiter_next_ns the next member is asked too, and the first
 * good answer counts. Whether a request without an answer was carried out is unknown; the requests
 * are made so that a second time does no harm (arbiter_etcd.c).
 *
 * With a user's account (arbiter_user), a question carries a token that a member gave for the password.
 * etcd forgets tokens: one that is refused is replaced, before the same question is asked again. A member
 * works for a token (bcrypt), for longer than it may take to answer a question: it gets TOKEN_TIMES the
 * time, and the next one is not asked so soon. Each handle gets one before its first question.
 *
 * libcurl's multi interface with one easy handle per member: connections are kept, redirects,
 * proxies, compression and every protocol but HTTP/1.1 are off, and body and headers are capped.
 */
#include "failover/arbiter/etcd_http.h"
#include "failover/arbiter/etcd_answer.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER_BYTES (16u << 10)
#define RESULT_CHARS 100
#define TOKEN_TIMES 4

struct member {
	const char *name; /* HOST:PORT */
	CURL *easy;
	struct tv_buf body;
	size_t header_bytes;
	char curl_error[CURL_ERROR_SIZE];
	bool running;
	char result[RESULT_CHARS]; /* of this question, for people */
};

struct etcd_http {
	struct etcd_url url;
	CURLM *multi;
	struct curl_slist *headers;
	char *account; /* a request for a token; NULL: no account */
	bool has_token;
	unsigned good; /* the member that answered last */
	int64_t next_ns, answer_ns;
	struct member m[ETCD_MAX_MEMBERS];
};

/* One question under way. */
struct question {
	const char *path, *body;
	etcd_accept_fn accept;
	void *arg;
	int64_t limit_ns, next_ns;
	unsigned started, running;
	bool tls, answered, garbage, unauthorised;
};

static void init_curl(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		abort(); /* out of memory at start */
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct member *m = arg;

	return tv_buf_add(&m->body, p, size * n) ? 0 : size * n; /* 0: the transfer fails */
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct member *m = arg;

	(void)p;
	m->header_bytes += size * n;
	return m->header_bytes > MAX_HEADER_BYTES ? 0 : size * n;
}

static int set_up_member(struct etcd_http *h, struct member *m, const struct fo_arbiter_conf *conf)
{
	CURL *c = m->easy = curl_easy_init();
	int bad = !c;

	if (bad)
		return -ENOMEM;
#define SET(option, value) bad |= curl_easy_setopt(c, CURLOPT_##option, value) != CURLE_OK
	SET(PROTOCOLS_STR, h->url.tls ? "https" : "http");
	SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(PROXY, "");
	SET(NOSIGNAL, 1L);
	SET(QUICK_EXIT, 1L); /* a hanging name server is not waited for */
	SET(TCP_NODELAY, 1L);
	SET(HTTPHEADER, h->headers);
	SET(ERRORBUFFER, m->curl_error);
	SET(WRITEFUNCTION, on_body);
	SET(WRITEDATA, m);
	SET(HEADERFUNCTION, on_header);
	SET(HEADERDATA, m);
	SET(PRIVATE, m);
	if (h->url.tls) {
		SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
		SET(SSL_VERIFYPEER, 1L);
		SET(SSL_VERIFYHOST, 2L);
		SET(CAINFO, conf->ca);
		SET(CAPATH, (char *)NULL);
		if (conf->cert && *conf->cert) {
			SET(SSLCERT, conf->cert);
			SET(SSLKEY, conf->key);
		}
	}
#undef SET
	return bad ? -ENOMEM : 0;
}

/* ---- an account ---- */
/* What every question of all members carries from now on. token "": nothing more. */
static int set_headers(struct etcd_http *h, const char *token)
{
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json"), *more;
	TV_FREE char *line = NULL;
	int bad = !list;

	if (!bad && *token) {
		bad = asprintf(&line, "Authorization: %s", token) < 0;
		more = bad ? NULL : curl_slist_append(list, line);
		bad = !more;
		list = more ? more : list;
	}
	for (unsigned i = 0; i < h->url.n && !bad; i++)
		bad = h->m[i].easy &&
		      curl_easy_setopt(h->m[i].easy, CURLOPT_HTTPHEADER, list) != CURLE_OK;
	if (bad) {
		curl_slist_free_all(list);
		return -ENOMEM;
	}
	curl_slist_free_all(h->headers);
	h->headers = list;
	h->has_token = *token;
	return 0;
}

/* The file's first line. */
static int read_account(const struct fo_arbiter_conf *conf, char **out, struct tv_err *e)
{
	TV_FREE char *password = NULL;
	json_t *o;
	int rc;

	if (!conf->user || !*conf->user)
		return 0;
	rc = tv_read_file(conf->password_file, 4096, &password, NULL);
	if (rc)
		return tv_fail(e, rc, "arbiter_password_file %s: %s", conf->password_file,
			       tv_strerror(rc));
	password[strcspn(password, "\r\n")] = '\0';
	o = json_pack("{ss ss}", "name", conf->user, "password", password);
	explicit_bzero(password, strlen(password));
	*out = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	return *out ? 0
		    : tv_fail(e, -EINVAL, "arbiter_user, or the password in %s, is no UTF-8",
			      conf->password_file);
}

int etcd_http_new(const struct etcd_url *url, const struct fo_arbiter_conf *conf,
		  struct etcd_http **out, struct tv_err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct etcd_http *h = calloc(1, sizeof(*h));
	bool bad;
	int rc;

	pthread_once(&once, init_curl);
	if (!h)
		return tv_fail(e, -ENOMEM, "no memory for the arbiter");
	h->url = *url;
	h->next_ns = conf->times->arbiter_next_ns;
	h->answer_ns = conf->times->arbiter_answer_ns;
	h->multi = curl_multi_init();
	bad = !h->multi || set_headers(h, "");
	for (unsigned i = 0; i < url->n; i++) {
		h->m[i].name = h->url.member[i];
		tv_buf_init(&h->m[i].body, ETCD_MAX_ANSWER_BYTES);
		bad = bad || set_up_member(h, &h->m[i], conf);
	}
	if (bad) {
		etcd_http_free(h);
		return tv_fail(e, -ENOMEM, "no memory for the arbiter");
	}
	rc = read_account(conf, &h->account, e);
	if (rc) {
		etcd_http_free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void etcd_http_free(struct etcd_http *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < h->url.n; i++) {
		curl_easy_cleanup(h->m[i].easy);
		tv_buf_dispose(&h->m[i].body);
	}
	if (h->multi)
		curl_multi_cleanup(h->multi);
	curl_slist_free_all(h->headers);
	if (h->account)
		explicit_bzero(h->account, strlen(h->account));
	free(h->account);
	free(h);
}

static void set_result(struct member *m, const char *fmt, ...) TV_PRINTF(2, 3);
static void set_result(struct member *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->result, sizeof(m->result), fmt, ap);
	va_end(ap);
}

/* Asks the next member of this question, the one that answered last first. */
static void start_next(struct etcd_http *h, struct question *q)
{
	struct member *m = &h->m[(h->good + q->started++) % h->url.n];
	char url[256];

	m->body.bytes = 0;
	m->header_bytes = 0;
	m->curl_error[0] = 0;
	set_result(m, "no answer within %lld ms", (long long)(q->limit_ns / TV_NS_PER_MS));
	snprintf(url, sizeof(url), "http%s://%s%s", h->url.tls ? "s" : "", m->name, q->path);
	if (curl_easy_setopt(m->easy, CURLOPT_URL, url) ||
	    curl_easy_setopt(m->easy, CURLOPT_TIMEOUT_MS, (long)(q->limit_ns / TV_NS_PER_MS) + 1) ||
	    curl_easy_setopt(m->easy, CURLOPT_POSTFIELDS, q->body) ||
	    curl_multi_add_handle(h->multi, m->easy)) {
		set_result(m, "no memory for the request");
		return;
	}
	m->running = true;
	q->running++;
}

static void stop(struct etcd_http *h, struct question *q, struct member *m)
{
	curl_multi_remove_handle(h->multi, m->easy);
	m->running = false;
	q->running--;
}

static const char *advice(bool tls, CURLcode result)
{
	if (!tls)
		return result == CURLE_GOT_NOTHING ? ": does it speak TLS (etcds://)?" : "";
	/* With TLS 1.3 this side is done before the other has checked its certificate. */
	if (result == CURLE_SEND_ERROR || result == CURLE_RECV_ERROR || result == CURLE_GOT_NOTHING)
		return ": does it take arbiter_cert?";
	return result == CURLE_SSL_CONNECT_ERROR ? ": does it speak TLS?" : "";
}

/* Why there is no answer. */
static void failed(struct question *q, struct member *m, CURLcode result)
{
	const char *text = m->curl_error[0] ? m->curl_error : curl_easy_strerror(result);
	long err = 0;

	if (result == CURLE_OPERATION_TIMEDOUT)
		return; /* start_next() has set it */
	if (result == CURLE_WRITE_ERROR) {
		q->garbage = true;
		set_result(m, "not a valid etcd answer (too long)");
		return;
	}
	curl_easy_getinfo(m->easy, CURLINFO_OS_ERRNO, &err);
	if (result == CURLE_COULDNT_CONNECT && err > 0)
		text = strerror((int)err);
	else if (!strncmp(text, "getpeername()", 13))
		text = "closed the connection"; /* before libcurl asked for its address */
	if (strstr(text, "SSL routines::"))	/* OpenSSL's sentence begins there */
		text = strstr(text, "SSL routines::") + strlen("SSL routines::");
	set_result(m, "%.70s%s", text, advice(q->tls, result));
}

/* Of etcd 3.4 to 3.6: what is wrong with a token, or that there is none. */
static bool is_about_token(long status, const char *text)
{
	return status == 401 || strstr(text, "invalid auth token") ||
	       strstr(text, "revision of auth store is old") || strstr(text, "user name is empty");
}

/* A member's transfer is over; true when its answer counts. */
static bool judge(struct question *q, struct member *m, CURLcode result)
{
	struct tv_err why = {0};
	long status = 0;

	curl_easy_getinfo(m->easy, CURLINFO_RESPONSE_CODE, &status);
	if (result != CURLE_OK) {
		failed(q, m, result);
		return false;
	}
	if (status != 200) {
		char text[80];

		etcd_answer_error((char *)m->body.data, m->body.bytes, text, sizeof(text));
		set_result(m, "HTTP status %ld%s%s%s", status, *text ? ": " : "", text,
			   strstr(text, "user name is empty") ? ": it wants arbiter_user" : "");
		if (is_about_token(status, text))
			q->unauthorised = true;
		return false;
	}
	if (!m->body.bytes || q->accept((char *)m->body.data, m->body.bytes, q->arg, &why)) {
		q->garbage = true;
		set_result(m, "%s", m->body.bytes ? why.text : "not a valid etcd answer (nothing)");
		return false;
	}
	return true;
}

/* Takes the finished transfers; after a refusal the next member is asked at once. */
static void collect(struct etcd_http *h, struct question *q)
{
	struct CURLMsg *msg;
	int left;

	while (!q->answered && (msg = curl_multi_info_read(h->multi, &left))) {
		struct member *m = NULL;
		CURLcode result = msg->data.result; /* msg is gone with the handle */

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&m);
		stop(h, q, m);
		if (judge(q, m, result)) {
			q->answered = true;
			h->good = (unsigned)(m - h->m);
		} else if (q->started < h->url.n) {
			start_next(h, q);
		}
	}
}

static int give_up(struct etcd_http *h, const struct question *q, bool late, struct tv_err *e)
{
	char all[sizeof(e->text)] = "";
	size_t used = 0;

	for (unsigned i = 0; i < h->url.n && used < sizeof(all); i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s: %s", i ? "; " : "",
					 h->m[i].name, h->m[i].result);
	return tv_fail(e,
		       q->garbage ? TV_E_PROTOCOL
		       : late	  ? -ETIMEDOUT
				  : -EHOSTUNREACH,
		       "no answer from etcd: more than half of its members must run and be "
		       "reachable from here (%s)",
		       all);
}

static int ask(struct etcd_http *h, struct question *q, struct tv_err *e)
{
	int64_t now = tv_now_ns(), end = now + q->limit_ns, next = now + q->next_ns;
	int running;

	q->tls = h->url.tls;
	for (unsigned i = 0; i < h->url.n; i++)
		set_result(&h->m[i], "not asked");
	start_next(h, q);
	while (now < end) {
		int64_t wake = q->started < h->url.n && next < end ? next : end;

		curl_multi_perform(h->multi, &running);
		collect(h, q);
		if (q->answered || (!q->running && q->started == h->url.n))
			break;
		now = tv_now_ns();
		if (q->started < h->url.n && (now >= next || !q->running)) {
			start_next(h, q);
			next = now + q->next_ns;
			continue;
		}
		if (wake > now)
			curl_multi_poll(h->multi, NULL, 0, (int)((wake - now) / TV_NS_PER_MS) + 1,
					NULL);
		now = tv_now_ns();
	}
	for (unsigned i = 0; i < h->url.n; i++)
		if (h->m[i].running)
			stop(h, q, &h->m[i]);
	return q->answered ? 0 : give_up(h, q, now >= end, e);
}

static int accept_token(const char *text, size_t bytes, void *arg, struct tv_err *e)
{
	return etcd_answer_token(text, bytes, arg, e);
}

static int get_token(struct etcd_http *h, struct tv_err *e)
{
	char token[ETCD_TOKEN_ROOM];
	struct question q = {.path = "/v3/auth/authenticate",
			     .body = h->account,
			     .accept = accept_token,
			     .arg = token,
			     .limit_ns = TOKEN_TIMES * h->answer_ns,
			     .next_ns = h->answer_ns};
	int rc = ask(h, &q, e);

	if (rc)
		return tv_fail_prefix(e, rc, "arbiter_user");
	return set_headers(h, token) ? tv_fail(e, -ENOMEM, "no memory for the arbiter") : 0;
}

int etcd_http_ask(struct etcd_http *h, const char *path, const char *body, etcd_accept_fn accept,
		  void *arg, struct tv_err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < 2; i++) { /* a token may have been forgotten */
		struct question q = {.path = path,
				     .body = body,
				     .accept = accept,
				     .arg = arg,
				     .limit_ns = h->answer_ns,
				     .next_ns = h->next_ns};

		if (h->account && !h->has_token)
			rc = get_token(h, e);
		if (!rc)
			rc = ask(h, &q, e);
		if (!rc || !q.unauthorised || !h->account || set_headers(h, ""))
			break;
		rc = i ? rc : 0;
	}
	return rc;
}
