/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvm health: this host's hardware, as the daemon knows it. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <time.h>

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static void print_sources(const json_t *o)
{
	json_t *s;
	size_t i;

	printf("reported by\n");
	if (*text(o, "trace"))
		printf("  nothing: %s\n", text(o, "trace"));
	json_array_foreach(json_object_get(o, "sources"), i, s)
		if (json_is_true(json_object_get(s, "there")))
			printf("  %-21s %s\n", text(s, "name"), text(s, "what"));
		else if (!*text(o, "trace"))
			printf("  %-21s no: %s\n", text(s, "name"), text(s, "why"));
	s = json_object_get(o, "edac");
	printf("  %-21s %lld memory controllers: %lld errors corrected, %lld not\n", "EDAC",
	       number(s, "controllers"), number(s, "corrected"), number(s, "uncorrected"));
	s = json_object_get(o, "aer");
	printf("  %-21s %lld devices: %lld errors corrected, %lld not, %lld fatal\n", "AER",
	       number(s, "counting"), number(s, "corrected"), number(s, "nonfatal"),
	       number(s, "fatal"));
}

static void print_keeper(const json_t *o)
{
	const json_t *k = json_object_get(o, "keeper");

	if (json_is_false(json_object_get(k, "lives")))
		printf("  whose page of memory fails is not seen: %s\n", text(k, "reason"));
	else if (json_is_false(json_object_get(o, "owners")))
		printf("  whose page of memory fails is not seen: twinvmd was started without "
		       "CAP_SYS_ADMIN\n");
}

static void print_retired(const json_t *o)
{
	const json_t *r = json_object_get(o, "retired");
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(r, "pages"), i, p)
		printf("  out of service until the next boot: page %s%s%s\n", text(p, "page"),
		       *text(p, "dimm") ? " of " : "", text(p, "dimm"));
	json_array_foreach(json_object_get(r, "cpus"), i, p)
		printf("  out of service until --undo: CPU %s: %s\n", text(p, "cpus"),
		       text(p, "reason"));
	json_array_foreach(json_object_get(r, "waits"), i, p)
		printf("  to be taken out of service: %s%s%s\n", text(p, "part"),
		       *text(p, "reason") ? ": " : "", text(p, "reason"));
}

static void print_errors(const json_t *o)
{
	const char *key;
	json_t *n;

	printf("errors since twinvmd was started\n ");
	json_object_foreach(json_object_get(o, "errors"), key, n)
		if (json_integer_value(n))
			printf(" %s %lld", key, (long long)json_integer_value(n));
	printf("%s\n", json_object_size(json_object_get(o, "errors")) ? "" : " none");
	print_keeper(o);
	print_retired(o);
	if (json_is_integer(json_object_get(o, "corrupted_kib")))
		printf("  memory that the kernel has taken out: %lld KiB\n",
		       number(o, "corrupted_kib"));
	if (number(o, "lost") + number(o, "overrun") + number(o, "broken_pages"))
		printf("  and reports of more were lost\n");
}

static void print_causes(const json_t *o)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(o, "causes"), i, f)
		printf("  %-6s %s%s%s: %s%s\n", text(f, "state"), text(f, "what"),
		       *text(f, "what") ? ": " : "", text(f, "fault"), text(f, "text"),
		       json_is_true(json_object_get(f, "until_cleared")) ? " (until --clear)" : "");
}

static void print_moves(const json_t *o)
{
	json_t *moves = json_object_get(o, "moves"), *vm;
	size_t i;

	json_array_foreach(json_object_get(moves, "vms"), i, vm)
		if (!json_is_true(json_object_get(vm, "stays")))
			printf("  %s %s: %s\n", text(vm, "vm"),
			       json_is_true(json_object_get(moves, "acts"))
				       ? "is to leave this host"
				       : "would leave this host (health_action = warn)",
			       text(vm, "why"));
}

static void print_faults(const json_t *o)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(o, "faults"), i, f) {
		time_t at = (time_t)json_number_value(json_object_get(f, "last"));
		char when[40] = "?";
		struct tm tm;

		if (!i)
			printf("the last faults\n");
		if (localtime_r(&at, &tm))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
		printf("  %s %lldx %s\n", when, number(f, "count"), text(f, "text"));
	}
}

static int run(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"clear", no_argument, NULL, 'c'},
						{"undo", no_argument, NULL, 'u'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	json_t *req = json_pack("{ss}", "op", "health"), *o;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (opt == 'c' || opt == 'u') {
			json_object_set_new(req, opt == 'c' ? "clear" : "undo", json_true());
			continue;
		}
		rc = cli_common_option(c, &cmd_health, opt);
		if (rc >= 0) {
			json_decref(req);
			return rc;
		}
	}
	if (optind < argc - 1) {
		json_decref(req);
		return cli_usage(&cmd_health);
	}
	if (optind < argc)
		json_object_set_new(req, "host", json_string(argv[optind]));
	rc = cli_call(c, req, NULL, &o);
	if (rc) {
		json_decref(o);
		return rc;
	}
	json_object_del(o, "done");
	json_object_del(o, "rc");
	if (!c->json && json_object_get(o, "answers"))
		printf("%s: %s%s%s (it reported this %.0f s ago)\n", text(o, "host"),
		       text(o, "state"), *text(o, "reason") ? ": " : "", text(o, "reason"),
		       json_number_value(json_object_get(o, "age_ms")) / 1000);
	else if (!c->json) {
		printf("%s: %s%s%s\n", text(o, "host"), text(o, "state"),
		       *text(o, "reason") ? ": " : "", text(o, "reason"));
		print_causes(o);
		print_moves(o);
		print_sources(o);
		print_errors(o);
		print_faults(o);
	}
	cli_print(c, o);
	return EXIT_OK;
}

const struct subcommand cmd_health = {
	"health",
	"[HOST] [--clear] [--undo]",
	"what this host's hardware reports",
	"The state of this host's hardware and why, what reports it here, how many errors there were since\n"
	"twinvmd was started, and the last faults. Yellow and red: errors come too often, or lose data;\n"
	"unknown: nothing reports them. docs/HARDWARE-FAULTS.md has the thresholds, and which VMs leave a\n"
	"host for it.\n\n"
	"  HOST    another host: its state, as that host has reported it last\n"
	"  --clear the hardware was looked at, or replaced: what was counted against it is forgotten\n"
	"  --undo  CPUs that were taken out of service come back (twinvm events shows it); pages do at the next\n"
	"          boot, as the kernel takes none back\n"
	"  --json  one JSON object on stdout\n",
	run,
};
