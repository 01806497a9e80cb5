#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A peer that was taken over by somebody: it has a valid certificate and a peer line, and sends first messages, descriptions and
# messages that no primary sends. Each try is refused or does nothing; a canary file, a canary program and a canary process prove
# it, and the VM that is really protected stays protected.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_ARBITER='file'
. tests/lib/hostile.sh

most=9223372036854775807

hostile_up

# ---- descriptions ----
try_json "no description" 'refuse' '{}'
try_json "no list of words" 'refuse' '.argv = "x"'
try_json "no words at all" 'refuse' '.argv = []'
try_json "words that are none" 'refuse' '.argv = [1, null, {}]'
try_json "a negative size" 'refuse' '.blocks[0].bytes = -1'
try_json "a size beyond all memory" 'refuse' '.blocks[0].bytes = 4611686018427387904 | .ram_bytes = 4611686018427387904'
try_json "no memory" 'refuse' '.blocks = []'
try_json "a thousand disks" 'refuse' '.disks = [range(1000) | {name:"../../canary/file", device:"x", node:"x", file:"x", bytes:65536}]'
try_json "a disk of a negative size" 'refuse' '.disks = [{name:"x", device:"x", node:"x", file:"x", bytes:-65536}]'
try_json "another machine" 'refuse' '.machine = "../../x"'
printf 'x%.0s' {1..200000} >"$PAIR_DIR/junk.json"
try "200 KB that are no JSON" 'refuse' description="$PAIR_DIR/junk.json" hello
printf '[%.0s' {1..100000} >"$PAIR_DIR/junk.json"
try "100000 brackets" 'refuse' description="$PAIR_DIR/junk.json" hello

# ---- the first message ----
try "another protocol" 'refuse.*version' protocol=99 hello
try "another host's name" 'refuse.*another host' host=hostA hello
try "a path as id" 'refuse.*vm_id' vm_id=../../../../../../../etc/cron.d hello
try "an id too short" 'refuse.*vm_id' vm_id=00 hello
try "no session" 'refuse.*session' session= hello
try "an escape sequence in the name" 'closed' vm_name=$'\e[2Jevil' hello
try "two lines as name" 'refuse.*vm_name' vm_name=$'a\nb' hello
try "half a letter in the name" 'closed' vm_name=$'caf\xc3' hello
try "no name" 'refuse.*vm_name' vm_name= hello
try "a long name" 'refuse.*vm_name' vm_name="$(printf 'x%.0s' {1..300})" hello
try "no heartbeats" 'refuse.*heartbeat' heartbeat_ms=0 hello
try "a folder of its own as arbiter" 'refuse.*arbiter' arbiter=file:///var/lib/canary hello
try "an etcd of its own" 'refuse.*arbiter' arbiter=etcd://127.0.0.1:1 hello
try "a program as arbiter" 'refuse.*arbiter' arbiter="exec:$EVIL" hello
try "no arbiter, and TakeOver" 'refuse.*arbiter' arbiter=none hello take-over=0 take-over=5

# ---- messages where they do not belong ----
try "TakeOver before Hello" 'closed' take-over=0
try "marks before Hello" 'closed' sync-end begin=1 end=1
try "records before Hello" 'closed' records=4096
try "disk records before Hello" 'closed' disk=1
try "Welcome from a primary" 'refuse.*unexpected.*|welcome' hello await=welcome welcome=5
try "Committed from a primary" 'closed.*|welcome' hello await=welcome committed=1 bye
try "Fenced from a primary" 'closed.*|welcome' hello await=welcome "fenced=$most" bye
try "Hello twice" 'second Hello.*|welcome' hello await=welcome hello bye
try "TakeOver without a copy" 'closed.*|welcome' hello await=welcome take-over=0 bye
try "TakeOver of an epoch without a copy" 'closed.*|welcome' hello await=welcome take-over=7 bye
try "records that are none" 'closed.*|welcome' hello await=welcome records=65536 bye
try "disk records of no disk" 'closed.*|welcome' hello await=welcome disk=1 bye
try "an epoch that ends before it begins" 'closed.*|welcome' hello await=welcome sync-end end=1 bye
try "an epoch with 2^64 records" 'closed.*|welcome' hello await=welcome sync-end begin=1 end=1 bye
try "a frame of nothing" 'closed.*|welcome' hello await=welcome frame=0 bye
try "a frame of 200 KB" 'closed.*|welcome' hello await=welcome frame=200000 bye
try "10000 messages" 'closed.*|welcome' hello await=welcome heartbeats=10000 bye
try "10000 messages before Hello" 'closed' heartbeats=10000
try "generation 0" 'refuse.*generation' generation=0 hello
try "a generation above all" 'refuse.*generation' generation=18446744073709551615 hello
still_protected "after all that"

hostile_ends 25
