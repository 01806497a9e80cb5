/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: keys, defaults, bounds, addresses. */
#include "replicator/session/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define CERTS "ca = a\ncert = b\nkey = c\n"

static int load(const char *text, struct config *c, struct tv_err *e)
{
	char path[] = "/tmp/twinvm-config-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
	close(fd);
	rc = config_load(path, c, e);
	unlink(path);
	return rc;
}

static void config_is_read(void **state)
{
	struct config_peer p;
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(load("# comment\n host = hostA\nlisten=10.0.0.1:99\n" CERTS
			      "peer.hostB = 10.0.0.2\npeer.hostC = [fe80::1]:5\nheartbeat_ms = 50\n"
			      "staging_mib = 8\nmode = kemari",
			      &c, &e),
			 0);
	assert_string_equal(c.host, "hostA");
	assert_string_equal(c.listen_host, "10.0.0.1");
	assert_int_equal(c.listen_port, 99);
	assert_int_equal(c.heartbeat_ms, 50);
	assert_int_equal(c.staging_bytes, 8 << 20);
	assert_int_equal(config_peer(&c, "hostB", &p, &e), 0);
	assert_string_equal(p.host, "10.0.0.2");
	assert_int_equal(p.port, CONFIG_DEFAULT_PORT);
	assert_int_equal(config_peer(&c, "hostC", &p, &e), 0);
	assert_string_equal(p.host, "fe80::1");
	assert_int_equal(p.port, 5);
	assert_int_equal(config_peer(&c, "other.example:77", &p, &e), 0);
	assert_string_equal(p.host, "other.example");
	assert_int_equal(p.port, 77);
	assert_string_equal(p.name, "");
	assert_int_equal(config_peer(&c, "x:y", &p, &e), -EINVAL);
}

static void vms_have_priorities(void **state)
{
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(
		load(CERTS "priority.vm1 = 0\npriority.web = 9\npriority.web = 100\n", &c, &e), 0);
	assert_int_equal(config_priority(&c, "vm1"), 0);
	assert_int_equal(config_priority(&c, "web"), 100);
	assert_int_equal(config_priority(&c, "vm2"), FO_PRIORITY_DEFAULT);
	assert_true(config_health_acts(&c));
	assert_int_equal(load(CERTS "health_action = warn\n", &c, &e), 0);
	assert_false(config_health_acts(&c));
}

/* A default that docs/CONFIG.md promises, and without which no host could be a backup. */
static void what_a_standby_may_use_has_defaults(void **state)
{
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(load("host = hostA\n" CERTS, &c, &e), 0);
	assert_string_equal(c.qemu_path, "/usr/local/bin:/usr/bin:/usr/libexec");
	assert_string_equal(c.media, "/usr/share:/usr/local/share:/usr/lib:/var/lib/libvirt/boot:"
				     "/var/lib/vz/template:/var/lib/twinvm/media");
	assert_int_equal(load("host = hostA\nqemu_path = /opt/qemu\nmedia = /srv\n" CERTS, &c, &e),
			 0);
	assert_string_equal(c.qemu_path, "/opt/qemu");
	assert_string_equal(c.media, "/srv");
}

