/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which devices a device state is about: states made here, whole, cut off and hostile. */
#include "hv/standby/standby_int.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct state {
	uint8_t p[1024];
	size_t n;
};

static void put(struct state *s, const void *p, size_t n)
{
	assert_true(s->n + n <= sizeof(s->p));
	memcpy(s->p + s->n, p, n);
	s->n += n;
}

static void put_section(struct state *s, uint8_t id, const char *name)
{
	/* data that look like a footer of this section, with something else behind it */
	const uint8_t head[] = {0x04, 0, 0, 0, id, (uint8_t)strlen(name)};
	const uint8_t tail[] = {0, 0, 0,    0,	0, 0, 0,    1, 0x7e, 0, 0,  0, id, 9, 0x7e,
				0, 0, 0,    id, 0, 9, 0x7e, 0, 0,    0, id, 4, 0,  0, 0,
				1, 0, 0x7e, 0,	0, 0, id,   4, 0,    0, 0,  1, 2,  7, 7,
				0, 0, 0,    0,	0, 0, 0,    0, 0x7e, 0, 0,  0, id};

	put(s, head, sizeof(head));
	put(s, name, strlen(name));
	put(s, tail, sizeof(tail));
}

static struct state state_of(const char *const *names)
{
	struct state s = {.p = "QEVM\0\0\0\3", .n = 8};

	for (uint8_t id = 3; *names; id++)
		put_section(&s, id, *names++);
	put(&s, "", 1);
	return s;
}

static int check(const struct state *s, struct tv_err *e)
{
	static const char has[] = "\n0000:00:01.0/virtio-net#0\n0000:00:02.0/vga#0\n";
	struct hv_standby *sb = calloc(1, sizeof(*sb));
	int rc;

	tv_buf_init(&sb->sections, sizeof(has));
	assert_int_equal(tv_buf_add(&sb->sections, has, sizeof(has)), 0);
	rc = hv_standby_check_state(sb, s->p, s->n, e);
	tv_buf_dispose(&sb->sections);
	free(sb);
	return rc;
}

static void a_device_too_many_is_named(void **state)
{
	const char *const same[] = {"timer", "0000:00:01.0/virtio-net", "0000:00:02.0/vga", NULL};
	const char *const fewer[] = {"only/when", NULL}, *const none[] = {"slirp", NULL};
	const char *const more[] = {"0000:00:02.0/vga", "0000:00:03.0/e1000e", NULL};
	struct tv_err e = {0};
	struct state s = state_of(same);

	(void)state;
	assert_int_equal(check(&s, &e), 0);
	s = state_of(none);
	assert_int_equal(check(&s, &e), 0);
	s = state_of(fewer);
	assert_int_equal(check(&s, &e), TV_E_REFUSED);
	s = state_of(more);
	assert_int_equal(check(&s, &e), TV_E_REFUSED);
	assert_non_null(strstr(e.text, "e1000e at 0000:00:03.0"));
}

/* What cannot be read is not refused here: QEMU decides. Nothing outside of it is read. */
static void any_prefix_is_harmless(void **state)
{
	const char *const names[] = {"timer", "0000:00:01.0/virtio-net", "0000:00:02.0/vga", NULL};
	struct state s = state_of(names);

	(void)state;
	for (size_t n = 0; n <= s.n; n++) {
		struct state *cut = malloc(sizeof(cut->n) + sizeof(cut->p));

		*cut = s;
		cut->n = n;
		assert_int_equal(check(cut, NULL), 0);
		free(cut);
	}
}

/* A list of names; what is in one and not in the other, as people write it. */
static void lists_differ_by_name(void **state)
{
	const char *const names[] = {"timer", "cpu_common", "0000:00:01.0/virtio-net", "slirp",
				     NULL};
	struct state s = state_of(names);
	struct tv_buf b;
	char name[HV_SECTION_NAME_BYTES];

	(void)state;
	tv_buf_init(&b, 4096);
	assert_int_equal(hv_sections_list(s.p, s.n, &b), 0);
	assert_string_equal((char *)b.data, "\ncpu_common#0\n0000:00:01.0/virtio-net#0\n");
	assert_false(hv_sections_missing((char *)b.data, (char *)b.data, name, sizeof(name)));
	assert_true(hv_sections_missing((char *)b.data, "\n", name, sizeof(name)));
	assert_string_equal(name, "CPU 0");
	assert_true(hv_sections_missing((char *)b.data, "\ncpu_common#0\n", name, sizeof(name)));
	assert_string_equal(name, "virtio-net at 0000:00:01.0");
	assert_false(hv_sections_missing("\n", (char *)b.data, name, sizeof(name)));
	b.bytes = 0;
	assert_int_equal(hv_sections_list(s.p, s.n - 1, &b), -EBADMSG);
	tv_buf_dispose(&b);
}

/* As swtpm 0.7.1 hands it out: flags, size, head, the outer record, the inner one, the TPM's own. */
static const uint8_t tpm2[] = {0, 0, 0, 0, 0,	 0, 0,	  0x1e, 2,    1,    0,	  10, 0,
			       4, 0, 0, 0, 0x1e, 0, 4,	  0,	0,    0,    0x0e, 0,  1,
			       0, 0, 0, 8, 0,	 3, 0xab, 0x36, 0x47, 0x23, 0,	  3};

static int check_tpm_with(size_t at, uint8_t byte, struct tv_err *e)
{
	uint8_t *p = malloc(sizeof(tpm2));
	int rc;

	memcpy(p, tpm2, sizeof(tpm2));
	p[at] = byte;
	rc = hv_standby_check_tpm(p, sizeof(tpm2), e);
	free(p);
	return rc;
}

static void a_tpm_that_cannot_be_loaded_is_refused(void **state)
{
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(check_tpm_with(0, 0, &e), 0);
	assert_int_equal(check_tpm_with(3, 2, &e), TV_E_REFUSED);
	assert_non_null(strstr(e.text, "--migration-key"));
	assert_int_equal(check_tpm_with(35, 0x22, &e), TV_E_REFUSED); /* a TPM 1.2 */
	assert_non_null(strstr(e.text, "--tpm2"));
	assert_int_equal(check_tpm_with(25, 5, &e), TV_E_REFUSED); /* encrypted */
	assert_int_equal(check_tpm_with(19, 2, &e), TV_E_REFUSED);
	assert_int_equal(check_tpm_with(11, 0xff, &e), TV_E_REFUSED); /* a head that is too long */
	assert_int_equal(check_tpm_with(11, 0, &e), TV_E_REFUSED);
	assert_int_equal(check_tpm_with(6, 0xff, &e), -EBADMSG);
	assert_int_equal(check_tpm_with(7, 0, &e), 0); /* nothing yet */
	/* Cut off anywhere: nothing outside of it is read. */
	for (size_t n = 0; n < sizeof(tpm2); n++) {
		uint8_t *p = malloc(n + 1);

		memcpy(p, tpm2, n);
		assert_int_not_equal(hv_standby_check_tpm(p, n, NULL), 0);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_too_many_is_named),
		cmocka_unit_test(any_prefix_is_harmless),
		cmocka_unit_test(lists_differ_by_name),
		cmocka_unit_test(a_tpm_that_cannot_be_loaded_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
