#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of bench/user.sh.

user_sum.py pauses TRACE SINCE_MS      of `twinvm trace --out`: epochs, median and 99th percentile of the pauses in ms, and the
                                       share of the time not paused, since that time (ms since 1970)
user_sum.py table FIGURES OUT MACHINE  FIGURES: lines "MODE WORKLOAD NAME VALUE", one a round; writes medians and ratios to no
                                       protection as JSON into OUT, prints a table
"""
import json
import statistics
import sys

# cli.md's names, from which workload and figure they are; as ratio to no protection, or as they are
RESULTS = {
    "redis_p1_ratio": ("redis1", "rate", True), "redis_50x16_ratio": ("redis50", "rate", True),
    "redis_p16_ratio": ("redis50", "rate", True),
    "tcp_in_ratio": ("tcp_in", "rate", True), "tcp_out_ratio": ("tcp_out", "rate", True),
    "cpu_job_ratio": ("cpu", "rate", True), "memory_writer_ratio": ("writer4", "rate", True),
    "writer_4m_running": ("writer4", "running", False), "writer_64m_running": ("writer64", "running", False),
    "wire_ratio_redis": ("redis50", "wire_ratio", False), "wire_ratio_writer": ("writer4", "wire_ratio", False),
}


def percentile(v, p):
    v = sorted(v)
    return v[(len(v) - 1) * p // 100]


def pauses(path, since_ms):
    with open(path, encoding="utf-8") as f:
        trace = json.load(f)
    zero = trace["otherData"]["start_wall_ms"]
    found = sorted((e["ts"], e["dur"]) for e in trace["traceEvents"]
                   if e.get("ph") == "X" and e["name"] == "pause" and zero + e["ts"] / 1e3 >= since_ms)
    print(f"epochs {len(found)}")
    if len(found) < 2:
        return
    ms = [dur / 1e3 for _, dur in found]
    span = found[-1][0] - found[0][0]
    print(f"pause_p50_ms {percentile(ms, 50):.3f}\npause_p99_ms {percentile(ms, 99):.3f}")
    print(f"running {1 - sum(dur for _, dur in found[:-1]) / span:.4f}")


def read(path):
    """{mode: {workload: {name: median}}}"""
    rows = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            mode, workload, name, value = line.split()
            rows.setdefault(mode, {}).setdefault(workload, {}).setdefault(name, []).append(float(value))
    return {m: {w: {n: statistics.median(v) for n, v in f.items()} for w, f in ws.items()} for m, ws in rows.items()}


def results(figures, mode):
    plain, ours, out = figures.get("none", {}), figures[mode], {}
    for key, (workload, name, is_ratio) in RESULTS.items():
        value = ours.get(workload, {}).get(name)
        base = plain.get(workload, {}).get(name)
        if value is not None and (base or not is_ratio):
            out[key] = round(value / base, 3) if is_ratio else round(value, 3)
    one, idle = ours.get("redis1", {}), ours.get("idle", {})
    if one and "redis1" in plain:
        out["rr_added_ms"] = round(one["p50_ms"] - plain["redis1"]["p50_ms"], 3)
        if "pause_p50_ms" in one:
            out["rr_added_minus_pause_ms"] = round(out["rr_added_ms"] - one["pause_p50_ms"], 3)
            out["pause_p99_vs_p50"] = round(one["pause_p99_ms"] / one["pause_p50_ms"], 2)
    if idle and "idle" in plain:
        out["idle_core_share"] = round(idle["core_share"] - plain["idle"]["core_share"], 4)
    return out


def table(path, out, machine):
    figures = read(path)
    modes = [m for m in figures if m != "none"]
    by_mode = {m: results(figures, m) for m in modes}
    first = by_mode[modes[0]] if modes else {}
    print(f"{'':26}" + "".join(f"{m:>12}" for m in modes))
    for key in sorted({k for r in by_mode.values() for k in r}):
        print(f"{key:26}" + "".join(f"{by_mode[m].get(key, ''):>12}" for m in modes))
    with open(out, "w", encoding="utf-8") as f:
        json.dump({"machine": machine, "figures": figures, "results": first | {"modes": by_mode}}, f, indent=1)


if sys.argv[1] == "pauses":
    pauses(sys.argv[2], float(sys.argv[3]))
else:
    table(*sys.argv[2:5])
