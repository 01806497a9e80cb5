// SPDX-License-Identifier: GPL-2.0-or-later
// Numbers and times as people read them. What is not known is a dash, never 0.
export const NONE = "–";

export const known = (v) => typeof v === "number" && Number.isFinite(v);

export function duration(ms) {
	if (!known(ms))
		return NONE;
	const a = Math.max(0, ms);
	if (a < 9.95)
		return `${a.toFixed(1)} ms`;
	if (a < 1000)
		return `${Math.round(a)} ms`;
	if (a < 10000)
		return `${(a / 1000).toFixed(1)} s`;
	if (a < 120000)
		return `${Math.round(a / 1000)} s`;
	if (a < 7200000)
		return `${Math.round(a / 60000)} min`;
	if (a < 172800000)
		return `${Math.round(a / 3600000)} h`;
	return `${Math.round(a / 86400000)} days`;
}

export function bytes(n) {
	if (!known(n))
		return NONE;
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
	let i = 0;
	while (n >= 1023.5 && i < units.length - 1) {
		n /= 1024;
		i++;
	}
	return `${n < 9.95 && i ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export const rate = (n) => known(n) ? `${bytes(n)}/s` : NONE;
export const percent = (n) => known(n) ? `${n < 9.95 && n > 0 ? n.toFixed(1) : Math.round(n)} %` : NONE;
export const count = (n) => known(n) ? n.toLocaleString("en") : NONE;

export function clock(ms) {
	if (!known(ms) || !ms)
		return NONE;
	const d = new Date(ms);
	const time = d.toLocaleTimeString("en-GB");
	return d.toDateString() === new Date().toDateString() ? time
		: `${d.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}
