// SPDX-License-Identifier: GPL-2.0-or-later
// The page: which part is shown, when it is drawn again, and how old its data are.
import { clusterPage } from "./cluster.js";
import { badge, fill, h } from "./dom.js";
import { clock, duration } from "./format.js";
import { model } from "./model.js";
import { follow } from "./stream.js";
import { leaveVm, vmPage } from "./vm.js";

const head = document.getElementById("head");
const main = document.getElementById("main");
const said = document.getElementById("said");
let state = null, came = 0, taken = 0, words = "";

function header(m) {
	const names = m.hosts.map((x) => x.name).join(", ");
	const age = m.stale ? `Data as of ${clock(m.asOf)}, ${duration(m.ageMs)} ago` : `Live, data as of ${clock(m.asOf)}`;
	fill(head, h("a", { class: "home", href: "#/" }, h("h1", null, "twinvm")),
		h("p", { class: "dim" }, names),
		h("p", { class: `age ${m.stale ? "old" : ""}`, id: "age" }, badge(m.stale ? "unknown" : "live", m.stale ? "ask" : "check", age)));
}

// Only a change of a word is said: numbers change all the time.
function say(m) {
	const now = m.stale ? "There are no new data." : m.vms.map((v) => `${v.name}: ${v.kind === "syncing" ? "Protecting" : v.word}`).join(". ");
	if (now !== words && words)
		said.textContent = now;
	words = now;
}

function draw() {
	if (!state)
		return;
	const m = model(state, performance.now() - came);
	const id = /^#\/vm\/([0-9a-f]{32})$/.exec(location.hash);
	header(m);
	document.body.classList.toggle("stale", m.stale);
	document.title = m.stale ? "? twinvm" : `${m.good}/${m.vms.length} protected – twinvm`;
	if (!id)
		leaveVm();
	fill(main, ...(id ? vmPage(m, id[1], draw) : clusterPage(m, draw)));
	say(m);
}

follow((next, leader) => {
	state = next;
	came = performance.now();
	taken++;
	document.body.dataset.taken = String(taken);
	document.body.dataset.leader = String(leader);
	draw();
});
// Ages grow also when nothing comes.
setInterval(() => document.hidden || draw(), 500);
addEventListener("hashchange", () => {
	draw();
	main.focus();
	scrollTo(0, 0);
});
