/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that is served: one table. */
#include "web/http.h"

#include <string.h>

static const struct web_route table[] = {
	{EVHTTP_REQ_GET, "/healthz", ROUTE_OPEN, health_run},
	{EVHTTP_REQ_GET, "/login", ROUTE_OPEN, login_page},
	{EVHTTP_REQ_POST, "/login", ROUTE_CHANGES | ROUTE_LOGIN, login_run},
	{EVHTTP_REQ_POST, "/logout", ROUTE_CHANGES, logout_run},
	{EVHTTP_REQ_GET, "/metrics", 0, metrics_run},
	{EVHTTP_REQ_GET, "/api/snapshot", 0, snapshot_run},
	{EVHTTP_REQ_GET, "/api/stream", 0, stream_run},
	{EVHTTP_REQ_GET, "/api/history/", ROUTE_BELOW, history_run},
	{EVHTTP_REQ_POST, "/api/act", ROUTE_CHANGES, act_run},
	{EVHTTP_REQ_GET, "/", ROUTE_PAGE, files_run},
	{EVHTTP_REQ_GET, "/favicon.ico", ROUTE_OPEN, favicon_run},
	{EVHTTP_REQ_GET, "/ui/", ROUTE_BELOW, files_run},
};

const struct web_route *route_find(enum evhttp_cmd_type method, const char *path, const char **rest,
				   bool *other_method)
{
	if (method == EVHTTP_REQ_HEAD)
		method = EVHTTP_REQ_GET;
	*other_method = false;
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		const struct web_route *r = &table[i];
		size_t n = strlen(r->path);

		if (r->flags & ROUTE_BELOW ? strncmp(path, r->path, n) : strcmp(path, r->path))
			continue;
		if (r->method == method) {
			*rest = path + n;
			return r;
		}
		*other_method = true;
	}
	return NULL;
}
