/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forwards each call to the way that was chosen when the netbuffer was made. */
#include "netbuffer/way.h"

const char *nb_way(const struct nb *nb)
{
	return nb->ops->name;
}

unsigned nb_max_in_flight(const struct nb *nb)
{
	return nb->ops->max_in_flight;
}

void nb_hold(struct nb *nb)
{
	nb->ops->hold(nb);
}

int nb_barrier(struct nb *nb, uint64_t epoch)
{
	return nb->ops->barrier(nb, epoch);
}

void nb_release(struct nb *nb, uint64_t generation, uint64_t epoch)
{
	nb->ops->release(nb, generation, epoch);
}

void nb_pass(struct nb *nb)
{
	nb->ops->pass(nb);
}

void nb_drop(struct nb *nb)
{
	nb->ops->drop(nb);
}

enum nb_mode nb_mode(const struct nb *nb)
{
	return nb->ops->mode((struct nb *)nb); /* takes the lock, changes nothing else */
}

void nb_stats(struct nb *nb, struct nb_stats *out)
{
	nb->ops->stats(nb, out);
}

bool nb_idle(struct nb *nb)
{
	return nb->ops->idle(nb);
}

void nb_each_held(struct nb *nb, uint64_t epoch, size_t limit_bytes, nb_frame_cb cb, void *arg)
{
	if (nb->ops->each_held)
		nb->ops->each_held(nb, epoch, limit_bytes, cb, arg);
}

void nb_free(struct nb *nb)
{
	if (nb)
		nb->ops->free(nb);
}
