/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes docs/STATUS.md and docs/CONTROL.md from the tables that the programs use.
 * usage: session_tables status|control */
#include "daemon/daemon.h"
#include "daemon/rehearsals.h"
#include "daemon/sessions.h"

#include <stdio.h>
#include <string.h>

/* Prose, wrapped to lines of at most 100 columns. */
static void prose(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t n = strcspn(text, " \n");

		if (column && column + 1 + n > 100) {
			printf("\n");
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column ? " " : "", (int)n, text);
		text += n;
		text += *text ? 1 : 0;
	}
	printf("\n\n");
}

static const char *type_of(const struct field *f)
{
	switch (f->kind) {
	case FIELD_TEXT:
		return "text";
	case FIELD_F64:
		return "number";
	case FIELD_BOOL:
		return "boolean";
	case FIELD_WORD:
		return "word";
	case FIELD_LIST:
		return "integers";
	case FIELD_INT:
	case FIELD_U64:
	case FIELD_PORT:
	case FIELD_PID:
		break;
	}
	return "integer";
}

static void rows(const struct fields *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		const struct field *x = &f->list[i];

		printf("| `%s` | %s |%s%s | %s |\n", x->name, type_of(x), *x->unit ? " " : "",
		       x->unit, x->meaning);
	}
}

static void head(void)
{
	printf("| field | type | unit | meaning |\n|---|---|---|---|\n");
}

/* ---- docs/STATUS.md ---- */
static void status(void)
{
	printf("# What `twinvm status --json` shows\n\n"
	       "<!-- made by `make docs` from the tables in daemon/status.c, vitals.c, outlook.c,\n"
	       "     kept.c, rehearsals.c, replicator/session/messages.c and disk_state.c -->\n\n");
	prose("`twinvm status --json` prints an array with one object per VM that this host has a "
	      "part in; `twinvm status VM --json` prints that VM's object. Scripts may rely on "
	      "names, types and meanings: fields may be added, none changes. A name with a dot is "
	      "a field of an object: `pause_ms.p50` is `p50` in the object `pause_ms`.");
	prose("Counters are those of the running session, or of the last one when none runs; they "
	      "are 0 or empty where this host does not measure them.");
	prose("What is not known is left out from `state_since` on, and never 0. Times are of the "
	      "clock of the host that answers. A VM of which only a stopped QEMU is here, or that "
	      "another host runs, has none of these fields.");
	head();
	rows(&status_vm_fields);
	rows(&session_stats_public);
	rows(&status_times_fields);
	rows(&outlook_fields);
	rows(&vitals_fields);
	printf("| `kept` | array | | QEMUs of this VM that were stopped here, see below |\n");
	printf("| `sockets` | array | | sockets of a VM that failed over to this host: objects with "
	       "`name` (as the socket was called on the former host, or the id of its chardev) and "
	       "`path`: serial ports, the guest agent, monitors of others have other places "
	       "here, a VNC or SPICE display is VNC at `vnc.sock` |\n");
	printf("| `disks` | array | | the VM's writable disks while a session runs, see below; left "
	       "out while they are not known |\n");
	printf("| `rehearsals` | object | | what was tried on this host before it was needed, by kind "
	       "(test_failover, drill, verify, snapshot): objects with `last` (the last that "
	       "ended), `passed` (s since 1970: when one passed last), `running`, see below |\n");
	printf("| `ready` | object | | would a failover succeed now: `ready` (boolean), `why` not, "
	       "`checks` (`name`, `verdict`, `needed`, `text`: docs/REHEARSAL.md), `host` which "
	       "looked, and `time` when; while a session protects the VM |\n");
	printf("\n## Entries of `disks`\n\n");
	head();
	rows(&session_disk_fields);
	printf("\n## Entries of `kept`\n\n");
	prose("A QEMU of this host that was stopped because another host runs its VM. It stays for "
	      "inspection until the operator ends it, or has it forgotten with `twinvm unprotect "
	      "VM --kept`. Only the newest one of a VM is kept. Where an arbiter decided, it is "
	      "ended, and its images are removed, when this host and another one protect the VM "
	      "again: nothing is lost with it. A VM of which nothing else is here has the state "
	      "`stopped`.");
	head();
	rows(&kept_fields);
	rows(&kept_cost_fields);
	printf("\n## Objects in `rehearsals`\n\n");
	head();
	rows(&rehearsal_fields);
}

