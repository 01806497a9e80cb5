/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The page's files (web/ui), which the assembler takes into the program as they are: nothing is read
 * from disk or fetched when they are served. A browser keeps them and asks whether they are still the
 * same, by their hash.
 */
#include "web/http.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#define FILES(X)                                                                                   \
	X(index, "", "index.html", "text/html; charset=utf-8")                                     \
	X(app, "app.js", "app.js", "text/javascript; charset=utf-8")                               \
	X(act, "act.js", "act.js", "text/javascript; charset=utf-8")                               \
	X(chart, "chart.js", "chart.js", "text/javascript; charset=utf-8")                         \
	X(cluster, "cluster.js", "cluster.js", "text/javascript; charset=utf-8")                   \
	X(dom, "dom.js", "dom.js", "text/javascript; charset=utf-8")                               \
	X(format, "format.js", "format.js", "text/javascript; charset=utf-8")                      \
	X(model, "model.js", "model.js", "text/javascript; charset=utf-8")                         \
	X(timeline, "timeline.js", "timeline.js", "text/javascript; charset=utf-8")                \
	X(stream, "stream.js", "stream.js", "text/javascript; charset=utf-8")                      \
	X(vm, "vm.js", "vm.js", "text/javascript; charset=utf-8")                                  \
	X(style, "style.css", "style.css", "text/css; charset=utf-8")                              \
	X(icon, "icon.svg", "icon.svg", "image/svg+xml")                                           \
	X(uplot, "uPlot.iife.min.js", "uplot/uPlot.iife.min.js", "text/javascript; charset=utf-8") \
	X(uplot_css, "uPlot.min.css", "uplot/uPlot.min.css", "text/css; charset=utf-8")            \
	X(uplot_license, "uPlot.LICENSE", "uplot/LICENSE", "text/plain; charset=utf-8")

/* Makefile: this object is made anew when one of them has changed. */
#define BYTES(id, name, file, type)                             \
	__asm__(".section .rodata\n"                            \
		"web_ui_" #id ": .incbin \"web/ui/" file "\"\n" \
		"web_ui_" #id "_end: .byte 0\n"                 \
		".previous\n");                                 \
	extern const char web_ui_##id[], web_ui_##id##_end[];
FILES(BYTES)

#define ROW(id, name, file, type) {name, type, web_ui_##id, web_ui_##id##_end},
static const struct file {
	const char *name, *type, *begin, *end;
} files[] = {FILES(ROW)};

static void answer(struct evhttp_request *req, const struct file *f)
{
	struct evkeyvalq *h = evhttp_request_get_output_headers(req);
	size_t bytes = (size_t)(f->end - f->begin);
	struct evbuffer *body;
	char tag[32];

	snprintf(tag, sizeof(tag), "\"%016llx\"", (unsigned long long)XXH3_64bits(f->begin, bytes));
	evhttp_add_header(h, "ETag", tag);
	evhttp_add_header(h, "Cache-Control", "no-cache");
	if (!strcmp(web_header(req, "If-None-Match"), tag)) {
		web_reply(req, 304, f->type, NULL);
		return;
	}
	body = evbuffer_new();
	if (body && evbuffer_add_reference(body, f->begin, bytes, NULL, NULL)) {
		evbuffer_free(body);
		body = NULL;
	}
	web_reply(req, body ? 200 : 500, f->type, body);
}

void files_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	(void)w;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!strcmp(files[i].name, rest)) {
			answer(req, &files[i]);
			return;
		}
	web_reply_text(req, 404, "there is no such file\n");
}

/* What a browser asks for by itself. */
void favicon_run(struct web *w, struct evhttp_request *req, const char *rest)
{
	(void)rest;
	files_run(w, req, "icon.svg");
}
