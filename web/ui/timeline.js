// SPDX-License-Identifier: GPL-2.0-or-later
// A failover's phases, drawn and as a table. They follow each other, measured by the clock of the host that took over.
import { h, svg } from "./dom.js";
import { clock, duration, known } from "./format.js";

const PHASES = [
	["silence_ms", "Silence", "the old host's last sign of life, until it was asked who runs the VM"],
	["record_ms", "Record", "until the VM was this host's, by record or by an operator"],
	["apply_ms", "Apply", "until all that was committed was applied"],
	["load_ms", "Load", "until QEMU had loaded the state and the VM ran"],
];
const NARROWEST = 0.8, LABELLED = 16; // % of the width

const CAUSES = { silence: "the old host sent nothing any more", closed: "the connection closed and did not come back",
	planned: "planned switch", asked: "the QEMU on the old host had died", forced: "an operator's order",
	fenced: "fence_command had switched the old host off", retry: "an operator tried again" };

export const causeOf = (e) => CAUSES[(e.data || {}).cause] || "cause not known";

function phasesOf(e) {
	const d = e.data || {};
	let at = 0;
	return PHASES.filter(([key]) => known(d[key])).map(([key, name, what]) => {
		const phase = { name, what, ms: d[key], at };
		at += d[key];
		return phase;
	});
}

// Widths in %, none so narrow that it cannot be seen.
function widths(phases) {
	const sum = phases.reduce((n, p) => n + p.ms, 0) || 1;
	const wide = phases.map((p) => Math.max(NARROWEST, 100 * p.ms / sum));
	const all = wide.reduce((n, w) => n + w, 0);
	return wide.map((w) => 100 * w / all);
}

function drawing(phases, total) {
	const wide = widths(phases);
	let x = 0;
	const parts = phases.map((p, i) => {
		const from = x, middle = from + wide[i] / 2;
		x += wide[i];
		return [svg("rect", { class: `phase p${i}`, x: `${from}%`, y: "4", width: `${wide[i]}%`, height: "30" }),
			svg("line", { class: "mark", x1: `${from}%`, x2: `${from}%`, y1: "0", y2: "44" }),
			wide[i] > LABELLED && svg("text", { class: "in", x: `${middle}%`, y: "24", "text-anchor": "middle" }, p.name)];
	});
	return svg("svg", { class: "timeline", width: "100%", height: "64", role: "img", "aria-label":
		`Time line of ${duration(total)}: ${phases.map((p) => `${p.name} ${duration(p.ms)}`).join(", ")}` },
	parts, svg("line", { class: "mark", x1: "100%", x2: "100%", y1: "0", y2: "44" }),
	svg("text", { x: "0", y: "60" }, "last sign of life"),
	svg("text", { x: "100%", y: "60", "text-anchor": "end" }, `runs, after ${duration(total)}`));
}

// When its VM had a backup again; null: not yet, or no host that answers remembers.
function againOf(e, events) {
	const next = events.find((x) => x.host === e.host && x.vm_id === e.vm_id && x.unix_ms >= e.unix_ms && x.kind === "protected");
	return next ? next.unix_ms - e.unix_ms : null;
}

function acknowledged(e) {
	return e.acknowledged ? `Acknowledged ${clock(Date.parse(e.acknowledged))}${e.acknowledged_by ? ` by ${e.acknowledged_by}` : ""}.` : "Not acknowledged.";
}

export function timeline(e, events, action) {
	const phases = phasesOf(e), d = e.data || {};
	const total = known(d.outage_ms) ? d.outage_ms : null, again = againOf(e, events);
	return h("article", { class: "card failover", "data-key": `${e.host}${e.id}` },
		h("div", { class: "bar" }, h("h3", null, `${clock(e.unix_ms)}: ${e.peer || "?"} → ${e.host}`,
			h("span", { class: "dim" }, total !== null ? `, outage ${duration(total)}` : "")), action),
		h("p", null, `Cause: ${causeOf(e)}. `, known(e.generation) && `Generation ${e.generation}`, known(e.epoch) && `, from epoch ${e.epoch}`, known(e.generation) && ". ",
			again !== null ? `Protected again after ${duration(again)}. ` : "", acknowledged(e)),
		phases.length > 1 && h("div", { class: "phases" }, drawing(phases, total === null ? phases.reduce((n, p) => n + p.ms, 0) : total),
			h("table", null, h("caption", { class: "hidden" }, "Phases of the outage"),
				h("thead", null, h("tr", null, ["Phase", "Until", "Took", "Over at"].map((t, i) => h("th", { scope: "col", class: i > 1 ? "num" : null }, t)))),
				h("tbody", null, phases.map((p, i) => h("tr", { "data-key": p.name },
					h("th", { scope: "row" }, svg("svg", { class: "swatch", width: "12", height: "12", "aria-hidden": "true" },
						svg("rect", { class: `phase p${i}`, width: "12", height: "12" })), ` ${p.name}`),
					h("td", null, p.what), h("td", { class: "num" }, duration(p.ms)), h("td", { class: "num" }, duration(p.at + p.ms))))))));
}
