# SPDX-License-Identifier: GPL-2.0-or-later
# make bench: every figure with its floor from the same run; build/bench/results.json and tables. BENCH="user outage": only these.
# BENCH_QUICK=1: one short round of each, under five minutes: whether it works, no figures to quote.
.PHONY: bench
BENCH ?= pause user disk outage libvirt http
bench: all tools guest $(BENCH_BIN) $(B)/bench/twinvm-libvirt ## pauses, what a user feels, disk, outage and others, each with its floor: build/bench/results.json
	@bench/all.sh $(BENCH)
