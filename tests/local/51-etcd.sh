#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The arbiter in a real etcd cluster of three: what every arbiter must do, races of many processes, members killed,
# hung and broken in every way we could think of. Nobody wins who should not, and each failure names who answered what.
# RACES: rounds of the main race (200).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/hosts.sh
. tests/lib/etcd.sh

VM=0123456789abcdef0123456789abcdef
# answers PATTERN COMMAND...: the arbiter tool's one line matches
answers() { says "$1" arbiter arb "${@:2}"; }
race() { # URL PROCESSES ROUNDS [PATTERN]
	local result
	result=$(arbiter arb "$1" race $VM "$2" "$3") || fail "race: $result"
	[[ $result =~ ^0\ rounds=$3\ ${4:-recorded=$3 unfair=0 unclear=0} ]] || fail "race: $result"
	echo "race of $2 processes: $result"
}
fresh() { arbiter arb "$ETCD_LOCAL" forget $VM >/dev/null || fail "forget"; }

hosts_up arb
etcd_up arb

TWINVM_TEST_ETCD=$ETCD_LOCAL host_run arb "${B:-build}/tests/test_arbiter" 2>&1 | tee "$HOSTS_DIR/unit.log" || fail "test_arbiter"
[[ $(grep -c 'Running' "$HOSTS_DIR/unit.log") -eq 2 ]] || fail "test_arbiter did not use etcd"

race "$ETCD_LOCAL" 8 "${RACES:-200}"

# ---- a member hangs: the others decide; nothing is asked of it alone ----
for n in 1 2 3; do
	etcd_freeze $n
	etcd_await_writes
	race "$ETCD_LOCAL" 8 20 "recorded=[0-9]+ unfair=0"
	etcd_thaw $n
	etcd_await_writes
done

