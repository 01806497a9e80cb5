/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plug's messages: what is sent, and what is made of answers, hostile ones too. A socket stands
 * in for the kernel here; the queue itself is tested on a real one (tests/tools/nb_plug_*.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "netbuffer/plug_dev.h"
#include "netbuffer/tcmsg.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/gen_stats.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

struct msg {
	uint8_t data[1024] __attribute__((aligned(8)));
	size_t bytes;
};

static struct rtattr *put(struct msg *m, uint16_t type, const void *p, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)(m->data + m->bytes);

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), p, n);
	m->bytes += RTA_ALIGN(a->rta_len);
	return a;
}

/* An answer as the kernel makes it: header, kind, nested counters. */
static void answer(struct msg *m, uint32_t seq, const struct tc_counters *c)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->data;
	struct tcmsg *t = NLMSG_DATA(h);
	struct gnet_stats_basic basic = {.bytes = c->bytes, .packets = c->packets};
	struct gnet_stats_queue queue = {
		.qlen = c->qlen, .backlog = c->backlog_bytes, .drops = c->drops};
	struct rtattr *nest;

	memset(m, 0, sizeof(*m));
	t->tcm_handle = c->handle;
	m->bytes = NLMSG_SPACE(sizeof(*t));
	put(m, TCA_KIND, "plug", 5);
	nest = put(m, TCA_STATS2 | NLA_F_NESTED, NULL, 0);
	put(m, TCA_STATS_BASIC, &basic, 12);
	put(m, TCA_STATS_QUEUE, &queue, sizeof(queue));
	nest->rta_len = (unsigned short)(m->data + m->bytes - (uint8_t *)nest);
	h->nlmsg_type = RTM_NEWQDISC;
	h->nlmsg_seq = seq;
	h->nlmsg_len = (uint32_t)m->bytes;
}

static void refusal(struct msg *m, uint32_t seq, int error)
{
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)m->data;
	struct nlmsgerr *e = NLMSG_DATA(h);

	memset(m, 0, sizeof(*m));
	e->error = error;
	h->nlmsg_type = NLMSG_ERROR;
	h->nlmsg_seq = seq;
	h->nlmsg_len = (uint32_t)(m->bytes = NLMSG_LENGTH(sizeof(*e)));
}

static const struct tc_counters sample = {.bytes = 0x123456789aull,
					  .packets = 77,
					  .backlog_bytes = 4242,
					  .qlen = 3,
					  .drops = 9,
					  .handle = 0x20000};

static void test_requests(void **state)
{
	struct tc_batch b = {0};
	struct nlmsghdr *h = (struct nlmsghdr *)(void *)b.data;
	struct tcmsg *t = NLMSG_DATA(h);
	struct rtattr *a = TCA_RTA(t);
	struct tc_plug_qopt opt;

	(void)state;
	tc_batch_plug(&b, 17, 0x10000, TCQ_PLUG_BUFFER);
	tc_batch_get(&b, 18);
	assert_int_equal(b.n, 2);
	assert_int_equal(h->nlmsg_type, RTM_NEWQDISC);
	/* Neither creates nor replaces: a queue that is gone must be noticed. */
	assert_int_equal(h->nlmsg_flags, NLM_F_REQUEST | NLM_F_ECHO);
	assert_int_equal(t->tcm_ifindex, 17);
	assert_int_equal(t->tcm_handle, 0x10000);
	assert_int_equal(t->tcm_parent, TC_H_ROOT);
	assert_int_equal(a->rta_type, TCA_KIND);
	assert_string_equal(RTA_DATA(a), "plug");
	a = (struct rtattr *)(void *)((uint8_t *)a + RTA_ALIGN(a->rta_len));
	assert_int_equal(a->rta_type, TCA_OPTIONS);
	assert_int_equal(RTA_PAYLOAD(a), sizeof(opt));
	memcpy(&opt, RTA_DATA(a), sizeof(opt));
	assert_int_equal(opt.action, TCQ_PLUG_BUFFER);
	h = (struct nlmsghdr *)(void *)(b.data + NLMSG_ALIGN(h->nlmsg_len));
	t = NLMSG_DATA(h);
	assert_int_equal(h->nlmsg_type, RTM_GETQDISC);
	assert_int_equal(t->tcm_ifindex, 18);
	assert_int_equal((uint8_t *)h + h->nlmsg_len - b.data, b.bytes);
}

