// SPDX-License-Identifier: GPL-2.0-or-later
// Elements from data: text only ever becomes text. morph() changes what is there as little as possible,
// so that focus, selection and screen readers are not disturbed by the next state.
const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attrs, ...children) {
	const el = document.createElement(tag);
	for (const [k, v] of Object.entries(attrs || {})) {
		if (v === null || v === undefined || v === false)
			continue;
		if (k.startsWith("on"))
			el[k] = v;
		else
			el.setAttribute(k, v === true ? "" : String(v));
	}
	el.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false && c !== ""));
	return el;
}

export function svg(tag, attrs, ...children) {
	const el = document.createElementNS(SVG, tag);
	for (const [k, v] of Object.entries(attrs || {}))
		el.setAttribute(k, String(v));
	el.append(...children.flat(9).filter(Boolean));
	return el;
}

// Colour is never alone: each level has a shape of its own, too.
const SHAPES = {
	check: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm3.6 5-4.4 5.2L4.4 8.6l1-1 1.7 1.6 3.4-4.1Z",
	cross: "M5 1h6l4 4v6l-4 4H5l-4-4V5Zm.2 3.2L4.2 5.2 7 8l-2.8 2.8 1 1L8 9l2.8 2.8 1-1L9 8l2.8-2.8-1-1L8 7Z",
	bang: "M8 1 .8 14.5h14.4Zm-.8 4.6h1.6V10H7.2Zm0 5.6h1.6v1.6H7.2Z",
	part: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.8v10.4a5.2 5.2 0 0 1 0-10.4Z",
	ask: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Zm0 1.5a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11ZM7.200 10.600h1.600v1.600H7.200Zm0-1c0-2.200 1.900-2.100 1.900-3.300a1.100 1.100 0 0 0-2.200 0H5.300a2.700 2.700 0 0 1 5.400 0c0 1.900-1.900 2-1.900 3.300Z",
	swap: "M1 5.500 5 2v2.500h9v2H5V9Zm14 5L11 7v2.500H2v2h9V14Z",
	stop: "M2 2h12v12H2Zm3 3v6h6V5Z",
	main: "M2 3h12v8H2Zm3 9.500h6V14H5Z",
	copy: "M1 2h10v7H1Zm1.500 1.500v4h7v-4ZM5 10.500h8.500V5H15v7H5Z",
};

export function icon(name, label) {
	const svg = document.createElementNS(SVG, "svg");
	const path = document.createElementNS(SVG, "path");
	svg.setAttribute("viewBox", "0 0 16 16");
	svg.setAttribute("class", "icon");
	if (label) {
		svg.setAttribute("role", "img");
		svg.setAttribute("aria-label", label);
	} else {
		svg.setAttribute("aria-hidden", "true");
	}
	path.setAttribute("d", SHAPES[name]);
	path.setAttribute("fill-rule", "evenodd");
	svg.append(path);
	return svg;
}

export const badge = (level, shape, word) => h("span", { class: `badge ${level}` }, icon(shape), h("b", null, word));

function alike(a, b) {
	return a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
		(a.nodeType !== 1 || a.getAttribute("data-key") === b.getAttribute("data-key"));
}

function attributes(from, to) {
	for (const a of [...from.attributes])
		if (!to.hasAttribute(a.name) && a.name !== "open")
			from.removeAttribute(a.name);
	for (const a of to.attributes)
		if (from.getAttribute(a.name) !== a.value)
			from.setAttribute(a.name, a.value);
	from.onclick = to.onclick;
	from.onchange = to.onchange;
	from.onkeydown = to.onkeydown;
}

// data-keep: its content is somebody else's.
export function morph(from, to) {
	if (from.nodeType === 3) {
		if (from.data !== to.data)
			from.data = to.data;
		return;
	}
	attributes(from, to);
	if (from.hasAttribute("data-keep"))
		return;
	const wanted = [...to.childNodes];
	let at = from.firstChild;
	for (const w of wanted) {
		let found = at;
		while (found && !alike(found, w))
			found = found.nextSibling;
		if (!found) {
			from.insertBefore(w, at);
			continue;
		}
		while (at !== found) {
			const next = at.nextSibling;
			at.remove();
			at = next;
		}
		morph(found, w);
		at = found.nextSibling;
	}
	while (at) {
		const next = at.nextSibling;
		at.remove();
		at = next;
	}
}

export function fill(el, ...children) {
	const copy = el.cloneNode(false);
	copy.removeAttribute("data-keep");
	copy.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false && c !== ""));
	morph(el, copy);
}
