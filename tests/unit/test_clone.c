/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A clone of an epoch, for a test: its orders and probes as texts, its images, what it learns of its guest. */
#include "clone/clone_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "0123456789abcdef0123456789abcdef"

/* ---- probes ---- */
static void is_probe(const char *text, enum clone_probe_kind kind, unsigned port)
{
	struct clone_probe p;
	struct tv_err e = {0};

	assert_int_equal(clone_probe_parse(text, &p, &e), 0);
	assert_int_equal(p.kind, kind);
	assert_int_equal(p.port, port);
	assert_string_equal(p.text, text);
}

static void is_refused(const char *text, const char *why)
{
	struct clone_probe p;
	struct tv_err e = {0};

	assert_int_equal(clone_probe_parse(text, &p, &e), -EINVAL);
	if (!strstr(e.text, why))
		fail_msg("'%s': '%s', not '%s'", text, e.text, why);
}

static void test_probes(void **state)
{
	char longest[1024 + 1];
	struct clone_probe p;
	struct tv_err e;

	(void)state;
	is_probe("tcp:22", CLONE_TCP, 22);
	is_probe("tcp:65535", CLONE_TCP, 65535);
	is_probe("redis", CLONE_REDIS, 6379);
	is_probe("redis:7000", CLONE_REDIS, 7000);
	is_probe("agent", CLONE_AGENT, 0);
	is_probe("screen", CLONE_SCREEN, 0);
	is_probe("named:web", CLONE_NAMED, 0);
	is_probe("named", CLONE_COMMAND, 0);
	is_probe("agent --x", CLONE_COMMAND, 0);
	is_probe("redis-cli -h $TWINVM_GUEST ping", CLONE_COMMAND, 0);
	is_probe("https:x", CLONE_COMMAND, 0);
	is_probe("http:http://www.example:8080/a?b", CLONE_HTTP, 8080);
	assert_int_equal(clone_probe_parse("http:http://www.example", &p, &e), 0);
	assert_string_equal(p.host, "www.example");
	assert_string_equal(p.path, "/");
	assert_int_equal(p.port, 80);
	is_refused("", "empty");
	is_refused("tcp:", "port");
	is_refused("tcp:0", "port");
	is_refused("tcp:65536", "port");
	is_refused("tcp:-1", "port");
	is_refused("tcp:22x", "port");
	is_refused("redis:", "port");
	is_refused("http:www.example", "http://HOST");
	is_refused("http:http:///x", "host");
	is_refused("http:http://a:b/x", "port");
	is_refused("http:http://a/x y", "blank");
	is_refused("http:http://a/x\r\nHost: b", "blank");
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	is_refused(longest, "1023 bytes");
}

/* ---- orders ---- */
static struct clone_order usual(void)
{
	struct clone_order o = {.config = "/etc/x",
				.vm_id = ID,
				.vm = "web1",
				.peer = "hostA",
				.for_s = CLONE_FOR_S,
				.probe_s = CLONE_PROBE_S,
				.disk_bytes = CLONE_DISK_BYTES,
				.guest = "10.0.0.2",
				.ordered_ns = 5,
				.keep = true};
	struct tv_err e;

	assert_int_equal(clone_probe_parse("redis", &o.probes[0], &e), 0);
	assert_int_equal(clone_probe_parse("true", &o.probes[1], &e), 0);
	o.n_probes = 2;
	return o;
}

static int read_back(const struct clone_order *o, struct clone_order *out, struct tv_err *e)
{
	json_t *j = clone_order_write(o);
	int rc;

	assert_non_null(j);
	rc = clone_order_read(j, out, e);
	json_decref(j);
	return rc;
}

static void test_order(void **state)
{
	struct clone_order o = usual(), back;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(read_back(&o, &back, &e), 0);
	assert_memory_equal(&o, &back, sizeof(o));
}

static void test_limits(void **state)
{
	static const char *const bad[] = {"x", "127.0.0.1", "0.0.0.0", "224.0.0.1", "::1"};
	struct clone_order o = usual(), back;
	struct tv_err e = {0};

	(void)state;
	o.for_s = CLONE_MAX_S + 1;
	assert_int_equal(read_back(&o, &back, &e), -ERANGE);
	assert_non_null(strstr(e.text, "--for"));
	o.for_s = 0;
	assert_int_equal(read_back(&o, &back, &e), -ERANGE);
	o = usual();
	o.probe_s = 0;
	assert_int_equal(read_back(&o, &back, &e), -ERANGE);
	assert_non_null(strstr(e.text, "--probe-timeout"));
	o = usual();
	o.disk_bytes = 0;
	assert_int_equal(read_back(&o, &back, &e), -ERANGE);
	o = usual();
	o.vm_id[3] = '/';
	assert_int_equal(read_back(&o, &back, &e), -EINVAL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		o = usual();
		tv_copy(o.guest, sizeof(o.guest), bad[i]);
		assert_int_equal(read_back(&o, &back, &e), -EINVAL);
		o = usual();
		tv_copy(o.address, sizeof(o.address), bad[i]);
		assert_int_equal(read_back(&o, &back, &e), -EINVAL);
	}
}

