// SPDX-License-Identifier: GPL-2.0-or-later
// The page of the whole cluster.
import { acknowledging } from "./act.js";
import { badge, h, icon } from "./dom.js";
import { NONE, bytes, clock, duration, known, percent, rate } from "./format.js";
import { causeOf, timeline } from "./timeline.js";

const view = { problems: false, events: "" };

// Who they are, as far as there is room.
function others(m) {
	const names = m.vms.filter((v) => v.kind !== "protected").map((v) => v.name);
	return names.length ? `Not protected: ${names.slice(0, 6).join(", ")}${names.length > 6 ? ` and ${names.length - 6} more` : ""}. ` : "";
}

function summary(m) {
	const n = m.vms.length, bad = n - m.good;
	const level = m.stale ? "unknown" : !n ? "unknown" : bad === 0 ? "good"
		: m.vms[0].level === "warn" ? "warn" : m.vms[0].level;
	const shape = m.stale || !n ? "ask" : bad ? "bang" : "check";
	const words = m.stale ? "No new data" : !n ? "No VM is known here" : `${m.good} of ${n} VM${n > 1 ? "s" : ""} protected`;
	return h("section", { class: `summary ${level}`, "aria-label": "Summary" },
		icon(shape), h("div", null, h("p", { class: "big", id: "summary" }, words),
			h("p", { class: "dim" }, m.stale ? `What is known is as of ${clock(m.asOf)}, and may have changed.`
				: n ? `${others(m)}${m.lag !== null ? `Oldest state on a backup: ${duration(m.lag)}` : ""}`
					: "Protect one with: twinvm protect VM --to HOST")));
}

// Failovers that nobody has acknowledged. They are marked, and change no state above.
function attention(m, redraw) {
	if (!m.unseen.length)
		return null;
	return h("section", { class: "attention", "aria-labelledby": "attention" },
		h("h2", { id: "attention" }, icon("swap"), ` ${m.unseen.length} failover${m.unseen.length > 1 ? "s need" : " needs"} acknowledgement`),
		h("ul", { class: "plain" }, m.unseen.slice(0, 8).map((e) => h("li", { "data-key": `${e.host}${e.id}` },
			h("p", null, h("b", null, m.vms.some((v) => v.id === e.vm_id) ? h("a", { href: `#/vm/${e.vm_id}` }, e.vm) : e.vm || "?"),
				` ${clock(e.unix_ms)}, ${e.peer || "?"} → ${e.host}, outage ${outage(e)}: ${causeOf(e)}`),
			acknowledging(e, m, redraw)))));
}

function where(vm) {
	const p = vm.primary, b = vm.backup;
	const alone = p && !b && !["protected", "syncing"].includes(p.vm.state);
	const to = b ? b.host.name : p && p.vm.peer;
	return h("span", { class: "where" },
		p ? [icon("main", "runs on"), h("span", null, p.host.name)] : h("span", null, "?"),
		alone ? h("span", null, "no backup")
			: to && [h("span", { class: "arrow", "aria-hidden": "true" }, "→"), icon("copy", "backup"), h("span", null, to)]);
}

export function both(a, b, format) {
	return known(a) || known(b) ? h("span", { class: "both" }, h("span", null, `↓ ${format(a)}`), " ", h("span", null, `↑ ${format(b)}`)) : NONE;
}

const LONG = 8; // a list of more VMs says of those that are well only that

function row(vm, long) {
	const v = vm.primary ? vm.primary.vm : {};
	const note = [vm.reason, vm.warning].filter(Boolean).join("; ");
	return [h("tr", { class: `vm ${vm.level}`, "data-key": vm.id, "data-vm": vm.name },
		h("td", { "data-label": "State" }, badge(vm.level, vm.shape, vm.word)),
		h("th", { scope: "row" }, h("a", { href: `#/vm/${vm.id}` }, vm.name), where(vm)),
		h("td", { "data-label": "Lag", class: "num lag" }, duration(vm.lag)),
		h("td", { "data-label": "CPU", class: "num" }, percent(v.cpu_percent)),
		h("td", { "data-label": "Memory", class: "num" }, bytes(v.memory_bytes)),
		h("td", { "data-label": "Disk (read, written)", class: "num" },
			both(v.disk_read_bytes_s, v.disk_write_bytes_s, rate)),
		h("td", { "data-label": "Network (in, out)", class: "num" },
			both(v.net_rx_bytes_s, v.net_tx_bytes_s, rate))),
	h("tr", { class: `more ${vm.level}${!note && long && vm.fate.ok && vm.kind === "protected" ? " short" : ""}`, "data-key": `${vm.id}+` },
		h("td", { colspan: "7" }, note && h("p", { class: "reason" }, note),
			vm.kind !== "protected" && vm.since && h("p", { class: "dim" }, `Since ${clock(vm.since)}`,
				vm.action && `. Now: ${vm.action}`, vm.actionAt && ` (${clock(vm.actionAt)})`),
			!(long && vm.level === "good" && vm.fate.ok) && h("p", { class: "fate" }, vm.fate.text)))];
}

