#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A CD image on slow storage (tests/preload/slowread.c): reading it takes longer than a backup waits for the Hello of a peer that has
# connected. It is read before the connection, status says how far that is, and it is read once: not again for the next session.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/pair.sh
. tests/lib/diskvm.sh

pair_up
DISC=$PAIR_DIR/slow.iso
head -c 18M /dev/urandom >"$DISC"
daemon_restart hostA LD_PRELOAD="$PAIR_B/tools/slowread.so" SLOWREAD="$DISC"
qemu_start hostA vm1 -M q35 -m 64 -display none -vga none -net none -cdrom "$DISC"

# A peer with a good certificate that says nothing: it holds a sink for some seconds, not for minutes.
mute() { logged hostB "the peer connected and sent no Hello"; }
host_spawn hostA "$PAIR_DIR/mute-peer.log" bash -c "exec openssl s_client -quiet -connect ${HOST_REPL_ADDR[hostB]}:7890 \
	-cert $PAIR_DIR/certs/hostA.crt -key $PAIR_DIR/certs/hostA.key -CAfile $PAIR_DIR/certs/ca.crt < <(exec tail -f /dev/null)"
MUTE=$SPAWNED_PID
await "$AWAIT_S" "the mute peer to be sent away" mute
kill "$MUTE" 2>/dev/null || true

is_old() { (($(date +%s) - $(stat -c %Z "$DISC") > 3)); }
await 10 "the disc to be some seconds old" is_old
tw hostA protect vm1 --to hostB >"$PAIR_DIR/protect.out" &
await_field 10 hostA vm1 "['reason']" "files that the VM reads are hashed: @(?|??) of 18 MiB"
no_procs hostB "twinvmd replicate sink" || fail "there is a connection while the disc is read"
wait $! || fail "protect: $(cat "$PAIR_DIR/protect.out")"
await_state "$AWAIT_S" hostA vm1 protected
reads=$(stat -c %s "$DISC.count")
((reads == 18)) || fail "the disc was read in $reads pieces, not once in 18"
echo "protected, the disc was read once"

ended() { logged hostA "session ends" 1; }
# shellcheck disable=SC2046 # pids are words
kill -9 $(procs_of hostB "twinvmd replicate sink")
await "$AWAIT_S" "the session to end" ended
await_state "$AWAIT_S" hostA vm1 protected
((reads == $(stat -c %s "$DISC.count"))) || fail "the disc was read again for the next session"
echo "protected again, the disc was not read"
