/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hv_devices: prints docs/DEVICES.md from hv's table of device drivers.
 * hv_devices --denied: the properties that a peer's command line may not set, one a line.
 * hv_devices -: reads the names of drivers on stdin, one a line, and prints CLASS NAME for each.
 */
#include "hv/qemu/drivers.h"
#include "hv/standby/allow.h"

#include <stdio.h>
#include <string.h>

static void print_table(enum hv_driver_class class)
{
	unsigned n;
	const struct hv_driver *d = hv_drivers(&n);

	for (unsigned i = 0; i < n; i++)
		if (d[i].class == class && d[i].remedy)
			printf("| `%s` | %s | %s |\n", d[i].pattern, d[i].what, d[i].remedy);
		else if (d[i].class == class && d[i].what)
			printf("| `%s` | %s |\n", d[i].pattern, d[i].what);
		else if (d[i].class == class)
			printf("- `%s`\n", d[i].pattern);
}

static void print_doc(void)
{
	puts("# Devices of a protected VM\n\n"
	     "Printed by `build/tools/hv_devices` from the table in `hv/qemu/drivers.c`. A star "
	     "stands for\nany letters; the first of these lists that has a driver counts.\n\n"
	     "## Refused\n`twinvm protect` refuses a VM that has one, and a backup refuses it on "
	     "the command line\nthat it is sent, as it does with a driver that is in no list.\n\n"
	     "| driver | why | instead |\n|---|---|---|");
	print_table(HV_DRIVER_REFUSED);
	puts("\n## Allowed, and what that means\nWhat the guest sends through these is not held "
	     "until its epoch is\ncommitted: after a failover a client may have seen output that "
	     "the VM never sent.\n\n| driver | what it means |\n|---|---|");
	print_table(HV_DRIVER_LISTED);
	puts("\n## Allowed\nTheir output is held, or nothing of it leaves the VM.\n");
	print_table(HV_DRIVER_FINE);
}

int main(int argc, char **argv)
{
	static const char *const class[] = {"unknown", "fine", "listed", "refused"};
	char line[256];

	if (argc < 2) {
		print_doc();
		return 0;
	}
	if (!strcmp(argv[1], "--denied")) {
		for (const char *p = hv_device_denied; *p; p++)
			putchar(*p == ' ' ? '\n' : *p);
		putchar('\n');
		return 0;
	}
	if (strcmp(argv[1], "-")) {
		fprintf(stderr, "usage: hv_devices [-|--denied]\n");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		printf("%s %s\n", class[hv_driver(line)->class], line);
	}
	return 0;
}
