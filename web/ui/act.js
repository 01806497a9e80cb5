// SPDX-License-Identifier: GPL-2.0-or-later
// What can be changed: where it would work, with what follows from it, and after its VM's name was typed.
import { h, icon } from "./dom.js";
import { bytes, clock, duration, known } from "./format.js";

function whyNot(vm, m, kinds) {
	if (m.stale)
		return "there are no new data";
	if (!m.mayChange)
		return m.whyNot || "nothing can be changed on this page";
	if (!vm.primary)
		return "no host that answers runs it";
	if (!vm.primary.host.here)
		return `it runs on ${vm.primary.host.name}: open that host's dashboard`;
	return kinds.includes(vm.kind) ? "" : vm.kind === "alone" ? "it has no backup" : `it is not protected now (${vm.word.toLowerCase()})`;
}

function last(vm) {
	const e = vm.events.filter((x) => x.kind === "failover" && x.data && known(x.data.outage_ms)).pop();
	return e ? ` The last failover of it took ${duration(e.data.outage_ms)}.` : "";
}

// The host that had it last if that answers, else one that does.
function nextBackup(vm, m) {
	const others = m.hosts.filter((x) => x.fresh && x.name !== vm.primary.host.name);
	return others.find((x) => x.name === vm.primary.vm.peer) || others[0] || null;
}

function whyNotAgain(vm, m) {
	if (vm.kind === "protected" || vm.kind === "syncing")
		return vm.kind === "protected" ? "it is protected" : "it is being copied already";
	const why = whyNot(vm, m, ["alone", "failed"]).replace("it is not protected now (", "it is not without a backup now (");
	if (why)
		return why;
	const to = nextBackup(vm, m), uses = vm.primary.vm.memory_bytes;
	if (!to)
		return "no other host answers";
	const free = to.view.machine && to.view.machine.memory_free_mib * 1048576;
	return known(uses) && known(free) && free < uses
		? `${to.name} has ${bytes(free)} of memory free, and the VM uses ${bytes(uses)}` : "";
}

const diskBytes = (vm) => ((vm.primary.vm.disks || []).reduce((n, d) => n + d.bytes, 0));

// What is tried with it now, here or on its backup; "": nothing.
function rehearsing(vm) {
	const running = vm.seen.flatMap((e) => Object.entries(e.vm.rehearsals || {})).find(([, r]) => r.running);
	return running ? `a ${running[0].replace("_", " ")} of it runs` : "";
}

// It is begun on the host of the backup.
function whyNotTest(vm, m) {
	if (m.stale || !m.mayChange || !vm.primary)
		return whyNot(vm, m, []);
	if (vm.kind !== "protected" || !vm.backup)
		return `it is not protected now (${vm.word.toLowerCase()})`;
	return vm.backup.host.here ? rehearsing(vm) : `its copy is on ${vm.backup.host.name}: open that host's dashboard`;
}

const isSuspended = (vm) => !!vm.primary && vm.primary.vm.suspended;

export const ACTS = [{
	op: "protect", title: "Protect again", why: whyNotAgain, to: (vm, m) => nextBackup(vm, m).name,
	what: (vm, m) => `${vm.name} runs on while all of it is copied to ${nextBackup(vm, m).name}: ` +
		`${bytes(vm.primary.vm.memory_bytes)} of memory${diskBytes(vm) ? `, ${bytes(diskBytes(vm))} of disks` : " and its disks"}. ` +
		`${vm.actionAt ? `Otherwise that is tried at ${clock(vm.actionAt)} by itself. ` : ""}` +
		"It is protected when the copy is whole.",
}, {
	op: "failover", title: "Planned failover",
	why: (vm, m) => whyNot(vm, m, ["protected"]) ||
		(vm.backup && vm.backup.host.fresh ? "" : `${vm.primary.vm.peer} does not answer`),
	what: (vm) => `${vm.name} continues on ${vm.primary.vm.peer}, and ${vm.primary.host.name} becomes its backup. ` +
		`It stands still about as long as one epoch takes to get there: its state there is ${duration(vm.lag)} old, ` +
		`a pause takes ${duration(vm.primary.vm.pause_ms.p99)}. Nothing is lost.${last(vm)}`,
}, {
	op: "suspend", title: "Suspend", shown: (vm) => !isSuspended(vm), why: (vm, m) => whyNot(vm, m, ["protected", "alone", "failed", "stalled"]),
	what: (vm) => `${vm.name} stands still until it is resumed, also where it runs after a failover. Its clients get no answers meanwhile.`,
}, {
	op: "resume", title: "Resume", shown: isSuspended, why: (vm, m) => whyNot(vm, m, ["protected", "alone", "failed", "stalled", "stopped"]),
	what: (vm) => `${vm.name} runs on from where it was suspended.`,
}, {
	op: "drill", title: "Drill",
	why: (vm, m) => whyNot(vm, m, ["protected"]) || rehearsing(vm) || (vm.backup && vm.backup.host.fresh ? "" : `${vm.primary.vm.peer} does not answer`) ||
		(vm.primary.vm.ready && !vm.primary.vm.ready.ready ? `${vm.primary.vm.peer} is not ready: ${vm.primary.vm.ready.why}` : ""),
	what: (vm) => `${vm.name} continues on ${vm.primary.vm.peer}, is protected there, and comes back to ${vm.primary.host.name}. ` +
		"Its clients see two short gaps; nothing is lost. If it cannot come back, the result has what to do.",
}, {
	op: "test-failover", title: "Test failover",
	why: whyNotTest,
	what: (vm) => `A copy of ${vm.name} is started on ${vm.primary.vm.peer}, from the last committed epoch, in a network of its own, and removed again. ` +
		`${vm.name} itself runs on, protected; nobody outside sees the copy.`,
}, {
	op: "unprotect", title: "End protection",
	why: (vm, m) => whyNot(vm, m, ["protected", "syncing", "alone", "failed", "stalled"]),
	what: (vm) => `${vm.name} runs on, on ${vm.primary.host.name}, without a backup: if that host dies, it is down. ` +
		(["alone", "failed"].includes(vm.kind) ? "It is not protected again by itself any more." : `The copy on ${vm.primary.vm.peer || "its backup"}` +
		(vm.backup && known(vm.backup.vm.standby_memory_bytes) ? ` (${bytes(vm.backup.vm.standby_memory_bytes)} of memory)` : "") +
		" goes away; to protect it again everything is copied anew."),
}];

