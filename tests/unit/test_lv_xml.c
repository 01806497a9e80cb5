/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other hosts' domains become here, and what a host with a certificate may try. */
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "lv/xml_int.h"
#include "tests/unit/lv_xml_kit.h"

#define MARK "/etc/shadow"

static int make(const char *xml, bool nova, struct lv_xml_made *m, struct tv_err *e)
{
	struct lv_xml_ask ask = ask_for(xml, nova);

	return lv_xml_make(&ask, m, e);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no %s in %s", part, text);
}

static void has_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("%s in %s", part, text);
}

/* ---- what they become ---- */

static void test_manager(void **state)
{
	struct lv_xml_made m;
	struct tv_err e = {0};

	(void)state;
	if (make(managers, false, &m, &e))
		fail_msg("%s", e.text);
	assert_string_equal(m.name, "vm1");
	assert_string_equal(m.uuid, "08400e35-b57a-56b2-840b-9634320a6802");
	has(m.live, "<source file=\"/replicas/ID-0.raw\"/>");
	has(m.live, "<source file=\"/replicas/ID-1.raw\"/>");
	has(m.live, ">/replicas/ID-2.raw</nvram>");
	has(m.live, "<source file=\"/replicas/ID-file-5e\"/>");
	has(m.live, "<source bridge=\"br0\"/>");
	has(m.live, "<emulator>/usr/bin/qemu-system-x86_64</emulator>");
	has(m.live, "<total_iops_sec>5000</total_iops_sec>");
	has(m.live, "<serial>DATA 7</serial>");
	has(m.live, "<backend model=\"random\">/dev/urandom</backend>");
	has(m.live, "relabel=\"no\"");
	has(m.live,
	    "value=\"unix:/var/lib/libvirt/qemu/domain-vm1/monitor.sock,server=on,wait=off\"");
	has(m.live, "chassis=\"1\" port=\"0x10\"");
	has(m.live, "name=\"org.qemu.guest_agent.0\"");
	has_not(m.live, "qcow2");
	has_not(m.live, "secret");
	has_not(m.live, "0.0.0.0");
	has_not(m.live, "10.0.0.7");
	has_not(m.live, "/dev/pts");
	has_not(m.live, "libosinfo");
	has_not(m.live, "virbr0");
	has_not(m.live, "vnet4");
	/* The one that is started waits, with memory that is ours to fill; the stored one does not. */
	has(m.live, "value=\"defer\"");
	has(m.live, "type=\"memfd\"");
	has_not(m.clean, "defer");
	has_not(m.clean, "memfd");
	has(m.clean, "/replicas/ID-1.raw");
	has(m.clean, "monitor.sock");
	lv_xml_free(&m);
}

static void test_nova(void **state)
{
	struct lv_xml_made m;
	struct tv_err e = {0};

	(void)state;
	if (make(novas, true, &m, &e))
		fail_msg("%s", e.text);
	assert_string_equal(m.name, "instance-0000002a");
	has(m.live, "<entry name=\"product\">OpenStack Nova</entry>");
	has(m.live, "<source bridge=\"br0\"/>");
	has(m.live, "<source bridge=\"br1\"/>");
	has(m.live, "<on_crash>destroy</on_crash>");
	has(m.live, "<console type=\"pty\">");
	has(m.live, "<shares>1024</shares>");
	has_not(m.live, "coredump");
	has_not(m.live, "console.log");
	has_not(m.live, "10000");
	has_not(m.live, "cpuset");
	lv_xml_free(&m);
}

/* What the primary's own monitor is for is ours to know. */
static void test_own_arguments(void **state)
{
	TV_FREE char *xml = changed(managers, "</qemu:commandline>",
				    "<qemu:arg value='-incoming'/><qemu:arg value='defer'/>"
				    "</qemu:commandline>");
	struct lv_xml_made m;
	struct tv_err e;

	(void)state;
	assert_int_equal(make(xml, false, &m, &e), 0);
	has_not(m.clean, "incoming");
	lv_xml_free(&m);
}

