# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: every figure with its floor from the same run; build/bench/results.json and a table.
.PHONY: bench
bench: all tools guest $(BENCH_BIN) $(B)/bench/twinvm-libvirt ## pause, disk and others, each with its floor: build/bench/results.json
	@bench/pause.sh
	@bench/disk.sh
	@bench/libvirt.sh
	@bench/http.sh