static void peers_are_an_accept_list(void **state)
{
	struct config_peer p;
	struct tv_err e = {0};
	struct config c;

	(void)state;
	assert_int_equal(load("host = hostA\n" CERTS "peer.hostB = 10.0.0.2\npeer.hostC = -\n"
			      "peer.hostD = 10.0.0.4\nrevoked = hostD, hostE\n",
			      &c, &e),
			 0);
	assert_int_equal(config_admit("hostB", &c, &e), 0);
	assert_int_equal(config_admit("hostC", &c, &e), 0);
	assert_int_equal(config_admit("hostD", &c, &e), -EKEYREVOKED);
	assert_non_null(strstr(e.text, "hostD is revoked"));
	assert_int_equal(config_admit("hostE", &c, &e), -EKEYREVOKED);
	assert_int_equal(config_admit("host", &c, &e), -EPERM);
	assert_int_equal(config_admit("hostBB", &c, &e), -EPERM);
	assert_string_equal(e.text,
			    "hostBB is not a peer of hostA: add peer.hostBB to its configuration");
	assert_int_equal(config_admit("", &c, &e), -EPERM);
	assert_int_equal(config_admit("hostA", &c, &e), -ELOOP);
	/* In the list, but only the arbiter knows where it is. */
	assert_int_equal(config_peer(&c, "hostC", &p, &e), -EINVAL);
	assert_non_null(strstr(e.text, "hostC"));
	assert_non_null(strstr(e.text, "no address"));
}

static void arbiters_are_this_hosts_choice(void **state)
{
	struct tv_err e = {0};
	struct config c;

	(void)state;
	assert_int_equal(load(CERTS "arbiter = etcd://a:1,b:2\n", &c, &e), 0);
	assert_int_equal(config_check_arbiter(&c, "etcd://a:1,b:2", &e), 0);
	assert_int_equal(config_check_arbiter(&c, "none", &e), TV_E_REFUSED);
	assert_int_equal(config_check_arbiter(&c, "etcd://a:1", &e), TV_E_REFUSED);
	assert_int_equal(config_check_arbiter(&c, "", &e), TV_E_REFUSED);
	assert_int_equal(config_check_arbiter(&c, "file:///etc", &e), TV_E_REFUSED);
	assert_non_null(strstr(e.text, "file:///etc"));
	assert_int_equal(load(CERTS "arbiters = none etcd://a,b file:///x/y\n", &c, &e), 0);
	assert_int_equal(config_check_arbiter(&c, "none", &e), 0);
	assert_int_equal(config_check_arbiter(&c, "file:///x/y", &e), 0);
	assert_int_equal(config_check_arbiter(&c, "etcd://a,b", &e), 0);
	assert_int_equal(config_check_arbiter(&c, "etcd://a", &e), TV_E_REFUSED);
	assert_int_equal(config_check_arbiter(&c, "file:///x", &e), TV_E_REFUSED);
}

static void keys_must_be_secret(void **state)
{
	static const struct {
		unsigned mode;
		int rc;
	} list[] = {{0600, 0}, {0400, 0}, {0640, -EPERM}, {0604, -EPERM}, {0601, -EPERM}};
	static const char *const names[] = {"key", "arbiter_key"};
	char path[] = "/tmp/twinvm-key-XXXXXX", text[200];
	int fd = mkstemp(path);
	struct config c;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(list) / sizeof(*list); i++) {
		struct tv_err e = {0};

		snprintf(text, sizeof(text), "%s%s = %s\n", CERTS, names[i % 2], path);
		assert_int_equal(fchmod(fd, list[i / 2].mode), 0);
		assert_int_equal(load(text, &c, &e), list[i / 2].rc);
		if (!list[i / 2].rc)
			continue;
		assert_non_null(strstr(e.text, path));
		assert_non_null(strstr(e.text, names[i % 2]));
		assert_non_null(strstr(e.text, "chmod 600"));
	}
	assert_int_equal(fchmod(fd, 0600), 0);
	if (!geteuid()) {
		struct tv_err e = {0};

		assert_int_equal(fchown(fd, 12345, 0), 0);
		assert_int_equal(load(text, &c, &e), -EPERM);
		assert_non_null(strstr(e.text, "12345"));
	}
	close(fd);
	unlink(path);
}

