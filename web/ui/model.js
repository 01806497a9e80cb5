// SPDX-License-Identifier: GPL-2.0-or-later
// From what the hosts say to what is shown. Each state is derived from evidence of the last moment, and
// never from what is configured; what no host that answers knows is "Unknown".
import { duration, known } from "./format.js";

const FRESH_MS = 4000; // an older view is no evidence
const STALLED_MS = 3000;

// Words, the worst first. shape: see icons in dom.js.
export const WORDS = {
	two: { word: "Runs twice", level: "crit", shape: "cross" },
	none: { word: "Not running", level: "crit", shape: "cross" },
	alone: { word: "Not protected", level: "bad", shape: "cross" },
	failed: { word: "Failed over", level: "bad", shape: "swap" },
	unknown: { word: "Unknown", level: "unknown", shape: "ask" },
	doubt: { word: "Hosts disagree", level: "bad", shape: "ask" },
	stopped: { word: "Stopped", level: "bad", shape: "stop" },
	moving: { word: "Failing over", level: "warn", shape: "swap" },
	stalled: { word: "Stalled", level: "warn", shape: "bang" },
	syncing: { word: "Protecting", level: "warn", shape: "part" },
	protected: { word: "Protected", level: "good", shape: "check" },
};
const RANK = ["crit", "bad", "unknown", "warn", "good"];

function hostsOf(state, elapsed) {
	const age = state.feed_age_ms + elapsed;
	const here = { name: state.self.host, here: true, view: state.self, answers: true, ageMs: age,
		since: state.self.began_ms, why: "", rtt: null };
	const others = (state.others || []).map((o) => ({ name: o.host, here: false, view: o.view || null,
		answers: o.answers, since: o.since_ms, why: o.why, rtt: o.answers ? o.rtt_ms : null,
		ageMs: o.view ? o.age_ms + age : Infinity }));
	others.sort((a, b) => a.name.localeCompare(b.name));
	const all = [here, ...others];
	for (const h of all) {
		h.fresh = h.answers && h.ageMs < FRESH_MS;
		if (h.answers && !h.fresh) // nobody has told this page since then
			h.since = Date.now() - h.ageMs;
	}
	return all;
}

// Age of the newest committed epoch now, by the clock of the host that reported it.
function lagOf(entry) {
	const vm = entry.vm;
	if (vm.role !== "primary" || vm.state !== "protected" || !known(vm.last_commit_time))
		return null;
	return Math.max(0, entry.host.view.time_ms - vm.last_commit_time * 1000 + entry.host.ageMs);
}

function disagreement(vm) {
	const p = vm.primary, b = vm.backup;
	if (!p || p.vm.state !== "protected")
		return "";
	const peer = vm.hosts.find((h) => h.name === p.vm.peer);
	if (!peer || !peer.fresh || peer.ageMs > 2500)
		return "";
	if (!b || b.host !== peer)
		return `${p.host.name} says that ${peer.name} is the backup; ${peer.name} knows nothing of it`;
	if (b.vm.generation !== p.vm.generation)
		return `${p.host.name} has generation ${p.vm.generation}, ${peer.name} has ${b.vm.generation}`;
	if (b.vm.state !== "protected")
		return `${p.host.name} says protected, ${peer.name} says ${b.vm.state}`;
	return "";
}

function kindWithoutPrimary(vm) {
	const b = vm.backup;
	if (b && b.vm.state === "promoting")
		return "moving";
	const gone = vm.hosts.some((h) => !h.fresh);
	return gone || !b ? "unknown" : "none";
}

// Has the VM come to this host by a failover that nothing has followed yet?
function failedOver(vm) {
	const own = [...vm.failovers, ...vm.events.filter((e) => e.kind === "protected")]
		.filter((e) => e.host === vm.primary.host.name).sort((a, b) => a.id - b.id);
	return own.length > 0 && own[own.length - 1].kind === "failover";
}

function kindOf(vm) {
	const p = vm.primary;
	if (vm.primaries.length > 1)
		return "two";
	if (!p)
		return kindWithoutPrimary(vm);
	switch (p.vm.state) {
	case "protected":
		if (!p.vm.live || p.vm.report_age_ms + p.host.ageMs > FRESH_MS)
			return "unknown";
		if (vm.doubt)
			return "doubt";
		return vm.lag !== null && vm.lag > STALLED_MS ? "stalled" : "protected";
	case "syncing":
		return "syncing";
	case "promoting":
		return "moving";
	case "stopped":
		return "stopped";
	default:
		return failedOver(vm) ? "failed" : "alone";
	}
}

function reasonOf(vm) {
	const p = vm.primary, b = vm.backup;
	const silent = vm.hosts.filter((h) => !h.fresh).map((h) => h.name);
	switch (vm.kind) {
	case "two":
		return `${vm.primaries.map((e) => e.host.name).join(" and ")} both say that they run it`;
	case "none":
		return `no host that answers runs it${b ? `; ${b.host.name} has a copy` : ""}`;
	case "unknown":
		if (p)
			return `the replicator on ${p.host.name} has not reported for ` +
				`${duration(p.vm.report_age_ms + p.host.ageMs)}`;
		return silent.length ? `${silent.join(", ")} ${silent.length > 1 ? "do" : "does"} not answer` : "";
	case "doubt":
		return vm.doubt;
	case "stalled":
		return `no epoch was committed for ${duration(vm.lag)}: output is held`;
	case "moving":
		return (b || p).vm.reason || "";
	default:
		return p.vm.reason || (vm.kind === "protected" ? "" : "");
	}
}

