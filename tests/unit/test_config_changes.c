/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All mistakes of a configuration at once, what a key was meant to be, and what a reload changes. */
#include "replicator/session/keys.h"
#include "replicator/session/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CERTS "ca = a\ncert = b\nkey = c\n"
#define MOST 16

static struct found {
	unsigned n;
	int rc[MOST];
	struct tv_err e[MOST];
} found;

static void on_mistake(void *arg, int rc, const struct tv_err *e)
{
	struct found *f = arg;

	assert_in_range(f->n, 0, MOST - 1);
	f->rc[f->n] = rc;
	f->e[f->n++] = *e;
}

static int read_text(const char *text, struct config *c)
{
	char path[] = "/tmp/twinvm-config-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_int_equal(tv_write_all(fd, text, strlen(text)), 0);
	close(fd);
	found.n = 0;
	rc = config_read(path, c, on_mistake, &found);
	unlink(path);
	return rc;
}

static void has_mistake(unsigned i, const char *text)
{
	if (!strstr(found.e[i].text, text))
		fail_msg("'%s' has no '%s'", found.e[i].text, text);
}

static void every_mistake_has_its_line(void **state)
{
	static struct config c;

	(void)state;
	assert_int_equal(
		read_text("ca = a\ncert = b\nheartbeet_ms = 5\nmode = fast\nstaging_mib = 1\n"
			  "fence_required = yes\nwhat\narbiter = paper\nlisten = box:1\n",
			  &c),
		-EINVAL);
	assert_int_equal(found.n, 8);
	has_mistake(0, ":3: unknown key 'heartbeet_ms'; did you mean 'heartbeat_ms'?");
	has_mistake(1, ":5: 'staging_mib' must be");
	assert_int_equal(found.rc[1], -ERANGE);
	has_mistake(2, ":7: 'key = value'");
	has_mistake(3, "'key' is missing");
	has_mistake(4, ":9: listen = box");
	has_mistake(5, ":4: mode must be");
	has_mistake(6, ":8: arbiter: unknown arbiter 'paper'");
	has_mistake(7, ":6: fence_required needs");
	assert_int_equal(read_text(CERTS, &c), 0);
	assert_int_equal(found.n, 0);
}

static void a_mistyped_key_has_a_neighbour(void **state)
{
	static const struct {
		const char *name, *meant; /* NULL: none is near */
	} list[] = {{"epoch", "'epoch_ms'"},
		    {"brigde", "'bridge'"},
		    {"dashboard_tsl", "'dashboard_tls'"},
		    {"replicadir", "'replica_dir'"},
		    {"peers.hostB", "'peer.hostB'"},
		    {"peer", "'peer.NAME'"},
		    {"prioritty.web", "'priority.web'"},
		    {"drill.", "'drill.NAME'"},
		    {"certificate", "'cert'"},
		    {"colour", NULL},
		    {"x", NULL},
		    {"", NULL},
		    {"a_key_that_is_longer_than_any_other_and_than_what_is_compared", NULL}};
	char text[160];

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		config_key_nearest(config_keys, list[i].name, text, sizeof(text));
		if (list[i].meant ? !strstr(text, list[i].meant) : text[0])
			fail_msg("'%s': '%s'", list[i].name, text);
	}
}

static const struct config_change *change(const struct config_change *ch, unsigned n,
					  const char *key)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(ch[i].key, key))
			return &ch[i];
	fail_msg("%s has not changed", key);
	return NULL;
}