# ---- broken members ----
BROKEN_PORT=23790
BROKEN_PID=
broken() { # MODE
	[[ -z $BROKEN_PID ]] || { kill -9 "$BROKEN_PID" && wait "$BROKEN_JOB" 2>/dev/null || true; }
	host_spawn arb "$HOSTS_DIR/broken-$1.log" python3 "$HOSTS_ROOT/tests/tools/broken_etcd.py" "$1" $BROKEN_PORT 23791
	BROKEN_PID=$SPAWNED_PID BROKEN_JOB=$SPAWNED_JOB
	await 10 "broken_etcd.py $1" grep -q ready "$HOSTS_DIR/broken-$1.log"
}
alone=etcd://127.0.0.1:$BROKEN_PORT
first=$alone,${ETCD_LOCAL#etcd://}
questions() { # PATTERN: every kind of question to the broken member alone
	answers "$1" "$alone" probe
	answers "$1" "$alone" read $VM
	answers "$1" "$alone" claim pair $VM A B s1 1
	answers "$1" "$alone" claim promote $VM B A s1 1
	answers "$1" "$alone" cas $VM 1 X
	answers "$1" "$alone" forget $VM
	answers "$1" "$alone" announce x 10.0.0.1:1 1 1 green
	answers "$1" "$alone" members
}
while read -r mode what; do
	broken "$mode"
	questions "$ETCD_NO_ANSWER.*127\.0\.0\.1:$BROKEN_PORT: $what"
	fresh
	# with sound members beside it, nothing is noticed
	answers "^0 version=1 generation=1 state=paired" "$first" claim pair $VM A B s1 1
	answers "^0 version=2 generation=2 state=alone primary=B" "$first" claim promote $VM B A s1 1
	answers "^LOST .*host B runs the VM alone" "$first" claim alone $VM A B s1 1
	answers "^0" "$first" forget $VM
	answers "^0" "$first" announce beside 10.0.0.1:7890 1 1 green
	answers "^0.* beside," "$first" members
	echo "broken member: $mode"
done <<-'END'
	silent no answer within 500 ms
	http500 HTTP status 500: <html>Internal  \[31m Server Error
	noleader HTTP status 503: etcdserver: no leader
	garbage not a valid etcd answer
	nothttp .*HTTP
	empty not a valid etcd answer
	hangup .*
	reset .*
	truncated .*(closed|end of)
	huge not a valid etcd answer \(too long
	headers not a valid etcd answer \(too long
	dribble no answer within 500 ms
	deep not a valid etcd answer
	object not a valid etcd answer \(no valid header
	types not a valid etcd answer \(no valid header
	headless not a valid etcd answer \(no valid header
	redirect HTTP status 302
END

# well-formed, but not the answer to what was asked
broken won
answers "$ETCD_NO_ANSWER.*not a valid etcd answer .not a transaction" "$alone" cas $VM 1 X
broken otherkey
answers "$ETCD_NO_ANSWER.*not a valid etcd answer .another key" "$alone" read $VM
# another cluster, or a copy of this one from earlier: believed only by who knows no other; the first answer comes
# from a sound member here (two questions of one handle), so that neither is listened to
sound_first=etcd://127.0.0.1:23791,127.0.0.1:$BROKEN_PORT
for mode in othercluster older; do
	broken $mode
	fresh
	answers "^0 version=1" "$sound_first" claim pair $VM A B s1 1
done

# ---- a transaction is carried out and not acknowledged: the second try knows its own record ----
for mode in swallow forget-to-say; do
	broken $mode
	for ((i = 0; i < 10; i++)); do
		fresh
		answers "^0 version=1 .*primary=X" "$first" cas $VM 1 X
		answers "^LOST" "$first" cas $VM 1 Y
		answers "^0 version=1 .*primary=X" "$first" read $VM
	done
	fresh
	for ((i = 0; i < 5; i++)); do # each process's first question goes to it
		race "$first" 12 2
	done
	# alone: not known, and asked again it is there
	fresh
	answers "$ETCD_NO_ANSWER" "$alone" cas $VM 1 X
	answers "^0 version=1 .*primary=X" "$ETCD_LOCAL" read $VM
	echo "done but not acknowledged: $mode"
done
kill -9 "$BROKEN_PID"

# ---- damage in the record itself ----
put() { # VALUE: as a stranger would
	host_run arb python3 -c "
import base64,json,sys,urllib.request
b=lambda s: base64.b64encode(s.encode()).decode()
for port in 23791,:
  urllib.request.urlopen('http://127.0.0.1:%d/v3/kv/put' % port, json.dumps({'key':b('/twinvm/vms/$VM'),'value':b(sys.argv[1])}).encode()).read()" "$1"
}
for value in "" "{" '{"generation":1}' "$(head -c 5000 /dev/zero | tr '\0' x)" \
	'{"generation":-1,"state":"alone","primary":"A","backup":"","session":""}'; do
	put "$value"
	pattern="^EBADMSG .*/twinvm/vms/$VM in etcd is malformed"
	((${#value} < 4096)) || pattern="$ETCD_NO_ANSWER.*too long"
	answers "$pattern" "$ETCD_LOCAL" read $VM
	answers "$pattern" "$ETCD_LOCAL" claim promote $VM B A s1 1
	answers "$pattern" "$ETCD_LOCAL" claim alone $VM A B s1 1
done
echo "damaged records are no answers"

# ---- members die ----
put '{"generation":1,"state":"alone","primary":"A","backup":"","session":""}'
etcd_kill 1
etcd_await_writes
answers "^0 version=[0-9]+ .*state=paired" "$ETCD_LOCAL" claim pair $VM A B s1 1
race "$ETCD_LOCAL" 8 20 "recorded=[0-9]+ unfair=0"
fresh
answers "^0 version=1 .*state=paired" "$ETCD_LOCAL" claim pair $VM A B s1 1
etcd_kill 2
for question in "read $VM" "claim promote $VM B A s1 1" "claim alone $VM A B s1 1" "members"; do
	# shellcheck disable=SC2086 # words
	answers "$ETCD_NO_ANSWER.*127.0.0.1:23791: Connection refused; 127.0.0.1:23792: Connection refused; 127.0.0.1:23793: no answer" \
		"$ETCD_LOCAL" $question
done
etcd_start 1
etcd_start 2
etcd_await_writes
answers "^0 version=1 .*state=paired" "$ETCD_LOCAL" read $VM
answers "^0 version=2 .*primary=B" "$ETCD_LOCAL" claim promote $VM B A s1 1
answers "^LOST .*host B" "$ETCD_LOCAL" claim alone $VM A B s1 1
# a change that nobody answered may be done yet when the cluster is back: then it counts, and only once
etcd_kill 1
etcd_kill 2
answers "$ETCD_NO_ANSWER" "$ETCD_LOCAL" cas $VM 3 X
etcd_start 1
etcd_start 2
etcd_await_writes
if [[ $(arbiter arb "$ETCD_LOCAL" cas $VM 3 Y) = 0* ]]; then
	answers "^0 version=3 .*primary=Y" "$ETCD_LOCAL" read $VM
else
	answers "^0 version=3 .*primary=X" "$ETCD_LOCAL" read $VM
fi
echo "one killed: continues; two killed: nobody decides; back again: as it was"

# ---- members of the twinvm cluster: who announces itself no more, is gone after a while (4 s with these 20 ms) ----
names() { arbiter arb --heartbeat 20 "$ETCD_LOCAL" members; }
stays_alone() { # stays is announced with every look
	arbiter arb --heartbeat 20 "$ETCD_LOCAL" announce stays 10.0.0.2:7890 2000 2 yellow >/dev/null
	[[ $(names) != *goes* ]]
}
arbiter arb --heartbeat 20 "$ETCD_LOCAL" announce goes 10.0.0.1:7890 1000 4 green >/dev/null
arbiter arb --heartbeat 20 "$ETCD_LOCAL" announce stays 10.0.0.2:7890 2000 2 yellow >/dev/null
[[ $(names) = *" goes,10.0.0.1:7890,1000,4,green stays,10.0.0.2:7890,2000,2,yellow"* ]] || fail "members: $(names)"
await 30 "the lease of a silent host to end" stays_alone
[[ $(names) = *" stays,10.0.0.2:7890,2000,2,yellow"* ]] || fail "members: $(names)"
echo "a silent host is a member no more"
