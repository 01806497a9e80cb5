#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The dashboard in a browser: the words follow what happens (protected, the backup's link is cut, a planned failover by clicking
# and typing, on both hosts' pages; a power cut), eight windows stay live, old data turn grey, a failover is drawn and acknowledged.
# Screenshots: build/screenshots.
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/browser.sh

command -v chromedriver >/dev/null || skip "no chromedriver (tests/deps.sh installs it)"
shots=$PAIR_B/screenshots
token=$PAIR_B/dashboard.token
install -m 600 /dev/null "$token"
echo "the-dashboard-tests-token" >"$token"
PAIR_CONF="dashboard_token_file = $PWD/$token"
[[ $token != /* ]] || PAIR_CONF="dashboard_token_file = $token"

row="document.querySelector('tr[data-vm=vm1]')"
word="$row && $row.querySelector('.badge').innerText"
where="$row && $row.querySelector('.where').innerText.replace(/\\s+/g, ' ')"
more="$row.nextSibling.innerText"

log_in() { # HOST [URL]
	browser "$1" open "${2:-http://127.0.0.1:7891/}"
	browser "$1" type '#token' "$(cat "$token")"
	browser "$1" click button
	browser "$1" await 60 "document.querySelector('#summary')"
}
# shoot NAME [SCHEME]: the page as it is, in four ways
shoot() {
	local width scheme
	for scheme in ${2:-light dark}; do
		for width in 1280 390; do
			browser hostA look "$width" "$scheme"
			browser hostA await 20 "innerWidth === $width"
			browser hostA shot "$shots/$1-$scheme-$width.png"
			browser hostA js "document.documentElement.scrollWidth <= innerWidth"
			[[ $SHOWN = true ]] || fail "$1 is wider than $width"
		done
	done
	browser hostA look 1280 light
}
# check NAME: nothing on it that keeps people out, and the browser has not complained
check() {
	local axe
	axe=$(axe_file)
	if [[ -n $axe ]]; then
		browser hostA axe "$axe"
		[[ -z $SHOWN ]] || fail "$1 is not accessible: $SHOWN"
	else
		echo "accessibility is not checked: axe-core could not be fetched"
	fi
	browser hostA faults
	[[ -z $SHOWN ]] || fail "the browser complains about $1: $SHOWN"
}

PAIR_ARBITER="file"
pair_up
# Of all certificates that it does not know it takes hostB's, by its key.
key=$(openssl x509 -in "$PAIR_DIR/certs/hostB.crt" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64)
BROWSER_ARGS="--ignore-certificate-errors-spki-list=$key"
browser_start hostA
log_in hostA
browser hostA js "document.querySelector('#summary').innerText"
[[ $SHOWN = "No VM is known here" ]] || fail "an empty cluster: $SHOWN"

guest_start_disk hostA vm1
protect vm1
step "protected, and the lag moves"
browser hostA await 60 "$word === 'Protected'"
browser hostA await 60 "$where === 'hostA → hostB'"
browser hostA await 60 "$more.includes('If hostA died now: continues on hostB')"
browser hostA js "$row.querySelector('.lag').innerText"
first=$SHOWN
browser hostA await 60 "$row.querySelector('.lag').innerText !== '$first'"
check "the cluster's page"
shoot cluster

step "eight windows stay live"
browser hostA windows 8
for i in 0 1 2 3 4 5 6 7; do
	browser hostA window "$i"
	browser hostA await 60 "Number(document.body.dataset.taken) > 0"
	seen=$(browser hostA js "document.body.dataset.taken" && echo "$SHOWN")
	browser hostA await 60 "Number(document.body.dataset.taken) > $seen && !document.body.matches('.stale')"
done
browser hostA window 0

step "the web server is killed: the page becomes live again by itself"
# shellcheck disable=SC2046 # pids
kill -KILL $(procs_of hostA '^twinvmd web')
browser hostA js "document.body.dataset.taken"
browser hostA await 60 "Number(document.body.dataset.taken) > $SHOWN + 3 && !document.body.matches('.stale')"
browser hostA faults # what it lost just now

step "the backup's link is cut"
host_link hostB down repl
browser hostA await 60 "$word === 'Not protected' && $more.length > 60"
browser hostA await 60 "document.querySelector('[data-host=hostB]').innerText.includes('Unknown since')"
browser hostA shot "$shots/cut.png"
browser hostA click "tr[data-vm=vm1] a"
browser hostA await 60 "document.querySelector('#why-protect') && document.querySelector('#why-protect').innerText.includes('no other host answers')"
browser hostA js "document.querySelector('[data-op=protect]').disabled"
[[ $SHOWN = true ]] || fail "it can be protected again, and no host is there"
browser hostA open 'http://127.0.0.1:7891/#/'
host_link hostB up repl
browser hostA await 90 "$word === 'Protected' && $where === 'hostA → hostB'"

step "a planned failover"
browser hostA click "tr[data-vm=vm1] a"
browser hostA await 60 "document.querySelector('.chart .plot canvas') && !document.querySelector('[data-op=failover]').disabled"
browser hostA await 60 "document.querySelector('.disks') && /in sync|behind/.test(document.querySelector('.disks').innerText)"
browser hostA await 60 "document.querySelector('.disks').innerText.includes('whole on hostB')"
[[ -s $(host_path hostB "$(vm_field hostB vm1 "['disks'][0]['file']")") ]] || fail "no replica is where status has it"
check "the VM's page"
shoot vm
browser hostA click '[data-op=failover]'
browser hostA type '#typed' vm
browser hostA js "document.querySelector('dialog .danger').disabled"
[[ $SHOWN = true ]] || fail "it can be confirmed by half a name"
browser hostA shot "$shots/confirm.png"
browser hostA type '#typed' 1
browser hostA click 'dialog .danger'
browser hostA await 60 "!document.querySelector('dialog')"
browser hostA open 'http://127.0.0.1:7891/#/'
browser hostA await 60 "$where === 'hostB → hostA' && $word === 'Protected'"
browser_start hostB
log_in hostB
browser hostB await 60 "$where === 'hostB → hostA' && $word === 'Protected'"
await_primary hostB vm1

step "by TLS, on an address of the network"
printf '%s\n' "dashboard = ${HOST_ADDR[hostB]}:7891" "dashboard_tls = yes" >>"$PAIR_DIR/hostB.conf"
kill -HUP "${DAEMON_PID[hostB]}"
await "$AWAIT_S" "hostB's server with TLS" logged hostB "dashboard on https://"
log_in hostB "https://${HOST_ADDR[hostB]}:7891/"
browser hostB await 60 "Number(document.body.dataset.taken) > 3 && $where === 'hostB → hostA' && $word === 'Protected'"

step "what is old turns grey"
kill -STOP "${DAEMON_PID[hostA]}"
browser hostA await 60 "document.body.matches('.stale') && document.querySelector('#age').innerText.includes('ago')"
browser hostA shot "$shots/stale.png"
browser hostA js "document.querySelector('[data-host=hostA].host .badge').innerText"
[[ $SHOWN = "No new data" ]] || fail "there are no new data, and the host's word is: $SHOWN"
browser hostB await 60 "document.querySelector('[data-host=hostA]').innerText.includes('Unknown since')"
kill -CONT "${DAEMON_PID[hostA]}"
browser hostA await 60 "!document.body.matches('.stale')"
check "the page at the end"

step "a power cut: drawn, and acknowledged"
host_power_cut hostB
browser hostA await 60 "$word === 'Failed over'"
browser hostA await 60 "document.querySelector('.attention') && document.querySelector('.attention').innerText.includes('hostB → hostA')"
browser hostA shot "$shots/failed-over.png"
browser hostA click "tr[data-vm=vm1] a"
browser hostA await 60 "document.querySelector('.failover .timeline .phase.p3')"
check "the VM's page after a failover"
shoot failover dark
browser hostA click '.failover [data-ack]:enabled'
browser hostA await 60 "!document.querySelector('[data-ack]:enabled') && document.querySelector('.failover .seen')"
browser hostA js "document.querySelector('#word').innerText"
[[ $SHOWN = "Failed over" ]] || fail "acknowledged, and the word is: $SHOWN"
by=$(tw hostA events vm1 --json | jq -r '[.[] | select(.kind == "failover")] | last | .acknowledged_by')
[[ $by = "the dashboard at 127.0.0.1" ]] || fail "acknowledged by: $by"
