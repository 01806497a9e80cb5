#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What both hosts export while a VM is copied, protected, failed over and let go: promtool finds nothing wrong with it, histograms move,
# and every name that docs/grafana uses is among it. Its alert rules are good, and fire and stay silent as their own tests say.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh

command -v promtool >/dev/null || skip "no promtool (tests/deps.sh installs the package prometheus)"
docs=docs/grafana
promtool check rules $docs/twinvm-alerts.yml || fail "$docs/twinvm-alerts.yml"
promtool test rules $docs/twinvm-alerts.test.yml || fail "$docs/twinvm-alerts.test.yml"
for alert in $(sed -n 's/^ *- alert: //p' $docs/twinvm-alerts.yml); do
	grep -q "alertname: $alert}" $docs/twinvm-alerts.test.yml && grep -q "alertname: $alert\$" $docs/twinvm-alerts.test.yml ||
		fail "$docs/twinvm-alerts.test.yml: $alert is not tested to be silent, or to fire"
	grep -q "\`$alert\`" $docs/README.md || fail "$docs/README.md: no $alert"
done
step "the rules are good, and do what their tests say"

# scrape HOST [ACCEPT]: sets SHOWN to what it exports; its names are remembered
scrape() {
	SHOWN=$(host_run "$1" timeout 30 bash -c 'exec 3<>/dev/tcp/127.0.0.1/7891 &&
		printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept: %s\r\n\r\n" "$0" >&3 && sed "1,/^\r$/d" <&3' "${2:-*/*}")
	sed -n 's/^\([a-z_]*\)[{ ].*/\1/p' <<<"$SHOWN" >>"$PAIR_DIR/names"
}
# exported HOST PATTERN: a line of what it exports matches
exported() {
	scrape "$1"
	grep -q -- "$2" <<<"$SHOWN"
}
# look HOST: promtool finds nothing wrong with it
look() {
	local problems
	scrape "$1"
	problems=$(promtool check metrics <<<"$SHOWN" 2>&1) || fail "metrics of $1: $problems"
	[[ -z $problems ]] || fail "promtool says of the metrics of $1: $problems"
}
# shown SERIES: its value, as scraped last; value HOST SERIES: as it is now
shown() { awk -v s="$1" 'substr($0, 1, length(s) + 1) == s " " { print $NF }' <<<"$SHOWN"; }
value() { scrape "$1" && shown "$2"; }
# counts: how many pauses and the like are counted; more_counts: more of each than those
counts() {
	local kind
	for kind in pause commit epoch hold; do shown "twinvm_${kind}_seconds_count{vm=\"vm1\"}"; done
}
more_counts() {
	scrape hostA
	paste -d ' ' <(counts) <(echo "$1") | awk '$1 <= $2 { same = 1 } END { exit NR != 4 || same }'
}
both_silent() { ! exported hostA 'vm="vm1"' && ! exported hostB 'vm="vm1"'; }

PAIR_ARBITER="file"
pair_up
guest_start hostA vm1
await "$AWAIT_S" "hostA's daemon to report" exported hostA '^twinvm_daemon_up 1'
exported hostA 'vm=' && fail "a VM that is not protected has series: $(grep 'vm=' <<<"$SHOWN")"
host_shape hostA 100mbit # long enough for its copy to be seen, and for the link to be measured
tw hostA protect vm1 --to hostB >"$PAIR_DIR/protect" &
job=$!
await "$AWAIT_S" "progress of the copy" exported hostA '^twinvm_sync_progress_ratio{vm="vm1"}'
look hostA
exported hostA '^twinvm_last_commit_timestamp_seconds{' && fail "a lag before the first commit"
wait "$job" || fail "protect: $(cat "$PAIR_DIR/protect")"
await_pair hostA hostB vm1
host_shape hostA off
step "copied"

scrape hostA
was=$(counts)
guest_answers || fail "the guest does not answer"
await "$AWAIT_S" "more pauses, commits, epochs and holds than $was" more_counts "$was"
look hostA
grep -q '^twinvm_sync_progress_ratio{' <<<"$SHOWN" && fail "progress of a VM that is protected"
[[ $(shown 'twinvm_vm_protected{vm="vm1"}') = 1 ]] || fail "not protected: $SHOWN"
for count in dirty_pages memory_bytes wire_bytes frames_held frames_released; do
	(($(shown "twinvm_${count}_total{vm=\"vm1\"}") > 0)) || fail "no $count"
done
look hostB
grep -q '^twinvm_pause_seconds_count' <<<"$SHOWN" && fail "a backup counts pauses"
scrape hostA application/openmetrics-text
[[ $SHOWN = *'# EOF' ]] || fail "no OpenMetrics"
step "protected: $(value hostA 'twinvm_pause_seconds_count{vm="vm1"}') pauses are counted"

await_field "$AWAIT_S" hostB vm1 "['ready']['ready']" True # after the first look of the session
tw_must hostA verify vm1 --rate 1000
await "$AWAIT_S" "the comparison to be exported" exported hostA '^twinvm_verify_mismatched_pages{vm="vm1"} 0$'
look hostA
step "compared: $(shown 'twinvm_verify_mismatched_blocks{vm="vm1"}') blocks differ"

tw_must hostA failover vm1
await_pair hostB hostA vm1
await "$AWAIT_S" "a failover to be counted" exported hostB '^twinvm_failovers_total{vm="vm1",reason="planned"} 1$'
await "$AWAIT_S" "hostB to be protected again" exported hostB '^twinvm_vm_protected{vm="vm1"} 1$'
look hostB
[[ $(shown 'twinvm_failover_outage_seconds_count{vm="vm1"}') = 1 ]] || fail "outage: $(grep outage <<<"$SHOWN")"
look hostA
step "failed over"

tw_must hostB unprotect vm1
await "$AWAIT_S" "the VM's series to be gone" both_silent
look hostA

# No page is open: twinvmd reports four times more rarely than to one, which costs less than 1 in 500 of a core (bench/idle.sh).
report=twinvm_report_timestamp_seconds
newer() { awk -v a="$(value hostA $report)" -v b="$1" 'BEGIN { exit !(a > b) }'; }
await "$AWAIT_S" "a report" newer "$(value hostA $report)"
was=$(value hostA $report)
await "$AWAIT_S" "the next report" newer "$was"
awk -v a="$(value hostA $report)" -v b="$was" 'BEGIN { exit !(a - b > 1.5) }' || fail "reports nobody looks at: $was, $(value hostA $report)"

# Now one is.
close_reports() {
	was=$(value hostA $report)
	await "$AWAIT_S" "the next report" newer "$was"
	awk -v a="$(value hostA $report)" -v b="$was" 'BEGIN { exit !(a - b < 1.2) }'
}
host_spawn hostA "$PAIR_DIR/stream" bash -c 'exec 3<>/dev/tcp/127.0.0.1/7891 && printf "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n" >&3 && cat <&3'
await "$AWAIT_S" "two reports that follow each other closely" close_reports

# What the dashboard and the rules use is what was exported.
used=$(cat $docs/twinvm-dashboard.json $docs/twinvm-alerts.yml | grep -oE '(^|[^:a-z_])(twinvm|process)_[a-z_]+' | sed 's/^[^a-z]//' | sort -u)
(($(wc -l <<<"$used") > 20)) || fail "few names are used: $used"
missing=$(comm -23 <(echo "$used") <(sort -u "$PAIR_DIR/names"))
[[ -z $missing ]] || fail "used in $docs and never exported: $missing"
# And what was exported is in docs/METRICS.md.
missing=$(comm -13 <(sed -n 's/^| `\([a-z_]*\)` |.*/\1/p' docs/METRICS.md | sort -u) \
	<(sed 's/_seconds_\(bucket\|sum\|count\)$/_seconds/' "$PAIR_DIR/names" | sort -u))
[[ -z $missing ]] || fail "exported and not in docs/METRICS.md: $missing"
step "all names fit"
