/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A test failover's report (docs/REHEARSAL.md) as text. Pure. Private to cli/. */
#ifndef CLI_TEST_REPORT_H
#define CLI_TEST_REPORT_H

#include <jansson.h>

/* For people, and as JUnit's XML; the caller's to free. NULL: no memory. */
char *test_report_text(const json_t *report);
char *test_report_junit(const json_t *report);

#endif
