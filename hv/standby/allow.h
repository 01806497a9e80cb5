/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer's command line may ask for besides its options (rules.c). Pure. Private to
 * hv/standby. */
#ifndef HV_STANDBY_ALLOW_H
#define HV_STANDBY_ALLOW_H

#include <stdbool.h>

enum hv_allow_kind {
	HV_ALLOW_OBJECT,
	HV_ALLOW_NETDEV,
	HV_ALLOW_CHARDEV, /* those that stay; all others become null, a socket or a file */
	HV_ALLOW_BLOCK,
	HV_ALLOW_GLOBAL, /* drivers that -global may name besides those of hv/qemu/drivers.h */
};
struct hv_allow {
	enum hv_allow_kind kind;
	const char *name;
	const char *keys;   /* separated by blanks; NULL: drop it */
	const char *remedy; /* not NULL: refused, with this advice */
};
/* NULL: it is in no list, which is a refusal as well. */
const struct hv_allow *hv_allow(enum hv_allow_kind kind, const char *name);
/* For the test that has a case for each line. */
const struct hv_allow *hv_allow_table(unsigned *n);
/* Is key, up to its first dot, one of the words of list? */
bool hv_allow_word(const char *list, const char *key);
/* Keys of -device and -global that name a file or a socket of the host. */
extern const char hv_device_denied[];

#endif
