/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What arbiters keep, as JSON text: one writer and one parser for all of them; private to
 * failover/arbiter. */
#ifndef FAILOVER_ARBITER_RECORD_H
#define FAILOVER_ARBITER_RECORD_H

#include "failover/failover.h"
#include <jansson.h>

#define FO_MAX_TEXT_BYTES 4096 /* a record or a host is far smaller */
#define FO_CLAIM_CHARS 16

/*
 * {"generation":N,"state":"paired"|"alone","primary":"..","backup":"..","session":".."}, and
 * "claim", a random string by which its writer later recognises the record, unless claim is NULL.
 * The version is not in it: it is the arbiter's own counter. The caller frees; NULL: no memory.
 */
char *fo_record_text(const struct fo_record *r, const char *claim);
/* Sets all of *out but its version, and claim ("" when the record has none) unless it is NULL.
 * -EBADMSG, and *out is not to be used. */
int fo_record_parse(const char *text, size_t bytes, struct fo_record *out,
		    char claim[FO_CLAIM_CHARS + 1]) TV_MUST_CHECK;

/*
 * {"name":"..","address":"..","free_mib":N,"cpus":N,"health":"green"|"unknown"|"yellow"|"red","beat":N}; beat
 * is for arbiters that have no leases.
 */
char *fo_host_text(const struct fo_host *h, uint64_t beat);
int fo_host_parse(const char *text, size_t bytes, struct fo_host *out,
		  uint64_t *beat) TV_MUST_CHECK;
/* 32 lower-case hex digits; what may be part of a path or key. */
bool fo_vm_id_ok(const char *vm_id);
bool fo_host_ok(const struct fo_host *h);
/* May be part of a path or key: letters, digits, '.', '_', '-', no '.' first, 1 to 63 of them. */
bool fo_host_name_ok(const char *name);

/* JSON from a stranger: at most max_depth deep, no duplicate keys, nothing behind it but white
 * space. NULL if it is not that; the caller's to json_decref. */
json_t *fo_json_load(const char *text, size_t bytes, unsigned max_depth);

#endif
