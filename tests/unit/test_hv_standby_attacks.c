/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer with a certificate may try by the command line that it sends. */
#include <errno.h>

#include "tests/unit/hv_allow_kit.h"

/* ---- what a peer may try ---- */
static const struct {
	const char *options, *name;
} attacks[] = {
	{"-icount shift=1,rr=record,rrfile=%/canary", "rr="},
	{"-icount shift=1,rrfile=%/canary", "rrfile="},
	{"-netdev user,id=n,guestfwd=tcp:10.0.2.100:1-cmd:/bin/sh", "guestfwd="},
	{"-netdev user,id=n,smb=/", "smb="},
	{"-netdev user,id=n,tftp=/etc", "tftp="},
	{"-netdev user,id=n,hostfwd=tcp::22-:22", "hostfwd="},
	{"-netdev {\"type\":\"user\",\"id\":\"n\",\"smb\":\"/\"}", "smb="},
	{"-netdev user,id=n,hostfwd.0.str=tcp::22-:22", "hostfwd"},
	{"-nic model=e1000,smb=/", "smb="},
	{"-nic user,smb=/", "smb="},
	{"-net user,smb=/", "smb="},
	{"-netdev socket,id=n,connect=10.0.0.1:22", "socket"},
	{"-netdev l2tpv3,id=n,src=a,dst=b,txsession=1", "l2tpv3"},
	{"-netdev newkind,id=n", "newkind"},
	{"-drive file=/dev/sda,format=raw", "/dev/sda"},
	{"-drive file=/dev/null,format=raw,readonly=on", "/dev/null"},
	{"-drive file=/etc/shadow,format=raw,readonly=on", "/etc/shadow"},
	{"-drive file=%/../../etc/passwd,format=raw,readonly=on", "etc/passwd"},
	{"-drive file=%/out,format=raw,readonly=on", "/out"},
	{"-drive file=%/fifo,format=raw,readonly=on", "/fifo"},
	{"-drive file=%/device,format=raw,readonly=on", "/device"},
	{"-drive file=%/plain,format=raw", "/plain"},
	{"-drive file=%/plain,format=vmdk,readonly=on", "vmdk"},
	{"-drive file=%/backed,format=qcow2,readonly=on", "further file"},
	{"-drive file=%/backed,readonly=on", "without its format"},
	{"-drive file=%/plain,readonly=on,backing.file.filename=/etc/x", "backing"},
	{"-drive file=nbd://h/x,readonly=on", "nbd:"},
	{"-drive file=fat:rw:/etc,readonly=on", "fat:"},
	{"-drive file=json:{},readonly=on", "json:"},
	{"-drive file.driver=host_device,file.filename=/dev/sda", "file."},
	{"-drive driver=nbd,file=%/plain,readonly=on", "driver="},
	{"/dev/sda", "/dev/sda"},
	{"-hda /dev/sda", "/dev/sda"},
	{"-cdrom /dev/null", "/dev/null"},
	{"-blockdev driver=host_device,filename=/dev/sda,node-name=n", "host_device"},
	{"-blockdev driver=nbd,server.type=inet,server.host=h,node-name=n", "nbd"},
	{"-blockdev driver=ssh,node-name=n", "ssh"},
	{"-blockdev driver=https,url=https://h,node-name=n", "https"},
	{"-blockdev driver=rbd,node-name=n", "rbd"},
	{"-blockdev driver=gluster,node-name=n", "gluster"},
	{"-blockdev driver=nfs,node-name=n", "nfs"},
	{"-blockdev driver=vvfat,dir=/,node-name=n", "vvfat"},
	{"-blockdev driver=luks,file=f,key-secret=s,node-name=n", "luks"},
	{"-blockdev driver=blklogwrites,node-name=n", "blklogwrites"},
	{"-blockdev driver=raw,file.driver=host_device,file.filename=/dev/sda,node-name=n",
	 "host_device"},
	{"-blockdev driver=file,filename=/etc/shadow,node-name=n", "/etc/shadow"},
	{"-blockdev driver=file,filename=/etc/shadow,node-name=n,read-only=on", "/etc/shadow"},
	{"-blockdev driver=file,filename=%/plain,pr-manager=p,node-name=n", "pr-manager="},
	{"-blockdev driver=qcow2,data-file=f,file=g,node-name=n", "data-file="},
	{"-blockdev {\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\"}}", "nbd"},
	{"-blockdev {\"driver\":\"raw\",\"file.filename\":\"/etc/x\"}", "file.filename"},
	{"-object rng-random,id=r,filename=/etc/shadow", "/etc/shadow"},
	{"-object memory-backend-file,id=m,mem-path=%/canary,size=1M", "memory-backend-file"},
	{"-object newtype,id=x", "newtype"},
	{"-object input-linux,id=i,evdev=/dev/input/event0", "input-linux"},
	{"-object filter-dump,id=f,netdev=n,file=%/canary", "filter-dump"},
	{"-device vfio-pci,host=01:00.0", "vfio-pci"},
	{"-device {\"driver\":\"vfio-pci\",\"host\":\"01:00.0\"}", "vfio-pci"},
	{"-device e1000,driver=vfio-pci", "vfio-pci"},
	{"-device ivshmem-plain,memdev=m", "ivshmem-plain"},
	{"-device vhost-user-blk-pci,chardev=c", "vhost-user-blk-pci"},
	{"-device vhost-vsock-pci,guest-cid=3", "vhost-vsock-pci"},
	{"-device usb-host,hostbus=1", "usb-host"},
	{"-device scsi-generic,drive=d", "scsi-generic"},
	{"-device scsi-block,drive=d", "scsi-block"},
	{"-device usb-mtp,rootdir=/", "usb-mtp"},
	{"-device loader,file=/etc/shadow,addr=0", "loader"},
	{"-device virtio-9p-pci,fsdev=f", "virtio-9p-pci"},
	{"-device new-device", "new-device"},
	{"-device usb-tablet,pcap=%/canary", "pcap="},
	{"-device ipmi-bmc-sim,sdrfile=/etc/shadow", "sdrfile="},
	{"-device e1000,romfile=/etc/shadow", "/etc/shadow"},
	{"-global usb-tablet.pcap=%/canary", "pcap="},
	{"-global unknown-driver.x=1", "unknown-driver"},
	{"-global migration.multifd-channels=9", "migration"},
	{"-global e1000.romfile=/etc/shadow", "/etc/shadow"},
	{"-kernel /etc/shadow", "/etc/shadow"},
	{"-initrd /etc/shadow", "/etc/shadow"},
	{"-dtb /etc/shadow", "/etc/shadow"},
	{"-bios /etc/shadow", "/etc/shadow"},
	{"-option-rom /etc/shadow", "/etc/shadow"},
	{"-machine q35,kernel=/etc/shadow", "/etc/shadow"},
	{"-L /etc", "/etc"},
	{"-fw_cfg name=opt/x,file=/etc/shadow", "/etc/shadow"},
	{"-fw_cfg name=opt/x,gen_id=o", "gen_id="},
	{"-smbios file=/etc/shadow", "/etc/shadow"},
	{"-smbios type=11,path=/etc/shadow", "/etc/shadow"},
	{"-acpitable data=/etc/shadow", "/etc/shadow"},
	{"-boot splash=/etc/shadow", "/etc/shadow"},
	{"-k ../../etc/shadow", "-k"},
	{"-usbdevice braille", "braille"},
	{"-cpu x,y=/etc/x", "-cpu"},
	{"-unknown", "-unknown"},
	{"-unknown -kernel", "-unknown"}, /* it does not eat the next word */
	{"-accel kvm,device=/dev/x", "device="},
	{"-name guest=a,foreign=b", "foreign="},
};