static void config_errors_name_the_line(void **state)
{
	static const struct {
		const char *text, *names;
	} bad[] = {{CERTS "nonsense\n", ":4:"},
		   {CERTS "colour = red\n", "colour"},
		   {"host = a\n", "'ca' is missing"},
		   {CERTS "heartbeat_ms = 5\n", "from 20 to 60000"},
		   {CERTS "heartbeat_ms = 1e3\n", "heartbeat_ms"},
		   {CERTS "listen = :99\n", "ADDRESS:PORT"},
		   {CERTS "listen = a:70000\n", "ADDRESS:PORT"},
		   {CERTS "peer.x = a:0\n", "HOST:PORT"},
		   {CERTS "mode = fast\n", "mode"},
		   {CERTS "bridges = br1 =br2\n", "'=br2' is neither"},
		   {CERTS "bridges = a= b\n", "'a=' is neither"},
		   {CERTS "bridges = a=b=c\n", "'a=b=c' is neither"},
		   {CERTS "bridges = a=averyverylongname\n", "at most 15"},
		   {CERTS "reprotect = maybe\n", "yes or no"},
		   {CERTS "hung_qemu = kill\n", "wait or failover"},
		   {CERTS "health_action = panic\n", "act or warn"},
		   {CERTS "priority.vm1 = 101\n", "from 0 to 100"},
		   {CERTS "priority.vm1 = -1\n", "from 0 to 100"},
		   {CERTS "priority.vm1 = high\n", "from 0 to 100"},
		   {CERTS "priority. = 5\n", "no name"},
		   {CERTS "spool_mib = 0\n", "from 1 to 16777216"},
		   {CERTS "fence_command = /etc/passwd\n", "not an executable"},
		   {CERTS "fence_required = yes\n", "needs a fence_command"},
		   {CERTS "fence_check = yes\n", "fence_check needs a fence_command"},
		   {CERTS "drill = weekly\n", ":4: drill: a day is missing"},
		   {CERTS "test_failover.vm1 = daily 25:00\n", "test_failover: '25:00'"},
		   {CERTS "drill = daily 03:00\ndrill = no\n", "each VM has a schedule of drill"},
		   {CERTS "verify.vm1 = no\nverify.vm1 = no\n", "vm1 has a schedule of verify"},
		   {CERTS "drill. = daily 03:00\n", "unknown key 'drill.'"},
		   {CERTS "rehearsal_reminder_days = -1\n", "from 0 to 3650"},
		   {CERTS "probe. = true\n", "needs a name"},
		   {CERTS "probe.web =\n", "needs a command"},
		   {CERTS "probe.web = a\nprobe.web = b\n", "two of 'probe.web'"},
		   {CERTS "peer_commands = some\n", "yes or no"},
		   {CERTS "watchdog = /nowhere\n", "not writable"},
		   {CERTS "bridge = averyveryverylongname\n", "too long"}};
	struct config c;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct tv_err e = {0};

		assert_true(load(bad[i].text, &c, &e) < 0);
		if (!strstr(e.text, bad[i].names))
			fail_msg("'%s' does not name '%s'", e.text, bad[i].names);
	}
}

static void schedules_are_of_one_vm_or_of_all(void **state)
{
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(load(CERTS "drill = weekly sun 03:00\ndrill.web = no\n"
				    "test_failover.db.old = daily 1:30 probe=tcp:5432 for=60\n",
			      &c, &e),
			 0);
	assert_int_equal(c.schedule_count, 3);
	assert_string_equal(c.schedules[0].vm, "");
	assert_string_equal(c.schedules[1].vm, "web");
	assert_int_equal(c.schedules[1].every, SCHEDULE_NEVER);
	assert_int_equal(c.schedules[2].what, SCHEDULE_TEST_FAILOVER);
	assert_string_equal(c.schedules[2].vm, "db.old");
	assert_int_equal(c.schedules[2].minute, 90);
	assert_int_equal(c.rehearsal_reminder_days, 180);
}

static void probes_have_names(void **state)
{
	struct config c;
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(load(CERTS "probe.web = check --url 'a = b'\nprobe.db = true\n", &c, &e),
			 0);
	assert_string_equal(config_probe(&c, "web"), "check --url 'a = b'");
	assert_string_equal(config_probe(&c, "db"), "true");
	assert_null(config_probe(&c, ""));
	assert_null(config_probe(&c, "we"));
	assert_true(c.peer_commands);
}

