/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying ahead takes the copy out of the pause for each page that the guest then leaves alone, and adds
 * a second copy for each that it does not. So it pays for a guest that writes much in an epoch and
 * little in the milliseconds of one copy. Below some 1000 pages the copy hides behind QEMU's save; a
 * guest that writes at full speed writes all of it again. Whether it does shows only in trying, so
 * a try in vain is followed by a rest, twice as long each time up to REST_MOST epochs.
 */
#include "replicator/source/precopy.h"

#include <string.h>

#define PAGES_LEAST 1000
#define REST_LEAST 8
#define REST_MOST 256

/* The pause's pages need room beside those that were copied ahead, so these may fill half a slot: a
 * quarter of the staging buffer. */
bool precopy_wanted(const struct precopy *p, uint64_t slot_pages)
{
	for (unsigned i = 0; i < PRECOPY_EPOCHS; i++)
		if (p->pages[i] < PAGES_LEAST || p->pages[i] > slot_pages / 2)
			return false;
	return !p->rests;
}

void precopy_note(struct precopy *p, uint64_t pages, uint64_t ahead, uint64_t again)
{
	memmove(p->pages + 1, p->pages, (PRECOPY_EPOCHS - 1) * sizeof(p->pages[0]));
	p->pages[0] = pages;
	if (!ahead) {
		p->rests -= p->rests > 0;
		return;
	}
	if (again <= ahead / 2) {
		p->vain = 0;
		return;
	}
	p->rests = REST_LEAST << p->vain;
	if (p->rests < REST_MOST)
		p->vain++;
}
