/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys, requests, tokens, and the signed roster. */
#include "cluster_kit.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void refused(const struct cl_join *j, int rc, const char *why)
{
	struct cl_roster *before = roster(dir_a), *after;
	struct tv_err e = {0};

	assert_int_equal(cl_admit(dir_a, j, &e), rc);
	assert_non_null(strstr(e.text, why));
	after = roster(dir_a);
	assert_int_equal(before->version, after->version);
	free(before);
	free(after);
}

/* ---- names ---- */
static void names_are_checked(void **state)
{
	static const char *const bad[] = {"", "-a", ".a", "a b", "a/b", "a\nb", "a=b", "ä"};
	char many[80];

	(void)state;
	assert_true(cl_is_name("hostA") && cl_is_name("9.a-b_c"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(cl_is_name(bad[i]));
	memset(many, 'a', sizeof(many));
	many[64] = 0;
	assert_false(cl_is_name(many));
	many[63] = 0;
	assert_true(cl_is_name(many));
	assert_true(cl_is_address("[fe80::1]:7890") && cl_is_address("a.example:1"));
	assert_false(cl_is_address("a\nkey = b") || cl_is_address("") || cl_is_address("a:0"));
}

/* ---- keys ---- */
static void files_are_roots_alone(void **state)
{
	static const char *const files[] = {"ca.key", "host.pem", "roster", "members.conf"};
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		assert_int_equal(stat(cl_path(dir_a, files[i]).text, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	assert_int_equal(stat(dir_a, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void certificates_are_what_tls_wants(void **state)
{
	CL_CERT *ca = cl_cert_read(cl_path(dir_a, "ca.crt").text);
	CL_CERT *host = cl_cert_read(cl_path(dir_a, "host.pem").text);
	int64_t from, until;

	(void)state;
	assert_int_equal(X509_check_ca(ca), 1);
	assert_int_equal(X509_check_ca(host), 0);
	assert_int_equal(X509_verify(host, X509_get0_pubkey(ca)), 1);
	assert_int_equal(X509_get_extended_key_usage(host), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	assert_int_equal(cl_validity(host, &from, &until), 0);
	assert_true(from < cl_now_s() && until > cl_now_s() + 364 * 86400);
	assert_true(until < cl_now_s() + 366 * 86400);
}

static void renewal_is_due_in_the_last_third(void **state)
{
	(void)state;
	assert_false(cl_renewal_is_due(0, 300, 199));
	assert_true(cl_renewal_is_due(0, 300, 200));
	assert_true(cl_renewal_is_due(0, 300, 400));
}

/* ---- requests ---- */
static EVP_PKEY *rsa_key(void)
{
	return EVP_RSA_gen(2048);
}

static void requests_are_checked(void **state)
{
	CL_KEY *key = cl_key_new(), *rsa = rsa_key(), *p384 = EVP_EC_gen("P-384");
	char csr[CL_CERT_BYTES], *middle;
	struct tv_err e = {0};
	EVP_PKEY *got;

	(void)state;
	assert_int_equal(cl_csr_new(key, "hostB", csr), 0);
	got = cl_csr_key(csr, "hostB", &e);
	assert_int_equal(EVP_PKEY_eq(got, key), 1);
	EVP_PKEY_free(got);
	assert_null(cl_csr_key(csr, "hostA", &e));
	assert_non_null(strstr(e.text, "another name"));
	middle = csr + strlen(csr) / 2;
	*middle = *middle == 'A' ? 'B' : 'A';
	assert_null(cl_csr_key(csr, "hostB", &e));
	assert_null(cl_csr_key("", "hostB", &e));
	assert_int_equal(cl_csr_new(rsa, "hostB", csr), 0);
	assert_null(cl_csr_key(csr, "hostB", &e));
	assert_non_null(strstr(e.text, "P-256"));
	assert_int_equal(cl_csr_new(p384, "hostB", csr), 0);
	assert_null(cl_csr_key(csr, "hostB", &e));
}

/* A request of that name that asks to be a CA. */
static void greedy(char csr[CL_CERT_BYTES], const char *name)
{
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	CL_KEY *key = cl_key_new();
	char *p;
	long n;

	X509_REQ_set_pubkey(req, key);
	X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	sk_X509_EXTENSION_push(
		list, X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE"));
	X509_REQ_add_extensions(req, list);
	assert_true(X509_REQ_sign(req, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509_REQ(bio, req), 1);
	n = BIO_get_mem_data(bio, &p);
	assert_true(tv_copy_n(csr, CL_CERT_BYTES, p, (size_t)n));
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	BIO_free(bio);
}

static void a_request_gets_no_more_than_a_host(void **state)
{
	struct cl_join j;
	struct cl_roster *r;
	CL_CERT *cert = NULL;
	struct tv_err e = {0};

	(void)state;
	joining(&j, "hostB");
	greedy(j.csr, "hostB");
	assert_int_equal(cl_admit(dir_a, &j, &e), 0);
	r = roster(dir_a);
	cert = cl_cert_parse(cl_member_of(r, "hostB")->cert);
	assert_int_equal(X509_check_ca(cert), 0);
	free(r);
}

/* ---- tokens ---- */
static void a_token_is_used_once(void **state)
{
	char token[CL_TOKEN_ROOM], other[CL_TOKEN_ROOM];
	TV_FREE char *text = NULL;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(cl_token_make(dir_a, 60, token, &e), 0);
	assert_int_equal(cl_token_make(dir_a, 60, other, &e), 0);
	assert_int_equal(cl_read(dir_a, "tokens", 1 << 16, &text, &e), 0);
	assert_null(strstr(text, token));
	assert_int_equal(cl_token_use(dir_a, token, NULL, &e), 0);
	assert_int_equal(cl_token_use(dir_a, token, "hostB", &e), 0);
	assert_int_equal(cl_token_use(dir_a, token, NULL, &e), -EALREADY);
	assert_non_null(strstr(e.text, "hostB"));
	assert_int_equal(cl_token_use(dir_a, token, "hostC", &e), -EALREADY);
	assert_int_equal(cl_token_use(dir_a, other, NULL, &e), 0);
	cl_token_withdraw(dir_a, other);
	assert_int_equal(cl_token_use(dir_a, other, NULL, &e), -EKEYEXPIRED);
	other[0] = other[0] == 'a' ? 'b' : 'a';
	assert_int_equal(cl_token_use(dir_a, other, NULL, &e), -EACCES);
	assert_int_equal(cl_token_use(dir_a, "", NULL, &e), -EACCES);
}

static void tokens_end_and_are_bounded(void **state)
{
	char token[CL_TOKEN_ROOM];
	struct tv_err e = {0};
	struct stat st;

	(void)state;
	assert_int_equal(cl_token_make(dir_a, -1, token, &e), 0);
	assert_int_equal(cl_token_use(dir_a, token, NULL, &e), -EKEYEXPIRED);
	for (int i = 0; i < 200; i++)
		assert_int_equal(cl_token_make(dir_a, 60, token, &e), 0);
	assert_int_equal(stat(cl_path(dir_a, "tokens").text, &st), 0);
	assert_true(st.st_size < 64 * 200);
	assert_int_equal(cl_token_use(dir_a, token, NULL, &e), 0);
}

/* ---- who is admitted ---- */
static void what_is_wrong_is_refused(void **state)
{
	struct cl_join good, j;
	struct tv_err e = {0};

	(void)state;
	joining(&good, "hostB");
	j = good;
	j.token[0] = j.token[0] == 'a' ? 'b' : 'a';
	refused(&j, -EACCES, "token is wrong");
	j = good;
	j.fingerprint[0] = j.fingerprint[0] == 'a' ? 'b' : 'a';
	refused(&j, -EINVAL, "another cluster");
	j = good;
	tv_copy(j.name, sizeof(j.name), "hostA");
	refused(&j, -EEXIST, "is taken");
	j = good;
	tv_copy(j.name, sizeof(j.name), "hostC");
	refused(&j, -EINVAL, "another name");
	j = good;
	tv_copy(j.address, sizeof(j.address), "a\nb");
	refused(&j, -EINVAL, "invalid");
	j = good;
	j.now_s += 3600;
	refused(&j, -ETIME, "ahead of");
	j.now_s -= 7200;
	refused(&j, -ETIME, "behind");
	j = good;
	tv_copy(j.csr, sizeof(j.csr), "x");
	refused(&j, -EINVAL, "no request");
	/* None of these has used it up. */
	assert_int_equal(cl_admit(dir_a, &good, &e), 0);
	tv_copy(good.name, sizeof(good.name), "hostC");
	refused(&good, -EALREADY, "used already, by hostB");
}

static void messages_are_checked(void **state)
{
	TV_FREE char *text = NULL;
	struct cl_join j, back;

	(void)state;
	joining(&j, "hostB");
	text = cl_join_text(&j);
	assert_int_equal(cl_join_parse(text, strlen(text), &back), 0);
	assert_memory_equal(&j, &back, offsetof(struct cl_join, csr));
	assert_string_equal(j.csr, back.csr);
	for (size_t n = 0; n < strlen(text); n++)
		assert_int_equal(cl_join_parse(text, n, &back), TV_E_PROTOCOL);
	assert_int_equal(cl_join_parse(text, CL_REQUEST_BYTES + 1, &back), TV_E_PROTOCOL);
	assert_int_equal(cl_join_parse("[]", 2, &back), TV_E_PROTOCOL);
	tv_copy(j.name, sizeof(j.name), "a b");
	tv_free_ptr(&text);
	text = cl_join_text(&j);
	assert_int_equal(cl_join_parse(text, strlen(text), &back), TV_E_PROTOCOL);
}

/* ---- the roster ---- */
static void a_changed_roster_is_not_taken(void **state)
{
	TV_FREE char *text = NULL;
	struct cl_roster *r = NULL;
	struct tv_err e = {0};
	char *at;

	(void)state;
	admitted("hostB");
	assert_int_equal(cl_load_text(dir_a, &text, &e), 0);
	assert_int_equal(cl_open(dir_a, text, strlen(text), &r, &e), 0);
	free(r);
	at = strstr(text, "10.0.0.2");
	at[0] = '2';
	assert_int_equal(cl_open(dir_a, text, strlen(text), &r, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "not signed"));
	assert_int_equal(cl_open(dir_a, text, strlen(text) / 2, &r, &e), -EBADMSG);
	assert_int_equal(cl_open(dir_a, "", 0, &r, &e), -EBADMSG);
}

static void of_another_cluster(const char *text)
{
	bool taken;
	struct tv_err e = {0};

	assert_int_equal(cl_take(dir_b, text, strlen(text), &taken, &e), -EBADMSG);
	assert_false(taken);
}

static void only_newer_ones_are_taken(void **state)
{
	TV_FREE char *first = NULL, *second = NULL, *other = NULL;
	char path[80];
	struct cl_first f = {.host = "x", .address = "10.0.0.9:1", .arbiter = "none", .days = 1};
	struct tv_err e = {0};
	bool taken;

	(void)state;
	admitted("hostB");
	settle_b();
	assert_int_equal(cl_load_text(dir_a, &first, &e), 0);
	assert_int_equal(cl_take(dir_b, first, strlen(first), &taken, &e), 0);
	assert_false(taken);
	assert_int_equal(cl_revoke(dir_a, "hostB", &e), 0);
	assert_int_equal(cl_load_text(dir_a, &second, &e), 0);
	assert_int_equal(cl_take(dir_b, second, strlen(second), &taken, &e), 0);
	assert_true(taken);
	assert_int_equal(cl_take(dir_b, first, strlen(first), &taken, &e), 0);
	assert_false(taken);
	snprintf(path, sizeof(path), "%s-other", dir_a);
	assert_int_equal(cl_init(path, &f, &e), 0);
	assert_int_equal(cl_load_text(path, &other, &e), 0);
	of_another_cluster(other);
}

/* ---- what a member asks for ---- */
static void a_certificate_is_renewed(void **state)
{
	TV_FREE char *ask = NULL, *text = NULL;
	CL_CERT *before = NULL, *after = NULL;
	CL_KEY *key = NULL;
	struct tv_err e = {0};
	struct cl_roster *r;
	uint64_t version;
	bool taken;

	(void)state;
	admitted("hostB");
	settle_b();
	before = cl_cert_read(cl_path(dir_b, "host.pem").text);
	assert_null(cl_asked(dir_b));
	assert_int_equal(cl_ask(dir_b, "hostB", "renew", &e), 0);
	ask = cl_asked(dir_b);
	assert_int_equal(cl_answer(dir_a, ask, &e), 0);
	r = roster(dir_a);
	version = r->version;
	free(r);
	assert_int_equal(cl_load_text(dir_a, &text, &e), 0);
	assert_int_equal(cl_take(dir_b, text, strlen(text), &taken, &e), 0);
	after = cl_cert_read(cl_path(dir_b, "host.pem").text);
	key = cl_key_read(cl_path(dir_b, "host.pem").text);
	assert_int_not_equal(X509_cmp(before, after), 0);
	assert_int_equal(X509_check_private_key(after, key), 1);
	assert_null(cl_asked(dir_b));
	assert_int_not_equal(access(cl_path(dir_b, "next.key").text, F_OK), 0);
	/* What was asked once is signed with a key that does not count any more. */
	assert_int_equal(cl_answer(dir_a, ask, &e), -EACCES);
	r = roster(dir_a);
	assert_int_equal(r->version, version);
	free(r);
}

static void nobody_asks_for_another(void **state)
{
	TV_FREE char *ask = NULL;
	struct tv_err e = {0};
	char *at;

	(void)state;
	admitted("hostB");
	settle_b();
	assert_int_equal(cl_ask(dir_b, "hostB", "leave", &e), 0);
	ask = cl_asked(dir_b);
	at = strstr(ask, "hostB");
	at[4] = 'A';
	assert_int_equal(cl_answer(dir_a, ask, &e), -EACCES);
	at[4] = 'Z';
	assert_int_equal(cl_answer(dir_a, ask, &e), -EACCES);
	assert_int_equal(cl_answer(dir_a, "{}", &e), -EACCES);
	assert_int_equal(cl_answer(dir_a, "x", &e), -EACCES);
	assert_int_equal(cl_answer(dir_b, ask, &e), -ENOENT); /* it has no CA's key */
}

static void a_revoked_name_can_join_again(void **state)
{
	struct tv_err e = {0};
	struct cl_roster *r;

	(void)state;
	admitted("hostB");
	assert_int_equal(cl_revoke(dir_a, "hostA", &e), -EINVAL);
	assert_int_equal(cl_revoke(dir_a, "hostC", &e), -ENOENT);
	assert_int_equal(cl_revoke(dir_a, "hostB", &e), 0);
	r = roster(dir_a);
	assert_null(cl_member_of(r, "hostB"));
	assert_int_equal(r->gone_n, 1);
	assert_string_equal(r->gone[0].how, "revoked");
	free(r);
	admitted("hostB");
	r = roster(dir_a);
	assert_non_null(cl_member_of(r, "hostB"));
	assert_int_equal(r->gone_n, 1); /* the former certificate does not count all the same */
	free(r);
}

static void a_second_cluster_is_refused(void **state)
{
	const struct cl_first first = {
		.host = "hostZ", .address = "10.0.0.1:7890", .arbiter = "none", .days = 365};
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(cl_init(dir_a, &first, &e), -EEXIST);
	assert_int_equal(cl_forget(dir_a, &e), 0);
	assert_int_not_equal(access(cl_path(dir_a, "ca.key").text, F_OK), 0);
	assert_int_not_equal(access(cl_path(dir_a, "host.pem").text, F_OK), 0);
	assert_int_equal(cl_init(dir_a, &first, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test_setup(files_are_roots_alone, set_up),
		cmocka_unit_test_setup(certificates_are_what_tls_wants, set_up),
		cmocka_unit_test(renewal_is_due_in_the_last_third),
		cmocka_unit_test(requests_are_checked),
		cmocka_unit_test_setup(a_request_gets_no_more_than_a_host, set_up),
		cmocka_unit_test_setup(a_token_is_used_once, set_up),
		cmocka_unit_test_setup(tokens_end_and_are_bounded, set_up),
		cmocka_unit_test_setup(what_is_wrong_is_refused, set_up),
		cmocka_unit_test_setup(messages_are_checked, set_up),
		cmocka_unit_test_setup(a_changed_roster_is_not_taken, set_up),
		cmocka_unit_test_setup(only_newer_ones_are_taken, set_up),
		cmocka_unit_test_setup(a_certificate_is_renewed, set_up),
		cmocka_unit_test_setup(nobody_asks_for_another, set_up),
		cmocka_unit_test_setup(a_revoked_name_can_join_again, set_up),
		cmocka_unit_test_setup(a_second_cluster_is_refused, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, clean_up);
}