static void test_mark(void **state)
{
	struct lv_xml_ask ask = ask_for(novas, true);
	struct lv_xml_made m;
	struct tv_err e;
	char *before;

	(void)state;
	assert_int_equal(lv_xml_make(&ask, &m, &e), 0);
	assert_true(lv_xml_is_ours(m.clean, ask.vm_id, &before));
	assert_null(before);
	assert_false(lv_xml_is_ours(m.clean, "ffffffffffffffffffffffffffffffff", &before));
	assert_false(lv_xml_is_ours(novas, ask.vm_id, &before));
	lv_xml_free(&m);

	ask.before = managers;
	assert_int_equal(lv_xml_make(&ask, &m, &e), 0);
	assert_true(lv_xml_is_ours(m.clean, ask.vm_id, &before));
	assert_non_null(strstr(before, "<name>vm1</name>"));
	assert_non_null(strstr(before, "/var/lib/libvirt/images/vm1.qcow2"));
	free(before);
	lv_xml_free(&m);
}

/* A peer's name and UUID may be those of a domain that has nothing to do with it. */
static void test_whose_place(void **state)
{
	static const char uuid[] = "08400e35-b57a-56b2-840b-9634320a6802";
	static const char mark[] = "<domain><name>vm1</name><metadata><%s:standby xmlns:%s='%s' "
				   "vm='%s'/></metadata><description>%s</description></domain>";
	struct lv_xml_ask ask = ask_for(managers, false);
	struct lv_xml_made m;
	char text[500];
	struct tv_err e;

	(void)state;
	assert_false(lv_xml_may_replace(managers, uuid, ""));
	assert_false(lv_xml_may_replace(managers, uuid, "08400e35-b57a-56b2-840b-9634320a6803"));
	assert_true(lv_xml_may_replace(managers, "08400E35-B57A-56B2-840B-9634320A6802", uuid));
	assert_int_equal(lv_xml_make(&ask, &m, &e), 0);
	assert_true(lv_xml_may_replace(m.clean, uuid, ""));
	lv_xml_free(&m);
	/* Only an element in twinvm's name space, in its place, is the mark. */
	snprintf(text, sizeof(text), mark, "t", "t", LV_METADATA_URI, "x", "");
	assert_true(lv_xml_may_replace(text, uuid, ""));
	snprintf(text, sizeof(text), mark, "t", "t", "urn:other", "x", LV_METADATA_URI);
	assert_false(lv_xml_may_replace(text, uuid, ""));
	assert_false(lv_xml_may_replace("no XML", uuid, uuid));
}

/* ---- what a peer may try ---- */

