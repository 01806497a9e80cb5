/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Block nodes of a disk that libvirt detached while our mirror held them. Private to hv/attach. */
#ifndef HV_ATTACH_DETACHED_H
#define HV_ATTACH_DETACHED_H

#include <jansson.h>

/*
 * graph: the answer of x-debug-query-block-graph, or NULL. Names of the nodes that libvirt wanted to
 * delete, each before those below it; the caller's. NULL: there are none.
 */
json_t *hv_detached_nodes(json_t *graph);

#endif