static void test_answers(void **state)
{
	struct tc_counters c;
	struct msg m;
	uint32_t seq;
	size_t used;

	(void)state;
	answer(&m, 5, &sample);
	assert_int_equal(tc_parse(m.data, m.bytes, &used, &seq, &c), 0);
	assert_int_equal(used, m.bytes);
	assert_int_equal(seq, 5);
	assert_memory_equal(&c, &sample, sizeof(c));
	refusal(&m, 6, -ENOENT);
	assert_int_equal(tc_parse(m.data, m.bytes, &used, &seq, &c), -ENOENT);
	assert_int_equal(seq, 6);
	refusal(&m, 6, 0); /* an acknowledgement says nothing */
	assert_int_equal(tc_parse(m.data, m.bytes, &used, &seq, &c), -EAGAIN);
	refusal(&m, 6, 3);
	assert_int_equal(tc_parse(m.data, m.bytes, &used, &seq, &c), -EBADMSG);
	assert_int_equal(seq, 0);
}

/* No length inside a message may lead out of it; run with SAN=address too. */
static void test_hostile(void **state)
{
	struct tc_counters c;
	struct msg good, m;
	uint32_t seq;
	size_t used;

	(void)state;
	answer(&good, 5, &sample);
	for (size_t n = 0; n < good.bytes; n++) {
		uint8_t *exact = malloc(n ? n : 1);

		memcpy(exact, good.data, n);
		assert_int_equal(tc_parse(exact, n, &used, &seq, &c), -EBADMSG);
		assert_true(used == n);
		if (n >= sizeof(struct nlmsghdr)) { /* and a header that agrees */
			((struct nlmsghdr *)(void *)exact)->nlmsg_len = (uint32_t)n;
			if (!tc_parse(exact, n, &used, &seq, &c))
				assert_true(n >= NLMSG_SPACE(sizeof(struct tcmsg)));
		}
		free(exact);
	}
	for (size_t at = 0; at < good.bytes; at++)
		for (int v = 0; v < 256; v++) {
			uint8_t *exact = malloc(good.bytes);

			m = good;
			m.data[at] = (uint8_t)v;
			memcpy(exact, m.data, good.bytes);
			if (!tc_parse(exact, good.bytes, &used, &seq, &c))
				assert_true(used > 0 && used <= good.bytes);
			free(exact);
		}
}

struct kernel { /* the other end of the socket */
	int fd;
	int refuse_nth; /* -1: none */
	bool mute;
};

static void *kernel_main(void *arg)
{
	uint8_t buf[8192] __attribute__((aligned(8)));
	struct kernel *k = arg;
	ssize_t r = recv(k->fd, buf, sizeof(buf), 0);
	int n = 0;

	for (size_t at = 0; r > 0 && at < (size_t)r && !k->mute; n++) {
		struct nlmsghdr *h = (struct nlmsghdr *)(void *)(buf + at);
		struct tc_counters c = sample;
		struct msg m;

		/* Another socket's answer, and an old one of this socket, come in between. */
		answer(&m, 4000000, &sample);
		assert_true(send(k->fd, m.data, m.bytes, 0) > 0);
		answer(&m, 1, &sample);
		assert_true(send(k->fd, m.data, m.bytes, 0) > 0);
		c.qlen = (uint32_t)n;
		answer(&m, h->nlmsg_seq, &c);
		if (n == k->refuse_nth)
			refusal(&m, h->nlmsg_seq, -ENODEV);
		assert_true(send(k->fd, m.data, m.bytes, 0) > 0);
		at += NLMSG_ALIGN(h->nlmsg_len);
	}
	return NULL;
}

static int exchange_with(struct kernel *k, struct tc_batch *b, struct tc_counters *c, uint32_t *seq)
{
	struct timeval soon = {0, 200000};
	pthread_t thread;
	int pair[2], rc;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	k->fd = pair[1];
	assert_int_equal(pthread_create(&thread, NULL, kernel_main, k), 0);
	rc = tc_exchange(pair[0], seq, b, c);
	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
	return rc;
}