static const struct {
	const char *from, *to, *word; /* word: of the sentence */
} attacks[] = {
	{"<features>", "<!-- --><features><evil/>", "features/evil"},
	{"<pm>", "<pm evil='1'>", "evil="},
	{"</qemu:commandline>",
	 "<qemu:arg value='-drive'/><qemu:arg value='file=/dev/sda'/></qemu:commandline>",
	 "-drive"},
	{"</qemu:commandline>",
	 "<qemu:arg value='-qmp'/><qemu:arg value='tcp:0:1,server=on'/></qemu:commandline>",
	 "tcp:"},
	{"</qemu:commandline>",
	 "<qemu:arg value='-incoming'/><qemu:arg value='exec:id'/></qemu:commandline>", "exec:id"},
	{"</qemu:commandline>", "<qemu:arg value='-qmp'/></qemu:commandline>", "without a value"},
	{"</qemu:commandline>", "<qemu:env name='LD_PRELOAD' value='/x.so'/></qemu:commandline>",
	 "qemu:env"},
	{"</domain>", "<qemu:capabilities><qemu:del capability='x'/></qemu:capabilities></domain>",
	 "qemu:capabilities"},
	{"</domain>", "<qemu:override/></domain>", "qemu:override"},
	{"</domain>", "<x:y xmlns:x='urn:x'/></domain>", "urn:x"},
	{"<devices>", "<devices><hostdev mode='subsystem' type='pci'/>", "hostdev"},
	{"<devices>", "<devices><filesystem type='mount'><source dir='/'/></filesystem>",
	 "filesystem"},
	{"<devices>", "<devices><shmem name='x'/>", "shmem"},
	{"<devices>", "<devices><smartcard mode='host'/>", "smartcard"},
	{"<devices>", "<devices><lease/>", "lease"},
	{"<devices>", "<devices><vsock model='virtio'><cid auto='yes'/></vsock>", "vsock"},
	{"<devices>", "<devices><crypto model='virtio' type='qemu'/>", "crypto"},
	{"<devices>",
	 "<devices><tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/>"
	 "</backend></tpm>",
	 "tpm"},
	{"<devices>",
	 "<devices><memory model='nvdimm'><source><path>/dev/sda</path></source></memory>",
	 "memory"},
	{"<devices>", "<devices><input type='evdev'><source dev='/dev/input/event0'/></input>",
	 "evdev"},
	{"<devices>", "<devices><input type='passthrough' bus='virtio'/>", "passthrough"},
	{"<source file='/var/lib/libvirt/images/vm1.qcow2' index='2'>",
	 "<source file='/etc/shadow' index='9'>", "/etc/shadow"},
	{"<source dev='/dev/vg0/data' index='3'/>", "<source dev='/dev/sda'/>", "/dev/sda"},
	{"<source file='/isos/debian.iso' index='1'/>", "<source file='/etc/shadow'/>",
	 "/etc/shadow"},
	{"<source file='/isos/debian.iso' index='1'/>",
	 "<source file='/var/lib/libvirt/images/vm1.qcow2' index='2'/>", "twice"},
	{"type='raw'/><source file='/isos", "type='qcow2'/><source file='/isos", "qcow2"},
	{"<disk type='block' device='disk'>", "<disk type='block' device='lun'>", "lun"},
	{"<disk type='block' device='disk'>", "<disk type='block' device='disk' rawio='yes'>",
	 "rawio"},
	{"<disk type='block' device='disk'>", "<disk type='block' device='disk' sgio='unfiltered'>",
	 "sgio"},
	{"<target dev='vdb' bus='virtio'/>", "<target dev='vdb' bus='virtio'/><shareable/>",
	 "shareable"},
	{"<target dev='vdb' bus='virtio'/>", "<target dev='vdb' bus='virtio'/><transient/>",
	 "transient"},
	{"<driver name='qemu' type='raw' cache='none'",
	 "<driver name='tap' type='raw' cache='none'", "tap"},
	{"<target dev='vdb'", "<target dev='../../vdb'", "../"},
	{"<disk type='block' device='disk'>",
	 "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
	 "<target dev='vdc'/></disk><disk type='block' device='disk'>",
	 "without a source"},
	{"/usr/share/OVMF/OVMF_CODE_4M.fd</loader>", "/root/evil.fd</loader>", "/root/evil.fd"},
	{"<loader readonly='yes'", "<loader readonly='no'", "written"},
	{">/var/lib/libvirt/qemu/nvram/", ">/etc/", "/etc/vm1_VARS.fd"},
	{"<boot dev='hd'/></os>", "<kernel>/etc/shadow</kernel></os>", "/etc/shadow"},
	{"<boot dev='hd'/></os>", "<initrd>/etc/shadow</initrd></os>", "/etc/shadow"},
	{"<boot dev='hd'/></os>", "<dtb>/etc/shadow</dtb></os>", "/etc/shadow"},
	{"<boot dev='hd'/></os>", "<acpi><table type='slic'>/etc/shadow</table></acpi></os>",
	 "acpi"},
	{"<boot dev='hd'/></os>", "<init>/bin/sh</init></os>", "init"},
	{"<boot dev='hd'/></os>", "<boot dev='hd'/></os><bootloader>/bin/sh</bootloader>",
	 "bootloader"},
	{"<interface type='network'>", "<interface type='direct'>", "direct"},
	{"<interface type='network'>", "<interface type='ethernet'>", "ethernet"},
	{"<interface type='network'>", "<interface type='vhostuser'>", "vhostuser"},
	{"<interface type='network'>", "<interface type='hostdev'>", "hostdev"},
	{"<interface type='network'>", "<interface type='user'>", "0 NICs"},
	{"<model type='virtio'/><alias name='net0'/>",
	 "<model type='virtio'/><script path='/bin/sh'/>", "script"},
	{"<model type='virtio'/><alias name='net0'/>",
	 "<model type='virtio'/><virtualport type='openvswitch'/>", "virtualport"},
	{"<model type='virtio'/><alias name='net0'/>",
	 "<model type='virtio'/><rom file='/etc/shadow'/>", "file="},
	{"<model type='virtio'/><alias name='net0'/>",
	 "<model type='virtio'/><driver name='vfio'/>", "vfio"},
	{"<redirdev bus='usb' type='spicevmc'>", "<redirdev bus='usb' type='tcp'>", "tcp"},
	{"<target type='virtio' name='org.qemu.guest_agent.0'",
	 "<target type='virtio' name='../../../etc/x'", "../"},
	{"<target type='virtio' name='org.qemu.guest_agent.0'",
	 "<target type='guestfwd' address='10.0.2.1' port='22' name='x'", "guestfwd"},
	{"heads='1' primary='yes'/>",
	 "heads='1'><acceleration accel3d='yes' rendernode='/dev/dri/x'/></model><model "
	 "type='none'/>",
	 "accel3d"},
	{"<video>", "<video><driver name='vhostuser'/>", "vhostuser"},
	{"action='reset'", "action='dump'", "dump"},
	{"<backend model='random'>/dev/hwrng", "<backend model='egd'>/dev/hwrng", "egd"},
	{"<memory unit='KiB'>2097152</memory>",
	 "<memory unit='KiB'>2097152</memory><maxMemory slots='4'>9</maxMemory>", "maxMemory"},
	{"<memory unit='KiB'>2097152</memory>",
	 "<memory unit='KiB'>2097152</memory><memory unit='KiB'>4</memory>", "<memory> twice"},
	{"<memory unit='KiB'>2097152</memory>",
	 "<memory unit='KiB'>2097152</memory><memoryBacking><hugepages/></memoryBacking>",
	 "hugepages"},
	{"<memory unit='KiB'>2097152</memory>",
	 "<memory unit='KiB'>2097152</memory><memoryBacking><source type='file'/></memoryBacking>",
	 "file"},
	{"<vendor>Intel</vendor>", "<vendor>Intel</vendor><numa><cell id='0' memory='1'/></numa>",
	 "cpu/numa"},
	{"<pm>", "<sysinfo type='fwcfg'><entry name='opt/x' file='/etc/shadow'/></sysinfo><pm>",
	 "fwcfg"},
	{"<pm>",
	 "<sysinfo type='smbios'><system><entry name='x' file='/y'>z</entry></system>"
	 "</sysinfo><pm>",
	 "file="},
	{"<pm>", "<launchSecurity type='sev'/><pm>", "launchSecurity"},
	{"<pm>", "<idmap/><pm>", "idmap"},
	{"<name>vm1</name>", "<name>../../vm1</name>", "name"},
	{"<name>vm1</name>", "<name>vm1,x=y</name>", "name"},
	{"<name>vm1</name>", "<name>-vm1</name>", "name"},
	{"<name>vm1</name>", "<name></name>", "name"},
	{"<name>vm1</name>", "<name>vm1</name><name>vm2</name>", "<name> twice"},
	{"<name>vm1</name>",
	 "<name>aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg</name>", "name"},
	{"<uuid>08400e35-", "<uuid>08400e35x", "UUID"},
	{"<uuid>08400e35-b57a-56b2-840b-9634320a6802</uuid>", "", "<uuid>"},
	{"<domain type='kvm'", "<domain type='xen'", "xen"},
	{"<domain type='kvm'",
	 "<!DOCTYPE domain [<!ENTITY x SYSTEM '/etc/shadow'>]><domain type='kvm'", "document type"},
	{"<domain type='kvm'", "<domain xmlns='urn:y' type='kvm'", "domain"},
	{"<pm>", "<pm>&x;", "cannot be read"},
	{"<pm>", "<?php x?><pm><?x y?>", "neither text nor element"},
	{"</domain>", "", "cannot be read"},
};