static void config_defaults_follow_other_keys(void **state)
{
	struct tv_err e = {0};
	struct config c;

	(void)state;
	assert_int_equal(load(CERTS "host = hostA\nstate_dir = /s\n", &c, &e), 0);
	assert_string_equal(c.replica_dir, "/s/disks");
	assert_string_equal(c.address, "hostA:7890"); /* nobody can connect to a wildcard */
	assert_string_equal(c.arbiter, "none");
	assert_string_equal(c.mode, "adaptive");
	assert_true(c.reprotect && !c.fence_required);
	assert_int_equal(load(CERTS "host = hostA\nlisten = [::]:5\n", &c, &e), 0);
	assert_string_equal(c.address, "hostA:5");
	assert_int_equal(load(CERTS "listen = [fe80::2]:5\nreprotect = no\n", &c, &e), 0);
	assert_string_equal(c.address, "[fe80::2]:5");
	assert_false(c.reprotect);
	assert_int_equal(load(CERTS "address = a:1\nreplica_dir = /r\ncache_mib = 0\n"
				    "fence_command = /bin/true\nfence_required = yes",
			      &c, &e),
			 0);
	assert_string_equal(c.address, "a:1");
	assert_string_equal(c.replica_dir, "/r");
	assert_int_equal(c.cache_bytes, 0);
	assert_true(c.fence_required);
	assert_int_equal(config_load("/nowhere/twinvmd.conf", &c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/twinvmd.conf"));
}

static void config_lists_are_bounded(void **state)
{
	char text[8192] = CERTS;
	struct tv_err e = {0};
	struct config c;

	(void)state;
	for (int i = 0; i < CONFIG_MAX_PEERS; i++)
		sprintf(text + strlen(text), "peer.host%d = 10.0.0.%d\n", i, i);
	assert_int_equal(load(text, &c, &e), 0);
	assert_int_equal(c.peer_count, CONFIG_MAX_PEERS);
	strcat(text, "peer.more = 10.0.1.1\n");
	assert_int_equal(load(text, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "more than 64 peers"));
	memset(text, 0, sizeof(text));
	strcpy(text, CERTS "peer.");
	memset(text + strlen(text), 'x', sizeof(c.peers[0].name));
	strcat(text, " = a:1\n");
	assert_int_equal(load(text, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "too long"));
	memset(text, 0, sizeof(text));
	strcpy(text, CERTS "state_dir = /");
	memset(text + strlen(text), 'x', sizeof(c.state_dir) - 2);
	assert_int_equal(load(text, &c, &e), -ENAMETOOLONG);
}

static void addresses(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port; /* 0: invalid */
	} list[] = {{"a:1", "a", 1},
		    {"a", "a", CONFIG_DEFAULT_PORT},
		    {"::1", "::1", CONFIG_DEFAULT_PORT},
		    {"[::1]", "::1", CONFIG_DEFAULT_PORT},
		    {"[::1]:65535", "::1", 65535},
		    {"[fe80::1%eth1]:9", "fe80::1%eth1", 9},
		    {"fe80::1%eth1", "fe80::1%eth1", CONFIG_DEFAULT_PORT},
		    {"", "", 0},
		    {":1", "", 0},
		    {"[]:1", "", 0},
		    {"[::1]1", "", 0},
		    {"[::1", "", 0},
		    {"a:", "", 0},
		    {"a:0", "", 0},
		    {"a:65536", "", 0},
		    {"a:1x", "", 0},
		    {"0123456789abcdef:1", "", 0}}; /* no room for its end */
	uint16_t port;
	char host[16];

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		int rc = config_address(list[i].text, host, sizeof(host), &port);

		if (rc != (list[i].port ? 0 : -EINVAL))
			fail_msg("'%s': %d", list[i].text, rc);
		if (rc)
			continue;
		assert_string_equal(host, list[i].host);
		assert_int_equal(port, list[i].port);
	}
}

