#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make check-static: clang-tidy, cppcheck and gcc -fanalyzer over the product, about two minutes. What they
# need is installed by tests/deps.sh --static. What is left out, and why:
#   clang-tidy   what .clang-tidy names
#   cppcheck     memleak: it does not know __attribute__((cleanup)), TV_FREE; autoVariables: a pointer to a local
#                that is taken back before the function returns (replicator/session/ctl.c)
#   -fanalyzer   files listed in analyzer.allow: gcc 12 does not follow TAILQ lists, ownership by structure
#                or cleanup attributes there. The list only shrinks
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
here=tests/lint
bad=0

for tool in clang-tidy cppcheck; do
	command -v $tool >/dev/null || {
		echo "make check-static needs $tool: run 'tests/deps.sh --static' as root"
		exit 1
	}
done
verdict() {
	if [[ -s $2 ]]; then
		cat "$2"
		echo "FAIL  $1"
		bad=1
	else
		echo "ok    $1"
	fi
}
mkdir -p "$B/static"
mapfile -t sources < <(find . -name 'build*' -prune -o -name .may_include -printf '%h\n' |
	sed 's|^\./||' | sort | xargs -I {} find {} -maxdepth 1 -name '*.c' | sort)
mapfile -t rooms < <(dirname "${sources[@]}" | cut -d/ -f1 | sort -u)
read -ra flags < <(make -s --no-print-directory B="$B" print-cppflags)

# A finding is followed by the line of code that it is about.
printf '%s\n' "${sources[@]}" |
	xargs -P 2 -n 8 sh -c 'clang-tidy --quiet "$@" -- '"${flags[*]}"' 2>/dev/null' sh |
	sed "s|^$PWD/||" |
	awk '/(warning|error):/ { found = $0; next }
		found { if (found !~ /mt-unsafe/ || !/(strerror|exit|getopt_long|mallopt|glob)\(/) print found; found = "" }' |
	sort -u >"$B/static/tidy"
verdict "clang-tidy" "$B/static/tidy"

# cppcheck reads neither <sys/queue.h> nor <jansson.h> by itself, and both have loops in macros.
cppcheck --std=c11 --enable=warning,portability,performance -q -j 2 --max-configs=1 "${flags[@]/#-std=*/-D_GNU_SOURCE}" \
	--include=/usr/include/x86_64-linux-gnu/sys/queue.h --include=/usr/include/jansson.h \
	--inline-suppr --suppress=missingIncludeSystem --suppress=memleak --suppress=autoVariables \
	--suppress='*:*.pb-c.h' --suppress='*:/usr/include/*' "${rooms[@]}" >"$B/static/cppcheck" 2>&1
verdict "cppcheck" "$B/static/cppcheck"

rm -rf "$B/static/analyzer"
make -k -j"$(nproc)" --no-print-directory B="$B/static/analyzer" CC=gcc CFLAGS="-O1 -g -fanalyzer" WARN= all \
	>"$B/static/analyzer.log" 2>&1
grep -E '(warning|error):' "$B/static/analyzer.log" | sort -u >"$B/static/analyzer.all"
grep -vE '^#|^$' "$here/analyzer.allow" | sed 's/ .*//' | sort >"$B/static/analyzer.allow"
{
	grep -vFf <(sed 's/$/:/' "$B/static/analyzer.allow") "$B/static/analyzer.all"
	cut -d: -f1 "$B/static/analyzer.all" | sort -u | comm -13 - "$B/static/analyzer.allow" |
		sed "s|\$| is quiet now, or gone: remove it from $here/analyzer.allow|"
} >"$B/static/analyzer.bad"
verdict "gcc -fanalyzer" "$B/static/analyzer.bad"
exit $bad
