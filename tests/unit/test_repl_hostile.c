/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A peer that is no twinvm: one that speaks no TLS, and one with a good certificate (the case that
 * counts) that sends what the format does not allow. The peer is a thread with a blocking socket.
 */
#include "tests/unit/repl_kit.h"

enum ending { END_WAIT, END_CLEAN, END_FIN, END_RESET };

struct hostile {
	int fd;
	bool tls, no_cert;
	const uint8_t *bytes;
	size_t n;
	enum ending end;
	char reason[256]; /* openssl's reason for the end */
};

static SSL_CTX *hostile_ctx(const struct hostile *h)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!h->no_cert) {
		SSL_CTX_use_certificate_chain_file(ctx, kit_path("a", "pem"));
		SSL_CTX_use_PrivateKey_file(ctx, kit_path("a", "key"), SSL_FILETYPE_PEM);
	}
	return ctx;
}

static void drain_plain(struct hostile *h)
{
	char b[4096];

	while (recv(h->fd, b, sizeof(b), 0) > 0)
		;
}

static void *hostile_plain(struct hostile *h)
{
	if (send(h->fd, h->bytes, h->n, MSG_NOSIGNAL) < 0)
		snprintf(h->reason, sizeof(h->reason), "%s", strerror(errno));
	drain_plain(h);
	close(h->fd);
	return NULL;
}

static void reset(int fd)
{
	struct linger l = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static void *hostile_run(void *arg)
{
	struct hostile *h = arg;
	SSL_CTX *ctx;
	char b[4096];
	SSL *ssl;

	if (!h->tls)
		return hostile_plain(h);
	ctx = hostile_ctx(h);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, h->fd);
	if (SSL_connect(ssl) == 1) {
		if (h->n)
			SSL_write(ssl, h->bytes, (int)h->n);
		if (h->end == END_CLEAN)
			SSL_shutdown(ssl);
		if (h->end == END_CLEAN || h->end == END_FIN)
			shutdown(h->fd, SHUT_WR);
		if (h->end == END_RESET)
			reset(h->fd);
		else
			while (SSL_read(ssl, b, sizeof(b)) > 0)
				;
	}
	if (ERR_peek_error() && ERR_reason_error_string(ERR_peek_error()))
		snprintf(h->reason, sizeof(h->reason), "%s",
			 ERR_reason_error_string(ERR_peek_error()));
	close(h->fd);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return NULL;
}

/* One accepted connection against one hostile peer, to its end. */
static struct side face(struct hostile *h)
{
	struct event_base *base = event_base_new();
	struct repl_tls *tls = kit_tls("ca", "b");
	struct side s = {0};
	pthread_t thread;
	int fd[2];

	kit_tcp_pair(fd);
	h->fd = fd[0];
	side_accept(&s, base, tls, fd[1], NULL);
	assert_int_equal(pthread_create(&thread, NULL, hostile_run, h), 0);
	KIT_UNTIL(base, s.closed);
	kit_turns(base, 3); /* libevent closes the socket, or the thread would wait for ever */
	pthread_join(thread, NULL);
	repl_tls_free(tls);
	event_base_free(base);
	return s;
}

static struct side face_bytes(const void *p, size_t n, enum ending end)
{
	struct hostile h = {.tls = true, .bytes = p, .n = n, .end = end};
	struct side s = face(&h);

	assert_int_equal(s.opened, 1);
	assert_contains(s.why, "host-a (127.0.0.1:");
	return s;
}

static size_t make_frame(uint8_t *out, enum frame_type type, const void *p, size_t n)
{
	frame_put_head(out, type, p, n);
	memcpy(out + FRAME_HEAD_BYTES, p, n);
	return FRAME_HEAD_BYTES + n;
}

static const uint8_t heartbeat[] = {0x42, 2, 0x08, 7};

static void test_plain_text(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	static const char noise[] =
		"\0\1\2\3\4\5 this is no TLS at all, and long enough to be read";
	struct hostile h = {.bytes = (const uint8_t *)http, .n = sizeof(http)};
	struct side s = face(&h);

	(void)state;
	assert_int_equal(s.opened, 0);
	assert_int_equal(s.rc, -EPROTO);
	assert_contains(s.why, "TLS");
	h.bytes = (const uint8_t *)noise;
	h.n = sizeof(noise);
	s = face(&h);
	assert_int_equal(s.rc, -EPROTO);
	assert_contains(s.why, "127.0.0.1:");
}

static void test_no_certificate(void **state)
{
	struct hostile h = {.tls = true, .no_cert = true};
	struct side s = face(&h);

	(void)state;
	assert_int_equal(s.opened, 0);
	assert_int_equal(s.rc, -EPROTO);
	assert_contains(s.why, "no certificate");
	assert_contains(h.reason, "certificate required");
}

