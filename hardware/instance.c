/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffer is small: a record that waits is read within milliseconds, and what is lost in a storm
 * is counted. buffer_percent 0, as poll() sleeps until half a buffer is full otherwise: a single error
 * would not be seen for days. The clock is the monotonic one, by which the times of epochs can be
 * compared with it.
 */
#include "hardware/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tracefs.h>
#include <unistd.h>

#define BUFFER_KIB "64" /* for each CPU */

static const char *const events[] = {
#define EVENT(name, event, what) event,
	RAS_SOURCES(EVENT)
#undef EVENT
};
/* memory_failure_event was moved to a system of its own, and back. */
static const char *const systems[] = {"ras", "mce", "memory_failure"};

static bool set(struct tracefs_instance *i, const char *file, const char *to)
{
	return tracefs_instance_file_write(i, file, to) >= 0;
}

/* Left by a process that was killed; one that is read by another process stays. */
static bool remove_old(void)
{
	struct tracefs_instance *old;
	bool gone;

	if (!tracefs_instance_exists(HW_INSTANCE))
		return true;
	old = tracefs_instance_create(HW_INSTANCE); /* of one that exists: a handle */
	gone = old && !tracefs_instance_destroy(old);
	if (old)
		tracefs_instance_free(old);
	return gone;
}

static struct tracefs_instance *make(struct hw_instance *x)
{
	struct tracefs_instance *i;
	const char *dir;

	/* Nothing is mounted by us: what the host has is its administrator's. */
	if (tracefs_tracing_dir_is_mounted(false, &dir) <= 0) {
		tv_copy(x->why, sizeof(x->why), "tracefs is not mounted at /sys/kernel/tracing");
		return NULL;
	}
	if (!remove_old()) {
		tv_copy(x->why, sizeof(x->why),
			"another process reads the trace instance '" HW_INSTANCE "'");
		return NULL;
	}
	i = tracefs_instance_create(HW_INSTANCE);
	if (!i) {
		snprintf(x->why, sizeof(x->why), "a trace instance cannot be made: %s",
			 strerror(errno));
		return NULL;
	}
	set(i, "buffer_size_kb", BUFFER_KIB);
	if (set(i, "trace_clock", "mono") && set(i, "buffer_percent", "0"))
		return i;
	tv_copy(x->why, sizeof(x->why),
		"this kernel's tracing has no monotonic clock or no buffer_percent");
	tracefs_instance_destroy(i);
	tracefs_instance_free(i);
	return NULL;
}

/* One event, in whichever system this kernel has it. */
static void source(struct hw_instance *x, struct tracefs_instance *i, enum ras_source s)
{
	struct hw_source *src = &x->source[s];
	struct tv_err e = {0};

	snprintf(src->why, sizeof(src->why), "this kernel has no event %s", events[s]);
	for (size_t n = 0; n < sizeof(systems) / sizeof(*systems) && !src->there; n++) {
		int bytes = 0;
		TV_FREE char *format =
			tracefs_event_file_read(i, systems[n], events[s], "format", &bytes);

		if (!format || bytes <= 0)
			continue;
		if (ras_reader_format(x->reader, s, format, (size_t)bytes, &e))
			tv_copy(src->why, sizeof(src->why), e.text);
		else if (tracefs_event_enable(i, systems[n], events[s]))
			snprintf(src->why, sizeof(src->why), "%s/%s cannot be enabled: %s",
				 systems[n], events[s], strerror(errno));
		else
			src->there = true;
	}
	if (src->there)
		src->why[0] = '\0';
}

static void page_head(struct hw_instance *x)
{
	char *path = tracefs_get_tracing_file("events/header_page");
	TV_FREE char *text = NULL;
	struct tv_err e = {0};
	size_t bytes;

	if (path && !tv_read_file(path, RAS_FORMAT_MOST_BYTES, &text, &bytes) &&
	    ras_reader_page_head(x->reader, text, bytes, &e))
		tv_log(TV_WARN, "%s; the usual layout is assumed", e.text);
	tracefs_put_tracing_file(path);
}

