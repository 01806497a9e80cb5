// SPDX-License-Identifier: GPL-2.0-or-later
// The page of one VM.
import { buttons } from "./act.js";
import { Charts } from "./chart.js";
import { both, events, failovers } from "./cluster.js";
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
		h("b", null, name || (role === "primary" ? "no host" : "no backup")),
		h("span", { class: "dim" }, entry || !name ? (name ? word : role === "primary" ? word : "now") : `${word}, by what the other says`));
}

// What is tried to be reached, and whether a failover would be allowed now.
function aims(vm) {
	const p = vm.primary && vm.primary.vm, judge = vm.backup && vm.backup.host.fresh ? vm.backup.vm : p;
	if (!p)
		return null;
	return h("dl", { class: "aims" }, h("div", null, h("dt", null, "Now"), h("dd", null, p.state)),
		h("div", null, h("dt", null, "Wanted"), h("dd", null, p.wanted || NONE)),
		h("div", null, h("dt", null, "Failover by itself"), h("dd", null, judge.failover_allowed ? [icon("check"), " allowed now"]
			: [icon("cross"), ` not now${judge.failover_reason ? `: ${judge.failover_reason}` : ""}`])),
		["protected", "syncing"].includes(p.state) && h("div", null, h("dt", null, "If its backup died"), h("dd", null, p.arbiter && p.arbiter !== "none"
			? "runs on alone, once the arbiter has recorded it" : "runs on alone at once")));
}

function pair(vm) {
	const p = vm.primary, b = vm.backup;
	const alone = p && !b && !["protected", "syncing"].includes(p.vm.state);
	const peer = b ? b.host.name : p && !alone ? p.vm.peer : null;
	const generation = p ? p.vm.generation : b ? b.vm.generation : null;
	return h("div", { class: "pair" }, side(p, "primary", p ? p.host.name : null),
		h("div", { class: "flow" }, peer && h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
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
				const differ = SAME.includes(name) && new Set(values.filter((t, i) => vm.seen[i].host.fresh)).size > 1;
				return h("tr", { class: differ ? "differ" : null, "data-key": name }, h("th", { scope: "row" }, name, differ && " (they differ)"),
					values.map((t, i) => h("td", { class: vm.seen[i].host.fresh ? null : "stale", "data-key": vm.seen[i].host.name }, t)));
			})))));
}

const and = (a, b) => b === NONE ? a : `${a} + ${b}`;
const LINK = (v) => known(v.link_headroom) ? `${percent(100 * v.link_headroom)} of ${rate(v.link_bytes_s)}` : NONE;

// A session that is over says nothing of now.
const OF_SESSION = { uncommitted_bytes: null, held_frames: null, dropped_frames: null, epoch_target_ms: null, epoch_why: "", wire_bytes: 0,
	wire_bytes_s: null, rtt_ms: null, output_held_by: "" };

// Cards of what belongs together. What is not known is a dash.
function groups(vm) {
	const b = vm.backup ? vm.backup.vm : null, NAN = { p50: NaN, p99: NaN, max: NaN };
	const live = vm.primary.vm.live && ["protected", "syncing"].includes(vm.primary.vm.state);
	const v = live ? vm.primary.vm : { ...vm.primary.vm, ...OF_SESSION, pause_ms: NAN, commit_ms: NAN, epoch_ms: NAN, dirty_pages: NAN };
	const ratio = v.wire_bytes > 0 && v.raw_bytes + v.disk_bytes > 0 ? `${((v.raw_bytes + v.disk_bytes) / v.wire_bytes).toFixed(1)} times` : NONE;
	const images = b && (b.disks || []).every((d) => known(d.image_bytes)) && b.disks ? b.disks.reduce((n, d) => n + d.image_bytes, 0) : null;
	return [
		["Behind", [["Lag", duration(vm.lag)], ["Uncommitted", bytes(v.uncommitted_bytes)], ["Held frames", count(v.held_frames)],
			["Oldest held frame", v.held_frames ? duration(v.oldest_held_frame_ms) : NONE], ["Frames dropped", count(v.dropped_frames)]]],
		["Epochs", [["Length now", known(v.epoch_target_ms) ? duration(v.epoch_target_ms) : duration(v.epoch_ms.p50)],
			["Set by", v.epoch_why ? `${v.epoch_why} (${v.mode})` : v.mode], ["Pause, median", duration(v.pause_ms.p50)],
			["Pause, 99 %", duration(v.pause_ms.p99)], ["Pause, worst", duration(v.pause_ms.max)], ["Commit, 99 %", v.commit_ms ? duration(v.commit_ms.p99) : NONE],
			["Dirty pages", count(v.dirty_pages.p50)], ["Dirty pages, 99 %", count(v.dirty_pages.p99)]]],
		["Link", [["On the wire", rate(v.wire_bytes_s)], ["Headroom", LINK(v)], ["Reduction", ratio], ["Round trip", duration(v.rtt_ms)],
			["Held by", v.output_held_by || NONE]]],
		["The VM + its standby", [["CPU", and(percent(v.cpu_percent), percent(b && b.standby_cpu_percent))],
			["Memory", and(bytes(v.memory_bytes), bytes(b && b.standby_memory_bytes))], ["Images", bytes(images)],
			["Disk", both(v.disk_read_bytes_s, v.disk_write_bytes_s, rate)], ["Network", both(v.net_rx_bytes_s, v.net_tx_bytes_s, rate)],
			["QEMU", [v.qemu, v.run_state].filter(Boolean).join(", ") || NONE]]],
	];
}