static void dashboard_is_for_this_host_unless_it_is_guarded(void **state)
{
	static const char *const refused[] = {
		"dashboard = 0.0.0.0:7891\n",
		"dashboard = 0.0.0.0:7891\ndashboard_tls = yes\n",
		"dashboard = 10.0.0.1:7891\ndashboard_token_file = /t\n",
		"dashboard = [::]:7891\ndashboard_tls = yes\n",
		"dashboard = localhost:7891\n",
		"dashboard = 127.0.0.1\n", /* twinvmd's own port */
		"dashboard = 127.0.0.1:7891\ndashboard_cert = /c\n",
		"dashboard = yes\n",
	};
	struct config_dashboard at;
	struct tv_err e = {0};
	struct config c;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		snprintf(text, sizeof(text), CERTS "%s", refused[i]);
		assert_int_equal(load(text, &c, &e), -EINVAL);
		assert_non_null(strstr(e.text, "dashboard"));
	}
	assert_int_equal(load(CERTS, &c, &e), 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_true(at.on && at.loopback && at.port == 7891 && !at.cert[0]);
	assert_string_equal(at.host, "127.0.0.1");
	assert_int_equal(load(CERTS "dashboard = no\n", &c, &e), 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_false(at.on);
	assert_int_equal(load(CERTS "dashboard = [::]:443\ndashboard_tls = yes\n"
				    "dashboard_token_file = /t\n",
			      &c, &e),
			 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_true(at.on && !at.loopback);
	assert_int_equal(load(CERTS "dashboard = [fe80::1%lo]:443\ndashboard_tls = yes\n"
				    "dashboard_token_file = /t\n",
			      &c, &e),
			 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_false(at.loopback);
	assert_string_equal(at.host, "fe80::1%lo");
	assert_int_equal(load(CERTS "dashboard = [::]:443\ndashboard_tls = yes\n"
				    "dashboard_token_file = /t\n",
			      &c, &e),
			 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_string_equal(at.cert, "b");
	assert_int_equal(load(CERTS "dashboard = [::1]:443\ndashboard_tls = yes\n"
				    "dashboard_cert = x\ndashboard_key = y\n",
			      &c, &e),
			 0);
	assert_int_equal(config_dashboard(&c, &at, &e), 0);
	assert_true(at.on && at.loopback);
	assert_string_equal(at.key, "y");
}

static void an_endpoint_has_brackets_where_it_needs_them(void **state)
{
	char out[REPL_ENDPOINT_ROOM];

	(void)state;
	assert_string_equal(repl_endpoint(out, "10.0.0.1", 7890), "10.0.0.1:7890");
	assert_string_equal(repl_endpoint(out, "host", 1), "host:1");
	assert_string_equal(repl_endpoint(out, "fe80::1%eth0", 65535), "[fe80::1%eth0]:65535");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_is_read),
		cmocka_unit_test(vms_have_priorities),
		cmocka_unit_test(peers_are_an_accept_list),
		cmocka_unit_test(arbiters_are_this_hosts_choice),
		cmocka_unit_test(keys_must_be_secret),
		cmocka_unit_test(config_errors_name_the_line),
		cmocka_unit_test(what_a_standby_may_use_has_defaults),
		cmocka_unit_test(schedules_are_of_one_vm_or_of_all),
		cmocka_unit_test(probes_have_names),
		cmocka_unit_test(config_defaults_follow_other_keys),
		cmocka_unit_test(config_lists_are_bounded),
		cmocka_unit_test(addresses),
		cmocka_unit_test(an_endpoint_has_brackets_where_it_needs_them),
		cmocka_unit_test(dashboard_is_for_this_host_unless_it_is_guarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