static void a_reload_names_what_has_changed(void **state)
{
	static struct config old, fresh;
	struct config_change ch[32];
	unsigned n;

	(void)state;
	assert_int_equal(read_text(CERTS "host = a\npeer.b = 10.0.0.2\npeer.c = [fd00::3]:9\n"
					 "priority.web = 9\ndrill = daily 03:00\nreprotect = no\n",
				   &old),
			 0);
	assert_int_equal(read_text(CERTS "host = a\npeer.c = 10.0.0.3:9\npeer.d = -\n"
					 "priority.web = 9\ndrill = daily 03:30\nepoch_ms = 50\n"
					 "spool_mib = 7\nlisten = [::]:5\n",
				   &fresh),
			 0);
	assert_int_equal(config_changes(&old, &old, ch, 32), 0);
	n = config_changes(&old, &fresh, ch, 32);
	assert_int_equal(n, 9);
	assert_string_equal(change(ch, n, "peer.b")->to, "");
	assert_string_equal(change(ch, n, "peer.c")->from, "[fd00::3]:9");
	assert_string_equal(change(ch, n, "peer.c")->to, "10.0.0.3:9");
	assert_string_equal(change(ch, n, "peer.d")->to, "-");
	assert_string_equal(change(ch, n, "drill")->to, "daily 03:30 within=120m");
	assert_string_equal(change(ch, n, "epoch_ms")->from, "25");
	assert_int_equal(change(ch, n, "reprotect")->effect, CONFIG_AT_ONCE);
	assert_string_equal(change(ch, n, "spool_mib")->to, "7");
	assert_int_equal(change(ch, n, "spool_mib")->effect, CONFIG_NEXT_SESSION);
	assert_string_equal(change(ch, n, "listen")->to, "[::]:5");
	assert_int_equal(change(ch, n, "listen")->effect, CONFIG_RESTART);
	memset(ch, 0, sizeof(ch));
	assert_int_equal(config_changes(&old, &fresh, ch, 2), 9);
	assert_string_equal(ch[2].key, "");
}

static void what_needs_a_restart_stays(void **state)
{
	static struct config old, fresh;

	(void)state;
	assert_int_equal(read_text(CERTS "host = a\nlisten = 10.0.0.1:5\nstate_dir = /s\n", &old),
			 0);
	assert_int_equal(read_text(CERTS
				   "host = b\nlisten = 10.0.0.2:6\nstate_dir = /t\nmode = remus\n"
				   "socket = /u\n",
				   &fresh),
			 0);
	assert_string_equal(fresh.address, "10.0.0.2:6");
	config_keep(&old, &fresh);
	assert_string_equal(fresh.host, "a");
	assert_string_equal(fresh.socket, "/run/twinvm/twinvmd.sock");
	assert_int_equal(fresh.listen_port, 5);
	assert_string_equal(fresh.mode, "remus");
	/* What follows from them, follows. */
	assert_string_equal(fresh.address, "10.0.0.1:5");
	assert_string_equal(fresh.replica_dir, "/s/disks");
	assert_int_equal(
		read_text(CERTS "listen = 10.0.0.2:6\naddress = x:1\nreplica_dir = /r\n", &fresh),
		0);
	config_keep(&old, &fresh);
	assert_string_equal(fresh.address, "x:1");
	assert_string_equal(fresh.replica_dir, "/r");
}

/* As it is installed, and with all of its defaults made explicit (but those that need more). */
static void the_example_has_no_mistakes(void **state)
{
	TV_FREE char *text = NULL, *all = NULL, *shown = NULL;
	static struct config c, d;
	struct config_change ch[32];

	(void)state;
	assert_int_equal(tv_read_file("docs/twinvmd.conf.example", 1 << 16, &text, NULL), 0);
	all = calloc(2, strlen(text) + sizeof(CERTS));
	shown = calloc(2, strlen(text) + sizeof(CERTS));
	assert_true(all && shown);
	strcpy(shown, CERTS);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
		if (!strncmp(line, "cluster =", 9)) /* there is no such folder here */
			continue;
		strcat(strcat(shown, line), "\n");
		strcat(strcat(all, line + (line[0] == '#' && line[1] != ' ')), "\n");
	}
	assert_int_equal(read_text(shown, &c), 0);
	assert_int_equal(read_text(all, &d), 0);
	assert_string_equal(d.bridges, "br1 vmbr5=br2");
	assert_int_equal(d.schedule_count, 3);
	assert_int_equal(config_vm(&d, "web")->priority, 50);
	/* Defaults are shown as they are: others have changed only where the example needs a value. */
	strcpy(d.host, c.host);
	for (unsigned i = 0, m = config_changes(&c, &d, ch, 32); i < m; i++)
		if (ch[i].key[0] != '[' &&
		    !strstr("address peer.hostB bridge bridges arbiters arbiter_ca priority.web "
			    "test_failover drill verify probe.web ca cert key cluster",
			    ch[i].key))
			fail_msg("%s: the example has '%s', the default is '%s'", ch[i].key,
				 ch[i].to, ch[i].from);
}