static void test_attacks(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(attacks); i++) {
		struct tv_err e = {0};
		char out[8192];
		int rc = run(attacks[i].options, out, sizeof(out), &e);

		if (rc != TV_E_REFUSED || !strstr(e.text, attacks[i].name) ||
		    !strstr(e.text, "hostA asks for"))
			fail_msg("%s: %d, %s%s", attacks[i].options, rc, e.text, out);
	}
}

/* A program: only a QEMU's name, in the folders of this host's operator. */
static void program_is(const char *name, const char *folders, int want)
{
	const struct hv_standby_conf conf = {.peer = "hostA", .qemu_path = folders};
	json_t *d = json_pack("{s:[s]}", "argv", name);
	struct hv_qemu qemu;
	struct tv_err e = {0};
	char *binary;
	int rc = hv_standby_qemu(d, &conf, &binary, &qemu, &e);

	if (rc != want || (rc == TV_E_REFUSED && !strstr(e.text, name)))
		fail_msg("%s: %d %s", name, rc, e.text);
	assert_null(binary);
	json_decref(d);
}

static void test_program(void **state)
{
	(void)state;
	program_is("/bin/sh", "/usr/bin:/bin", TV_E_REFUSED);
	program_is("sh", "/usr/bin:/bin", TV_E_REFUSED);
	program_is("/tmp/x/qemu-img", "/usr/bin", TV_E_REFUSED);
	program_is("qemu-system-", "/usr/bin", TV_E_REFUSED);
	program_is("qemu-system-x86_64 -x", "/usr/bin", TV_E_REFUSED);
	program_is("qemu-system-x86_64.sh", "/usr/bin", TV_E_REFUSED);
	/* Its folder is not the peer's to choose, and no relative one counts. */
	program_is("/bin/qemu-system-none", folder, -ENOTSUP);
	program_is("qemu-system-x86_64", "", -ENOTSUP);
	program_is("qemu-system-x86_64", NULL, -ENOTSUP);
	program_is("kvm", "bin:.", -ENOTSUP);
}

