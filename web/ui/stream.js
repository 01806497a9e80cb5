// SPDX-License-Identifier: GPL-2.0-or-later
// One event stream for all tabs of this browser: a browser opens at most six connections to a server,
// over all its tabs. The visible tab that holds the lock reads the stream and passes it to the others;
// a tab that is hidden gives the lock back.
const CHANNEL = "twinvm-1";
const channel = new BroadcastChannel(CHANNEL);
let lastId = 0;

function read(take, until) {
	return new Promise((done) => {
		const source = new EventSource("/api/stream");
		const end = () => {
			source.close();
			done();
		};
		source.addEventListener("state", (e) => {
			const id = Number(e.lastEventId);
			const state = JSON.parse(e.data);
			lastId = id;
			channel.postMessage({ id, state });
			take(state, true);
		});
		// The server has said no for good (the token is gone): the page asks for it.
		source.onerror = () => {
			if (source.readyState === EventSource.CLOSED)
				setTimeout(end, 2000);
		};
		until.addEventListener("abort", end, { once: true });
	});
}

// take(state, leader) is called for each state, in every visible tab.
export function follow(take) {
	let stop = null;
	channel.onmessage = (e) => {
		if (!stop || document.hidden || e.data.id === lastId)
			return;
		lastId = e.data.id;
		take(e.data.state, false);
	};
	async function run(signal) {
		while (!signal.aborted) {
			if (!navigator.locks) {
				await read(take, signal);
				continue;
			}
			await navigator.locks.request(CHANNEL, { signal }, () => read(take, signal)).catch(() => {});
		}
	}
	function look() {
		if (document.hidden && stop) {
			stop.abort();
			stop = null;
		} else if (!document.hidden && !stop) {
			stop = new AbortController();
			run(stop.signal);
		}
	}
	document.addEventListener("visibilitychange", look);
	look();
}
