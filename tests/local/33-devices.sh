#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every device driver that QEMU lists (-device help) is in one of the three lists of hv/qemu/drivers.c: fine, listed or
# refused; and no text property of an allowed one is a file of the host that nobody looks at. Also for the newer QEMU
# of tests/qemu/mkqemu.sh, where it is there. docs/DEVICES.md is what the table prints.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/verdict.sh

B=${B:-build}
tool=$B/tools/hv_devices
"$tool" | diff - docs/DEVICES.md || fail "docs/DEVICES.md is not what $tool prints"

# Text properties of allowed drivers. A new one must be looked at: does it name a file or a socket of the
# host? If so, it belongs into hv/standby/allow.c: device_denied, else here.
harmless='romfile|failover_pair_id|serial|chardev[0-9]*|netdev|mac|port|audiodev|drive|display|masterbus|wwpn|ver|tx|duplex|name|model|vendor|product|tag|hba_serial|device_id|uuid|guid|nqn|osk|mad-chardev|fp_start_macaddr|filter|desc|world'
harmless+='|addr|nguid|loadparm|bus_type|iothread|iommufd|sriov-pf|memdev|logical_block_size|subsys|fdp.ruhs|tpmdev'
denied=$("$tool" --denied)

# walk QEMU...: its drivers and their text properties
walk() {
	local names class name known=0 props unknown=''
	names=$("$@" -device help 2>/dev/null | grep -oE '^name "[^"]*"|, alias "[^"]*"' | sed -E 's/.*"([^"]*)"/\1/')
	[[ $(wc -l <<<"$names") -gt 200 ]] || fail "$* lists no devices"
	while read -r class name; do
		[[ $class != unknown ]] || fail "$* has a device driver $name, which is in none of the lists of hv/qemu/drivers.c"
		known=$((known + 1))
		[[ $class != refused && $name != *-cpu ]] || continue
		props=$("$@" -device "$name,help" 2>/dev/null | sed -nE 's/^ *([^= ]+)=<(str|string)>.*/\1/p')
		for prop in $props; do
			[[ $prop =~ ^($harmless)$ ]] || grep -qx -- "$prop" <<<"$denied" ||
				unknown+="$name has a text property $prop: is it a file of the host? (allow.c)"$'\n'
		done
	done < <("$tool" - <<<"$names")
	[[ -z $unknown ]] || fail "$*: $unknown"
	step "$("$@" --version | head -n 1): $known drivers, each in one of the lists"
}
walk qemu-system-x86_64
# Its modules are looked for in one more folder, this machine's own, and one of another build ends it.
newer=$(realpath "$B/qemu-newer")
if [[ -x $newer/usr/bin/qemu-system-x86_64 ]]; then
	modules=$(cd "$newer" && echo usr/lib/*-linux-*/qemu)
	cat >"$newer/run" <<-END
		#!/bin/sh
		exec unshare -m sh -c 'mount --bind $newer/$modules /$modules && exec $newer/usr/bin/qemu-system-x86_64 "\$@"' sh "\$@"
	END
	walk sh "$newer/run"
else
	step "no newer QEMU here (tests/qemu/mkqemu.sh)"
fi