function list(m, redraw) {
	const shown = view.problems ? m.vms.filter((v) => v.level !== "good") : m.vms;
	const head = ["State", "Name", "Lag", "CPU", "Memory", "Disk", "Network"];
	return h("section", { "aria-labelledby": "vms" },
		h("div", { class: "bar" }, h("h2", { id: "vms" }, "Virtual machines"),
			h("button", { type: "button", class: "toggle", "aria-pressed": String(view.problems),
				onclick: () => {
					view.problems = !view.problems;
					redraw();
				} }, "Only problems")),
		h("table", { class: shown.length > LONG ? "vms long" : "vms" }, h("thead", null, h("tr", null,
			head.map((t, i) => h("th", { scope: "col", class: i > 1 ? "num" : null }, t)))),
		h("tbody", null, shown.map((v) => row(v, shown.length > LONG)))),
		!shown.length && h("p", { class: "dim" }, m.vms.length ? "No problems." : ""));
}

function seen(m, host) {
	if (!host.view)
		return NONE;
	return (host.view.sees || []).map((o) => h("li", { "data-key": o.host },
		icon(o.answers ? "check" : "ask"),
		o.answers ? `sees ${o.host}, ${duration(o.rtt_ms)}`
			: `does not see ${o.host} since ${clock(o.since_ms)}`));
}

function arbiter(host) {
	const a = host.view && host.view.arbiter;
	if (!a || a.url === "none")
		return a ? [icon("ask"), "no arbiter: only an operator promotes"] : NONE;
	if (!("answers" in a))
		return [icon("ask"), "the arbiter was not asked yet"];
	return a.answers ? [icon("check"), "reaches the arbiter"]
		: [icon("cross"), `does not reach the arbiter: ${a.why}`];
}

function duties(host) {
	const vms = host.view ? host.view.vms : [];
	const runs = vms.filter((v) => v.role === "primary" && v.state !== "stopped").length;
	const backs = vms.filter((v) => v.role === "backup");
	const could = backs.filter((v) => v.failover_allowed).length;
	return { runs, backs: backs.length, could };
}

// What would become of the VMs that it runs, if it died now.
function fate(m, host) {
	const runs = m.vms.filter((v) => v.primary && v.primary.host === host);
	const go = runs.filter((v) => v.fate.ok), to = [...new Set(go.map((v) => v.primary.vm.peer))];
	if (!runs.length)
		return "nothing runs on it";
	if (!go.length)
		return runs.length > 1 ? `none of its ${runs.length} VMs would continue by itself` : "its VM would not continue by itself";
	return go.length === runs.length ? `${runs.length > 1 ? `all ${runs.length} VMs continue` : "its VM continues"} on ${to.join(", ")}`
		: `${go.length} of its ${runs.length} VMs continue on ${to.join(", ")}`;
}

// Its state, and the worst of why; an older host names one reason only.
function condition(hardware) {
	const causes = (hardware.causes || []).map((c, i) => h("li", { "data-key": i },
		badge(c.state === "red" ? "bad" : "warn", "bang", c.state),
		` ${c.what ? `${c.what}: ` : ""}${c.fault}`, c.until_cleared && h("span", { class: "dim" }, " (until cleared)")));
	return causes.length ? [hardware.state, h("ul", { class: "plain causes" }, causes)]
		: `${hardware.state}${hardware.reason ? `: ${hardware.reason}` : ""}`;
}

function maintenance(m, d) {
	return `takes no VM until ${m.until_boot ? "its next boot" : "twinvm maintenance off"}; ${m.moved || 0} moved, ${d.runs} to move`;
}

function hostFacts(m, host) {
	const d = duties(host), machine = (host.view && host.view.machine) || {};
	const hardware = host.view && host.view.hardware;
	if (!host.view)
		return [];
	if (!host.fresh)
		return [["Last known", `${duration(host.ageMs)} ago: it ran ${d.runs} VM${d.runs === 1 ? "" : "s"}, was the backup of ${d.backs}`]];
	return [
		["Runs", `${d.runs} VM${d.runs === 1 ? "" : "s"}`],
		["If it died now", fate(m, host)],
		["Backup of", d.backs ? `${d.backs}; a failover to it is allowed for ${d.could}` : "none"],
		["Memory free", known(machine.memory_free_mib)
			? `${bytes(machine.memory_free_mib * 1048576)} of ${bytes(machine.memory_mib * 1048576)}` : NONE],
		host.view.maintenance && ["Maintenance", maintenance(host.view.maintenance, d)],
		["Hardware", hardware ? condition(hardware) : NONE],
		["Load", known(machine.load) ? `${machine.load.toFixed(2)} on ${machine.cpus} CPUs` : NONE],
	].filter(Boolean);
}