static void test_attacks(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++) {
		TV_FREE char *xml = changed(managers, attacks[i].from, attacks[i].to);
		struct lv_xml_made m;
		struct tv_err e = {0};
		int rc = make(xml, false, &m, &e);

		if (rc != TV_E_REFUSED || m.live || m.clean || !strstr(e.text, attacks[i].word))
			fail_msg("%s: %d %s", attacks[i].to, rc, e.text);
	}
}

/* ---- whatever has a place for a value ---- */

/* Free text of the guest's, in which a path opens nothing. */
static bool is_free_text(const xmlNode *n)
{
	static const char *const names[] = {"cmdline", "entry", "serial"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp((const char *)n->name, names[i]))
			return true;
	return false;
}

struct count {
	unsigned refused, ignored;
};

static void try_doc(xmlDoc *doc, bool nova, const char *what, struct count *c)
{
	struct lv_xml_made m;
	struct tv_err e = {0};
	xmlChar *text;
	int bytes;

	xmlDocDumpMemory(doc, &text, &bytes);
	if (make((const char *)text, nova, &m, &e)) {
		c->refused++;
	} else {
		if (strstr(m.live, MARK) || strstr(m.clean, MARK) || strstr(m.live, "evil"))
			fail_msg("%s: %s", what, m.live);
		c->ignored++;
		lv_xml_free(&m);
	}
	xmlFree(text);
}

