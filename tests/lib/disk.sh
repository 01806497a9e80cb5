# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What is on a disk that a guest left behind, without that guest: source after guest.sh.
#
#   disk_clean COPY          replays the file system's journal, as any mount would, then fsck.ext4 -fn: is it clean?
#   disk_redis COPY DIR      Redis started from that disk alone; prints "COUNTER LENGTH" of the client's keys

disk_clean() {
	local out
	# 0 and 1: nothing wrong, or the journal was replayed
	out=$(e2fsck -y -E journal_only "$1" 2>&1) || (($? == 1)) || {
		echo "$out"
		return 1
	}
	out=$(fsck.ext4 -fn "$1" 2>&1) || {
		echo "$out"
		return 1
	}
}

disk_redis() {
	local copy=$1 dir=$2 pid counter length
	mkdir -p "$dir"
	debugfs -R "rdump /redis $dir" "$copy" >"$dir/debugfs.log" 2>&1
	guest_redis_command
	"${REDIS_COMMAND[@]}" --dir "$dir/redis" --port 0 --unixsocket "$dir/sock" --appendonly yes \
		--appendfsync no >"$dir/redis.log" 2>&1 &
	pid=$!
	if await 20 "Redis to load the disk's data" grep -q "Ready to accept connections\|accept connections at" "$dir/redis.log"; then
		read -r counter length < <(python3 - "$dir/sock" "${3:-twinvm}" <<-'END'
			import socket, sys
			s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rwb")
			def ask(*a):
			    f.write(b"".join([b"*%d\r\n" % len(a)] + [b"$%d\r\n%s\r\n" % (len(x), x) for x in a])); f.flush()
			    r = f.readline().strip()
			    if r[:1] == b":": return int(r[1:])
			    return int(f.readline().strip()) if r != b"$-1" else 0
			p = sys.argv[2].encode()
			print(ask(b"GET", p + b":counter"), ask(b"LLEN", p + b":list"))
		END
		)
	fi
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	echo "${counter:--1} ${length:--1}"
}