function hostCard(m, host) {
	const fresh = host.fresh && !m.stale;
	const word = fresh ? "Answers" : host.here || host.fresh ? "No new data" : "Unknown";
	return h("article", { class: `card host ${host.fresh ? "" : "stale"}`, "data-key": host.name, "data-host": host.name },
		h("div", { class: "bar" }, h("h3", null, host.name, host.here && h("span", { class: "dim" }, " (this page)")),
			badge(fresh ? "good" : "unknown", fresh ? "check" : "ask", word)),
		!host.fresh && !host.here && h("p", { class: "reason" }, `Unknown since ${clock(host.since)}: ${host.why || "no answer"}`),
		h("dl", null, hostFacts(m, host).map(([k, v]) => [h("dt", { "data-key": k }, k), h("dd", { "data-key": `${k}=` }, v)])),
		host.fresh && h("ul", { class: "plain" }, seen(m, host), h("li", { "data-key": "arbiter" }, arbiter(host))));
}

function outage(e) {
	const d = e.data || {};
	return known(d.outage_ms) ? duration(d.outage_ms) : NONE;
}

export function failovers(m, list_, redraw) {
	return h("section", { class: "failovers", "aria-labelledby": "failovers" }, h("h2", { id: "failovers" }, "Failovers"), list_.length
		? list_.slice(0, 10).map((e) => timeline(e, m.events, acknowledging(e, m, redraw)))
		: h("p", { class: "dim" }, "None that is still remembered."));
}

function failoverTable(m) {
	const list_ = m.failovers;
	if (!list_.length)
		return h("section", null, h("h2", null, "Failovers"), h("p", { class: "dim" }, "None that is still remembered."));
	return h("section", null, h("h2", null, "Failovers"), h("table", { class: "log" },
		h("thead", null, h("tr", null, ["When", "VM", "From, to", "Outage", "Cause", ""].map((t, i) => h("th", { scope: "col", class: i === 3 ? "num" : null }, t || h("span", { class: "hidden" }, "Acknowledged"))))),
		h("tbody", null, list_.slice(0, 20).map((e) => h("tr", { "data-key": `${e.host}${e.id}` },
			h("td", { "data-label": "When" }, clock(e.unix_ms)),
			h("td", { "data-label": "VM" }, m.vms.some((v) => v.id === e.vm_id) ? h("a", { href: `#/vm/${e.vm_id}` }, e.vm) : e.vm || ""),
			h("td", { "data-label": "From, to" }, `${e.peer || "?"} → ${e.host}`), h("td", { class: "num", "data-label": "Outage" }, outage(e)),
			h("td", { "data-label": "Cause" }, causeOf(e)),
			h("td", { "data-label": "Seen" }, e.acknowledged ? `acknowledged ${clock(Date.parse(e.acknowledged))}${e.acknowledged_by ? ` by ${e.acknowledged_by}` : ""}` : "not acknowledged"))))));
}

export function events(list_, title, filter) {
	return h("section", null, h("div", { class: "bar" }, h("h2", null, title), filter),
		list_.length ? h("ol", { class: "events", tabindex: "0", "aria-label": title }, list_.map((e) =>
			h("li", { "data-key": `${e.host}${e.id}` }, h("time", null, clock(e.unix_ms)),
				h("span", { class: "who" }, e.host), h("span", { class: "kind" }, e.kind),
				h("span", null, e.vm && !e.text.includes(e.vm) && h("b", null, `${e.vm}: `), e.text))))
			: h("p", { class: "dim" }, "Nothing that is still remembered."));
}

function choice(m, redraw) {
	const names = [...new Set(m.events.map((e) => e.vm).filter(Boolean))].sort();
	return h("label", null, "Of ", h("select", { onchange: (e) => {
		view.events = e.target.value;
		redraw();
	} }, h("option", { value: "" }, "all"), names.map((n) => h("option", { value: n, "data-key": n }, n))));
}

export function clusterPage(m, redraw) {
	const mine = m.events.filter((e) => !view.events || e.vm === view.events);
	return [summary(m), attention(m, redraw), list(m, redraw),
		h("section", { "aria-labelledby": "hosts" }, h("h2", { id: "hosts" }, "Hosts"),
			h("div", { class: "cards" }, m.hosts.map((x) => hostCard(m, x)))),
		failoverTable(m),
		events(mine.slice(-40).reverse(), "Events", choice(m, redraw))];
}