static void a_vm_has_a_section(void **state)
{
	static struct config c, fresh;
	struct config_change ch[32];
	unsigned n;

	(void)state;
	assert_int_equal(read_text(CERTS
				   "host = a\npeer.b = 10.0.0.2\npriority.web = 9\n"
				   "priority.db = 8\n[vm web]\nautoprotect = yes\n"
				   "priority = 70\n# no\n[ vm  my vm ]\nmode = remus\nbackup=a\n",
				   &c),
			 0);
	assert_int_equal(config_priority(&c, "web"), 70);
	assert_int_equal(config_priority(&c, "db"), 8);
	assert_int_equal(config_priority(&c, "my vm"), FO_PRIORITY_DEFAULT);
	assert_true(config_vm(&c, "web")->autoprotect);
	assert_string_equal(config_vm(&c, "my vm")->mode, "remus");
	assert_null(config_vm(&c, "db"));
	assert_string_equal(config_vm_backup(&c, "web"), "b");
	assert_string_equal(config_vm_backup(&c, "my vm"), "b"); /* its section names this host */
	assert_int_equal(read_text(CERTS "host = a\npeer.b = 10.0.0.2\npeer.c = 10.0.0.3\n"
					 "[vm web]\nbackup = c\nepoch_ms = 5\n",
				   &fresh),
			 0);
	assert_string_equal(config_vm_backup(&fresh, "web"), "c");
	assert_null(config_vm_backup(&fresh, "db"));
	n = config_changes(&c, &fresh, ch, 32);
	assert_string_equal(change(ch, n, "[vm web] autoprotect")->to, "no");
	assert_string_equal(change(ch, n, "[vm web] priority")->from, "70");
	assert_string_equal(change(ch, n, "[vm web] priority")->to, "");
	assert_string_equal(change(ch, n, "[vm my vm] mode")->from, "remus");
}

static void mistakes_in_a_section(void **state)
{
	static struct config c;

	(void)state;
	assert_int_equal(read_text(CERTS "[vm a]\nautoprotect = yes\n[vm b]\nbackup = nobody:x\n"
					 "mod = remus\n[vm b]\nmode = remus\n[box]\nx = y\n[vm c]\n"
					 "mode = fast\nspool_mib = 5\npriority = 101\n[vm]\n",
				   &c),
			 -EINVAL);
	assert_int_equal(found.n, 9);
	has_mistake(0, ":8: unknown key 'mod' in [vm b]; did you mean 'mode'?");
	has_mistake(1, ":9: there is a section [vm b] already, in line 6");
	has_mistake(2, ":11: unknown section '[box]'");
	has_mistake(3, ":15: unknown key 'spool_mib' in [vm c]: it belongs above");
	has_mistake(4, ":16: 'priority' must be");
	has_mistake(5, ":17: unknown section '[vm]'");
	has_mistake(6, ":4: [vm a]: autoprotect needs a backup");
	has_mistake(7, ":6: [vm b]: 'nobody:x' is neither");
	has_mistake(8, ":13: [vm c]: mode must be");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mistake_has_its_line),
		cmocka_unit_test(a_mistyped_key_has_a_neighbour),
		cmocka_unit_test(a_reload_names_what_has_changed),
		cmocka_unit_test(what_needs_a_restart_stays),
		cmocka_unit_test(a_vm_has_a_section),
		cmocka_unit_test(mistakes_in_a_section),
		cmocka_unit_test(the_example_has_no_mistakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
