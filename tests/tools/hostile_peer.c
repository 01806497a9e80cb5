/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host with a certificate and bad intentions: speaks the protocol of docs/WIRE.md to a real
 * daemon, as a primary or as a backup, and sends what its arguments name.
 *
 * usage: hostile_peer CA CERT KEY connect ADDRESS PORT ACTION...   as a primary
 *        hostile_peer CA CERT KEY serve PORT ACTION...             as a backup, for one connection
 *
 * Actions, in order; N is a number, by default 1:
 *   FIELD=VALUE      of the Hello that follows: protocol host vm_id vm_name generation session
 *                    description (a file) heartbeat_ms arbiter listen_port mode epoch_ms
 *   hello            sends it
 *   take-over=EPOCH  bye  sync-end  begin=EPOCH  end=EPOCH  records=BYTES  disk=EPOCH  frame=BYTES
 *   committed=EPOCH  welcome=GENERATION  hashes=N  echo=N  fenced=GENERATION  refuse=CODE
 *   heartbeats=N     that many messages
 *   command=JSON     a Command, instead of a Hello
 *   gen=N            the generation in all messages that follow (default: the peer's, or 1)
 *   ack              from now on answers each EpochEnd with Committed
 *   dump=FILE        the next Hello's description is written to FILE
 *   await=NAME       waits for a message of that name, or `opened`; the end of the connection ends
 *                    the program
 *   hold=FIFO        waits until somebody has opened FIFO for writing and closed it
 * After the last action it waits for the end of the connection. It prints one line for each
 * message (but those that come all the time), and at last "closed: WHY". Exit status 0; 2: a wrong
 * action; 3: nothing happened for 30 s.
 */
#include "replicator/link/conn_int.h"
#include "replicator/link/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_S 30

static struct {
	struct event_base *base;
	struct repl_conn *conn;
	Twinvm__Hello hello;
	uint64_t generation;
	bool closed, opened, ack;
	const char *dump;
	char got[40]; /* name of the newest message */
} peer;

static void die(int status, const char *what, const char *detail)
{
	printf("%s: %s\n", what, detail);
	exit(status);
}

static const char *name_of(const Twinvm__Control *m)
{
	for (unsigned i = 0; i < m->base.descriptor->n_fields; i++)
		if (m->base.descriptor->fields[i].id == (uint32_t)m->msg_case)
			return m->base.descriptor->fields[i].name;
	return "?";
}

static void send_msg(Twinvm__Control__MsgCase what, void *body)
{
	Twinvm__Control msg = TWINVM__CONTROL__INIT;
	int rc = -EAGAIN;

	msg.msg_case = what;
	msg.hello = body; /* a union of pointers */
	/* As it is: repl_send would mend a string that no peer may send. */
	while (!peer.closed && (rc = flow_send_control(peer.conn, &msg, false)) == -ENOBUFS)
		event_base_loop(peer.base, EVLOOP_ONCE);
	if (rc && !peer.closed)
		printf("not sent: %s\n", strerror(-rc));
}

static void send_committed(uint64_t epoch)
{
	Twinvm__Committed m = TWINVM__COMMITTED__INIT;

	m.epoch = epoch;
	m.generation = peer.generation;
	send_msg(TWINVM__CONTROL__MSG_COMMITTED, &m);
}

/* ---- callbacks ---- */

static void on_opened(struct repl_conn *c, const char *name, void *arg)
{
	(void)c, (void)arg;
	peer.opened = true;
	strcpy(peer.got, "opened");
	printf("opened: %s\n", name);
}

static void on_hello(const Twinvm__Hello *h)
{
	FILE *f = peer.dump ? fopen(peer.dump, "w") : NULL;

	peer.generation = h->generation;
	if (f) {
		fputs(h->description, f);
		fclose(f);
	}
	peer.dump = NULL;
}

static void on_control(struct repl_conn *c, const Twinvm__Control *m, int64_t now_ns, void *arg)
{
	const char *name = name_of(m);

	(void)c, (void)now_ns, (void)arg;
	snprintf(peer.got, sizeof(peer.got), "%s", name);
	switch (m->msg_case) {
	case TWINVM__CONTROL__MSG_HELLO:
		on_hello(m->hello);
		break;
	case TWINVM__CONTROL__MSG_REFUSE:
		printf("refuse: %d %s\n", m->refuse->code, m->refuse->text);
		return;
	case TWINVM__CONTROL__MSG_FENCED:
		printf("fenced: %llu\n", (unsigned long long)m->fenced->generation);
		return;
	case TWINVM__CONTROL__MSG_REPLY:
		printf("reply: %.*s\n", (int)m->reply->json.len, (char *)m->reply->json.data);
		return;
	case TWINVM__CONTROL__MSG_EPOCH_END:
		if (peer.ack)
			send_committed(m->epoch_end->epoch);
		return;
	case TWINVM__CONTROL__MSG_HEARTBEAT:
	case TWINVM__CONTROL__MSG_HEARTBEAT_ECHO:
	case TWINVM__CONTROL__MSG_EPOCH_BEGIN:
	case TWINVM__CONTROL__MSG_FRAME:
		return;
	default:
		break;
	}
	printf("%s\n", name);
}

static void on_records(struct repl_conn *c, const uint8_t *p, size_t n, int64_t now_ns, void *arg)
{
	(void)c, (void)p, (void)n, (void)now_ns, (void)arg;
}

static void on_disk(struct repl_conn *c, uint64_t epoch, const uint8_t *p, size_t n, int64_t now_ns,
		    void *arg)
{
	(void)c, (void)epoch, (void)p, (void)n, (void)now_ns, (void)arg;
}

static void on_closed(struct repl_conn *c, int rc, const char *why, void *arg)
{
	(void)c, (void)rc, (void)arg;
	peer.closed = true;
	printf("closed: %s\n", why);
}

static const struct repl_ops ops = {.opened = on_opened,
				    .control = on_control,
				    .records = on_records,
				    .disk = on_disk,
				    .closed = on_closed};

static void impatient(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	die(3, "nothing happened while waiting for", arg);
}

static void await_message(const char *name)
{
	struct timeval tv = {PATIENCE_S, 0};
	struct event *dog = evtimer_new(peer.base, impatient, (void *)name);

	event_add(dog, &tv);
	while (!peer.closed && strcmp(peer.got, name) != 0)
		event_base_loop(peer.base, EVLOOP_ONCE);
	peer.got[0] = 0;
	event_free(dog);
}

/* ---- what a primary sends ---- */

static void send_mark(Twinvm__Control__MsgCase what, uint64_t epoch)
{
	Twinvm__SyncEnd sync = TWINVM__SYNC_END__INIT;
	Twinvm__EpochBegin begin = TWINVM__EPOCH_BEGIN__INIT;
	Twinvm__EpochEnd end = TWINVM__EPOCH_END__INIT;

	sync.generation = begin.generation = end.generation = peer.generation;
	begin.epoch = end.epoch = epoch;
	end.records = UINT64_MAX;
	send_msg(what, what == TWINVM__CONTROL__MSG_SYNC_END	  ? (void *)&sync
		       : what == TWINVM__CONTROL__MSG_EPOCH_BEGIN ? (void *)&begin
								  : (void *)&end);
}

static void send_take_over(uint64_t epoch)
{
	Twinvm__TakeOver m = TWINVM__TAKE_OVER__INIT;

	m.generation = peer.generation;
	m.epoch = epoch;
	m.reason = (char *)"because I say so";
	send_msg(TWINVM__CONTROL__MSG_TAKE_OVER, &m);
}

static void send_bye(void)
{
	Twinvm__Bye m = TWINVM__BYE__INIT;

	m.generation = peer.generation;
	m.reason = (char *)"bye";
	send_msg(TWINVM__CONTROL__MSG_BYE, &m);
}

static void send_heartbeats(uint64_t n)
{
	Twinvm__Heartbeat m = TWINVM__HEARTBEAT__INIT;

	m.generation = peer.generation;
	for (uint64_t i = 1; i <= n && !peer.closed; i++) {
		m.seq = i;
		m.sent_ns = INT64_MAX;
		send_msg(TWINVM__CONTROL__MSG_HEARTBEAT, &m);
	}
}

/* Bytes that are no records, frame or hash: all ones. */
static void send_bulk(uint64_t bytes, uint64_t epoch, bool disk)
{
	static uint8_t ones[1 << 20];
	size_t n = bytes < sizeof(ones) ? bytes : sizeof(ones);
	int rc;

	memset(ones, 0xff, sizeof(ones));
	rc = disk ? repl_send_disk(peer.conn, epoch, ones, n)
		  : repl_send_records(peer.conn, ones, n);
	if (rc)
		printf("not sent: %s\n", strerror(-rc));
}

static void send_frame(uint64_t bytes)
{
	Twinvm__Frame m = TWINVM__FRAME__INIT;

	m.generation = peer.generation;
	m.epoch = UINT64_MAX;
	m.data.len = bytes;
	m.data.data = calloc(1, bytes + 1);
	send_msg(TWINVM__CONTROL__MSG_FRAME, &m);
	free(m.data.data);
}

/* ---- what a backup sends ---- */

static void send_welcome(uint64_t generation)
{
	Twinvm__Welcome m = TWINVM__WELCOME__INIT;

	m.host = (char *)"nobody";
	m.generation = generation ? generation : peer.generation;
	m.hashes = true;
	m.beat_port = UINT32_MAX;
	send_msg(TWINVM__CONTROL__MSG_WELCOME, &m);
}

static void send_hashes(uint64_t n)
{
	static uint8_t hashes[16 * 4096];
	Twinvm__DiskHashes m = TWINVM__DISK_HASHES__INIT;

	m.generation = peer.generation;
	m.hashes.data = hashes;
	m.hashes.len = sizeof(hashes);
	for (uint64_t i = 0; i < n && !peer.closed; i++) {
		m.first_block = i * 4096;
		send_msg(TWINVM__CONTROL__MSG_DISK_HASHES, &m);
	}
}

static void send_echoes(uint64_t n)
{
	Twinvm__HeartbeatEcho m = TWINVM__HEARTBEAT_ECHO__INIT;

	m.generation = peer.generation;
	for (uint64_t i = 0; i < n && !peer.closed; i++) {
		m.seq = UINT64_MAX - n + i;
		m.sent_ns = INT64_MAX - 1;
		send_msg(TWINVM__CONTROL__MSG_HEARTBEAT_ECHO, &m);
	}
}

static void send_fenced(uint64_t generation)
{
	Twinvm__Fenced m = TWINVM__FENCED__INIT;

	m.generation = generation;
	m.host = (char *)"nobody";
	m.running = true;
	send_msg(TWINVM__CONTROL__MSG_FENCED, &m);
}

static void send_command(const char *json)
{
	Twinvm__Command m = TWINVM__COMMAND__INIT;

	m.json.data = (uint8_t *)json;
	m.json.len = strlen(json);
	send_msg(TWINVM__CONTROL__MSG_COMMAND, &m);
}

static void send_refuse(uint64_t code)
{
	Twinvm__Refuse m = TWINVM__REFUSE__INIT;

	m.code = (int32_t)code;
	m.text = (char *)"\xf0\x9f\x92\xa9 \t no reason";
	m.generation = INT64_MAX;
	send_msg(TWINVM__CONTROL__MSG_REFUSE, &m);
}

/* ---- actions ---- */

static char *file_text(const char *path)
{
	char *text = NULL;
	int rc = tv_read_file(path, 1 << 20, &text, NULL);

	if (rc)
		die(2, path, strerror(-rc));
	return text;
}

static bool set_field(const char *name, const char *value)
{
	Twinvm__Hello *h = &peer.hello;
	const struct {
		const char *name;
		char **text;
		uint32_t *number;
	} fields[] = {{"host", &h->host, NULL},
		      {"vm_id", &h->vm_id, NULL},
		      {"vm_name", &h->vm_name, NULL},
		      {"session", &h->session, NULL},
		      {"arbiter", &h->arbiter, NULL},
		      {"mode", &h->mode, NULL},
		      {"protocol", NULL, &h->protocol},
		      {"heartbeat_ms", NULL, &h->heartbeat_ms},
		      {"listen_port", NULL, &h->listen_port},
		      {"epoch_ms", NULL, &h->epoch_ms}};

	if (!strcmp(name, "generation")) {
		h->generation = peer.generation = strtoull(value, NULL, 10);
		return true;
	}
	if (!strcmp(name, "description")) {
		h->description = file_text(value);
		return true;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (fields[i].text)
			*fields[i].text = strdup(value);
		else
			*fields[i].number = (uint32_t)strtoul(value, NULL, 10);
		return true;
	}
	return false;
}

static bool send_by_name(const char *name, uint64_t n)
{
	if (!strcmp(name, "hello"))
		send_msg(TWINVM__CONTROL__MSG_HELLO, &peer.hello);
	else if (!strcmp(name, "take-over"))
		send_take_over(n);
	else if (!strcmp(name, "bye"))
		send_bye();
	else if (!strcmp(name, "sync-end"))
		send_mark(TWINVM__CONTROL__MSG_SYNC_END, 0);
	else if (!strcmp(name, "begin"))
		send_mark(TWINVM__CONTROL__MSG_EPOCH_BEGIN, n);
	else if (!strcmp(name, "end"))
		send_mark(TWINVM__CONTROL__MSG_EPOCH_END, n);
	else if (!strcmp(name, "records"))
		send_bulk(n, 0, false);
	else if (!strcmp(name, "disk"))
		send_bulk(4096, n, true);
	else if (!strcmp(name, "frame"))
		send_frame(n);
	else if (!strcmp(name, "heartbeats"))
		send_heartbeats(n);
	else if (!strcmp(name, "welcome"))
		send_welcome(n);
	else if (!strcmp(name, "committed"))
		send_committed(n);
	else if (!strcmp(name, "hashes"))
		send_hashes(n);
	else if (!strcmp(name, "echo"))
		send_echoes(n);
	else if (!strcmp(name, "fenced"))
		send_fenced(n);
	else if (!strcmp(name, "refuse"))
		send_refuse(n);
	else
		return false;
	return true;
}

static void hold(const char *fifo)
{
	TV_CLOSE int fd = open(fifo, O_RDONLY | O_CLOEXEC);
	char byte;

	if (fd < 0)
		die(2, fifo, strerror(errno));
	while (read(fd, &byte, 1) > 0)
		;
}

static void act(const char *action)
{
	char name[40];
	size_t len = strcspn(action, "=");
	const char *value = action[len] ? action + len + 1 : "1";
	uint64_t n = strtoull(value, NULL, 10);

	snprintf(name, sizeof(name), "%.*s", (int)len, action);
	if (!strcmp(name, "await"))
		await_message(value);
	else if (!strcmp(name, "hold"))
		hold(value);
	else if (!strcmp(name, "ack"))
		peer.ack = true;
	else if (!strcmp(name, "gen"))
		peer.generation = n;
	else if (!strcmp(name, "dump"))
		peer.dump = value;
	else if (!strcmp(name, "command"))
		send_command(value);
	else if (!set_field(name, value) && !send_by_name(name, n))
		die(2, "no such action", action);
}

/* ---- the connection ---- */

static int accept_one(uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_ANY)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, conn;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) || listen(fd, 1))
		die(2, "listen", strerror(errno));
	printf("listening\n");
	conn = accept(fd, NULL, NULL);
	close(fd);
	return conn;
}

