#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A test failover under a client's load: the clone answers with what was acknowledged before the order, writes to its disk and not
# to the replica, sends nothing into any network of its host, and leaves nothing; the VM stays protected. TF_ROUNDS=20 for more.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

MAC=52:54:00:77:00:02 CONTROL=52:54:00:77:00:ee # the guest's; and one that this test sends itself
# redis WORD...: one command to the guest's Redis, from the client's host
redis() { host_run client bash -c "exec 3<>/dev/tcp/$GUEST_IP/6379; printf '%s\r\n' '$*' >&3; read -t 10 -r x <&3; [[ \$x = +OK* ]]"; }
# What a clone could leave on hostB: processes, memory files, network devices, files, control groups, mounts.
left_behind() {
	host_run hostB bash -c '
		for p in /proc/[0-9]*; do
			tr "\0" " " 2>/dev/null <$p/cmdline | grep -E "^(twinvmd|[^ ]*qemu)" | cut -c1-60
			readlink $p/fd/* 2>/dev/null | grep memfd: || true
		done | sort
		ip -o link | cut -d: -f2 | sort
		find /run/twinvm /var/lib/twinvm -path "*/events*" -o -path "*/rehearsals/*" -o -print | sort
		find /sys/fs/cgroup -path "*twinvm/test-*" 2>/dev/null
		cut -d" " -f5 /proc/mounts | sort'
}
step_of() { jq -r "$1" <<<"$PRINTED"; }

pair_up
GUEST_EXTRA="${GUEST_EXTRA:-}" guest_start_disk hostA vm1
protect vm1
await_pair hostA hostB vm1
client_start

# ---- asked at the wrong place, or wrongly ----
tw_refuses hostB 1 "no test failover of vm1 runs" test-failover vm1 --stop
tw_refuses hostB 1 "probe tcp:x" test-failover vm1 --probe tcp:x
tw_refuses hostB 1 "from 1 to 3600 s" test-failover vm1 --for 100000

# ---- a watch over what leaves hostB with the guest's address ----
host_spawn hostB "$PAIR_DIR/frames.log" python3 -uc '
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
while True:
    frame, (dev, _, kind, _, _) = s.recvfrom(64)
    if kind == 4: print(frame[6:12].hex(":"), dev)
'
sent_as() { grep -c "^$1 " "$PAIR_DIR/frames.log" || true; }

# ---- probes: what was acknowledged; no way out; a write, which its own image holds ----
cat >"$PAIR_DIR/mark" <<'END'
exec 3<>"/dev/tcp/$TWINVM_GUEST/6379"
printf "GET mark\r\n" >&3
read -r n <&3
read -r v <&3
echo "$TWINVM_VM ${v%?} ${n:0:0}"
END
cat >"$PAIR_DIR/alone" <<'END'
ip -o link | cut -d: -f2 | tr -d '\n'
mask=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status) # nor the right to make namespaces, CAP_SYS_ADMIN
! ip -o link | grep -qE "cl0|repl0" && [[ -z $(ip route show default) ]] && ((!(0x$mask >> 21 & 1)))
END
cat >"$PAIR_DIR/write" <<'END'
exec 3<>"/dev/tcp/$TWINVM_GUEST/6379"
printf "SET of-the-clone only-in-the-clone-%s\r\n" a >&3
for ((i = 0; i < 100; i++)); do
	read -t 5 -r x <&3
	grep -aq only-in-the-clone-a /var/lib/twinvm/clones/*.qcow2 && exit 0
	printf "PING\r\n" >&3
done
echo "${x:-no answer}"
exit 1
END
before=$(left_behind)
for ((round = 1; round <= ${TF_ROUNDS:-2}; round++)); do
	redis SET mark "value-$round" || fail "the guest does not answer"
	epochs=$(vm_field hostB vm1 "['epoch_committed']")
	tw_must hostB test-failover vm1 --json --note "round $round" --probe redis --probe tcp:6379 \
		--probe "bash $PAIR_DIR/mark" --probe "bash $PAIR_DIR/alone" --probe "bash $PAIR_DIR/write" \
		--junit "$PAIR_DIR/junit.xml"
	[[ $(step_of .result) = passed && $(step_of .passed) = true ]] || fail "round $round: $PRINTED"
	[[ $(step_of '.probes[2].output') = "vm1 value-$round"* ]] || fail "the clone has another value: $PRINTED"
	[[ $(step_of '.left | length') = 0 ]] || fail "left: $PRINTED"
	epochs_past hostB vm1 "$epochs" || fail "no epoch was committed while the clone ran"
	python3 -c 'import sys, xml.etree.ElementTree as t; r = t.parse(sys.argv[1]).getroot(); assert r.get("failures") == "0" and len(r) == 7' "$PAIR_DIR/junit.xml"
	step "round $round: $(jq -c '[.copied_ms, .running_ms, .answer_ms, .lag_ms]' <<<"$PRINTED")"
	after=$(left_behind)
	[[ $after = "$before" ]] || fail "left behind: $(diff <(echo "$before") <(echo "$after"))"
done

# ---- a probe that fails ----
rc=0
PRINTED=$(tw hostB test-failover vm1 --probe 'echo no good; exit 7') || rc=$?
((rc == 1)) && [[ $PRINTED = *"no good"* && $PRINTED = *"a probe has failed"* ]] || fail "exit status $rc: $PRINTED"

# ---- nothing of it left hostB, and the watch sees what does ----
host_run hostB python3 -c "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('cl0', 0))
s.send(b'\xff' * 6 + bytes.fromhex('${CONTROL//:/}') + b'\x88\xb5' + bytes(46))"
saw_control() { (($(sent_as $CONTROL) > 0)); }
await "$AWAIT_S" "the watch to see the frame that this test sent" saw_control
# What hostB's bridge passes on between its own ports is the guest's, and leaves by br0's ports only when hostB runs it.
(($(sent_as $MAC) == 0)) || fail "frames of the guest's address left hostB: $(sort "$PAIR_DIR/frames.log" | uniq -c | head)"

# ---- the replica has nothing of the clone's ----
goes_on "after all tests"
replica=$(replica_of hostB)
! grep -aq "only-in-the-clone-a" "$replica" || fail "the clone has written to the replica"
[[ $(vm_state hostA vm1) = protected ]] || fail "$(tw hostA status)"
tw_must hostA failover vm1
goes_on "on hostB, from that replica"
client_ends
