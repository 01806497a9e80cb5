/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does this host's twinvmd work, as far as is seen from here? And the last snapshot as it came. */
#include "web/http.h"

void health_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	int64_t age = feed_age_ns(w->feed);

	(void)rest;
	if (!feed_snapshot(w->feed))
		web_reply_text(req, 503, "starting: no snapshot has come from twinvmd yet\n");
	else if (feed_is_stale(w->feed))
		web_reply_text(req, 503, "stale: no snapshot has come from twinvmd for %.1f s\n",
			       (double)age / 1e9);
	else
		web_reply_text(req, 200, "ok\n");
}

void snapshot_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	json_t *snapshot = feed_snapshot(w->feed);

	(void)rest;
	if (!snapshot) {
		web_reply_text(req, 503, "no snapshot has come from twinvmd yet\n");
		return;
	}
	web_reply_json(req, 200,
		       json_pack("{sf sb sO}", "age_s", (double)feed_age_ns(w->feed) / 1e9, "stale",
				 feed_is_stale(w->feed), "snapshot", snapshot));
}
