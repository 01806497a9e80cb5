/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page and the promotion note: see page.h. */
#include "replicator/session/page.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int cap_page_map(const char *path, bool create, struct cap_page **out)
{
	TV_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
	struct cap_page *p;

	if (fd < 0)
		return -errno;
	if (create && ftruncate(fd, TV_PAGE_BYTES))
		return -errno;
	if (!create && lseek(fd, 0, SEEK_END) < (off_t)sizeof(*p))
		return -EBADMSG;
	p = mmap(NULL, TV_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (create)
		*p = (struct cap_page){.magic = CAP_PAGE_MAGIC};
	*out = p;
	return 0;
}

void cap_page_unmap(struct cap_page *page)
{
	if (page)
		munmap(page, TV_PAGE_BYTES);
}

/* One short write, not synced: the VM waits for it. */
void promotion_note(const char *dir, uint64_t generation)
{
	TV_CLOSE int fd = -1;
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || dprintf(fd, "%" PRIu64 "\n", generation) < 0)
		tv_log(TV_WARN,
		       "%s cannot be written: if twinvmd dies now, the next one ends the promoted VM",
		       path);
}

uint64_t promotion_noted(const char *dir)
{
	TV_FREE char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	return tv_read_file(path, 64, &text, NULL) ? 0 : strtoull(text, NULL, 10);
}

void promotion_forget(const char *dir)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/promoted", dir);
	unlink(path);
}
