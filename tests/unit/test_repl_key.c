/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A private key that is forgotten after the handshake is in no memory of the process any more. The
 * process that is searched is this program once more, since the one that made the keys has handled
 * them in many ways.
 */
#include "tests/unit/repl_kit.h"

#include <openssl/core_names.h>
#include <spawn.h>
#include <sys/wait.h>

#define MASK 0x5a /* what is looked for must not be found where it is kept */
#define PATTERN_BYTES 32
enum form { LIMBS, DER, PEM, FORMS };

extern char **environ;

/* ---- the process that is searched ---- */

static unsigned occurs(const uint8_t *p, size_t n, const uint8_t masked[PATTERN_BYTES])
{
	unsigned found = 0;

	for (size_t i = 0; i + PATTERN_BYTES <= n; i++) {
		size_t k = 0;

		while (k < PATTERN_BYTES && (p[i + k] ^ MASK) == masked[k])
			k++;
		found += k == PATTERN_BYTES;
	}
	return found;
}

/* In all memory that this process can write. */
static unsigned search(const uint8_t masked[PATTERN_BYTES])
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	unsigned found = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx rw", &start, &end) == 2 && strstr(line, " rw"))
			found += occurs((const uint8_t *)start, end - start, masked);
	fclose(f);
	return found;
}

static void unhex(const char *text, uint8_t out[PATTERN_BYTES])
{
	for (size_t i = 0; i < PATTERN_BYTES; i++) {
		unsigned v = 0;

		sscanf(text + 2 * i, "%2x", &v);
		out[i] = (uint8_t)v;
	}
}

/* Exit status: 0 forgotten; 1 not; 2 it was not found before either: the search is no good. */
static int searched(const char *dir, char *const *patterns)
{
	uint8_t masked[FORMS][PATTERN_BYTES];
	struct pair x = {0};
	unsigned left = 0;

	tv_copy(kit_dir, sizeof(kit_dir), dir);
	for (unsigned i = 0; i < FORMS; i++)
		unhex(patterns[i], masked[i]);
	x.tls_p = kit_tls("ca", "a");
	x.tls_b = kit_tls("ca", "b");
	pair_start(&x, NULL, NULL);
	if (!search(masked[LIMBS]))
		return 2;
	KIT_UNTIL(x.base, x.p.opened && x.b.opened);
	repl_tls_forget_key(x.tls_b);
	for (unsigned i = 0; i < FORMS; i++)
		left += search(masked[i]);
	/* The connection is as good as before. */
	pair_free(&x);
	return left ? 1 : 0;
}

/* ---- the test ---- */

static void hex(const uint8_t *p, char out[2 * PATTERN_BYTES + 1])
{
	for (size_t i = 0; i < PATTERN_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i] ^ MASK);
}

/* As openssl computes with it, as it is encoded, as it stands in the file. */
static void patterns_of(const char *file, char out[FORMS][2 * PATTERN_BYTES + 1])
{
	uint8_t bytes[PATTERN_BYTES];
	FILE *f = fopen(file, "r");
	EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	BIGNUM *n = NULL;
	char line[128];

	assert_non_null(key);
	assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &n), 1);
	assert_int_equal(BN_bn2lebinpad(n, bytes, PATTERN_BYTES), PATTERN_BYTES);
	hex(bytes, out[LIMBS]);
	assert_int_equal(BN_bn2binpad(n, bytes, PATTERN_BYTES), PATTERN_BYTES);
	hex(bytes, out[DER]);
	rewind(f);
	for (int i = 0; i < 3; i++) /* the second line of base64 */
		assert_non_null(fgets(line, sizeof(line), f));
	assert_true(strlen(line) > PATTERN_BYTES);
	hex((const uint8_t *)line, out[PEM]);
	fclose(f);
	BN_clear_free(n);
	EVP_PKEY_free(key);
}

static void a_forgotten_key_is_nowhere(void **state)
{
	char patterns[FORMS][2 * PATTERN_BYTES + 1];
	char self[] = "test_repl_key", word[] = "search";
	char *argv[] = {self, word, kit_dir, patterns[0], patterns[1], patterns[2], NULL};
	int status;
	pid_t pid;

	(void)state;
	patterns_of(kit_path("b", "key"), patterns);
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_forgotten_key_is_nowhere),
	};

	if (argc == 6)
		return searched(argv[2], argv + 3);
	return cmocka_run_group_tests_name("repl_key", tests, kit_make_pki, kit_remove_pki);
}
