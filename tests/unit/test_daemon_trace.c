/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A trace's memory: from a replicator to twinvmd, and on to twinvm; and what is none. */
#include "daemon_session_kit.h"
#include "trace/trace.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

static struct trace *ring(uint64_t epoch)
{
	struct trace_names names = {TRACE_P, "vm1", "hostB", "hostA", 1};
	struct trace *t;

	assert_int_equal(trace_new(&names, &t), 0);
	trace_add(t, TRACE_SEND, epoch, 10, 20, 0);
	return t;
}

static void hand_over(struct end *rep, const int *fds, unsigned n)
{
	ctl_send_fds(rep->there, session_message(SESSION_OP_TRACE, NULL), fds, n);
	kit_settle();
}

/* twinvm trace: the epoch in what was handed over; 0: none was, and why is in *error. */
static uint64_t ask_for(const char *vm, bool previous, json_int_t *rc)
{
	struct trace_set s = {0};
	struct tv_err e = {0};
	uint64_t epoch = 0;
	struct end c;

	kit_connect(&c);
	ctl_send(c.there, json_pack("{ss ss sb}", "op", "trace", "vm", vm, "previous", previous));
	kit_settle();
	assert_true(json_is_true(json_object_get(kit_last(&c), "done")));
	*rc = json_integer_value(json_object_get(kit_last(&c), "rc"));
	assert_true(!*rc == (c.fd >= 0));
	if (c.fd >= 0) {
		assert_int_equal(fcntl(c.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		assert_int_equal(trace_read(c.fd, &s, &e), 0);
		epoch = s.events[0].epoch;
	}
	trace_set_free(&s);
	tv_close_fd(&c.fd);
	kit_hang_up(&c);
	return epoch;
}

static uint64_t ask(const char *vm, json_int_t *rc)
{
	return ask_for(vm, false, rc);
}

static void the_newest_is_handed_on(void **state)
{
	struct trace *one = ring(1), *two = ring(2);
	int fd = trace_fd(one);
	json_int_t rc;
	struct end rep;
	struct vm *vm;

	(void)state;
	assert_int_equal(ask("vm1", &rc), 0);
	assert_int_equal(rc, -ENOENT);
	vm = protected_vm(&rep);
	assert_int_equal(ask("vm1", &rc), 0);
	assert_int_equal(rc, -ENODATA);
	hand_over(&rep, &fd, 1);
	trace_free(one); /* its replicator has ended: the memory stays */
	assert_int_equal(ask("vm1", &rc), 1);
	assert_int_equal(ask_for("vm1", true, &rc), 0);
	assert_int_equal(rc, -ENODATA);
	fd = trace_fd(two);
	hand_over(&rep, &fd, 1);
	assert_int_equal(ask(ID, &rc), 2);
	hand_over(&rep, &fd, 1); /* it has lost its connection meanwhile */
	assert_int_equal(ask(ID, &rc), 2);
	assert_int_equal(ask_for(ID, true, &rc), 1);
	trace_free(two);
	send_end(&rep, SESSION_ALONE, 0, "");
	assert_int_equal(ask("vm1", &rc), 2); /* until the next session has one */
	vm_drop(vm);
	assert_int_equal(ask("vm1", &rc), 0);
}

/* twinvmd never opens, and never waits for, what a sink without rights passed. */
static void what_is_no_trace(void **state)
{
	struct trace *good = ring(3);
	int fds[2], two[2] = {trace_fd(good), trace_fd(good)}, fd;
	json_int_t rc;
	struct end rep;
	struct vm *vm;

	(void)state;
	vm = protected_vm(&rep);
	assert_int_equal(pipe(fds), 0);
	hand_over(&rep, &fds[0], 1);
	close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1); /* it was closed */
	close(fds[1]);
	fd = memfd_create("unsealed", MFD_CLOEXEC);
	hand_over(&rep, &fd, 1);
	close(fd);
	hand_over(&rep, two, 2);
	hand_over(&rep, NULL, 0);
	assert_int_equal(vm->trace_fd, -1);
	assert_int_equal(ask("vm1", &rc), 0);
	assert_int_equal(rc, -ENODATA);
	fd = trace_fd(good);
	hand_over(&rep, &fd, 1);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	hand_over(&rep, &fd, 1);
	close(fd);
	assert_int_equal(ask("vm1", &rc), 3); /* what was good stays */
	trace_free(good);
	send_end(&rep, SESSION_ALONE, 0, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, kit_set_up, kit_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_newest_is_handed_on),
		T(what_is_no_trace),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("daemon_trace", tests, NULL, NULL);
}