/* ---- the guest's frames ---- */
static void test_address(void **state)
{
	uint8_t arp[42] = {[12] = 0x08, [13] = 0x06, [18] = 6, [19] = 4,
			   [28] = 10,	[29] = 77,   [30] = 0, [31] = 2};
	uint8_t ip[34] = {[12] = 0x08, [14] = 0x45, [26] = 192, [27] = 168, [28] = 1, [29] = 9};
	uint8_t other[60] = {[12] = 0x86, [13] = 0xdd, [14] = 0x60};
	struct in_addr a = {0};

	(void)state;
	assert_true(clone_net_address(arp, sizeof(arp), &a));
	assert_int_equal(ntohl(a.s_addr), 0x0a4d0002);
	assert_true(clone_net_address(ip, sizeof(ip), &a));
	assert_int_equal(ntohl(a.s_addr), 0xc0a80109);
	/* Cut off, and what no guest is reached by: a probe for an address in use, DHCP, link-local. */
	for (size_t n = 0; n < sizeof(arp); n++)
		assert_false(clone_net_address(arp, n, &a));
	for (size_t n = 0; n < sizeof(ip); n++)
		assert_false(clone_net_address(ip, n, &a));
	arp[28] = 0;
	assert_false(clone_net_address(arp, sizeof(arp), &a));
	arp[28] = 169;
	arp[29] = 254;
	assert_false(clone_net_address(arp, sizeof(arp), &a));
	ip[26] = 127;
	assert_false(clone_net_address(ip, sizeof(ip), &a));
	ip[26] = 255;
	assert_false(clone_net_address(ip, sizeof(ip), &a));
	assert_false(clone_net_address(other, sizeof(other), &a));
}

static void test_neighbour(void **state)
{
	(void)state;
	for (unsigned last = 1; last < 255; last++) {
		struct in_addr guest = {.s_addr = htonl(0x0a4d0000 | last)};
		uint32_t n = ntohl(clone_net_neighbour(guest).s_addr);

		/* Beside it in a network of four or more, never its own, nor a network's first or last of 256. */
		assert_int_equal(n >> 2, 0x0a4d0000u >> 2 | last >> 2);
		assert_int_not_equal(n & 255, last);
		assert_int_not_equal(n & 255, 0);
		assert_int_not_equal(n & 255, 255);
	}
}

/* ---- images ---- */
static void test_image(void **state)
{
	static const uint64_t sizes[] = {512, 64u << 20, UINT64_C(5) << 40};
	char path[] = "/tmp/test_clone.XXXXXX", command[200];
	int fd = mkstemp(path);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_int_equal(clone_image(path, sizes[i], getuid()), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_true(clone_image_takes(path) > 0 && clone_image_takes(path) < 1u << 20);
		/* QEMU's own opinion. */
		snprintf(command, sizeof(command),
			 "qemu-img check -q %s && qemu-img info --output=json %s | grep -q "
			 "'virtual-size\": %llu,'",
			 path, path, (unsigned long long)sizes[i]);
		assert_int_equal(system(command), 0);
	}
	assert_int_equal(clone_image(path, 0, getuid()), -EINVAL);
	assert_int_equal(clone_image(path, 513, getuid()), -EINVAL);
	assert_int_equal(clone_image("/nowhere/x", 512, getuid()), -ENOENT);
	unlink(path);
	assert_int_equal(clone_image_takes(path), 0);
}

/* ---- what is left ---- */
static void test_leftovers(void **state)
{
	static struct config c;
	struct clone_world w = {0};
	char dir[] = "/tmp/test_clone.XXXXXX", path[600], other[600];
	struct clone_names n;
	json_t *list;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(c.run_dir, sizeof(c.run_dir), "%s", dir);
	snprintf(c.state_dir, sizeof(c.state_dir), "%s", dir);
	clone_names(&c, ID, &n);
	list = clone_leftovers(&c, ID, &w);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	assert_int_equal(mkdir(n.images, 0700), 0);
	assert_int_equal(mkdir(n.dir, 0700), 0);
	snprintf(path, sizeof(path), "%s/%s-0.qcow2", n.images, n.name);
	snprintf(other, sizeof(other), "%s/test-1%.31s-0.qcow2", n.images, ID);
	assert_non_null(f = fopen(path, "w"));
	fclose(f);
	assert_non_null(f = fopen(other, "w"));
	fclose(f);
	list = clone_leftovers(&c, ID, &w);
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
	/* A process counts by both of its namespaces, and none of this one's is ended for that. */
	w.net = 1;
	w.pids = 1;
	clone_remove(&c, ID, &w);
	list = clone_leftovers(&c, ID, &w);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	assert_int_equal(access(other, F_OK), 0);
	unlink(other);
	rmdir(n.images);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probes),	  cmocka_unit_test(test_order),
		cmocka_unit_test(test_limits),	  cmocka_unit_test(test_address),
		cmocka_unit_test(test_neighbour), cmocka_unit_test(test_image),
		cmocka_unit_test(test_leftovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