/* ---- docs/CONTROL.md ---- */
static const struct {
	const char *name, *meaning;
} next_steps[] = {
#define ROW(name, meaning) [NEXT_##name] = {#name, meaning},
	SESSION_NEXT(ROW)
#undef ROW
};

static void follows(const char *who, enum session_role role, unsigned how)
{
	const struct session_rule *r = session_rule(role, how);

	printf("| %s | %s | %s%s%s |\n", who, session_role_name(role), next_steps[r->next].name,
	       r->stale ? "; this host's generation is noted as stale first" : "",
	       r->forget_record ? "; the arbiter's record is removed if the backup has ended, too"
				: "");
}

static void outcomes(void)
{
	printf("\n## Outcomes\n\n");
	prose("The word of `outcome` in `done`. An unknown word counts as `failed`.");
	printf("| outcome | meaning |\n|---|---|\n");
	for (int i = 0; i < SESSION_OUTCOME_COUNT; i++)
		printf("| `%s` | %s |\n", session_outcome_name((enum session_outcome)i),
		       session_outcome_why((enum session_outcome)i));
	printf("\n## What twinvmd does when a session has ended\n\n");
	prose("The table of daemon/sessions.c. `died`: the process ended without `done`. A primary "
	      "whose generation is stale is fenced whatever the outcome, unless its VM's process "
	      "has ended.");
	printf("| outcome | role | what follows |\n|---|---|---|\n");
	for (unsigned role = SESSION_PRIMARY; role <= SESSION_BACKUP; role++) {
		for (unsigned how = 0; how < SESSION_DIED; how++) {
			char word[40];

			snprintf(word, sizeof(word), "`%s`",
				 session_outcome_name((enum session_outcome)how));
			follows(word, (enum session_role)role, how);
		}
		follows("died", (enum session_role)role, SESSION_DIED);
	}
	printf("\n| step | what it is |\n|---|---|\n");
	for (int i = 0; i < NEXT_COUNT; i++)
		printf("| %s | %s |\n", next_steps[i].name, next_steps[i].meaning);
}

static void control(void)
{
	printf("# What twinvmd and its replicators send each other\n\n"
	       "<!-- made by `make docs` from the tables in replicator/session/messages.c,\n"
	       "     outcome.h and daemon/sessions.c -->\n\n");
	prose("JSON objects, one per line, over the UNIX socket of twinvmd (`socket` in "
	      "docs/CONFIG.md), which a replicator connects; the word of the message is in `op`. "
	      "An object may carry descriptors (`fds` is their number). All fields of a message "
	      "are present; a reader passes over fields that it does not know, and takes a message "
	      "with a field missing, or of another type, for malformed. Who sends what when, and "
	      "which process outlives which: replicator/session/session.h.");
	printf("| `op` | sender | meaning |\n|---|---|---|\n");
	for (int op = SESSION_OP_NONE + 1; op < SESSION_OP_COUNT; op++) {
		const struct session_op_info *m = session_op_info((enum session_op)op);

		printf("| `%s` | %s | %s |\n", m->word, m->sender, m->meaning);
	}
	for (int op = SESSION_OP_NONE + 1; op < SESSION_OP_COUNT; op++) {
		const struct session_op_info *m = session_op_info((enum session_op)op);

		if (!m->fields)
			continue;
		printf("\n## `%s`\n\n", m->word);
		head();
		rows(m->fields);
	}
	outcomes();
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "status"))
		status();
	else if (argc == 2 && !strcmp(argv[1], "control"))
		control();
	else
		return fprintf(stderr, "usage: session_tables status|control\n"), 2;
	return 0;
}
