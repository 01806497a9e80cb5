/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libvirt cannot delete while our mirrors hold it. After a disk's device is gone it deletes the
 * disk's nodes (qemuBlockStorageSourceChainDetach), ignores that QEMU refuses a node with a job on
 * it, and has forgotten them then: the image stays open until the VM ends, and its rights are taken
 * back, so that QEMU cannot open it again when it must, after `virsh dump`. So whoever ends the mirror
 * deletes them.
 *
 * The graph shows such a node, before the mirror ends: our filter is on it, nothing but the
 * mirror's job is above that, and its name is one of libvirt's. libvirt keeps no writable node without
 * a device (it attaches the node just before the device, and the mirror began when there was one), and
 * uses no name twice. A node of anybody else's is left alone: who asked QEMU to delete it knows that
 * it is in use, and may want it for another device.
 */
#include "hv/attach/detached.h"
#include "hv/qemu/qemu.h"

#include <string.h>

#define THEIRS "libvirt-"

static json_t *node_of(json_t *nodes, json_int_t id)
{
	json_t *n;
	size_t i;

	json_array_foreach(nodes, i, n)
		if (json_integer_value(json_object_get(n, "id")) == id)
			return n;
	return NULL;
}

static json_int_t id_at(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool is_named(json_t *node, const char *prefix)
{
	const char *name = json_string_value(json_object_get(node, "name"));

	return name && !strncmp(name, prefix, strlen(prefix));
}

static bool is_of(json_t *node, const char *type)
{
	const char *t = json_string_value(json_object_get(node, "type"));

	return t && !strcmp(t, type);
}

/* Is a device, an export or another node above it? */
static bool is_used(json_t *nodes, json_t *edges, json_int_t id)
{
	json_t *edge;
	size_t i;

	json_array_foreach(edges, i, edge)
		if (id_at(edge, "child") == id &&
		    !is_of(node_of(nodes, id_at(edge, "parent")), "block-job"))
			return true;
	return false;
}

static bool has(json_t *list, json_t *name)
{
	json_t *n;
	size_t i;

	json_array_foreach(list, i, n)
		if (json_equal(n, name))
			return true;
	return false;
}

/* Adds libvirt's nodes below that one; queue: ids whose nodes below are still to be looked at. */
static void add_below(json_t *nodes, json_t *edges, json_int_t id, json_t *out, json_t *queue)
{
	json_t *edge, *child, *name;
	size_t i;

	json_array_foreach(edges, i, edge) {
		if (id_at(edge, "parent") != id)
			continue;
		child = node_of(nodes, id_at(edge, "child"));
		name = json_object_get(child, "name");
		if (!is_named(child, THEIRS) || !is_of(child, "block-driver") || has(out, name))
			continue;
		json_array_append(out, name);
		json_array_append(queue, json_object_get(child, "id"));
	}
}

json_t *hv_detached_nodes(json_t *graph)
{
	json_t *nodes = json_object_get(graph, "nodes"), *edges = json_object_get(graph, "edges");
	json_t *out = json_array(), *queue = json_array(), *node;
	size_t i;

	json_array_foreach(nodes, i, node)
		if (is_of(node, "block-driver") && is_named(node, HV_PREFIX "-top") &&
		    !is_used(nodes, edges, id_at(node, "id")))
			add_below(nodes, edges, id_at(node, "id"), out, queue);
	for (i = 0; i < json_array_size(queue); i++)
		add_below(nodes, edges, json_integer_value(json_array_get(queue, i)), out, queue);
	json_decref(queue);
	if (json_array_size(out))
		return out;
	json_decref(out);
	return NULL;
}
