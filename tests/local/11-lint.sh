#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# That `make lint` can fail: into a copy of the tree, one fault of each kind is put on purpose, and the step that
# is for it must fail and name it. The copy as it is must pass. (shellcheck's step takes a minute: not here.)
# alone: it compiles on every CPU
set -euo pipefail
cd "$(dirname "$0")/../.."

. tests/lib/verdict.sh

B=${B:-build}
copy=$(mktemp -d /tmp/twinvm-lint.XXXXXX)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
tar cf - --exclude='./build*' --exclude=./.git . | tar xf - -C "$copy"
# what is built is not built again: times are kept, and paths in it are relative
mkdir "$copy/build"
(cd "$B" && tar cf - gen obj flags objects libtwinvm.a twinvm twinvmd) | tar xf - -C "$copy/build"
cd "$copy"
export B=build

lint() { make --no-print-directory -s lint STEPS="$*"; }
# names STEP PATTERN WHAT: the step fails and has a line that matches
names() {
	local out
	step "$3"
	! out=$(lint "$1" 2>&1) || fail "lint passes: $3"
	grep -qE -- "$2" <<<"$out" || fail "$3: no line matches $2 in: $out"
}
# Restored files are new to make, as those with a probe in them were.
original=$copy/build/original
save() { mkdir -p "$original" && cp --parents "$@" "$original/"; }
restore() { cp -r "$original/." . && rm -rf "$original"; }

step "the tree as it is"
lint format includes build circles sizes words docs numbers sleeps || fail "lint does not pass on the tree"

# Two arrows in a row, a -> b -> c, to be closed into a ring by hand; a and c do not know each other. b and c
# are not part of twinvm-libvirt, which is linked with little else: it would need what a needs.
read -r a b c < <(tests/lint/circles.py --graph | tr -d : | awk '
	{ to[$1] = to[$1] " " $3; uses[$1, $3] = 1 }
	END { for (a in to) { n = split(to[a], bs, " "); for (i = 1; i <= n; i++) { m = split(to[bs[i]], cs, " ")
		for (j = 1; j <= m; j++) if (!((a, cs[j]) in uses) && bs[i] " " cs[j] !~ /(common|lv)\// && a !~ /main/) {
			print a, bs[i], cs[j]; exit } } } }')
save "$a" "$b" "$c"
printf 'void probe_of_a(void);\nvoid probe_of_a(void)\n{\n}\n' >>"$a"
printf 'void probe_of_a(void);\nvoid probe_of_b(void);\nvoid probe_of_b(void)\n{\n\tprobe_of_a();\n}\n' >>"$b"
lint build >/dev/null || fail "the probes do not build"
names circles "^ +$b uses $a: .*probe_of_a" "a circle of two files: $a, $b"
restore
save "$a" "$b" "$c"
printf 'void probe_of_a(void);\nvoid probe_of_a(void)\n{\n}\n' >>"$a"
printf 'void probe_of_a(void);\nvoid probe_of_c(void);\nvoid probe_of_c(void)\n{\n\tprobe_of_a();\n}\n' >>"$c"
lint build >/dev/null || fail "the probes do not build"
names circles "^ +$c uses $a: .*probe_of_a" "a circle of three: $a, $b, $c"

printf 'int probe(void)\n{\n\treturn 0;\n}\n' >>"$a"
names build "^$a:.*no previous prototype for .probe" "a function without prototype"
printf '#error probe\n' >>"$a"
! make -s all >/dev/null 2>&1 || fail "make passes with an error in $a"
restore

save netbuffer/nb.c
echo '#include "hv/hv.h"' >>netbuffer/nb.c
names includes "^netbuffer/nb.c:[0-9]+: netbuffer may not include hv" "an include across a wall"
restore
save replicator/source/source.c
echo '#include "netbuffer/queue.h"' >>replicator/source/source.c
names includes "^replicator/source/source.c:[0-9]+: netbuffer/queue.h is private" "an include past a door"
restore
save netbuffer/.may_include
echo nbd >>netbuffer/.may_include
names includes "^netbuffer/.may_include: nbd is allowed, but nothing includes it" "a permission that nobody needs"
restore

save common/common.c tests/lint/sizes.allow
seq -f '/* %g */' 500 >>common/common.c
names sizes "^common/common.c: [0-9]+ lines, the limit is 500" "a file past its size"
restore
save common/common.c tests/lint/sizes.allow
printf 'int probe(void)\n{\n%s\n}\n' "$(seq -f '/* %g */' 71)" >>common/common.c
names sizes "^common/common.c:probe: 71 lines, the limit is 70" "a function past its size"
echo "common/common.c:probe 72" >>tests/lint/sizes.allow
names sizes "^common/common.c:probe: 71 lines: lower its entry" "an entry that is too high"
restore
save tests/lint/sizes.allow
echo "common/common.c 501" >>tests/lint/sizes.allow
names sizes "^common/common.c: small enough or gone" "an entry that is not needed"
restore

save common/common.c tests/lint/words.allow
printf '/* The VM %s\n * on. */\n' goes >>common/common.c
names words "^common/common.c:[0-9]+: \"goes.on\"" "a phrase of the list, over two lines"
restore
save tests/lint/words.allow
echo "common/common.h 1000" >>tests/lint/words.allow
names words "^common/common.h: " "a count that is too high"
restore

save docs/ARCHITECTURE.md
sed -i 's/`fo_p_try_release`/`no_such_function`/' docs/ARCHITECTURE.md
names docs "^docs/ARCHITECTURE.md: failover/primary.c does not define no_such_function" "a function that is not where the map says"
sed -i 's/`try_release`/`no_such_function`/; s|`daemon/recover.c`|`daemon/no_such_file.c`|' docs/ARCHITECTURE.md
names docs "^docs/ARCHITECTURE.md: there is no daemon/no_such_file.c" "a file that is not there"
restore

save common/common.c
echo 'int  probe ;' >>common/common.c
names format "^common/common.c$" "a bad format"
restore
cp tests/local/11-lint.sh tests/local/11-probe.sh
names numbers "tests/local/11-\*.sh: more than one" "two scripts of one number"
rm tests/local/11-probe.sh
echo "sl""eep 1" >tests/local/99-probe.sh
names sleeps "^tests/local/99-probe.sh:1:" "a test that waits for luck"
rm tests/local/99-probe.sh

step "put back, all of it passes again"
lint format includes build circles sizes words docs numbers sleeps >/dev/null || fail "lint does not pass after all of this"