static void test_exchange(void **state)
{
	struct tc_counters c[3];
	struct kernel k = {.refuse_nth = -1};
	struct tc_batch b = {0};
	uint32_t seq = 100;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		tc_batch_plug(&b, 10 + i, 0x10000, TCQ_PLUG_RELEASE_ONE);
	assert_int_equal(exchange_with(&k, &b, c, &seq), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(c[i].qlen, i);
	assert_true(seq >= 103);
	seq = UINT32_MAX - 1; /* the number begins anew, without a zero */
	assert_int_equal(exchange_with(&k, &b, c, &seq), 0);
	k.refuse_nth = 1; /* the others are carried out, and read */
	c[2].qlen = 99;
	assert_int_equal(exchange_with(&k, &b, c, &seq), -ENODEV);
	assert_int_equal(c[2].qlen, 2);
	k = (struct kernel){.mute = true};
	assert_int_equal(exchange_with(&k, &b, c, &seq), -ETIMEDOUT);
}

static enum plug_news news_of(uint16_t type, int ifindex, uint32_t parent, uint32_t handle,
			      unsigned flags, uint8_t family)
{
	static const struct plug_dev d = {.ifindex = 5, .ifb_ifindex = 9};
	struct {
		struct nlmsghdr h;
		union {
			struct tcmsg t;
			struct ifinfomsg i;
		};
	} m = {.h = {.nlmsg_len = sizeof(m), .nlmsg_type = type}};

	if (type == RTM_DELQDISC || type == RTM_DELTFILTER)
		m.t = (struct tcmsg){
			.tcm_ifindex = ifindex, .tcm_parent = parent, .tcm_handle = handle};
	else
		m.i = (struct ifinfomsg){
			.ifi_index = ifindex, .ifi_flags = flags, .ifi_family = family};
	return plug_news_read(&m, sizeof(m), &d, 0x20000);
}

static void test_news(void **state)
{
	(void)state;
	assert_int_equal(news_of(RTM_DELQDISC, 5, TC_H_INGRESS, 0xffff0000, 0, 0), PLUG_NEWS_LOST);
	assert_int_equal(news_of(RTM_DELQDISC, 5, TC_H_ROOT, 0x80010000, 0, 0), PLUG_NEWS_OTHER);
	assert_int_equal(news_of(RTM_DELQDISC, 9, TC_H_ROOT, 0x20000, 0, 0), PLUG_NEWS_LOST);
	/* The queue before the one that we put in its place. */
	assert_int_equal(news_of(RTM_DELQDISC, 9, TC_H_ROOT, 0x10000, 0, 0), PLUG_NEWS_OTHER);
	assert_int_equal(news_of(RTM_DELTFILTER, 5, 0xffff0000, 0, 0, 0), PLUG_NEWS_LOST);
	assert_int_equal(news_of(RTM_DELTFILTER, 6, 0xffff0000, 0, 0, 0), PLUG_NEWS_OTHER);
	assert_int_equal(news_of(RTM_DELLINK, 5, 0, 0, IFF_UP, 0), PLUG_NEWS_LOST);
	assert_int_equal(news_of(RTM_DELLINK, 9, 0, 0, IFF_UP, 0), PLUG_NEWS_LOST);
	assert_int_equal(news_of(RTM_DELLINK, 5, 0, 0, IFF_UP, AF_BRIDGE), PLUG_NEWS_OTHER);
	assert_int_equal(news_of(RTM_NEWLINK, 9, 0, 0, IFF_UP, 0), PLUG_NEWS_OTHER);
	assert_int_equal(news_of(RTM_NEWLINK, 9, 0, 0, 0, 0), PLUG_NEWS_LOST);
	assert_int_equal(news_of(RTM_NEWLINK, 5, 0, 0, 0, 0), PLUG_NEWS_OTHER);
	assert_int_equal(plug_news_read("abc", 3, &(struct plug_dev){0}, 0), PLUG_NEWS_NONE);
}

static void test_names(void **state)
{
	char name[16];

	(void)state;
	plug_dev_name(name, "0123456789abcdef0123456789abcdef", 31);
	assert_string_equal(name, "tb01234567p31");
	plug_dev_name(name, "ab-c", 0);
	assert_string_equal(name, "tbabcp0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_hostile),	 cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_news),	 cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
