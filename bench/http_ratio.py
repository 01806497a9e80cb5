#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of bench/http.sh. http_ratio.py TRACE LOAD: TRACE of `twinvm trace --out`, LOAD of tools/http_load with duty_ms.
Prints the bench's result as JSON.

The load begins and ends many times. Each stretch with load is compared with the mean of the two beside it, by the medians of
their epochs; the result is the median of those ratios, and their standard error says what it is worth. The floor is the same
of the stretches in which the program that makes the load only takes time of a CPU.
"""
import json
import math
import statistics
import sys

SETTLE_US = 250_000  # after a change: streams are being opened or closed
MIN_EPOCHS = 10      # in a stretch; a shorter one is left out


def epochs_of(trace):
    """[(start in us, pause in ms, commit in ms)] of each epoch that has both."""
    pause, ack = {}, {}
    for e in trace["traceEvents"]:
        if e.get("ph") == "X" and e["name"] in ("pause", "ack"):
            (pause if e["name"] == "pause" else ack)[e["args"]["epoch"]] = (e["ts"], e["ts"] + e["dur"])
    return [(p[0], (p[1] - p[0]) / 1e3, (ack[n][1] - p[1]) / 1e3) for n, p in sorted(pause.items()) if n in ack]


def stretches_of(lines, zero_ms):
    """[("on", "off" or "burn", from, until)] in the trace's us, which begin at zero_ms since 1970."""
    turns = [(w[0], (int(w[1]) - zero_ms) * 1e3) for w in (line.split() for line in lines) if w and w[0] in ("on", "off", "burn")]
    return [(kind, at + SETTLE_US, until) for (kind, at), (_, until) in zip(turns, turns[1:])]


def percentile(v, p):
    v = sorted(v)
    return round(v[(len(v) - 1) * p // 100], 3)


def ratio(stretches, kind, what):
    """Of the stretches of that kind to their neighbours without load: (how many, median, its standard error)."""
    v = []
    for before, here, after in zip(stretches, stretches[1:], stretches[2:]):
        if (before[0], here[0], after[0]) == ("off", kind, "off"):
            a, b, c = (statistics.median(e[what] for e in s[1]) for s in (before, here, after))
            v.append(2 * b / (a + c))
    return len(v), round(statistics.median(v), 3), round(1.25 * statistics.stdev(v) / math.sqrt(len(v)), 3)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        trace = json.load(f)
    with open(sys.argv[2], encoding="utf-8") as f:
        lines = f.read().splitlines()
    load = json.loads(next(line for line in lines if line.startswith("{")))
    epochs = epochs_of(trace)
    stretches = [(kind, [e for e in epochs if begin <= e[0] < end])
                 for kind, begin, end in stretches_of(lines, trace["otherData"]["start_wall_ms"])]
    stretches = [s for s in stretches if len(s[1]) >= MIN_EPOCHS]
    blocks = []
    for name, kind in (("none", "off"), ("http", "on"), ("burn", "burn")):
        all_ = [e for s in stretches if s[0] == kind for e in s[1]]
        blocks.append({"load": name, "epochs": len(all_)} | {
            f"{k}_ms_p{p}": percentile([e[i] for e in all_], p) for i, k in ((1, "pause"), (2, "commit")) for p in (50, 99)})
    out = {"requests_s": round(load["rate"]), "streams": load["streams"], "messages": load["messages"],
           "refused": load["limited"] + load["other"] + load["cut"] + load["streams_refused"], "blocks": blocks}
    for i, k in ((1, "pause"), (2, "commit")):
        out["pairs"], out[f"{k}_ratio"], out[f"{k}_error"] = ratio(stretches, "on", i)
        _, out[f"{k}_floor_ratio"], out[f"{k}_floor_error"] = ratio(stretches, "burn", i)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
