/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page: see page.h. */
#include "replicator/session/page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void cap_page_path(const char *run_dir, const char *vm_id, char out[CAP_PAGE_PATH])
{
	snprintf(out, CAP_PAGE_PATH, "%s/%s.page", run_dir, vm_id);
}

int cap_page_map(const char *path, bool create, struct cap_page **out)
{
	TV_CLOSE int fd =
		open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
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
		*p = (struct cap_page){.magic = CAP_PAGE_MAGIC,
				       .pid = getpid(),
				       .start_ticks = tv_pid_start_ticks(getpid())};
	*out = p;
	return 0;
}

void cap_page_unmap(struct cap_page *page)
{
	if (page)
		munmap(page, TV_PAGE_BYTES);
}