static void try_attributes(xmlDoc *doc, xmlNode *n, bool nova, struct count *c)
{
	for (xmlAttr *a = n->properties; a; a = a->next) {
		xmlChar *old = xmlGetNoNsProp(n, a->name);

		xmlSetProp(n, a->name, (const xmlChar *)MARK);
		try_doc(doc, nova, (const char *)a->name, c);
		xmlSetProp(n, a->name, old);
		xmlFree(old);
	}
	xmlSetProp(n, (const xmlChar *)"evil", (const xmlChar *)"1");
	try_doc(doc, nova, (const char *)n->name, c);
	xmlUnsetProp(n, (const xmlChar *)"evil");
}

static void try_inside(xmlDoc *doc, xmlNode *n, bool nova, struct count *c)
{
	xmlNode *more = xmlNewChild(n, NULL, (const xmlChar *)"evil", (const xmlChar *)MARK);

	try_doc(doc, nova, (const char *)n->name, c);
	xmlUnlinkNode(more);
	xmlFreeNode(more);
	if (is_free_text(n))
		return;
	more = xmlNewText((const xmlChar *)MARK);
	xmlAddChild(n, more);
	try_doc(doc, nova, (const char *)n->name, c);
}

static void try_all(xmlDoc *doc, xmlNode *n, bool nova, struct count *c)
{
	for (; n; n = n->next) {
		xmlNode *copy;

		if (n->type != XML_ELEMENT_NODE)
			continue;
		try_attributes(doc, n, nova, c);
		try_all(doc, n->children, nova, c);
		copy = xmlCopyNode(n, 1); /* text joins the text that is there */
		try_inside(doc, n, nova, c);
		xmlReplaceNode(n, copy);
		xmlFreeNode(n);
		n = copy;
	}
}

