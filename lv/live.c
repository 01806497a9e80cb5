/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A running domain as libvirt would describe it to another host (migratable: without what libvirt
 * fills in by itself, and with what was plugged in since its start), and as it is stored.
 */
#include "lv/lv_int.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* NULL: libvirt has none. */
static json_t *text_or_null(char *text)
{
	json_t *j = text ? json_string(text) : json_null();

	free(text);
	return j;
}

static int print(virDomainPtr d)
{
	char uuid[VIR_UUID_STRING_BUFLEN], *live;
	json_t *j;

	live = virDomainGetXMLDesc(d, VIR_DOMAIN_XML_MIGRATABLE);
	if (!live || virDomainGetUUIDString(d, uuid))
		return lv_say_virt("the XML of libvirt's domain %s", virDomainGetName(d));
	j = json_pack("{s:s, s:s, s:o}", "name", virDomainGetName(d), "uuid", uuid, "xml",
		      text_or_null(live));
	if (virDomainIsPersistent(d) == 1)
		json_object_set_new(
			j, "inactive_xml",
			text_or_null(virDomainGetXMLDesc(d, VIR_DOMAIN_XML_INACTIVE |
								    VIR_DOMAIN_XML_MIGRATABLE)));
	else
		json_object_set_new(j, "inactive_xml", json_null());
	if (json_dumpf(j, stdout, JSON_COMPACT) || fflush(stdout)) {
		json_decref(j);
		return lv_say(LV_EXIT_FAILED,
			      "the XML of libvirt's domain %s is no text that can "
			      "be sent",
			      uuid);
	}
	json_decref(j);
	return LV_EXIT_OK;
}

int lv_xml_main(int argc, char **argv)
{
	int status = LV_EXIT_USAGE;
	virConnectPtr c;
	virDomainPtr d;

	if (argc != 3)
		return lv_say(status, "usage: " LV_PROGRAM " xml UUID PID");
	c = lv_connect(&status);
	if (!c)
		return status;
	d = lv_domain(c, argv[1], &status);
	if (d) {
		status = lv_check_process(d, (pid_t)atoi(argv[2]));
		if (!status)
			status = print(d);
		virDomainFree(d);
	}
	virConnectClose(c);
	return status;
}
