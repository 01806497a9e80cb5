#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""meddle.py QMP COUNT SEED run|stop [resets] [devices] [torn] [switch]: somebody else at a monitor of a protected VM.

COUNT random commands; the last of `stop` and `cont` is the given word. After each answer their last word must hold:
query-status says running or not, until the next word. resets: `system_reset` too. devices: devices are plugged
into the buses rp0 and xhci.0 and unplugged, the drive cd0 is opened, emptied and given a file of QMP.0, QMP.1; at the
end what was to be unplugged is gone. torn: mostly `cont`, and nobody asks whether a word holds. switch: a planned switch
comes, for which the VM is stopped here: it runs again, or its QEMU ends. Prints what it did.
Exit status 1: a word did not hold; 3: the monitor has gone, as in a power cut."""
import json
import random
import socket
import sys
import time

path, count, seed, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
options = sys.argv[5:]
rnd = random.Random(seed)
done = {}
says_run = True


def gone():
    print("the monitor has gone after", sum(done.values()), "commands:", done, flush=True)
    sys.exit(3)


def command(name, **arguments):
    try:
        s.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            line = lines.readline()
            if not line:
                gone()
            answer = json.loads(line)
            if "return" in answer or "error" in answer:
                done[name] = done.get(name, 0) + 1
                return answer.get("return")
    except OSError:
        gone()


def look(times):
    if "torn" in options:
        return
    for _ in range(times):
        status = command("query-status")
        until = time.monotonic() + 60
        while "switch" in options and says_run and not status["running"] and time.monotonic() < until:
            status = command("query-status")
        if status["running"] != says_run:
            print("LOST: the last word was", "cont" if says_run else "stop", "and the VM is", status["status"], done)
            sys.exit(1)


def say(run):
    global says_run
    command("cont" if run else "stop")
    says_run = run
    look(rnd.choice((1, 3, 40)))


DEVICES = {"meddle-rng": ("virtio-rng-pci", "rp0"), "meddle-usb": ("usb-tablet", "xhci.0")}
leaving = set()


def change_devices():
    name = rnd.choice(list(DEVICES))
    driver, bus = DEVICES[name]
    dice = rnd.random()
    if dice < 0.3:
        if command("device_add", driver=driver, id=name, bus=bus) is not None:
            leaving.discard(name)
    elif dice < 0.6:
        if command("device_del", id=name) is not None:
            leaving.add(name)
    elif dice < 0.7:
        command("eject", id="cd0")
    elif dice < 0.8:
        command("blockdev-open-tray", id="cd0")
    else:
        command("blockdev-change-medium", id="cd0", filename=f"{path}.{rnd.randrange(2)}", format="raw")


def settle_devices():
    """The guest lets go of a PCI device when it runs. A request that came before it had seen the device is lost."""
    end = time.monotonic() + 60
    while leaving & {d["name"] for d in command("qom-list", path="/machine/peripheral")}:
        if time.monotonic() > end:
            print("the guest does not let go of", leaving, done)
            sys.exit(1)
        for name in leaving:
            command("device_del", id=name)
        time.sleep(0.05)


QUERIES = ("query-block", "query-chardev", "query-cpus-fast", "query-block-jobs", "query-version", "query-migrate", "query-pci")

s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(path)
lines = s.makefile()
lines.readline()
command("qmp_capabilities")
command("set-action", reboot="reset")  # the test guests have -no-reboot: a reset would be their end
print("begun", flush=True)
while sum(done.values()) < count:
    dice = rnd.random()
    if "torn" in options and dice < 0.7:
        command("cont")
    elif not says_run:
        if dice < 0.4:
            say(True)
        else:
            look(1)
    elif dice < 0.15:
        say(False)
    elif dice < 0.25:
        say(True)
    elif dice < 0.5:
        command(rnd.choice(QUERIES))
    elif dice < 0.505 and "resets" in options:
        command("system_reset")
    elif dice < 0.53 and "devices" in options:
        change_devices()
    else:
        look(1)
if leaving:
    say(True)
    settle_devices()
say(last == "run")
look(200)
print(sum(done.values()), "commands:", done)
