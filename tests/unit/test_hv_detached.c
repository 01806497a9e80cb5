/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which nodes of a detached disk are libvirt's to delete: never one that has a device, that something
 * else is on, or that is another program's. */
#include "hv/attach/detached.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* As QEMU 7.2 answers for a qcow2 disk with a backing file that is mirrored. */
#define NODES                                                        \
	"{'id':1,'name':'%s','type':'block-backend'},"               \
	"{'id':2,'name':'twinvm-mirror1','type':'block-job'},"       \
	"{'id':3,'name':'twinvm-top1','type':'block-driver'},"       \
	"{'id':4,'name':'%s','type':'block-driver'},"                \
	"{'id':5,'name':'libvirt-2-storage','type':'block-driver'}," \
	"{'id':6,'name':'libvirt-3-format','type':'block-driver'},"  \
	"{'id':7,'name':'libvirt-3-storage','type':'block-driver'}," \
	"{'id':8,'name':'twinvm-disk1','type':'block-driver'},"      \
	"{'id':9,'name':'','type':'block-backend'},"                 \
	"{'id':10,'name':'libvirt-1-format','type':'block-driver'}"
#define EDGES                                        \
	"{'parent':2,'child':3,'name':'main node'}," \
	"{'parent':2,'child':4,'name':'source'},"    \
	"{'parent':2,'child':8,'name':'target'},"    \
	"{'parent':9,'child':8,'name':'root'},"      \
	"{'parent':3,'child':4,'name':'backing'},"   \
	"{'parent':4,'child':5,'name':'file'},"      \
	"{'parent':4,'child':6,'name':'backing'},"   \
	"{'parent':6,'child':7,'name':'file'}"

/* The names, with a blank between; top: the disk's node; more: further edges. */
static const char *found(const char *top, const char *more)
{
	static char out[200];
	char text[4000], *p;
	json_t *graph, *names, *n;
	size_t i;

	snprintf(text, sizeof(text), "{'nodes':[" NODES "],'edges':[" EDGES "%s]}", "/machine/vdb",
		 top, more);
	for (p = text; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	graph = json_loads(text, 0, NULL);
	assert_non_null(graph);
	names = hv_detached_nodes(graph);
	*out = 0;
	json_array_foreach(names, i, n) {
		strcat(out, i ? " " : "");
		strcat(out, json_string_value(n));
	}
	assert_true(!names || *out);
	json_decref(names);
	json_decref(graph);
	return out;
}

static void all_of_its_chain_from_the_top(void **state)
{
	(void)state;
	assert_string_equal(found("libvirt-2-format", ""),
			    "libvirt-2-format libvirt-2-storage libvirt-3-format "
			    "libvirt-3-storage");
}

static void none_that_is_used(void **state)
{
	(void)state;
	/* its device; an export or a snapshot on the filter; a job of another one is no use */
	assert_string_equal(found("libvirt-2-format", ",{'parent':1,'child':3,'name':'root'}"), "");
	assert_string_equal(found("libvirt-2-format", ",{'parent':10,'child':3,'name':'file'}"),
			    "");
	/* A parent that is not listed. */
	assert_string_equal(found("libvirt-2-format", ",{'parent':77,'child':3,'name':'root'}"),
			    "");
}

static void none_of_another_program(void **state)
{
	(void)state;
	assert_string_equal(found("data", ""), "");
	assert_string_equal(found("#block123", ""), "");
	assert_string_equal(found("", ""), "");
}

static void an_odd_answer_gives_none(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"nodes\":{},\"edges\":1}",
		"{\"nodes\":[1,{\"id\":\"x\"},{\"name\":\"twinvm-top0\"}],\"edges\":[2,{}]}",
		/* a ring */
		"{\"nodes\":[{\"id\":1,\"name\":\"twinvm-top0\",\"type\":\"block-driver\"}],"
		"\"edges\":[{\"parent\":1,\"child\":1}]}",
	};

	(void)state;
	assert_null(hv_detached_nodes(NULL));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		json_t *graph = json_loads(texts[i], 0, NULL);

		assert_non_null(graph);
		assert_null(hv_detached_nodes(graph));
		json_decref(graph);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_its_chain_from_the_top),
		cmocka_unit_test(none_that_is_used),
		cmocka_unit_test(none_of_another_program),
		cmocka_unit_test(an_odd_answer_gives_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
