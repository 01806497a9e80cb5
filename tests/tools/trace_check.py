#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a file of `twinvm trace --out` what Perfetto reads, and does it tell the truth?

usage: trace_check.py FILE EPOCHS     at least so many epochs with all their phases, on both hosts

The trace event format: types and names, slices of a track lie in each other or follow each other, arrows are whole. Of every
epoch: it is sent before it is applied, arrives after it was sent, is committed before that is known. The parts of the pauses
are the pauses, within 5 %. Nothing was moved by more than the clocks are uncertain by.
"""
import collections
import json
import sys

PARTS = {"stop", "barrier", "harvest", "copy", "room", "save", "cont"}
PRIMARY = {"trigger", "pause", "stop", "barrier", "harvest", "copy", "save", "cont", "check", "encode", "send", "ack",
           "release"}
BACKUP = {"receive", "verify", "commit", "apply"}
NEAR = 0.002  # us: what rounding to ns may leave


def fail(text):
    sys.exit(f"trace_check: {text}")


def need(condition, event, what):
    if not condition:
        fail(f"{what}: {json.dumps(event)}")


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def check_schema(trace):
    need(isinstance(trace, dict) and isinstance(trace.get("traceEvents"), list), None, "not an object with traceEvents")
    need(trace.get("displayTimeUnit") in ("ms", "ns"), None, "displayTimeUnit")
    names, used = {}, set()
    for e in trace["traceEvents"]:
        need(e.get("ph") in "XMCstf" and isinstance(e.get("name"), str), e, "not an event")
        need(type(e.get("pid")) is int, e, "pid")
        if e["ph"] == "M":
            names[(e["pid"], e.get("tid"), e["name"])] = e["args"]
            continue
        need(is_number(e.get("ts")) and e["ts"] >= 0, e, "ts")
        if e["ph"] == "C":
            need(all(is_number(v) for v in e["args"].values()), e, "a counter's value")
            continue
        need(type(e.get("tid")) is int, e, "tid")
        used.add((e["pid"], e["tid"]))
        if e["ph"] == "X":
            need(is_number(e.get("dur")) and e["dur"] >= 0, e, "dur")
            need(all(is_number(v) for v in e["args"].values()), e, "args")
        else:
            need(type(e.get("id")) is int and e["id"] > 0, e, "an arrow's id")
    for pid, tid in used:
        if (pid, tid, "thread_name") not in names or (pid, 0, "process_name") not in names:
            fail(f"track {pid}/{tid} has no name")
    return [e for e in trace["traceEvents"] if e["ph"] == "X"]


def check_nesting(slices):
    tracks = collections.defaultdict(list)
    for e in slices:
        tracks[e["pid"], e["tid"]].append(e)
    for track in tracks.values():
        open_ends = []
        for e in sorted(track, key=lambda e: (e["ts"], -e["dur"])):
            while open_ends and open_ends[-1] <= e["ts"] + NEAR:
                open_ends.pop()
            end = e["ts"] + e["dur"]
            need(not open_ends or end <= open_ends[-1] + NEAR, e, "overlaps")
            open_ends.append(end)


def check_arrows(trace, slices):
    inside = collections.defaultdict(set)
    for e in slices:
        inside[e["pid"], e["tid"]].add(e["ts"])
    for e in trace["traceEvents"]:
        if e["ph"] in "stf":
            need(e["ts"] in inside[e["pid"], e["tid"]], e, "an arrow that is at no slice")


def check_order(epochs):
    def end(e):
        return e["ts"] + e["dur"]

    for number, e in epochs.items():
        for before, after, what in (("send", "apply", "applied before it was sent"),
                                    ("send", "receive", "arrives before it was sent"),
                                    ("commit", "ack", "committed after that was known")):
            if before in e and after in e:
                late = e[after]["ts"] if after == "apply" else end(e[after])
                if end(e[before]) > late + NEAR:
                    fail(f"epoch {number}: {what}")
        if "trigger" in e and "pause" in e and end(e["trigger"]) > e["pause"]["ts"] + NEAR:
            fail(f"epoch {number}: paused before it was due")


def check_pauses(epochs):
    whole = parts = 0
    for e in epochs.values():
        if "pause" in e and "cont" in e and "stop" in e:
            whole += e["pause"]["dur"]
            parts += sum(e[p]["dur"] for p in PARTS if p in e)
    if not 0.95 * whole <= parts <= 1.0001 * whole:
        fail(f"the pauses are {whole} us, their parts {parts} us")
    return 100 * parts / whole


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        trace = json.load(f)
    slices = check_schema(trace)
    check_nesting(slices)
    check_arrows(trace, slices)
    epochs = collections.defaultdict(dict)
    for e in slices:
        if "epoch" in e["args"]:
            phases = epochs[e["args"]["epoch"]]
            need(e["name"] not in phases, e, "twice")
            phases[e["name"]] = e
    check_order(epochs)
    whole = [n for n, e in epochs.items() if PRIMARY | BACKUP <= e.keys()]
    if len(whole) < int(sys.argv[2]):
        missing = collections.Counter(p for e in epochs.values() for p in (PRIMARY | BACKUP) - e.keys())
        fail(f"{len(whole)} of {len(epochs)} epochs have all phases; missing: {dict(missing)}")
    clock = trace["otherData"]["clock"]
    if clock["moved_most_ns"] > clock["uncertain_ns"]:
        fail(f"times were moved by more than the clocks explain: {clock}")
    print(f"{len(slices)} slices, {len(whole)} whole epochs, parts of the pauses {check_pauses(epochs):.1f} %, clocks "
          f"{clock['backup_offset_ns'] / 1e9:.3f} s apart, uncertain by {clock['uncertain_ns'] / 1e6:.3f} ms, "
          f"{clock['moved_epochs']} epochs moved by {clock['moved_most_ns'] / 1e6:.3f} ms at most")


main()