static void test_every_value(void **state)
{
	(void)state;
	for (unsigned nova = 0; nova < 2; nova++) {
		const char *xml = nova ? novas : managers;
		xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), "x", NULL, 0);
		struct count c = {0};

		try_doc(doc, nova, "as it is", &c);
		assert_int_equal(c.ignored, 1);
		try_all(doc, xmlDocGetRootElement(doc), nova, &c);
		assert_true(c.refused > 100);
		try_doc(doc, nova, "as it was", &c); /* the changes were taken back */
		assert_int_equal(c.refused + c.ignored > 200, 1);
		xmlFreeDoc(doc);
	}
}

/* Each line of the table that keeps something has words that are checked, or a choice. */
static void test_table(void **state)
{
	const struct lv_xml_rule *r;
	unsigned n;

	(void)state;
	r = lv_xml_rules(&n);
	for (unsigned i = 0; i < n; i++) {
		assert_true((r[i].what == LV_KEEP) == (r[i].attrs != NULL));
		assert_true(r[i].text != LV_TEXT_REPLACED || r[i].hook);
		for (unsigned k = 0; k < i; k++)
			if (!strcmp(r[i].path, r[k].path))
				fail_msg("%s twice", r[i].path);
	}
}

/* ---- sizes ---- */

static void refuse(const char *xml, size_t bytes, const char *word)
{
	struct lv_xml_ask ask = ask_for(managers, false);
	struct lv_xml_made m;
	struct tv_err e = {0};

	ask.xml = xml;
	ask.bytes = bytes;
	assert_int_equal(lv_xml_make(&ask, &m, &e), TV_E_REFUSED);
	has(e.text, word);
}

static void test_sizes(void **state)
{
	size_t big = LV_XML_BYTES + 1;
	TV_FREE char *text = malloc(big + 1);
	size_t at = 0;

	(void)state;
	memset(text, ' ', big);
	text[big] = '\0';
	refuse(text, big, "larger than");
	refuse("", 0, "empty");
	refuse("<domain\0/>", 10, "empty or larger");
	for (unsigned i = 0; i < 5000; i++)
		at += (size_t)sprintf(text + at, "<a>");
	refuse(text, at, "cannot be read");
	at = (size_t)sprintf(text,
			     "<domain type='kvm'><name>a</name><uuid>%s</uuid><memory>1</memory>"
			     "<os/><devices>",
			     "08400e35-b57a-56b2-840b-9634320a6802");
	for (unsigned i = 0; i < 21000; i++)
		at += (size_t)sprintf(text + at, "<hub type='usb'/>");
	at += (size_t)sprintf(text + at, "</devices></domain>");
	refuse(text, at, "elements");
	refuse("<network/>", 10, "<network>");
}

/* UTF-16 hides a document type from whoever looks for letters. */
static void test_encoding(void **state)
{
	const char *xml = "<!DOCTYPE d [<!ENTITY x SYSTEM '/etc/shadow'>]><domain>&x;</domain>";
	char wide[512];
	size_t n = 0;

	(void)state;
	wide[n++] = '\xff';
	wide[n++] = '\xfe';
	for (const char *p = xml; *p; p++) {
		wide[n++] = *p;
		wide[n++] = '\0';
	}
	refuse(wide, n, "empty or larger");
	refuse("<?xml version='1.0' encoding='UTF-7'?>+ADw-domain/>", 51, "cannot be read");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manager),	      cmocka_unit_test(test_nova),
		cmocka_unit_test(test_own_arguments), cmocka_unit_test(test_mark),
		cmocka_unit_test(test_whose_place),   cmocka_unit_test(test_attacks),
		cmocka_unit_test(test_every_value),   cmocka_unit_test(test_table),
		cmocka_unit_test(test_sizes),	      cmocka_unit_test(test_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
