/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The standby's command line, case by case: what the primary has, and what becomes of it. */
#include "tests/unit/hv_argv_kit.h"

static const struct vm usual;

/* What the QEMU that is to run it does not know is left out. */
static void test_other_qemus(void **state)
{
	const struct hv_qemu known = argv_qemu;
	char out[4096];

	(void)state;
	argv_qemu.suppress_vmdesc = argv_qemu.send_configuration = false;
	assert_int_equal(rewrite("qemu -m 256", &usual, out, sizeof(out), NULL), 0);
	assert_null(strstr(out, "suppress-vmdesc"));
	assert_null(strstr(out, "send-configuration"));
	argv_qemu = known;
	assert_int_equal(rewrite("qemu -no-hpet -no-acpi", &usual, out, sizeof(out), NULL), 0);
	assert_null(strstr(out, " -no-"));
	assert_non_null(strstr(out, " -machine hpet=off,acpi=off,type=pc-q35-7.2,"));
	argv_qemu.vm_number = true; /* Proxmox VE's */
	assert_int_equal(rewrite("kvm -id 100 -m 256", &usual, out, sizeof(out), NULL), 0);
	assert_non_null(strstr(out, "kvm -id 100 "));
	argv_qemu = known;
	assert_int_equal(rewrite("kvm -id 100 -m 256", &usual, out, sizeof(out), NULL), 0);
	assert_null(strstr(out, "-id 100"));
}

/* The part that every standby has, for a usual VM. */
#define TAIL                                                                                    \
	" -machine type=pc-q35-7.2,suppress-vmdesc=on,memory-backend=pc.ram -m size=268435456B" \
	" -object qom-type=memory-backend-file,id=pc.ram,mem-path=" RAM                         \
	",size=268435456B,share=on"                                                             \
	",x-use-canonical-path-for-ramblock-id=off -global migration.send-configuration=off"    \
	" -display none -monitor none -chardev socket,id=tv-qmp,fd=3,server=on,wait=off"        \
	" -mon chardev=tv-qmp,mode=control -sandbox on,obsolete=deny,"                          \
	"elevateprivileges=deny,spawn=deny,resourcecontrol=deny -incoming defer"

static void middle_is(const char *options, const char *expected)
{
	char line[4096], out[8192], want[8192];
	struct tv_err e = {0};

	snprintf(line, sizeof(line), "qemu %s", options);
	snprintf(want, sizeof(want), "qemu%s%s" TAIL, *expected ? " " : "", expected);
	if (rewrite(line, &usual, out, sizeof(out), &e))
		fail_msg("%s: %s", options, e.text);
	assert_string_equal(out, want);
}

