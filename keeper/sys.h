/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the keeper's processes hold open, and its verbs. Private to keeper. */
#ifndef KEEPER_SYS_H
#define KEEPER_SYS_H

#include "keeper/keeper.h"

/*
 * Opened at the start: afterwards no file can be opened for writing. root: "" or where a test has files that
 * stand in for /sys and /proc/kpageflags.
 */
struct kp_sys {
	char root[200];
	bool copy_recovers;
	int soft_fd, hard_fd, flags_fd; /* -1: there is none */
	int online_fd[KP_MAX_CPUS];	/* of each CPU that can be stopped; -1: it cannot */
	int (*put)(
		int fd,
		const char
			*); /* writes to one of these; -errno. A test's stands in for the kernel */
};
/* acts: also what is written to. */
void kp_sys_open(struct kp_sys *s, const char *root, bool acts);
void kp_sys_close(struct kp_sys *s);

/* Fills r but for verb and id. q is a request (kp_is_request). */
void kp_answer(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r);

/* ---- reply.c: r's rc and text ---- */
void kp_fail(struct kp_reply *r, int rc, const char *fmt, ...) TV_PRINTF(3, 4);

/* ---- owner.c ---- */
/* Who has it: fills who, pid and command. Candidates first, then other processes, for others_ms at most. */
void kp_owner(const struct kp_request *q, struct kp_reply *r);
/* Which of the processes that q names has the page; -1: none. */
int kp_has_any(const struct kp_request *q);
/* Does the kernel show numbers of pages to this process? */
bool kp_sees_pages(void);
/* Does an entry of a pagemap (Documentation/admin-guide/mm/pagemap.rst) stand for that page? */
bool kp_entry_is(uint64_t entry, struct ras_pfn page);

/* ---- page.c ---- */
enum kp_page kp_page_of(const struct kp_sys *s, uint64_t page);
void kp_take_page(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r);

/* ---- cpu.c ---- */
/* How many CPUs a list of the kernel ("0-3,8") has, and is this one in it? 0: none, or malformed. */
unsigned kp_cpus_in(const char *list, uint32_t cpu, bool *has);
void kp_cpu(const struct kp_sys *s, const struct kp_request *q, struct kp_reply *r);

#endif
