/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QEMU option's argument as a list that can be changed: "tap,id=n0,vhost=on", or the same as a
 * JSON object. Pure. Private to hv/: see qemu.h.
 */
#ifndef HV_QEMU_KEYVAL_H
#define HV_QEMU_KEYVAL_H

#include "common/common.h"
#include <jansson.h>

struct hv_pair {
	char *key;
	char *value; /* NULL: a word of its own ("server", "nowait") */
	bool bare;   /* the first part, written without its key: printed so again */
};
struct hv_keyval {
	struct hv_pair *pairs;
	unsigned n;
	json_t *json; /* set when the argument was JSON; then pairs is unused */
};

/* implied is the key of a first part that has none (NULL: there is no such). -EINVAL not JSON. */
int hv_keyval_parse(struct hv_keyval *kv, const char *arg, const char *implied) TV_MUST_CHECK;
void hv_keyval_dispose(struct hv_keyval *kv);
/* The last value of key, as QEMU takes it; "" for a bare word, NULL when it is not there. */
const char *hv_keyval_get(const struct hv_keyval *kv, const char *key);
/* The last value of key as a number, also where JSON has one; none when it is absent or no number. */
unsigned long hv_keyval_number(const struct hv_keyval *kv, const char *key, unsigned long none);
/* Is a switch on: "x=on", "x=yes", "x", JSON true? false when absent, and for "nox". */
bool hv_keyval_is_on(const struct hv_keyval *kv, const char *key);
/* Removes all values of key, and "nokey". */
void hv_keyval_del(struct hv_keyval *kv, const char *key);
/* Replaces all values of key by one. In JSON it is text, also "on" and "off": where QEMU wants a
 * boolean, hv_keyval_switch. */
int hv_keyval_set(struct hv_keyval *kv, const char *key, const char *value) TV_MUST_CHECK;
/* The same for a switch: "on" or "off", in JSON a boolean. */
int hv_keyval_switch(struct hv_keyval *kv, const char *key, bool on) TV_MUST_CHECK;
/* Prints it again; NULL when there is no memory. The caller frees it. */
char *hv_keyval_print(const struct hv_keyval *kv);
/* A value with its commas doubled; NULL when there is no memory. */
char *hv_keyval_escape(const char *value);

#endif
