#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make deb: lintian has no complaint, systemd none about the unit; what is in it is what `make install` installs, and no trace of when
# and where it was built is in it. What its removal does to VMs: those that run here are unprotected and run on; a host that is a backup
# leaves by SIGTERM to its sinks, and the primary runs on alone by record; a copy that may be the last one stays.
# time limit: 1800
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER="file"
PAIR_CALM=1
. tests/lib/pair.sh
B=${B:-build}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

step "make deb"
debian/build.sh "$built/deb" >"$built/log" 2>&1 || fail "$(cat "$built/log")"
deb=$(echo "$built"/deb/twinvm_*.deb)
dpkg -x "$deb" "$built/tree"

step "lintian"
lintian --allow-root --fail-on error,warning "$built"/deb/*.changes >"$built/lintian" 2>&1 || fail "$(cat "$built/lintian")"
! grep -E '^[EW]:' "$built/lintian" || fail "lintian complains"

step "the unit"
sed "s|=/usr/sbin/twinvmd|=$built/tree/usr/sbin/twinvmd|" "$built/tree/lib/systemd/system/twinvmd.service" >"$built/twinvmd.service"
MANPATH=$built/tree/usr/share/man systemd-analyze verify "$built/twinvmd.service" >"$built/verify" 2>&1 || fail "$(cat "$built/verify")"
[[ ! -s $built/verify ]] || fail "systemd-analyze verify: $(cat "$built/verify")"

step "as make install"
make --no-print-directory -s B="$B" PREFIX=/usr DESTDIR="$built/installed" install >"$built/log" 2>&1 || fail "$(cat "$built/log")"
files() { (cd "$1" && find . ! -type d | sed 's/\.gz$//' | sort); }
diff <(files "$built/installed") <(files "$built/tree" | grep -vE '/doc/twinvm/(changelog|copyright)$') || fail "other files than make install has"
for file in $(files "$built/installed" | grep -vE '/s?bin/|/man/'); do
	cmp "$built/installed/$file" "$built/tree/$file" || fail "$file"
done

step "nothing of when and where it was built"
epoch=$(git log -1 --format=%ct 2>/dev/null || date -d "$(dpkg-parsechangelog -S Date)" +%s) # as build.sh
young=$(find "$built/tree" -type f -newermt "@$epoch" | head -n 3)
[[ -z $young ]] || fail "younger than the commit: $young"
! grep -rlaF "$built" "$built/tree" || fail "the folder that it was built in is in it"
conffiles=$(dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./conffiles)
[[ $conffiles = /etc/libvirt/hooks/qemu.d/twinvm ]] || fail "configuration files: $conffiles"
hook=$built/tree/etc/libvirt/hooks/qemu.d/twinvm

step "the hook without its program lets a domain start"
[[ ! -e /usr/sbin/twinvmd ]] || skip "twinvm is installed on this machine"
"$hook" web start begin - </dev/null || fail "the hook of a removed package keeps domains from starting"
rm -rf "$built"

step "unprotect --all: VMs run on, nothing is left in them"
pair_up
for vm in one two; do
	qemu_start hostA $vm -m 64
	before+=("$(vm_traces $vm)")
	protect $vm
done
tw_must hostA unprotect --all --json
[[ $(jq -c '.unprotected | sort' <<<"$PRINTED") = '["one","two"]' ]] || fail "$PRINTED"
unchanged one "${before[0]}" "unprotect --all"
unchanged two "${before[1]}" "unprotect --all"
[[ $(tw hostA status --json) = '[]' ]] || fail "$(tw hostA status)"
tw_must hostA unprotect --all
rc=0
tw hostA unprotect one --all >"$PAIR_DIR/usage" 2>&1 || rc=$?
((rc == 2)) || fail "unprotect one --all: exit status $rc: $(cat "$PAIR_DIR/usage")"

step "a backup leaves: the VM runs on alone, by record"
protect one
daemon_stop hostB
kill -TERM "$(procs_of hostB 'twinvmd replicate sink ')"
await "$AWAIT_S" "no sink, no standby on hostB" no_procs hostB 'twinvmd replicate sink|qemu-system'
await_state "$AWAIT_S" hostA one alone
logged hostA "takes part no more" || fail "hostA does not say why it has lost its backup"
guest_lives one "the backup that left"
arbiter_allow none
daemon_start hostB
await_pair hostA hostB one

step "a copy that may be the last one stays"
tw_must hostA unprotect one
protect one --arbiter none
sink=$(procs_of hostB 'twinvmd replicate sink ')
host_power_cut hostA
await_field "$AWAIT_S" hostB one "['core']" WAITING
kill -TERM "$sink"
await "$AWAIT_S" "the sink's answer to SIGTERM" logged hostB "SIGTERM is ignored"
tw_must hostB failover one --force
await_field "$AWAIT_S" hostB one "['role']" primary
