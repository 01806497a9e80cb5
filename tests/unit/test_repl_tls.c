/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may connect: certificates good and bad, in both directions, and what each side reports. */
#include "tests/unit/repl_kit.h"

static void handshake(struct pair *x, const char *ca_p, const char *p, const char *ca_b,
		      const char *b, const struct repl_opts *op, const struct repl_opts *ob)
{
	x->tls_p = kit_tls(ca_p, p);
	x->tls_b = kit_tls(ca_b, b);
	pair_start(x, op, ob);
	KIT_UNTIL(x->base, x->p.closed || x->p.opened);
	KIT_UNTIL(x->base, x->b.closed || x->b.opened);
}

static void both_closed(struct pair *x)
{
	KIT_UNTIL(x->base, x->p.closed && x->b.closed);
	assert_int_equal(x->p.rc, -EPROTO);
	assert_int_equal(x->b.rc, -EPROTO);
	assert_contains(x->p.why, "certificate");
	assert_contains(x->b.why, "certificate");
}

static void test_good(void **state)
{
	struct repl_opts op = {.expect_peer = "host-b"}, ob = {.expect_peer = "host-a"};
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "a", "ca", "b", &op, &ob);
	assert_string_equal(x.p.peer, "host-b");
	assert_string_equal(x.b.peer, "host-a");
	assert_string_equal(repl_peer(x.p.c), "host-b");
	pair_free(&x);
}

static void test_client_of_wrong_ca(void **state)
{
	struct pair x = {0};

	(void)state;
	/* The client trusts the server's CA, but its own certificate comes from another one. */
	handshake(&x, "ca", "stranger", "ca", "b", NULL, NULL);
	both_closed(&x);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, "its certificate was rejected");
	assert_contains(x.b.why, "127.0.0.1:");
	assert_contains(x.p.why, "rejected this host's certificate");
	pair_free(&x);
}

/* As above, and the client has already sent when the server closes: the reset must not hide the
 * alert. */
static void test_client_of_wrong_ca_that_talks(void **state)
{
	static uint8_t bytes[64 << 10];
	struct pair x = {0};
	int rc;

	(void)state;
	for (int i = 0; i < 20; i++) {
		memset(&x, 0, sizeof(x));
		x.tls_p = kit_tls("ca", "stranger");
		x.tls_b = kit_tls("ca", "b");
		pair_start(&x, NULL, NULL);
		while (!x.p.closed || !x.b.closed) {
			event_base_loop(x.base, EVLOOP_ONCE);
			if (x.p.opened && x.p.c) {
				rc = repl_send_records(x.p.c, bytes, sizeof(bytes));
				assert_true(!rc || rc == -EAGAIN || rc == -ENOTCONN);
			}
		}
		both_closed(&x);
		assert_contains(x.p.why, "rejected this host's certificate");
		pair_free(&x);
	}
}

static void test_server_of_wrong_ca(void **state)
{
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "a", "ca", "stranger", NULL, NULL);
	both_closed(&x);
	assert_int_equal(x.p.opened + x.b.opened, 0);
	assert_contains(x.p.why, "its certificate was rejected");
	assert_contains(x.b.why, "rejected this host's certificate");
	pair_free(&x);
}

static void test_expired_client(void **state)
{
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "expired", "ca", "b", NULL, NULL);
	both_closed(&x);
	assert_contains(x.b.why, "expired");
	assert_contains(x.p.why, "expired");
	pair_free(&x);
}

static void test_expired_server(void **state)
{
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "a", "ca", "expired", NULL, NULL);
	both_closed(&x);
	assert_contains(x.b.why, "expired");
	assert_contains(x.p.why, "expired");
	pair_free(&x);
}

static void test_nameless(void **state)
{
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "nameless", "ca", "b", NULL, NULL);
	both_closed(&x);
	assert_contains(x.b.why, "common name");
	pair_free(&x);
}

static void test_client_expects_another(void **state)
{
	struct repl_opts op = {.expect_peer = "host-c"};
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "a", "ca", "b", &op, NULL);
	both_closed(&x);
	assert_contains(x.p.why, "'host-b'");
	assert_contains(x.p.why, "'host-c'");
	pair_free(&x);
}

static void test_server_expects_another(void **state)
{
	struct repl_opts ob = {.expect_peer = "host-c"};
	struct pair x = {0};

	(void)state;
	handshake(&x, "ca", "a", "ca", "b", NULL, &ob);
	both_closed(&x);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, "'host-a'");
	assert_contains(x.b.why, "'host-c'");
	pair_free(&x);
}

/* ---- the owner's accept-list, and revocation ---- */

static int admit_b(const char *name, const void *arg, struct tv_err *why)
{
	(void)arg;
	return strcmp(name, "host-b") ? tv_fail(why, -EPERM, "%s is not a peer", name) : 0;
}

static int revoke_a(const char *name, const void *arg, struct tv_err *why)
{
	(void)arg;
	return strcmp(name, "host-a") ? 0 : tv_fail(why, -EKEYREVOKED, "%s is revoked here", name);
}

/* One side's rules, the other side's certificate; both come from a good CA. */
static void with_rules(struct pair *x, struct repl_tls *p, struct repl_tls *b)
{
	x->tls_p = p;
	x->tls_b = b;
	pair_start(x, NULL, NULL);
	KIT_UNTIL(x->base, x->p.closed || x->p.opened);
	KIT_UNTIL(x->base, x->b.closed || x->b.opened);
}