static void test_kept(void **state)
{
	static const char *const lines[] = {
		"-name guest=a,debug-threads=on -uuid 1-2 -smp 2,sockets=1 -cpu host -enable-kvm",
		"-accel kvm -accel tcg,thread=multi -no-shutdown -no-reboot -rtc "
		"base=utc,clock=host",
		"-kernel /b/vmlinuz -initrd /b/initrd -append console=ttyS0,115200",
		"-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,romfile= -boot strict=on",
		"-fw_cfg name=opt/x,file=/etc/x",
		"-global driver=PIIX4_PM,property=disable_s3,value=1 -nodefaults -no-user-config",
		"-msg timestamp=on",
		"-drive if=none,id=d,media=cdrom,format=raw,readonly=on,file=/i.iso -device "
		"ide-cd,drive=d",
		"-blockdev "
		"{\"driver\":\"raw\",\"node-name\":\"a\",\"file\":\"b\",\"read-only\":true}",
		"-vga std -watchdog-action reset -overcommit mem-lock=off -usb -snapshot -k de",
		"-object iothread,id=io0 -smbios type=1,serial=x",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		middle_is(lines[i], lines[i]);
}

static void test_dropped(void **state)
{
	static const char *const lines[] = {
		"",
		"-S",
		"--S",
		"-daemonize",
		"-pidfile /run/p",
		"-D /log -d int -trace enable=x",
		"-monitor stdio",
		"-monitor unix:/m,server,nowait",
		"-qmp unix:/q,server=on,wait=off",
		"-mon chardev=m,mode=control",
		"-gdb tcp::1234",
		"-s",
		"-display gtk",
		"-vnc none",
		"-sdl",
		"-curses",
		"-full-screen",
		"-incoming defer",
		"--incoming tcp:0:4444",
		"-loadvm snap",
		"-mem-prealloc",
		"-mem-path /hugepages",
		"-M q35",
		"-machine pc-q35-7.2",
		"--machine type=q35",
		"-m 256",
		"-m 256M",
		"-m size=256M",
		"-m 0.25G",
		"-qmp-pretty stdio",
		"-global migration.send-configuration=off",
		"-object secret,id=s,data=pw -object tls-creds-x509,id=t,dir=/etc/pki",
		"-iscsi initiator-name=iqn.1993-08.org.debian:01:aabb",
		"-display none -monitor none",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		middle_is(lines[i], "");
}

/* A display is where the host's root finds it, and nowhere else. */
static void test_display(void **state)
{
	static const char here[] = "-vnc unix:" VM_DIR "/vnc.sock";

	(void)state;
	middle_is("-vnc :1", here);
	middle_is("-vnc unix:/run/x.sock,password=on,tls-creds=t", here);
	middle_is("--vnc 0.0.0.0:1,to=99,websocket=on,reverse=on", here);
	middle_is("-spice port=5900,disable-ticketing=on", here);
	middle_is("-display vnc=:3 -vnc :1 -vnc :2,id=b -spice port=1", here);
	middle_is("-serial unix:/a/vnc.sock,server=on -vnc :1",
		  "-serial unix:" VM_DIR "/vnc.sock,server=on,wait=off -vnc unix:" VM_DIR
		  "/vnc-2.sock");
}

static void test_serial(void **state)
{
	(void)state;
	middle_is("-serial stdio", "-serial null");
	middle_is("-serial mon:stdio", "-serial null");
	middle_is("-serial pty -serial /dev/ttyS0", "-serial null -serial null");
	middle_is("-serial none", "-serial none");
	middle_is("-serial vc:80Cx24C", "-serial vc:80Cx24C");
	middle_is("-serial chardev:c0", "-serial chardev:c0");
	middle_is("-serial file:/var/log/v.log", "-serial file:" VM_DIR "/v.log");
	middle_is("-serial file:/a/v.log -parallel file:/b/v.log",
		  "-serial file:" VM_DIR "/v.log -parallel file:" VM_DIR "/v.log-2");
	middle_is("-serial unix:/a/s.sock,server,nowait",
		  "-serial unix:" VM_DIR "/s.sock,server=on,wait=off");
	middle_is("-serial mon:unix:/a/s.sock,server=on,wait=on",
		  "-serial unix:" VM_DIR "/s.sock,server=on,wait=off");
	middle_is("-serial unix:/a/s.sock", "-serial null");
	middle_is("-serial tcp::4555,server,nowait -serial telnet:127.0.0.1:4556,server=on",
		  "-serial unix:" VM_DIR "/serial.sock,server=on,wait=off"
		  " -serial unix:" VM_DIR "/serial-2.sock,server=on,wait=off");
	middle_is("-serial tcp:host:4555 -serial udp::1", "-serial null -serial null");
	middle_is("-debugcon file:/tmp/d", "-debugcon file:" VM_DIR "/d");
	/* The names of twinvm's own files are in another folder. */
	middle_is("-serial file:/x/standby.log", "-serial file:" VM_DIR "/standby.log");
}

static void test_chardev(void **state)
{
	(void)state;
	middle_is("-chardev socket,id=c,path=/a/x.sock,server=on,wait=off",
		  "-chardev backend=socket,id=c,path=" VM_DIR "/x.sock,server=on,wait=off");
	middle_is("-chardev socket,id=c,fd=32,server,nowait,mux=on",
		  "-chardev backend=socket,id=c,mux=on,path=" VM_DIR "/c.sock,server=on,wait=off");
	middle_is("-chardev socket,id=c,host=h,port=1,server=on,telnet=on",
		  "-chardev backend=socket,id=c,path=" VM_DIR "/c.sock,server=on,wait=off");
	middle_is("-chardev socket,id=c,path=/a/x.sock,reconnect=1", "-chardev backend=null,id=c");
	middle_is("-chardev socket,id=c,path=/a/x.sock,server=off", "-chardev backend=null,id=c");
	middle_is("-chardev socket,id=c,path=/a/x.sock,noserver", "-chardev backend=null,id=c");
	middle_is("-chardev stdio,id=c,mux=on,signal=off", "-chardev backend=null,id=c,mux=on");
	middle_is("-chardev pty,id=c,logfile=/l/c.log,logappend=on",
		  "-chardev backend=null,id=c,logappend=on,logfile=" VM_DIR "/c.log");
	middle_is("-chardev file,id=c,path=/l/o.txt,append=on",
		  "-chardev backend=file,id=c,path=" VM_DIR "/o.txt,append=on");
	middle_is("-chardev backend=null,id=c", "-chardev backend=null,id=c");
	middle_is("-chardev spicevmc,id=c,name=vdagent", "-chardev backend=null,id=c");
	middle_is("-audiodev pa,id=a,server=/x", "-audiodev driver=none,id=a");
	middle_is("-audiodev {\"id\":\"a\",\"driver\":\"spice\"}", "-audiodev driver=none,id=a");
}

/* Whatever socket the peer names, the standby's is a descriptor; and again after a promotion. */
static void test_tpm(void **state)
{
	(void)state;
	middle_is("-chardev socket,id=c,path=/etc/x,server=on,wait=off -tpmdev "
		  "emulator,id=t,chardev=c -device tpm-crb,tpmdev=t",
		  "-chardev backend=socket,id=c,fd=53 -tpmdev emulator,id=t,chardev=c -device "
		  "tpm-crb,tpmdev=t");
	assert_true(argv_what.tpm);
	middle_is("-tpmdev emulator,id=t,chardev=c -chardev backend=socket,id=c,fd=53",
		  "-tpmdev emulator,id=t,chardev=c -chardev backend=socket,id=c,fd=53");
	assert_true(argv_what.tpm);
	middle_is("-chardev socket,id=c,path=/etc/x", "-chardev backend=null,id=c");
	assert_false(argv_what.tpm);
}

static void test_net(void **state)
{
	(void)state;
	middle_is("-netdev user,id=n,net=10.0.2.0/24", "-netdev user,id=n,net=10.0.2.0/24");
	middle_is("-netdev tap,id=n,ifname=vnet0,script=/etc/up,vhost=on",
		  "-netdev id=n,type=tap,fd=5");
	assert_int_equal(argv_what.n_taps, 1);
	assert_int_equal(argv_what.taps[0].queues, 1);
	assert_false(argv_what.taps[0].no_vnet_hdr);
	middle_is("-netdev tap,id=n,vnet_hdr=off,ifname=t", "-netdev id=n,type=tap,fd=5");
	assert_true(argv_what.taps[0].no_vnet_hdr);
	middle_is("-netdev tap,id=n,fd=33,vhostfd=34,vhost=on -netdev bridge,id=m,br=br0",
		  "-netdev id=n,type=tap,fd=5 -netdev id=m,type=tap,fd=6");
	assert_int_equal(argv_what.n_taps, 2);
	middle_is("-add-fd set=0,fd=30,opaque=log -chardev "
		  "pty,id=charserial0,logfile=/dev/fdset/0,logappend=on",
		  "-chardev backend=null,id=charserial0,logappend=on,logfile=" VM_DIR
		  "/charserial0.log");
	middle_is("-netdev tap,id=n,fds=3:4,vhostfds=5:6", "-netdev id=n,type=tap,fds=5:6");
	middle_is("-netdev tap,id=n,queues=3 -netdev tap,id=m",
		  "-netdev id=n,type=tap,fds=5:6:7 -netdev id=m,type=tap,fd=8");
	assert_int_equal(argv_what.taps[0].queues, 3);
	assert_int_equal(argv_what.taps[1].queues, 1);
	middle_is("-netdev {\"type\":\"tap\",\"id\":\"n\",\"queues\":2,\"vhost\":true}",
		  "-netdev {\"type\":\"tap\",\"id\":\"n\",\"fds\":\"5:6\"}");
	assert_int_equal(argv_what.taps[0].queues, 2);
	middle_is("-nic tap,model=virtio,mac=52:54:00:00:00:02,br=b",
		  "-nic model=virtio,mac=52:54:00:00:00:02,type=tap,fd=5");
	middle_is("-nic none", "-nic none");
	middle_is("-nic model=virtio", "-nic model=virtio");
	middle_is("-net nic,model=e1000 -net user", "-net nic,model=e1000 -net user");
	middle_is("-netdev "
		  "{\"type\":\"tap\",\"fd\":\"34\",\"vhost\":true,\"vhostfd\":\"36\",\"id\":\"h\"}",
		  "-netdev {\"type\":\"tap\",\"id\":\"h\",\"fd\":\"5\"}");
}

static void test_paths(void **state)
{
	const struct vm here = {.file = "/w/rom.bin"};
	char out[8192];
	struct tv_err e = {0};

	(void)state;
	middle_is("-kernel vmlinuz -initrd ../i -L bios",
		  "-kernel /w/vmlinuz -initrd /w/../i -L /w/bios");
	middle_is("-cdrom a.iso -drive file=b.iso,readonly=on,if=none,id=x",
		  "-drive index=2,media=cdrom,format=raw,readonly=on,file=/w/a.iso"
		  " -drive if=none,id=x,format=raw,readonly=on,file=/w/b.iso");
	middle_is("-pflash /code -drive file=a,,b.iso,readonly=on,format=qcow2",
		  "-drive if=pflash,format=raw,readonly=on,file=/code"
		  " -drive format=qcow2,readonly=on,file=/w/a,,b.iso");
	middle_is("-drive if=none,id=empty", "-drive if=none,id=empty");
	middle_is("-blockdev driver=raw,node-name=a,file.driver=file,file.filename=x,read-only=on",
		  "-blockdev "
		  "driver=raw,node-name=a,file.driver=file,file.filename=/w/x,read-only=on");
	/* Only to be read, whatever the line says. */
	middle_is("-blockdev {\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"x\","
		  "\"read-only\":false}}",
		  "-blockdev "
		  "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"/w/x\"},"
		  "\"read-only\":true}");
	middle_is("-blockdev driver=raw,node-name=a,file.driver=file,file.filename=/x,"
		  "file.read-only=off",
		  "-blockdev driver=raw,node-name=a,file.driver=file,file.filename=/x,"
		  "file.read-only=on,read-only=on");
	middle_is("-bios bios.bin", "-bios bios.bin");
	middle_is("-bios sub/bios.bin", "-bios /w/sub/bios.bin");
	assert_int_equal(rewrite("./qemu -bios rom.bin", &here, out, sizeof(out), &e), 0);
	assert_memory_equal(out, "qemu -bios /w/rom.bin", 21);
}

static void contains(const char *line, const struct vm *vm, const char *what)
{
	char out[8192];
	struct tv_err e = {0};

	if (rewrite(line, vm, out, sizeof(out), &e))
		fail_msg("%s: %s", line, e.text);
	if (!strstr(out, what))
		fail_msg("%s: no \"%s\" in %s", line, what, out);
}

static void test_machine_and_ram(void **state)
{
	const struct vm mem0 = {.main_block = "mem0"}, old = {.main_block = "/objects/mem0"};
	const struct vm micro = {.main_block = "microvm.ram", .machine = "microvm"};
	const struct vm big = {.ram_bytes = INT64_C(5) << 30};

	(void)state;
	contains("qemu -M q35,accel=kvm -machine usb=off,graphics=on", &usual,
		 " -machine accel=kvm,usb=off,graphics=on,type=pc-q35-7.2,suppress-vmdesc=on,"
		 "memory-backend=pc.ram ");
	/* Proxmox VE's suffix is a note to its tools; the type is what QEMU made of it. */
	contains("kvm -machine hpet=off,type=q35+pve0", &usual,
		 " -machine hpet=off,type=pc-q35-7.2,suppress");
	contains("qemu -M q35 -nographic", &usual, " -machine graphics=off,type=pc-q35-7.2,");
	contains("qemu -m 256,slots=4,maxmem=1G", &usual, " -m slots=4,maxmem=1G,size=268435456B ");
	contains("qemu -m 256 -m slots=4,maxmem=1G", &usual,
		 " -m slots=4,maxmem=1G,size=268435456B ");
	contains("qemu -m 5G", &big, "size=5368709120B,share=on");
	contains("qemu -M q35,memory-backend=mem0 -m 256 -object "
		 "memory-backend-memfd,id=mem0,size=256M",
		 &mem0, ",memory-backend=mem0 -m ");
	contains("qemu -M q35,memory-backend=mem0 -m 256 -object "
		 "memory-backend-memfd,id=mem0,size=256M",
		 &mem0,
		 "id=mem0,mem-path=" RAM ",size=268435456B,share=on,"
		 "x-use-canonical-path-for-ramblock-id=off");
	contains(
		"qemu -M pc-q35-4.0,memory-backend=mem0 -object memory-backend-file,id=mem0,size=1",
		&old,
		"id=mem0,mem-path=" RAM ",size=268435456B,share=on,"
		"x-use-canonical-path-for-ramblock-id=on");
	contains("qemu -M microvm", &micro,
		 "type=microvm,suppress-vmdesc=on,memory-backend=microvm.ram");
	contains("qemu -object "
		 "{\"qom-type\":\"memory-backend-ram\",\"id\":\"pc.ram\",\"size\":268435456}"
		 " -machine pc-q35-7.2,memory-backend=pc.ram",
		 &usual, "qemu -machine type=");
	contains("qemu -numa node,memdev=mem0 -object memory-backend-ram,id=mem0,size=256M", &mem0,
		 "-machine type=pc-q35-7.2,suppress-vmdesc=on -m ");
	/* Of two nodes the first has the file, and the machine has the size of both. */
	contains(
		"qemu -m 512 -numa node,memdev=mem0 -numa node,memdev=mem1 -object "
		"memory-backend-ram,id=mem0,size=256M -object memory-backend-ram,id=mem1,size=256M",
		&mem0,
		"-object memory-backend-ram,id=mem1,size=256M -machine "
		"type=pc-q35-7.2,suppress-vmdesc=on -m size=512 -object "
		"qom-type=memory-backend-file,id=mem0,");
	contains("qemu -object memory-backend-ram,id=dimm0,size=1G -device pc-dimm,memdev=dimm0",
		 &usual, "-object memory-backend-ram,id=dimm0,size=1G -device pc-dimm");
}

static void refused(const char *line, const struct vm *vm, const char *word)
{
	char out[8192];
	struct tv_err e = {0};
	int rc = rewrite(line, vm, out, sizeof(out), &e);

	if (rc != TV_E_REFUSED)
		fail_msg("%s: %d: %s", line, rc, out);
	assert_string_equal(out, "");
	if (!strstr(e.text, word))
		fail_msg("%s: no \"%s\" in: %s", line, word, e.text);
}

/* Of each tap what the description says of the NIC that it belongs to. */
static void test_places(void **state)
{
	const struct vm two = {
		.nics = "[{\"netdev\":\"b\",\"bridge\":\"br1\",\"mtu\":9000,\"vlans\":[{\"id\":7,"
			"\"pvid\":true,\"untagged\":false}]},{\"netdev\":\"a\",\"bridge\":\"br0\"}]"};
	const struct vm huge = {.nics = "[{\"netdev\":\"a\",\"bridge\":\"br0\",\"mtu\":65536,"
					"\"vlans\":[{\"id\":-1}]}]"};
	const struct vm long_name = {
		.nics = "[{\"netdev\":\"a\",\"bridge\":\"a-name-of-16-byte\"}]"};

	(void)state;
	contains("qemu -netdev tap,id=a -netdev tap,id=b -netdev tap,id=c", &two, "fd=7");
	assert_string_equal(argv_what.taps[0].bridge, "br0");
	assert_int_equal(argv_what.taps[0].mtu, 0);
	assert_int_equal(argv_what.taps[0].n_vlans, 0);
	assert_string_equal(argv_what.taps[1].bridge, "br1");
	assert_int_equal(argv_what.taps[1].mtu, 9000);
	assert_int_equal(argv_what.taps[1].n_vlans, 1);
	assert_int_equal(argv_what.taps[1].vlans[0].id, 7);
	assert_true(argv_what.taps[1].vlans[0].pvid && !argv_what.taps[1].vlans[0].untagged);
	assert_string_equal(argv_what.taps[2].bridge, "");
	/* Out of their range, and so refused where they are checked. */
	contains("qemu -netdev tap,id=a", &huge, "fd=5");
	assert_int_equal(argv_what.taps[0].mtu, 65535);
	assert_int_equal(argv_what.taps[0].vlans[0].id, 65535);
	refused("qemu -netdev tap,id=a", &long_name, "too long");
}

static void test_refused(void **state)
{
	const struct vm split = {.main_bytes = 128 * MIB};

	(void)state;
	refused("qemu -readconfig x.cfg", &usual, "-readconfig");
	refused("qemu --preconfig", &usual, "-preconfig");
	refused("qemu -id 1,path=/x", &usual, "-id");
	/* A descriptor's set is dropped, and what is not moved must not stay behind it. */
	refused("qemu -add-fd fd=3,set=1 -drive file=/dev/fdset/1,if=none,id=d", &usual,
		"/dev/fdset/1");
	refused("qemu -add-fd fd=3,set=1 -object rng-random,id=r,filename=/dev/fdset/1", &usual,
		"/dev/fdset/1");
	refused("qemu -tpmdev passthrough,id=t,path=/dev/tpm0", &usual, "swtpm");
	refused("qemu -tpmdev emulator,id=t", &usual, "chardev");
	refused("qemu -tpmdev emulator,id=t,chardev=c,x-program=/x", &usual, "x-program");
	refused("qemu -tpmdev emulator,id=t,chardev=tv-qmp", &usual, "another id");
	refused("qemu -tpmdev emulator,id=t,chardev=c -tpmdev emulator,id=u,chardev=d", &usual,
		"one TPM");
	refused("qemu -tpmdev emulator,id=t,chardev=c -chardev pipe,id=c,path=/x", &usual,
		"-chardev pipe");
	refused("qemu -netdev vhost-user,id=n,chardev=c", &usual, "vhost-user");
	refused("qemu -netdev socket,id=n,fd=4", &usual, "socket");
	refused("qemu -object memory-backend-file,id=nv,mem-path=/x,size=1G", &usual,
		"memory-backend-file");
	refused("qemu -object memory-backend-epc,id=pc.ram", &usual, "memory-backend-epc");
	refused("qemu -object sev-guest,id=s", &usual, "sev-guest");
	refused("qemu -object {bad", &usual, "JSON");
	refused("qemu -unknown", &usual, "-unknown");
	refused("qemu", &split, "several pieces");
}

static void test_many_taps(void **state)
{
	(void)state;
	refused("qemu -nic tap,queues=49", &usual, "48 queues");
	refused("qemu -nic tap,queues=0", &usual, "queues");
	refused("qemu -netdev {\"type\":\"tap\",\"id\":\"n\",\"queues\":4294967297}", &usual,
		"queues");
	refused("qemu -netdev {\"type\":\"tap\",\"id\":\"n\",\"queues\":[2]}", &usual, "queues");
	refused("qemu -netdev tap,id=n,queues=2x", &usual, "queues");
	refused("qemu -netdev tap,id=a,queues=40 -netdev tap,id=b,queues=9", &usual, "48 queues");
}

/* A promoted VM is protected again: its own command line must come out the same. */
static void test_again(void **state)
{
	char once[8192], twice[8192];
	struct tv_err e = {0};

	(void)state;
	assert_int_equal(
		rewrite("qemu -M q35 -m 256 -nographic -nic tap,model=e1000 -serial mon:stdio "
			"-chardev socket,id=c,path=/a/x,server -chardev pty,id=d -name v "
			"-kernel k -device e1000,romfile=",
			&usual, once, sizeof(once), &e),
		0);
	assert_int_equal(rewrite(once, &usual, twice, sizeof(twice), &e), 0);
	/* Only the order inside -machine and -m may differ; the length may not. */
	assert_int_equal(strlen(once), strlen(twice));
}

static void test_bad_description(void **state)
{
	const struct hv_standby_conf conf = {.dir = DIR};
	static const char *const bad[] = {
		"{}",
		"{\"argv\":[]}",
		"{\"argv\":[1]}",
		"{\"argv\":\"qemu\"}",
		"{\"argv\":[\"qemu\"]}",
		"{\"argv\":[\"qemu\"],\"blocks\":[{\"main\":true}]}",
		"{\"argv\":[\"qemu\"],\"ram_bytes\":1,\"blocks\":[{\"main\":true,\"name\":\"a\","
		"\"bytes\":1}]}",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		json_t *d = json_loads(bad[i], 0, NULL);
		struct tv_err e = {0};
		char **argv;

		assert_non_null(d);
		assert_true(hv_standby_argv(d, &conf, &argv_qemu, NULL, &argv_what, &argv, &e) < 0);
		assert_null(argv);
		assert_true(e.text[0] != '\0');
		json_decref(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_display),
		cmocka_unit_test(test_serial),
		cmocka_unit_test(test_chardev),
		cmocka_unit_test(test_tpm),
		cmocka_unit_test(test_net),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_machine_and_ram),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_many_taps),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_other_qemus),
		cmocka_unit_test(test_bad_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