async function post(body) {
	const answer = await fetch("/api/act", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
	return { ok: answer.ok, text: answer.ok ? "" : (await answer.text()).trim() || `refused (${answer.status})` };
}

async function send(body, said) {
	said.textContent = "Asked; this may take some seconds …";
	try {
		const answer = await post(body);
		said.textContent = answer.ok ? "Done." : answer.text;
		return answer.ok;
	} catch {
		said.textContent = "No answer: look at the events for what has happened.";
		return false;
	}
}

function confirm(act, vm, m) {
	const body = { op: act.op, vm: vm.name, typed: vm.name, ...(act.to ? { to: act.to(vm, m) } : {}) };
	const said = h("p", { role: "status" });
	const input = h("input", { id: "typed", type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
	const go = h("button", { type: "submit", class: act.op === "protect" || act.op === "resume" ? "go" : "danger", disabled: true }, act.title);
	const back = h("button", { type: "button" }, "Cancel");
	const form = h("form", { method: "dialog" }, h("h2", { id: "asked" }, `${act.title}: ${vm.name}`),
		h("p", { class: "what" }, act.what(vm, m)),
		h("label", { for: "typed" }, `Type the name of the VM, ${vm.name}, to confirm:`), input, said,
		h("div", { class: "bar" }, back, go));
	const dialog = h("dialog", { "aria-labelledby": "asked" }, form);
	input.oninput = () => {
		go.disabled = input.value !== vm.name;
	};
	back.onclick = () => dialog.close();
	dialog.onclose = () => dialog.remove();
	form.onsubmit = async (e) => {
		e.preventDefault();
		if (input.value !== vm.name || go.dataset.sent)
			return;
		go.dataset.sent = "1";
		go.disabled = true;
		if (await send(body, said))
			dialog.close();
	};
	document.body.append(dialog);
	dialog.showModal();
	input.focus();
}

export function buttons(vm, m) {
	return h("section", { class: "acts", "aria-labelledby": "acts" }, h("h2", { id: "acts" }, "Actions"),
		h("div", { class: "cards" }, ACTS.filter((act) => !act.shown || act.shown(vm)).map((act) => {
			const why = act.why(vm, m);
			return h("div", { class: "card", "data-key": act.op },
				h("button", { type: "button", "data-op": act.op, disabled: !!why, "aria-describedby": `why-${act.op}`,
					onclick: why ? null : () => confirm(act, vm, m) }, `${act.title} …`),
				h("p", { id: `why-${act.op}`, class: "dim" }, why ? `Not now: ${why}.` : act.what(vm, m)));
		})));
}

const asked = new Map(); // key of a failover -> why it could not be acknowledged; "": asked

function acknowledge(e, key, redraw) {
	asked.set(key, "");
	redraw();
	post({ op: "events-ack", id: e.id }).then((answer) => {
		asked.set(key, answer.text);
		if (answer.ok) // shown by the next state; if not, it can be asked again
			setTimeout(() => asked.delete(key), 5000);
	}).catch(() => asked.set(key, "no answer")).finally(redraw);
}

// Says that somebody has seen it, and changes nothing else.
export function acknowledging(e, m, redraw) {
	if (e.acknowledged)
		return h("span", { class: "dim seen" }, icon("check"), " acknowledged");
	const key = `${e.host} ${e.id}`, failed = asked.get(key);
	const why = m.stale ? "there are no new data" : !m.mayChange ? m.whyNot || "nothing can be changed on this page"
		: e.host !== m.here ? `open the dashboard of ${e.host}` : "";
	return h("span", { class: "ack" }, (why || failed) && h("span", { class: "dim", id: `ack-${e.host}-${e.id}` }, why ? `Not here: ${why}` : failed),
		h("button", { type: "button", "data-ack": e.id, disabled: !!why || failed === "", "aria-describedby": why || failed ? `ack-${e.host}-${e.id}` : null,
			onclick: why || failed === "" ? null : () => acknowledge(e, key, redraw) }, failed === "" ? "Asked …" : "Acknowledge"));
}