// What would happen if its host died now, as a sentence.
function fateOf(vm) {
	const p = vm.primary, b = vm.backup;
	if (!p || ["two", "doubt", "unknown"].includes(vm.kind))
		return { ok: null, text: "What would happen if its host died now is not known." };
	const died = `If ${p.host.name} died now: `;
	if (!["protected", "stalled"].includes(vm.kind))
		return { ok: false, text: `${died}it would be down. No other host has a whole copy.` };
	const judge = b && b.host.fresh ? b.vm : p.vm;
	if (!judge.failover_allowed)
		return { ok: false, text: `${died}it would wait, down. ${cap(judge.failover_reason || "")}` };
	return { ok: true, text: `${died}continues on ${p.vm.peer}, nothing that was seen is lost; ` +
		`its state is ${duration(vm.lag)} old.` };
}

export const cap = (t) => t ? t[0].toUpperCase() + t.slice(1) + (/[.!?]$/.test(t) ? "" : ".") : "";

function collect(hosts) {
	const vms = new Map();
	for (const host of hosts)
		for (const one of host.view ? host.view.vms : []) {
			if (!vms.has(one.id))
				vms.set(one.id, { id: one.id, name: one.name, seen: [], hosts });
			vms.get(one.id).seen.push({ host, vm: one });
		}
	return [...vms.values()];
}

const isOf = (vm) => (e) => e.vm_id === vm.id || (!e.vm_id && e.vm === vm.name);

function complete(vm, events, failovers) {
	const fresh = vm.seen.filter((e) => e.host.fresh);
	vm.primaries = fresh.filter((e) => e.vm.role === "primary" && e.vm.state !== "stopped");
	vm.primary = vm.primaries[0] || fresh.find((e) => e.vm.role === "primary") || null;
	if (vm.primaries.length > 1)
		vm.primaries.sort((a, b) => b.vm.generation - a.vm.generation);
	vm.backup = fresh.find((e) => e.vm.role === "backup") || null;
	vm.events = events.filter(isOf(vm));
	vm.failovers = failovers.filter(isOf(vm));
	vm.lag = vm.primary ? lagOf(vm.primary) : null;
	vm.doubt = disagreement(vm);
	vm.kind = kindOf(vm);
	const w = WORDS[vm.kind];
	vm.level = w.level;
	vm.shape = w.shape;
	vm.word = w.word;
	const main = vm.primary || vm.backup;
	if (vm.kind === "syncing")
		vm.word = `Protecting ${Math.floor(vm.primary.vm.progress * 100)} %`;
	vm.warning = main ? main.vm.warning || (vm.backup && vm.backup.vm.warning) || "" : "";
	const still = vm.primary && vm.primary.vm.suspended;
	if (vm.kind === "protected" && still)
		vm.word = "Protected, suspended";
	if (vm.kind === "protected" && (vm.warning || still))
		vm.level = "warn";
	vm.reason = reasonOf(vm);
	vm.fate = fateOf(vm);
	vm.since = main && known(main.vm.state_since) ? main.vm.state_since * 1000 : null;
	if (vm.kind === "unknown" && !vm.primary) {
		const lost = vm.seen.find((e) => !e.host.fresh);
		vm.since = lost ? lost.host.since : null;
	}
	vm.action = main && vm.kind !== "protected" ? main.vm.next_action || "" : "";
	vm.actionAt = main && known(main.vm.next_action_time) ? main.vm.next_action_time * 1000 : null;
	vm.rank = RANK.indexOf(vm.level);
	return vm;
}

function eventsOf(hosts) {
	const all = hosts.flatMap((h) => (h.view && h.view.events) || []);
	return all.sort((a, b) => a.unix_ms - b.unix_ms || a.id - b.id);
}

// Each host has the newest of them apart: much may have happened since. The newest first.
function failoversOf(hosts, events) {
	const all = new Map();
	for (const e of [...events, ...hosts.flatMap((h) => (h.view && h.view.failovers) || [])])
		if (e.kind === "failover")
			all.set(`${e.host} ${e.id}`, e);
	return [...all.values()].sort((a, b) => b.unix_ms - a.unix_ms || b.id - a.id);
}

// elapsed: ms since the state arrived in this tab.
export function model(state, elapsed) {
	const hosts = hostsOf(state, elapsed);
	const events = eventsOf(hosts);
	const failovers = failoversOf(hosts, events);
	const vms = collect(hosts).map((vm) => complete(vm, events, failovers));
	vms.sort((a, b) => a.rank - b.rank || a.name.localeCompare(b.name));
	const good = vms.filter((v) => v.kind === "protected").length;
	const lags = vms.map((v) => v.lag).filter(known);
	return { hosts, events, vms, good, lag: lags.length ? Math.max(...lags) : null,
		ageMs: state.feed_age_ms + elapsed, stale: state.feed_age_ms + elapsed > FRESH_MS - 1000,
		asOf: state.self.time_ms, mayChange: state.may_change, whyNot: state.may_not_why || "",
		here: state.self.host, failovers, unseen: failovers.filter((e) => e.acknowledged === "" && !(e.data && e.data.cause === "planned")) };
}
