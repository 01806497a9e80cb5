/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a way of holding output implements: the calls of netbuffer.h, which nb.c forwards. Private
 * to netbuffer/. A way's own struct begins with struct nb.
 */
#ifndef NETBUFFER_WAY_H
#define NETBUFFER_WAY_H

#include "netbuffer/netbuffer.h"

#define NB_DEFAULT_LIMIT_BYTES (8u << 20)

struct nb_ops {
	const char *name;
	unsigned max_in_flight;
	void (*hold)(struct nb *nb);
	int (*barrier)(struct nb *nb, uint64_t epoch);
	void (*release)(struct nb *nb, uint64_t generation, uint64_t epoch);
	void (*pass)(struct nb *nb);
	void (*drop)(struct nb *nb);
	enum nb_mode (*mode)(struct nb *nb);
	void (*stats)(struct nb *nb, struct nb_stats *out);
	bool (*idle)(struct nb *nb);
	/* May be NULL: the frames are out of reach. */
	void (*each_held)(struct nb *nb, uint64_t epoch, size_t limit_bytes, nb_frame_cb cb,
			  void *arg);
	void (*free)(struct nb *nb);
};

struct nb {
	const struct nb_ops *ops;
};

#endif