static void test_not_admitted(void **state)
{
	struct pair x = {0};

	(void)state;
	with_rules(&x, kit_tls("ca", "a"), kit_tls_with("ca", "b", NULL, admit_b));
	both_closed(&x);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, "host-a is not a peer");
	assert_contains(x.p.why, "needs a line peer.host-a");
	pair_free(&x);

	/* The dialling side has a list, too. */
	memset(&x, 0, sizeof(x));
	with_rules(&x, kit_tls_with("ca", "b", NULL, admit_b), kit_tls("ca", "a"));
	both_closed(&x);
	assert_int_equal(x.p.opened + x.b.opened, 0);
	assert_contains(x.p.why, "host-a is not a peer");
	pair_free(&x);
}

static void test_admitted(void **state)
{
	struct pair x = {0};

	(void)state;
	with_rules(&x, kit_tls_with("ca", "a", NULL, admit_b),
		   kit_tls_with("ca", "b", "empty", NULL));
	assert_string_equal(x.p.peer, "host-b");
	assert_string_equal(x.b.peer, "host-a");
	pair_free(&x);
}

static void test_revoked_by_name(void **state)
{
	struct pair x = {0};

	(void)state;
	with_rules(&x, kit_tls("ca", "a"), kit_tls_with("ca", "b", NULL, revoke_a));
	both_closed(&x);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, "host-a is revoked here");
	assert_contains(x.p.why, "revoked");
	pair_free(&x);
}

static void test_revoked_by_crl(void **state)
{
	struct pair x = {0};

	(void)state;
	with_rules(&x, kit_tls("ca", "a"), kit_tls_with("ca", "b", "a-revoked", NULL));
	both_closed(&x);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, "revoked");
	assert_contains(x.p.why, "revoked");
	pair_free(&x);

	/* With the list of another CA only, nobody is known not to be revoked. */
	memset(&x, 0, sizeof(x));
	with_rules(&x, kit_tls("ca", "a"), kit_tls_with("ca", "b", "other", NULL));
	KIT_UNTIL(x.base, x.p.closed && x.b.closed);
	assert_int_equal(x.b.opened, 0);
	assert_contains(x.b.why, kit_path("other", "crl"));
	pair_free(&x);
}

static void crl_fails(const char *crl, int rc, const char *word)
{
	struct repl_tls_conf conf = {
		kit_path("ca", "pem"), kit_path("a", "pem"), kit_path("a", "key"), crl, NULL, NULL};
	struct tv_err e = {0};
	struct repl_tls *tls;

	assert_int_equal(repl_tls_new(&conf, &tls, &e), rc);
	assert_null(tls);
	assert_contains(e.text, crl);
	assert_contains(e.text, word);
}

static void test_crl_files(void **state)
{
	(void)state;
	crl_fails("/nonexistent/ca.crl", -ENOENT, "cannot read the CRL");
	crl_fails(kit_path("a", "pem"), -EINVAL, "PEM");
	crl_fails(kit_path("old", "crl"), -EKEYEXPIRED, "expired");
}

static void load_fails(const char *ca, const char *cert, const char *key, const char *word)
{
	struct repl_tls_conf conf = {.ca = ca, .cert = cert, .key = key};
	struct repl_tls *tls = (void *)1;
	struct tv_err e = {0};

	assert_true(repl_tls_new(&conf, &tls, &e) < 0);
	assert_null(tls);
	assert_contains(e.text, word);
}

static void test_files(void **state)
{
	const char *ca = kit_path("ca", "pem"), *cert = kit_path("a", "pem");
	const char *key = kit_path("a", "key"), *other = kit_path("b", "key");

	(void)state;
	load_fails("/nonexistent/ca.pem", cert, key, "/nonexistent/ca.pem: No such file");
	load_fails(ca, "/nonexistent/a.pem", key, "/nonexistent/a.pem: No such file");
	load_fails(ca, cert, "/nonexistent/a.key", "/nonexistent/a.key: No such file");
	load_fails(key, cert, key, "CA certificate");
	load_fails(ca, key, key, "the certificate");
	load_fails(ca, cert, cert, "the key");
	load_fails(ca, cert, other, "does not belong");
	repl_tls_free(NULL);
}

/* The context may go before its connections. */
static void test_tls_freed_early(void **state)
{
	struct pair x = {0};

	(void)state;
	x.tls_p = kit_tls("ca", "a");
	x.tls_b = kit_tls("ca", "b");
	pair_start(&x, NULL, NULL);
	repl_tls_free(x.tls_p);
	repl_tls_free(x.tls_b);
	x.tls_p = x.tls_b = NULL;
	KIT_UNTIL(x.base, x.p.opened && x.b.opened);
	pair_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_client_of_wrong_ca),
		cmocka_unit_test(test_client_of_wrong_ca_that_talks),
		cmocka_unit_test(test_server_of_wrong_ca),
		cmocka_unit_test(test_expired_client),
		cmocka_unit_test(test_expired_server),
		cmocka_unit_test(test_nameless),
		cmocka_unit_test(test_client_expects_another),
		cmocka_unit_test(test_server_expects_another),
		cmocka_unit_test(test_not_admitted),
		cmocka_unit_test(test_admitted),
		cmocka_unit_test(test_revoked_by_name),
		cmocka_unit_test(test_revoked_by_crl),
		cmocka_unit_test(test_crl_files),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_tls_freed_early),
	};

	return cmocka_run_group_tests_name("repl_tls", tests, kit_make_pki, kit_remove_pki);
}
