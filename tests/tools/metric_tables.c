/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes the tables of docs/METRICS.md from those that the web server uses. */
#include "web/metrics_table.h"

#include <stdio.h>

static const char *only(unsigned when)
{
	return when == (PRIMARY | PROTECTED) ? " primary, protected"
	       : when == (PRIMARY | SYNCING) ? " primary, syncing"
	       : when & PROTECTED	     ? " protected"
	       : when & PRIMARY		     ? " primary"
					     : "";
}

int main(void)
{
	printf("| name | type | meaning |\n|---|---|---|\n");
	printf("| `%s` | gauge | %s |\n", METRICS_UP, METRICS_UP_HELP);
	for (const struct family *f = metrics_of_host; f->name; f++)
		printf("| `%s%s` | %s | %s |\n", f->name, metrics_ending(f),
		       metrics_type_name(f->type), f->help);
	printf("\nOf a VM; each has the label `vm`. `only`: of which VMs there is a series.\n\n"
	       "| name | type | only | meaning |\n|---|---|---|---|\n");
	for (const struct family *f = metrics_of_vm; f->name; f++)
		printf("| `%s%s` | %s |%s | %s |\n", f->name, metrics_ending(f),
		       metrics_type_name(f->type), only(f->when), f->help);
	return 0;
}