int main(int argc, char **argv)
{
	struct repl_tls_conf conf;
	struct repl_tls *tls;
	struct tv_err e = {0};
	bool connects = argc > 6 && !strcmp(argv[4], "connect");
	int at = connects ? 7 : 6, rc;

	if (!connects && (argc < 6 || strcmp(argv[4], "serve") != 0))
		die(2, "usage", "hostile_peer CA CERT KEY connect ADDRESS PORT ACTION...");
	setvbuf(stdout, NULL, _IOLBF, 0);
	conf = (struct repl_tls_conf){.ca = argv[1], .cert = argv[2], .key = argv[3]};
	peer.base = event_base_new();
	peer.generation = 1;
	twinvm__hello__init(&peer.hello);
	rc = repl_tls_new(&conf, &tls, &e);
	if (rc)
		die(2, "TLS", e.text);
	rc = connects ? repl_connect(peer.base, tls, argv[5], (uint16_t)atoi(argv[6]), NULL, &ops,
				     NULL, &peer.conn, &e)
		      : repl_accept(peer.base, tls, accept_one((uint16_t)atoi(argv[5])), NULL, &ops,
				    NULL, &peer.conn, &e);
	if (rc)
		die(2, "connection", e.text);
	await_message("opened");
	for (; at < argc && !peer.closed; at++)
		act(argv[at]);
	await_message("the end");
	return 0;
}
