/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twinvm trace: twinvmd hands over the ring that a session's replicator writes; here it is read, and
 * becomes a file or a table. What lies in it is hostile until it is checked (trace/read.c).
 */
#include "cli/cli.h"
#include "trace/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Beside the file, and then in its place: nobody reads half a trace. */
static int write_file(const struct trace_set *s, const char *path)
{
	TV_FREE char *tmp = NULL;
	mode_t mask = umask(0);
	FILE *f;
	int fd, rc;

	umask(mask);
	if (asprintf(&tmp, "%s.XXXXXX", path) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	rc = fchmod(fd, 0666 & ~mask) ? -errno : f ? trace_perfetto(s, f) : -ENOMEM;
	if (f ? fclose(f) && !rc : close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc)
		unlink(tmp);
	return rc;
}

/* /dev/stdout and what else is no file of its own is written as it is. */
static int write_to(const struct trace_set *s, const char *path)
{
	struct stat st;
	FILE *f;
	int rc;

	if (stat(path, &st) || S_ISREG(st.st_mode))
		return write_file(s, path);
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	f = fopen(path, "we");
	if (!f)
		return -errno;
	rc = trace_perfetto(s, f);
	return fclose(f) && !rc ? -errno : rc;
}

static int summarize(struct cli *c, const struct trace_set *s)
{
	json_t *o = trace_summary(s);

	if (!o)
		return cli_fail(c, EXIT_FAILED, "no memory");
	if (!c->json)
		trace_summary_print(o, stdout);
	cli_print(c, o);
	return EXIT_OK;
}

static int save(struct cli *c, const struct trace_set *s, const char *path)
{
	bool both = s->half[TRACE_P].there && s->half[TRACE_B].there;
	enum trace_host missing = s->half[TRACE_P].there ? TRACE_B : TRACE_P;
	int rc = write_to(s, path);

	if (rc)
		return cli_fail(c, EXIT_FAILED, "%s cannot be written: %s", path, tv_strerror(rc));
	if (c->json)
		cli_print(c, json_pack("{ss ss sI sb sb}", "vm", s->vm, "out", path, "events",
				       (json_int_t)s->n, "primary_half", s->half[TRACE_P].there,
				       "backup_half", s->half[TRACE_B].there));
	else if (strcmp(path, "/dev/stdout") != 0)
		printf("%zu events of %s in %s: open it in https://ui.perfetto.dev%s%s%s\n", s->n,
		       s->vm, path, both ? "" : "; the half of ",
		       both			  ? ""
		       : s->half[missing].host[0] ? s->half[missing].host
						  : "the other host",
		       both ? "" : " is missing");
	return EXIT_OK;
}

static int run_trace(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"out", required_argument, NULL, 'o'},
						{"summary", no_argument, NULL, 's'},
						{"previous", no_argument, NULL, 'p'},
						CLI_COMMON_OPTIONS,
						{NULL, 0, NULL, 0}};
	const char *out = NULL;
	bool summary = false, previous = false;
	struct trace_set s = {0};
	struct tv_err e = {0};
	TV_CLOSE int fd = -1;
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
		if (opt == 'o') {
			out = optarg;
			continue;
		}
		if (opt == 's' || opt == 'p') {
			summary |= opt == 's';
			previous |= opt == 'p';
			continue;
		}
		rc = cli_common_option(c, &cmd_trace, opt);
		if (rc >= 0)
			return rc;
	}
	if (optind != argc - 1 || summary == (out != NULL) || (out && !*out))
		return cli_usage(&cmd_trace);
	rc = cli_call_fd(
		c, json_pack("{ss ss sb}", "op", "trace", "vm", argv[optind], "previous", previous),
		&fd);
	if (rc)
		return rc;
	if (trace_read(fd, &s, &e)) {
		rc = cli_fail(c, EXIT_FAILED, "%s", e.text);
	} else {
		trace_align(&s);
		rc = summary ? summarize(c, &s) : save(c, &s, out);
	}
	trace_set_free(&s);
	return rc;
}

const struct subcommand cmd_trace = {
	"trace",
	"VM (--out FILE | --summary) [--previous]",
	"where the time of each epoch goes, on both hosts",
	"The phases of the last epochs (some 4,000), as both hosts record them all the time. On the\n"
	"primary or the backup; also after a session has ended.\n"
	"docs/TRACE.md describes the phases.\n\n"
	"  VM          its name, id (from twinvm status), pid, or QMP socket\n"
	"  --out FILE  JSON in the trace event format: open it in https://ui.perfetto.dev\n"
	"  --summary   a table: how often, and how long (median, 99th percentile, worst)\n"
	"  --previous  of the session before the newest: of how it was lost, after the VM is protected\n"
	"              again\n"
	"  --json      one JSON object on stdout\n",
	run_trace,
};