static void test_bad_heads(void **state)
{
	uint8_t b[FRAME_HEAD_BYTES + 4], bad[sizeof(b)];
	size_t n = make_frame(b, FRAME_CONTROL, heartbeat, sizeof(heartbeat));
	struct side s;

	(void)state;
	memcpy(bad, b, n);
	tv_put_le32(bad + 4, UINT32_MAX);
	s = face_bytes(bad, n, END_WAIT);
	assert_int_equal(s.rc, TV_E_PROTOCOL);
	assert_contains(s.why, "4294967295");

	memcpy(bad, b, n);
	bad[0] = 9;
	s = face_bytes(bad, n, END_WAIT);
	assert_int_equal(s.rc, TV_E_PROTOCOL);
	assert_contains(s.why, "type 9");

	memcpy(bad, b, n);
	bad[1] = 0x80;
	assert_int_equal(face_bytes(bad, n, END_WAIT).rc, TV_E_PROTOCOL);

	memcpy(bad, b, n);
	bad[2] ^= 1;
	assert_int_equal(face_bytes(bad, n, END_WAIT).rc, TV_E_PROTOCOL);

	memcpy(bad, b, n);
	bad[n - 1] ^= 1;
	s = face_bytes(bad, n, END_WAIT);
	assert_int_equal(s.rc, TV_E_CORRUPT);
	assert_int_equal(s.frames, 0);
}

static void test_bad_protobuf(void **state)
{
	uint8_t b[FRAME_HEAD_BYTES + 64], junk[48];
	size_t n, i;
	struct side s;
	int round;

	(void)state;
	srand(3);
	for (round = 0; round < 8; round++) {
		for (i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)(rand() >> 8);
		junk[0] = 0xff;
		n = make_frame(b, FRAME_CONTROL, junk, sizeof(junk));
		s = face_bytes(b, n, END_WAIT);
		assert_int_equal(s.rc, TV_E_PROTOCOL);
		assert_int_equal(s.frames, 0);
	}
}

/* What came before the nonsense is handed over, what comes after it is not. */
static void test_good_then_bad(void **state)
{
	uint8_t b[200];
	size_t n;
	struct side s;

	(void)state;
	n = make_frame(b, FRAME_CONTROL, heartbeat, sizeof(heartbeat));
	n += make_frame(b + n, FRAME_RECORDS, "abc", 3);
	b[n] = 77;
	memset(b + n + 1, 0, 15);
	n += 16;
	n += make_frame(b + n, FRAME_RECORDS, "def", 3);
	s = face_bytes(b, n, END_WAIT);
	assert_int_equal(s.rc, TV_E_PROTOCOL);
	assert_string_equal(s.order, "hr");
	assert_int_equal(s.last_seq, 7);
}

static void test_truncated(void **state)
{
	uint8_t b[FRAME_HEAD_BYTES + 4];
	size_t n = make_frame(b, FRAME_CONTROL, heartbeat, sizeof(heartbeat)), cut;
	struct side s;

	(void)state;
	for (cut = 1; cut < n; cut += 6) {
		s = face_bytes(b, cut, END_CLEAN);
		assert_int_equal(s.rc, -EPIPE);
		assert_contains(s.why, "in the middle of a message");
		s = face_bytes(b, cut, END_FIN);
		assert_int_equal(s.rc, -ECONNRESET);
		assert_contains(s.why, "in the middle of a message");
	}
	s = face_bytes(b, n, END_CLEAN);
	assert_int_equal(s.rc, -EPIPE);
	assert_null(strstr(s.why, "middle"));
	assert_int_equal(s.last_seq, 7);
}

static void test_reset(void **state)
{
	struct side s = face_bytes(NULL, 0, END_RESET);

	(void)state;
	assert_int_equal(s.rc, -ECONNRESET);
}

/* A server that speaks no TLS: what our connecting side says about it. */
static void test_plain_server(void **state)
{
	static const char ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";
	struct event_base *base = event_base_new();
	struct repl_tls *tls = kit_tls("ca", "a");
	struct hostile h = {.bytes = (const uint8_t *)ssh, .n = sizeof(ssh)};
	struct side s = {0};
	pthread_t thread;
	uint16_t port;
	int l = kit_listen(&port);

	(void)state;
	side_connect(&s, base, tls, "127.0.0.1", port, NULL);
	kit_turns(base, 2);
	h.fd = accept(l, NULL, NULL);
	close(l);
	assert_int_equal(pthread_create(&thread, NULL, hostile_run, &h), 0);
	KIT_UNTIL(base, s.closed);
	kit_turns(base, 3);
	pthread_join(thread, NULL);
	assert_int_equal(s.rc, -EPROTO);
	assert_contains(s.why, "TLS 1.3 handshake failed");
	repl_tls_free(tls);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_text),    cmocka_unit_test(test_no_certificate),
		cmocka_unit_test(test_bad_heads),     cmocka_unit_test(test_bad_protobuf),
		cmocka_unit_test(test_good_then_bad), cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_reset),	      cmocka_unit_test(test_plain_server),
	};

	return cmocka_run_group_tests_name("repl_hostile", tests, kit_make_pki, kit_remove_pki);
}
