#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An orderly reboot of a host whose process 1 is systemd, with the real units. A restart of twinvmd, or of the unit that gives VMs
# away, begins nothing. A reboot begins the maintenance while twinvmd and the scopes that VMs run in are still there, and only then
# they are stopped. The next boot ends it.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

[[ -x /lib/systemd/systemd ]] && command -v systemd-run >/dev/null || { skip "everything" "no systemd on this machine"; exit 77; }

SYSTEMD=
CGROUP=
no_process_left() { grep -q "populated 0" "$CGROUP/cgroup.events"; }
eval "$(declare -f at_exit | sed '1s/at_exit/pair_at_exit/')"
at_exit() {
	if [[ -n $CGROUP ]]; then
		[[ -z $SYSTEMD ]] || kill -9 "$SYSTEMD" 2>/dev/null || true
		await "$AWAIT_S" "all of hostA's systemd to end" no_process_left || true
		find "$CGROUP" -depth -type d -exec rmdir {} + || true
		umount "$PAIR_DIR/cgroup" || true
	fi
	pair_at_exit "$1"
}

# ---- a host with systemd: units of its own, and of Debian's only what a shutdown needs ----
prepare() {
	local d=$PAIR_DIR/units u
	mkdir -p "$d/scope.d" "$d/twinvmd.service.d" "$PAIR_DIR/cgroup"
	mount -t cgroup2 none "$PAIR_DIR/cgroup" && mkdir "$PAIR_DIR/cgroup/twinvm-121-$$" ||
		{ skip "everything" "no control groups of version 2"; exit 77; }
	CGROUP=$PAIR_DIR/cgroup/twinvm-121-$$
	for u in sysinit basic network network-online shutdown reboot final umount; do
		cp "/lib/systemd/system/$u.target" "$d/"
	done
	cp /lib/systemd/system/systemd-reboot.service "$d/"
	sed "s|@SBINDIR@|$PAIR_B|" docs/twinvmd.service >"$d/twinvmd.service"
	sed "s|@BINDIR@|$PAIR_B|" docs/twinvm-shutdown.service >"$d/twinvm-shutdown.service"
	cp docs/twinvm-scopes.conf "$d/scope.d/50-twinvm.conf"
	printf '[Unit]\nConditionPathExists=\n[Service]\nExecStart=\nExecStart=%s --config %s\nStandardOutput=append:%s\nStandardError=append:%s\n' "$PAIR_B/twinvmd" \
		"$PAIR_DIR/hostA.conf" "$PAIR_DIR/hostA.log" "$PAIR_DIR/hostA.log" >"$d/twinvmd.service.d/test.conf"
	printf '[Unit]\nConditionPathExists=\n[Service]\nStandardOutput=append:%s\nStandardError=append:%s\n' "$PAIR_DIR/down.log" \
		"$PAIR_DIR/down.log" >"$d/down.conf"
	mkdir "$d/twinvm-shutdown.service.d" && mv "$d/down.conf" "$d/twinvm-shutdown.service.d/test.conf"
	printf '[Unit]\nWants=twinvmd.service\n' >"$d/host.target"
	cat >"$PAIR_DIR/boot" <<-END
		set -e
		mount --make-rprivate /
		mount -t proc proc /proc
		mount --bind $PAIR_DIR/boot_id /proc/sys/kernel/random/boot_id
		umount -R /sys/fs/cgroup || true
		mount -t cgroup2 none /sys/fs/cgroup
		rm -rf /run/systemd
		for d in /etc/systemd/system /lib/systemd/system /lib/systemd/system-generators; do
			mount -t tmpfs none \$d
		done
		cp -r $d/* /lib/systemd/system/
		exec env -i "PATH=$PATH" container=twinvm-test /lib/systemd/systemd --system --unit=host.target
	END
}
boot() { # BOOT_ID
	echo "$1" >"$PAIR_DIR/boot_id"
	host_spawn hostA "$PAIR_DIR/systemd.log" bash -c "mount -t cgroup2 none '$PAIR_DIR/cgroup' && echo \$\$ >'$CGROUP/cgroup.procs'
		exec unshare --cgroup --mount --pid --uts --fork --kill-child bash '$PAIR_DIR/boot'"
	SYSTEMD=$SPAWNED_PID
	SYSTEMD_JOB=$SPAWNED_JOB
	await "$AWAIT_S" "systemd on hostA" in_systemd systemctl is-active --quiet twinvm-shutdown
	await "$AWAIT_S" "twinvmd on hostA" tw hostA status >/dev/null
}
in_systemd() {
	local pid
	pid=$(pgrep -P "$SYSTEMD") || return 1
	# shellcheck disable=SC2016 # for that shell
	bash -c 'echo $$ >"$0/init.scope/cgroup.procs" && exec nsenter "$@"' "$CGROUP" -t "$pid" -m -p -n -C -u "$@"
}
is_down() { ! kill -0 "$SYSTEMD" 2>/dev/null; }
events() { tw "$1" events --json | jq -rc ".[] | select(.kind == \"$2\")${3:+ | $3}"; }

pair_up
daemon_stop hostA
prepare
boot first
problems=$(in_systemd systemd-analyze verify --man=no twinvmd.service twinvm-shutdown.service 2>&1) && [[ -z $problems ]] || fail "units: $problems"


# ---- not a shutdown ----
in_systemd systemctl restart twinvmd
in_systemd systemctl restart twinvm-shutdown
await "$AWAIT_S" "twinvmd on hostA" tw hostA status >/dev/null
[[ $(tw hostA maintenance status --json | jq .on) = false ]] || fail "$(tw hostA maintenance status)"

# ---- a shutdown: what the scope runs keeps what was done when it is stopped ----
cat >"$PAIR_DIR/scope" <<-END
	trap 'cp $PAIR_DIR/down.log $PAIR_DIR/stopped; exit' TERM
	echo begun >$PAIR_DIR/begun
	while :; do read -r -t 1 <> <(:) || true; done
END
in_systemd systemd-run --quiet --scope --unit=machine-vm1 --slice=machine.slice bash "$PAIR_DIR/scope" &
await "$AWAIT_S" "the scope to run" test -s "$PAIR_DIR/begun"
in_systemd systemctl reboot || true # its answer may be lost
await "$AWAIT_S" "hostA to be down" is_down
wait "$SYSTEMD_JOB" 2>/dev/null || true
grep -q "hostA is in maintenance since .*, until its next boot" "$PAIR_DIR/stopped" ||
	fail "the scope was stopped before twinvm-shutdown: $(cat "$PAIR_DIR/down.log" "$PAIR_DIR/stopped" 2>&1)"

# ---- back ----
boot second
[[ $(events hostA maintenance-on .data.until_boot) = true ]] || fail "$(tw hostA events)"
[[ $(events hostA maintenance-off | wc -l) = 1 ]] || fail "$(tw hostA events)"
[[ $(tw hostA maintenance status --json | jq .on) = false ]] || fail "$(tw hostA maintenance status)"