/* What belongs to the other host's session is not refused, but nothing of it arrives. */
static void test_neutral(void **state)
{
	static const struct {
		const char *options, *word;
	} try[] = {
		{"-chardev pipe,id=c,path=/etc/x", "/etc/x"},
		{"-chardev serial,id=c,path=/dev/ttyS0", "/dev/ttyS0"},
		{"-chardev parport,id=c,path=/dev/parport0", "/dev/parport0"},
		{"-chardev udp,id=c,host=h,port=1", "udp"},
		{"-chardev socket,id=c,host=h,port=22", "port"},
		{"-chardev socket,id=c,path=/run/docker.sock", "/run/docker.sock"},
		{"-chardev file,id=c,path=/etc/cron.d/x", "/etc/cron.d"},
		{"-chardev file,id=c,path=/x/promoted", DIR "/promoted,"},
		{"-chardev file,id=c,path=/x/..", DIR "/.."},
		{"-chardev null,id=c,logfile=/etc/x", "/etc/x"},
		{"-serial /dev/ttyS0", "/dev/ttyS0"},
		{"-serial file:/etc/x", "/etc/x"},
		{"-serial pipe:/etc/x", "/etc/x"},
		{"-serial mon:mon:stdio", "mon:"},
		{"-mon chardev=c", "chardev=c"},
		{"-qmp tcp:0:4444,server", "4444"},
		{"-monitor unix:/x,server", "/x,"},
		{"-writeconfig /etc/x", "/etc/x"},
		{"-plugin /tmp/x.so", "/tmp/x.so"},
		{"-trace file=/etc/x", "/etc/x"},
		{"-D /etc/x", "/etc/x"},
		{"-pidfile /etc/x", "/etc/x"},
		{"-daemonize", "-daemonize"},
		{"-incoming exec:/bin/sh", "exec:"},
		{"-loadvm x", "-loadvm"},
		{"-gdb tcp::1", "-gdb"},
		{"-vnc 0.0.0.0:1", "0.0.0.0"},
		{"-vnc unix:/etc/x", "/etc/x"},
		{"-display vnc=0.0.0.0:1", "0.0.0.0"},
		{"-spice port=5900,password=x", "5900"},
		{"-audiodev wav,id=a,path=/etc/x", "/etc/x"},
		{"-netdev tap,id=n,ifname=eth0,script=/tmp/x,downscript=/tmp/y", "/tmp"},
		{"-netdev tap,id=n,ifname=eth0", "eth0"},
		{"-netdev bridge,id=n,br=b,helper=/tmp/x", "/tmp"},
		{"-object secret,id=s,data=hunter2", "hunter2"},
		{"-object secret,id=s,file=/etc/shadow", "/etc/shadow"},
		{"-object tls-creds-x509,id=t,dir=/etc/pki", "/etc/pki"},
		{"-object authz-list-file,id=t,filename=/etc/x", "/etc/x"},
		{"-machine q35,dumpdtb=/etc/x", "/etc/x"},
		{"-mem-path /etc", "/etc"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(try); i++)
		gone(try[i].options, try[i].word);
}

/* Inside the folders, through a link that stays inside, or by a name of QEMU's own. */
static void test_media(void **state)
{
	(void)state;
	fine("-cdrom %/plain");
	fine("-cdrom %/sub/../in");
	fine("-drive file=%/whole,format=qcow2,readonly=on,if=none,id=d");
	fine("-kernel %/sub/kernel");
	fine("-L %/sub");
	fine("-device e1000,romfile=efi-e1000.rom");
	fine("-device e1000,romfile=");
	fine("-device e1000,romfile=%/plain");
	fine("-object rng-random,id=r,filename=/dev/urandom");
	refused("-L %/plain", "no folder");
	refused("-kernel %/sub", "no ordinary file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attacks),
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_neutral),
		cmocka_unit_test(test_media),
	};

	return cmocka_run_group_tests(tests, media_setup, media_teardown);
}
