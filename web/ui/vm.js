// SPDX-License-Identifier: GPL-2.0-or-later
// The page of one VM.
import { buttons } from "./act.js";
import { Charts } from "./chart.js";
import { events, failovers } from "./cluster.js";
import { badge, h, icon } from "./dom.js";
import { NONE, bytes, clock, count, duration, known, percent, rate } from "./format.js";

let charts = null;
const progress = new Map(); // id -> [time, progress]: for the time left

export function leaveVm() {
	if (charts)
		charts.end();
	charts = null;
}

function timeLeft(vm) {
	const now = performance.now(), p = vm.primary.vm.progress;
	let seen = progress.get(vm.id) || [];
	if (seen.length && p < seen[seen.length - 1][1])
		seen = [];
	if (!seen.length || now - seen[seen.length - 1][0] > 900)
		seen.push([now, p]);
	seen = seen.slice(-30);
	progress.set(vm.id, seen);
	const [t0, p0] = seen[0];
	return p > p0 && now - t0 > 3000 ? (1 - p) * (now - t0) / (p - p0) : null;
}

function top(vm) {
	const left = vm.kind === "syncing" ? timeLeft(vm) : null;
	return h("section", { class: `summary ${vm.level}`, "aria-labelledby": "word" }, icon(vm.shape),
		h("div", null, h("p", { class: "big", id: "word" }, vm.word),
			vm.reason && h("p", { class: "reason" }, vm.reason),
			vm.warning && h("p", { class: "reason" }, vm.warning),
			h("p", { class: "dim" }, vm.since ? `Since ${clock(vm.since)}` : "Since when is not known",
				vm.action && `. Now: ${vm.action}`, vm.actionAt && ` (${clock(vm.actionAt)})`),
			vm.kind === "syncing" && h("div", { class: "copy" }, h("progress", { max: "1", value: vm.primary.vm.progress, "aria-label": "First copy" }),
				h("span", null, `${Math.floor(vm.primary.vm.progress * 100)} %`,
					known(left) ? `, about ${duration(left)} left` : ", time left not known yet")),
			h("p", { class: "fate" }, vm.fate.text)));
}

function side(entry, role, name) {
	const shape = role === "primary" ? "main" : "copy";
	const word = role === "primary" ? "runs here" : "backup";
	return h("div", { class: `side ${role} ${entry ? "" : "missing"}`, "data-host": name || "" }, icon(shape),
		h("b", null, name || "no host"), h("span", { class: "dim" }, entry ? word : name ? `${word}, by what the other says` : word));
}

function pair(vm) {
	const p = vm.primary, b = vm.backup;
	const peer = b ? b.host.name : p && p.vm.peer;
	const generation = p ? p.vm.generation : b ? b.vm.generation : null;
	return h("div", { class: "pair" }, side(p, "primary", p ? p.host.name : null),
		h("div", { class: "flow" }, h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
			h("span", { class: "dim" }, known(generation) ? `generation ${generation}` : "")),
		side(b, "backup", peer));
}

const FACTS = [
	["Role", (v) => v.role], ["State", (v) => v.state], ["Reason", (v) => v.reason || NONE], ["Wanted", (v) => v.wanted || NONE],
	["Warning", (v) => v.warning || NONE], ["Generation", (v) => count(v.generation)], ["Other host", (v) => v.peer || NONE],
	["Newest committed epoch", (v) => count(v.epoch_committed)], ["Arbiter", (v) => `${v.arbiter}${v.arbiter_state ? `: ${v.arbiter_state}` : ""}`],
	["Would fail over now", (v) => v.failover_allowed ? "yes" : `no: ${v.failover_reason || "not known why"}`],
	["Decision table", (v) => v.core || NONE],
	["Memory", (v) => bytes(v.role === "backup" ? v.standby_memory_bytes : v.memory_bytes)],
	["CPU", (v) => percent(v.role === "backup" ? v.standby_cpu_percent : v.cpu_percent)],
];
const SAME = ["Generation"];

