// SPDX-License-Identifier: GPL-2.0-or-later
// Charts of a VM's last hour: made once, then given new data. Each has a table with the same numbers.
import { h } from "./dom.js";
import { NONE, bytes, clock, count, duration, known, percent, rate } from "./format.js";

export const CHARTS = [
	{ title: "Lag", what: "age of the newest committed epoch", series: ["lag_ms"], names: ["lag"], format: duration },
	{ title: "Pause", what: "of the VM, for each epoch", series: ["pause_p50_ms", "pause_p99_ms"], names: ["median", "99th percentile"], format: duration },
	{ title: "Uncommitted", what: "captured and not with the backup yet", series: ["uncommitted_bytes"], names: ["bytes"], format: bytes },
	{ title: "Oldest held frame", what: "how long output waits", series: ["held_ms"], names: ["age"], format: duration },
	{ title: "Dirty pages", what: "captured for each epoch", series: ["dirty_p50", "dirty_p99"], names: ["median", "99th percentile"], format: count },
	{ title: "Replication traffic", what: "before encoding, and on the wire", series: ["raw_bytes_s", "wire_bytes_s"], names: ["raw", "wire"], format: rate },
	{ title: "Link headroom", what: "of what the link was measured to carry", series: ["link_headroom"], names: ["free"], format: (v) => percent(100 * v) },
];
const ROWS = 12; // of the table

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function axis(format) {
	const stroke = css("--dim"), grid = { stroke: css("--line"), width: 1 };
	return [{ stroke, grid, ticks: grid, font: "12px system-ui", space: 70,
		values: (u, t) => t.map((s) => new Date(s * 1000).toLocaleTimeString("en-GB", t[t.length - 1] - t[0] < 300
			? { minute: "2-digit", second: "2-digit" } : { hour: "2-digit", minute: "2-digit" })) },
	{ stroke, grid, ticks: grid, font: "12px system-ui", size: 74, values: (u, t) => t.map((v) => format(v)) }];
}

// From 0, and never so near that noise looks like a mountain.
const range = (u, min, max) => [0, Math.max(1, (known(max) ? max : 1) * 1.15)];

class Chart {
	constructor(kind) {
		this.kind = kind;
		this.plotAt = h("div", { class: "plot", "data-keep": true, "aria-hidden": "true" });
		this.table = h("tbody");
		this.said = h("p", { class: "now" });
		this.el = h("figure", { class: "card chart" },
			h("figcaption", null, h("b", null, kind.title), h("span", { class: "dim" }, ` ${kind.what}`)),
			this.said, this.plotAt,
			h("details", null, h("summary", null, "As a table"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${kind.title}: table` },
				h("table", null, h("caption", null, `${kind.title}: ${kind.what}, the last hour, newest first`),
					h("thead", null, h("tr", null, h("th", { scope: "col" }, "Time"), kind.names.map((n) => h("th", { scope: "col" }, n)))), this.table))));
		this.sizes = new ResizeObserver(() => this.resize());
		this.sizes.observe(this.plotAt);
	}

	colours() {
		return [css("--line1"), css("--line2")];
	}

	make(data) {
		const c = this.colours();
		if (this.plot)
			this.plot.destroy();
		this.plot = new uPlot({ width: Math.max(200, this.plotAt.clientWidth), height: 150, legend: { show: false },
			cursor: { y: false, drag: { x: false, y: false } }, scales: { y: { range } }, axes: axis(this.kind.format),
			series: [{}, ...this.kind.series.map((s, i) => ({ label: this.kind.names[i], stroke: c[i], width: 1,
				fill: i ? undefined : `${c[i]}22`, spanGaps: false, points: { show: false } }))] }, data, this.plotAt);
	}

	resize() {
		const width = this.plotAt.clientWidth;
		if (this.plot && width && width !== this.plot.width)
			this.plot.setSize({ width, height: 150 });
	}

	text(data) {
		const { names, format } = this.kind, n = data[0].length;
		const last = n ? names.map((name, i) => `${names.length > 1 ? `${name} ` : ""}${known(data[i + 1][n - 1]) ? format(data[i + 1][n - 1]) : NONE}`) : [NONE];
		const values = data.slice(1).flat().filter(known);
		this.said.textContent = `Now ${last.join(", ")}` + (values.length ? `; most ${format(Math.max(...values))}` : "");
		const step = Math.max(1, Math.floor(n / ROWS)), rows = [];
		for (let i = n - 1; i >= 0 && rows.length < ROWS; i -= step)
			rows.push(h("tr", null, h("td", null, clock(data[0][i] * 1000)),
				names.map((name, k) => h("td", { class: "num" }, known(data[k + 1][i]) ? format(data[k + 1][i]) : NONE))));
		this.table.replaceChildren(...rows);
	}

	set(history) {
		const data = [history.time, ...this.kind.series.map((s) => history.series[s] || history.time.map(() => null))];
		const colour = this.colours().join();
		if (!this.plot || this.colour !== colour)
			this.make(data);
		else
			this.plot.setData(data);
		this.colour = colour;
		this.text(data);
	}

	end() {
		this.sizes.disconnect();
		if (this.plot)
			this.plot.destroy();
	}
}

// The charts of one VM: fetched when the page opens and then every few seconds.
export class Charts {
	constructor(id) {
		this.id = id;
		this.charts = CHARTS.map((k) => new Chart(k));
		this.el = h("div", { class: "charts", "data-keep": true, "data-key": `charts-${id}` }, this.charts.map((c) => c.el));
		this.load();
		this.timer = setInterval(() => document.hidden || this.load(), 2000);
		matchMedia("(prefers-color-scheme: dark)").onchange = () => this.load();
	}

	async load() {
		try {
			const answer = await fetch(`/api/history/${this.id}`);
			if (answer.ok && !this.ended) {
				const history = await answer.json();
				this.charts.forEach((c) => c.set(history));
			}
		} catch {
			// the header shows that there are no new data
		}
	}

	end() {
		this.ended = true;
		clearInterval(this.timer);
		this.charts.forEach((c) => c.end());
	}
}
