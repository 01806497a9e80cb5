// SPDX-License-Identifier: GPL-2.0-or-later
// What can be changed: where it would work, with what follows from it, and after its VM's name was typed.
import { h } from "./dom.js";
import { bytes, duration, known } from "./format.js";

function whyNot(vm, m, kinds) {
	if (m.stale)
		return "there are no new data";
	if (!m.mayChange)
		return m.whyNot || "nothing can be changed on this page";
	if (!vm.primary)
		return "no host that answers runs it";
	if (!vm.primary.host.here)
		return `it runs on ${vm.primary.host.name}: open that host's dashboard`;
	return kinds.includes(vm.kind) ? "" : `it is not protected now (${vm.word.toLowerCase()})`;
}

function last(vm) {
	const e = vm.events.filter((x) => x.kind === "failover" && x.data && known(x.data.outage_ms)).pop();
	return e ? ` The last failover of it took ${duration(e.data.outage_ms)}.` : "";
}

export const ACTS = [{
	op: "failover", title: "Planned failover",
	why: (vm, m) => whyNot(vm, m, ["protected"]) ||
		(vm.backup && vm.backup.host.fresh ? "" : `${vm.primary.vm.peer} does not answer`),
	what: (vm) => `${vm.name} continues on ${vm.primary.vm.peer}, and ${vm.primary.host.name} becomes its backup. ` +
		`It stands still about as long as one epoch takes to get there: its state there is ${duration(vm.lag)} old, ` +
		`a pause takes ${duration(vm.primary.vm.pause_ms.p99)}. Nothing is lost.${last(vm)}`,
}, {
	op: "unprotect", title: "End protection",
	why: (vm, m) => whyNot(vm, m, ["protected", "syncing", "alone", "failed", "stalled"]),
	what: (vm) => `${vm.name} runs on, on ${vm.primary.host.name}, without a backup: if that host dies, it is down. ` +
		`The copy on ${vm.primary.vm.peer || "its backup"}` +
		(vm.backup && known(vm.backup.vm.standby_memory_bytes) ? ` (${bytes(vm.backup.vm.standby_memory_bytes)} of memory)` : "") +
		" goes away; to protect it again everything is copied anew.",
}];

async function send(op, name, said) {
	said.textContent = "Asked; this may take some seconds …";
	try {
		const answer = await fetch("/api/act", { method: "POST", headers: { "Content-Type": "application/json" },
			body: JSON.stringify({ op, vm: name, typed: name }) });
		const text = (await answer.text()).trim();
		said.textContent = answer.ok ? "Done." : text || `refused (${answer.status})`;
		return answer.ok;
	} catch {
		said.textContent = "No answer: look at the events for what has happened.";
		return false;
	}
}

function confirm(act, vm) {
	const said = h("p", { role: "status" });
	const input = h("input", { id: "typed", type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
	const go = h("button", { type: "submit", class: "danger", disabled: true }, act.title);
	const back = h("button", { type: "button" }, "Cancel");
	const form = h("form", { method: "dialog" }, h("h2", { id: "asked" }, `${act.title}: ${vm.name}`),
		h("p", { class: "what" }, act.what(vm)),
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
		if (await send(act.op, vm.name, said))
			dialog.close();
	};
	document.body.append(dialog);
	dialog.showModal();
	input.focus();
}

export function buttons(vm, m) {
	return h("section", { class: "acts", "aria-labelledby": "acts" }, h("h2", { id: "acts" }, "Actions"),
		h("div", { class: "cards" }, ACTS.map((act) => {
			const why = act.why(vm, m);
			return h("div", { class: "card", "data-key": act.op },
				h("button", { type: "button", "data-op": act.op, disabled: !!why, "aria-describedby": `why-${act.op}`,
					onclick: why ? null : () => confirm(act, vm) }, `${act.title} …`),
				h("p", { id: `why-${act.op}`, class: "dim" }, why ? `Not now: ${why}.` : act.what(vm)));
		})));
}