function views(vm) {
	return h("section", { "aria-labelledby": "views" }, h("h2", { id: "views" }, "What each host knows"),
		vm.doubt && h("p", { class: "reason" }, icon("ask"), ` ${vm.doubt}`),
		h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "views" }, h("table", { class: "views" },
			h("thead", null, h("tr", null, h("th", { scope: "col" }, ""), vm.seen.map((e) => h("th", { scope: "col", "data-key": e.host.name, class: e.host.fresh ? null : "stale" },
				e.host.name, h("span", { class: "dim" }, e.host.fresh ? "" : ` as of ${duration(e.host.ageMs)} ago`))))),
			h("tbody", null, FACTS.map(([name, get]) => {
				const values = vm.seen.map((e) => get(e.vm));
				const differ = SAME.includes(name) && new Set(values).size > 1;
				return h("tr", { class: differ ? "differ" : null, "data-key": name }, h("th", { scope: "row" }, name, differ && " (they differ)"),
					values.map((t, i) => h("td", { class: vm.seen[i].host.fresh ? null : "stale", "data-key": vm.seen[i].host.name }, t)));
			})))));
}

function numbers(vm) {
	const v = vm.primary && vm.primary.vm;
	if (!v)
		return null;
	const ratio = v.wire_bytes > 0 && v.raw_bytes + v.disk_bytes > 0 ? ((v.raw_bytes + v.disk_bytes) / v.wire_bytes).toFixed(1) : null;
	const list = [
		["Lag", duration(vm.lag)], ["Pause (median, 99 %, worst)", `${duration(v.pause_ms.p50)}, ${duration(v.pause_ms.p99)}, ${duration(v.pause_ms.max)}`],
		["Epoch now", known(v.epoch_target_ms) ? `${duration(v.epoch_target_ms)} (${v.epoch_why || v.mode})` : duration(v.epoch_ms.p50)],
		["Uncommitted", bytes(v.uncommitted_bytes)], ["Held frames", `${count(v.held_frames)}, oldest ${duration(v.oldest_held_frame_ms)}`],
		["Frames dropped", count(v.dropped_frames)], ["On the wire", `${rate(v.wire_bytes_s)}${ratio ? `, ${ratio} times smaller than raw` : ""}`],
		["Round trip", duration(v.rtt_ms)], ["Disk read, written", `${rate(v.disk_read_bytes_s)}, ${rate(v.disk_write_bytes_s)}`],
		["Disk writes replicated", bytes(v.disk_bytes)], ["Network in, out", `${rate(v.net_rx_bytes_s)}, ${rate(v.net_tx_bytes_s)}`], ["QEMU", `${v.qemu || NONE}, ${v.run_state || NONE}`],
	];
	return h("section", { "aria-labelledby": "numbers" }, h("h2", { id: "numbers" }, "Now"),
		h("dl", { class: "numbers" }, list.map(([k, t]) => h("div", { "data-key": k, class: k === "Lag" ? "lag" : null }, h("dt", null, k), h("dd", null, t)))));
}

export function vmPage(m, id) {
	const vm = m.vms.find((v) => v.id === id);
	const back = h("p", null, h("a", { href: "#/" }, "← All virtual machines"));
	if (!vm) {
		leaveVm();
		return [back, h("p", { class: "wait" }, "No host that answers knows this VM.")];
	}
	if (!charts || charts.id !== id) {
		leaveVm();
		charts = new Charts(id);
	}
	return [back, h("h2", { class: "name" }, vm.name), top(vm), pair(vm), numbers(vm),
		h("section", { "aria-labelledby": "charts" }, h("h2", { id: "charts" }, "Last hour"), charts.el.isConnected
			? h("div", { class: "charts", "data-keep": true, "data-key": `charts-${id}` }) : charts.el),
		buttons(vm, m), views(vm), failovers(m.failovers.filter((e) => e.vm_id === vm.id || e.vm === vm.name), "Failovers"),
		events(vm.events.slice(-40).reverse(), "Events")];
}