function numbers(vm) {
	if (!vm.primary)
		return null;
	return h("section", { "aria-labelledby": "numbers" }, h("h2", { id: "numbers" }, "Now"),
		h("div", { class: "groups" }, groups(vm).map(([title, rows]) => h("article", { class: "card", "data-key": title }, h("h3", null, title),
			h("dl", null, rows.map(([k, t]) => [h("dt", { "data-key": k }, k), h("dd", { "data-key": `${k}=`, class: k === "Lag" ? "lag" : null }, t)]))))));
}

function diskState(d) {
	if (!d)
		return NONE;
	if (d.state === "copying")
		return [icon("part"), ` copying${known(d.progress) ? ` ${Math.floor(d.progress * 100)} %` : ""}`];
	if (known(d.behind_bytes))
		return d.behind_bytes ? [icon("part"), ` ${bytes(d.behind_bytes)} behind`] : [icon("check"), " in sync"];
	return [icon("check"), ` ${d.state}`];
}

// The two sides number the disks alike.
function disks(vm) {
	const here = (vm.primary && vm.primary.vm.disks) || [], there = (vm.backup && vm.backup.vm.disks) || [];
	if (!here.length && !there.length)
		return null;
	const rows = (here.length ? here : there).map((d, i) => [d, here[i], there[i]]);
	return h("section", { "aria-labelledby": "disks" }, h("h2", { id: "disks" }, "Disks"), h("table", { class: "log disks" },
		h("thead", null, h("tr", null, ["Disk", "Size", "Replication", "Replica", "Takes"].map((t, i) => h("th", { scope: "col", class: i === 1 || i === 4 ? "num" : null }, t)))),
		h("tbody", null, rows.map(([d, a, b], i) => h("tr", { "data-key": `${i}` },
			h("td", { "data-label": "Disk" }, h("b", null, d.name), a && h("span", { class: "file dim" }, a.file)),
			h("td", { "data-label": "Size", class: "num" }, bytes(d.bytes)), h("td", { "data-label": "Replication" }, diskState(a)),
			h("td", { "data-label": "Replica" }, b ? [h("span", null, diskState(b), ` on ${vm.backup.host.name}`), h("span", { class: "file dim" }, b.file)] : NONE),
			h("td", { "data-label": "Takes", class: "num" }, bytes(b && b.image_bytes)))))));
}

const RESULT = { passed: "check", failed: "cross", refused: "ask", "cut short": "cross", running: "part" };
const TITLE = { "test-failover": "Test failover", drill: "Drill", verify: "Verification", snapshot: "Snapshot" };
const ended = (r) => known(r.ended) ? r.ended * 1000 : null;

function outcome(r) {
	const at = ended(r);
	return [icon(RESULT[r.result] || "ask"), ` ${r.result}`, at && `, ${duration(Date.now() - at)} ago`];
}

// Would a failover succeed, and what was tried when: of all hosts, the newest first.
function rehearsals(vm) {
	const from = vm.seen.find((e) => e.vm.ready && e.vm.role === "backup") || vm.seen.find((e) => e.vm.ready);
	const ready = from && from.vm.ready;
	const tried = vm.seen.flatMap((e) => (Array.isArray(e.vm.rehearsed) ? e.vm.rehearsed : []).map((r) => ({ ...r, host: e.host.name })))
		.sort((a, b) => b.started - a.started).slice(0, 8);
	const checks = ready && Array.isArray(ready.checks) ? ready.checks : [];
	const bad = ready ? checks.filter((c) => c.verdict !== "yes") : [];
	return h("section", { class: "rehearsals", "aria-labelledby": "rehearsals" }, h("h2", { id: "rehearsals" }, "Rehearsals"),
		ready && h("p", null, icon(ready.ready ? "check" : "cross"), ready.ready ? " A failover would succeed now" : ` A failover would not succeed now: ${ready.why}`,
			h("span", { class: "dim" }, ` (${from.host.name}, ${checks.length} checks)`)),
		bad.length > 0 && h("ul", { class: "plain" }, bad.map((c) => h("li", { "data-key": c.name, class: "dim" }, `${c.name}: ${c.verdict}, ${c.text}`))),
		tried.length ? h("table", { class: "log" },
			h("thead", null, h("tr", null, ["What", "Result", "When", "On", "Found"].map((t) => h("th", { scope: "col" }, t)))),
			h("tbody", null, tried.map((r) => h("tr", { "data-key": `${r.host}${r.id}` }, h("td", { "data-label": "What" }, h("b", null, TITLE[r.kind] || r.kind)),
				h("td", { "data-label": "Result" }, outcome(r)), h("td", { "data-label": "When" }, clock(r.started * 1000)),
				h("td", { "data-label": "On" }, r.host), h("td", { "data-label": "Found" }, [r.reason, r.note].filter(Boolean).join("; ") || NONE)))))
			: h("p", { class: "dim" }, "Nothing was rehearsed yet."));
}

export function vmPage(m, id, redraw) {
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
	return [back, h("h2", { class: "name" }, vm.name), top(vm), pair(vm), aims(vm), numbers(vm), disks(vm),
		h("section", { "aria-labelledby": "charts" }, h("h2", { id: "charts" }, "Last hour"), charts.el.isConnected
			? h("div", { class: "charts", "data-keep": true, "data-key": `charts-${id}` }) : charts.el),
		buttons(vm, m), rehearsals(vm), views(vm), failovers(m, vm.failovers, redraw),
		events(vm.events.slice(-40).reverse(), "Events")];
}