static int open_of(struct tracefs_instance *i, unsigned cpu, const char *file)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "per_cpu/cpu%u/%s", cpu, file);
	fd = tracefs_instance_file_open(i, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -1 : fd;
}

static void open_cpus(struct hw_instance *x, struct tracefs_instance *i)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	x->cpus = n < 0 ? 0 : n > HW_MAX_CPUS ? HW_MAX_CPUS : (unsigned)n;
	for (unsigned cpu = 0; cpu < x->cpus; cpu++) {
		x->raw[cpu] = open_of(i, cpu, "trace_pipe_raw");
		x->stats[cpu] = open_of(i, cpu, "stats");
	}
}

/* For tests: a folder with format files and a pipe of raw pages, in place of the kernel's. */
static void open_folder(struct hw_instance *x, const char *dir)
{
	char path[512];

	for (int s = 0; s < RAS_SRC_COUNT; s++) {
		struct hw_source *src = &x->source[s];
		struct tv_err e = {0};

		snprintf(src->why, sizeof(src->why), "there is no event %s", events[s]);
		for (size_t n = 0; n < sizeof(systems) / sizeof(*systems) && !src->there; n++) {
			TV_FREE char *text = NULL;
			size_t bytes;

			snprintf(path, sizeof(path), "%s/events/%s/%s/format", dir, systems[n],
				 events[s]);
			src->there = !tv_read_file(path, RAS_FORMAT_MOST_BYTES, &text, &bytes) &&
				     !ras_reader_format(x->reader, s, text, bytes, &e);
		}
		if (src->there)
			src->why[0] = '\0';
	}
	snprintf(path, sizeof(path), "%s/per_cpu/cpu0/trace_pipe_raw", dir);
	x->raw[0] = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC); /* it has no end */
	x->stats[0] = -1;
	x->cpus = 1;
}

void hw_instance_open(struct hw_instance *x)
{
	const char *folder = getenv("TWINVM_TEST_TRACING");
	struct tracefs_instance *i;

	*x = (struct hw_instance){.daemon_active = -1, .reader = ras_reader_new()};
	if (!x->reader)
		return;
	if (folder) {
		open_folder(x, folder);
		return;
	}
	i = make(x);
	for (int s = 0; s < RAS_SRC_COUNT; s++)
		if (i)
			source(x, i, (enum ras_source)s);
		else
			tv_copy(x->source[s].why, sizeof(x->source[s].why), x->why);
	x->daemon_active = open(HW_DEBUG_RAS_DIR "/daemon_active", O_RDONLY | O_CLOEXEC);
	if (x->source[RAS_SRC_EXTLOG].there && x->daemon_active < 0) {
		x->source[RAS_SRC_EXTLOG].there = false;
		snprintf(x->source[RAS_SRC_EXTLOG].why, sizeof(x->source[RAS_SRC_EXTLOG].why),
			 "the kernel traces it only while " HW_DEBUG_RAS_DIR
			 "/daemon_active is open, and that cannot be opened: %s",
			 strerror(errno));
	}
	if (!i)
		return;
	x->instance = i;
	page_head(x);
	open_cpus(x, i);
}

void hw_instance_close(struct hw_instance *x)
{
	for (unsigned cpu = 0; cpu < x->cpus; cpu++) {
		tv_close_fd(&x->raw[cpu]);
		tv_close_fd(&x->stats[cpu]);
	}
	x->cpus = 0;
	tv_close_fd(&x->daemon_active);
	ras_reader_free(x->reader);
	x->reader = NULL;
}

void hw_instance_remove(struct hw_instance *x)
{
	if (!x->instance)
		return;
	if (tracefs_instance_destroy(x->instance))
		tv_log(TV_WARN, "the trace instance '" HW_INSTANCE "' cannot be removed: %s",
		       strerror(errno));
	tracefs_instance_free(x->instance);
	x->instance = NULL;
}
