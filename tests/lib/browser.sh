# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A Chromium in a host, for tests of the dashboard; after pair.sh. tools/browser.py has its commands.
#
#   browser_start HOST             starts it there; BROWSER_ARGS: Chromium's options, besides
#   browser HOST COMMAND ARG...    sets SHOWN to what it prints; fails the test when the command does
#   axe_file                       prints the file of axe-core, "" when it is not there (deps.sh fetches it)

browser_start() {
	host_spawn "$1" "$PAIR_DIR/$1-browser.log" env HOME="$PAIR_DIR" BROWSER_ARGS="${BROWSER_ARGS:-}" \
		python3 "$PAIR_ROOT/tests/tools/browser.py" serve "$PAIR_DIR/$1.browser" "$PAIR_DIR/$1-chromium"
	await 60 "the browser on $1" test -S "$PAIR_DIR/$1.browser"
}
browser() {
	SHOWN=$(python3 "$PAIR_ROOT/tests/tools/browser.py" ask "$PAIR_DIR/$1.browser" "${@:2}") || fail "browser on $1, ${*:2}: $SHOWN"
}
axe_file() {
	local file=$PAIR_B/cache/axe.min.js
	[[ ! -s $file ]] || echo "$file"
}
