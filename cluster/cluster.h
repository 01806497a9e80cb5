/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cluster: keys, certificates and the list of hosts, as `twinvm cluster` keeps them. The door of this
 * room.
 *
 * Theory of operation
 *
 * One host, the authority, has the CA's key. It writes the roster: who is a member, where, with which
 * certificate, and which certificates do not count any more. The roster is signed with the CA's key and
 * numbered; any host may pass it on, none but the authority can make one, and an older one is never
 * taken. Hosts pass it on with what they know (daemon/roster.c), so that every host has the newest one
 * within seconds, without a connection or a port of its own.
 *
 * A host joins over a port that is open only while an invitation lasts (invite.c, join.c). What a member
 * asks of the authority later, a new certificate or to be removed, it writes down, signed with its key
 * (`ask`); the authority reads that in what the host knows, and answers with a roster.
 *
 * The folder (key `cluster` of the configuration, mode 0700, root's):
 *   ca.crt       the CA's certificate
 *   ca.key       on the authority only, 0600
 *   host.pem     this host's key and certificate, one file, so that they change together; 0600
 *   next.key     the key of a certificate that was asked for and is not here yet; 0600
 *   ask          that question
 *   roster       the signed roster
 *   members.conf, crl.pem   what twinvmd reads: made of the roster
 *   tokens       on the authority: hashes of the tokens of its invitations
 *   lock         held by whoever changes any of this
 *
 * Functions return 0 or a negative code with a sentence. All of them block on the disk; cl_invite and
 * cl_join on the network, too.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "common/common.h"
#include <jansson.h>

#define CL_DEFAULT_DIR "/var/lib/twinvm/cluster"
#define CL_MAX_MEMBERS 32
#define CL_MAX_GONE 64
#define CL_MAX_BYTES (64u << 10) /* of a signed roster */
#define CL_CERT_BYTES 2048	 /* of a certificate or a request, as PEM */
#define CL_NAME_BYTES 64
#define CL_ADDRESS_BYTES 160
#define CL_TOKEN_ROOM 33
#define CL_FINGERPRINT_ROOM TV_SHA256_ROOM
#define CL_DAYS 365	  /* how long a host's certificate is valid */
#define CL_INVITE_S 600	  /* how long an invitation is */
#define CL_MAX_SKEW_S 300 /* between the clocks of two hosts at a join */
#define CL_PORT_OFFSET 2  /* from the port of `listen` to that of an invitation */

struct cl_member {
	char name[CL_NAME_BYTES], address[CL_ADDRESS_BYTES], cert[CL_CERT_BYTES];
	int64_t leaves_s; /* since 1970, when it asked to be removed; 0: it did not */
};
struct cl_gone {
	char name[CL_NAME_BYTES], serial[41], how[16]; /* how: revoked, left */
	int64_t at_s, until_s;			       /* until_s: its certificate's end */
};
struct cl_roster {
	char id[33]; /* of the cluster */
	uint64_t version;
	char authority[CL_NAME_BYTES], arbiter[256];
	int days;
	unsigned members_n, gone_n;
	struct cl_member members[CL_MAX_MEMBERS];
	struct cl_gone gone[CL_MAX_GONE]; /* certificates that do not count any more */
	char crl[16384];		  /* the same, as PEM */
};

/* ---- names.c ---- */
/* 1 to 63 letters, digits, dots, dashes, underscores, the first a letter or digit. */
bool cl_is_name(const char *name);
/* A HOST:PORT of such characters as addresses have. */
bool cl_is_address(const char *address);

/* ---- roster.c ---- */
/* That of a folder, verified; the caller's to free. -ENOENT: there is none. */
int cl_load(const char *dir, struct cl_roster **out, struct tv_err *e) TV_MUST_CHECK;
/* As it travels: text and signature, the caller's to free. */
int cl_load_text(const char *dir, char **out, struct tv_err *e) TV_MUST_CHECK;
/* A signed text that came from anywhere. Nothing of it is looked at before the signature is known to be
 * that of the CA in the folder. -EBADMSG. */
int cl_open(const char *dir, const char *text, size_t n, struct cl_roster **out,
	    struct tv_err *e) TV_MUST_CHECK;
/* Makes it this host's, if it is of the same cluster and newer; *taken. */
int cl_take(const char *dir, const char *text, size_t n, bool *taken,
	    struct tv_err *e) TV_MUST_CHECK;
const struct cl_member *cl_member_of(const struct cl_roster *r, const char *name); /* NULL: none */

/* ---- making one: authority.c ---- */
struct cl_first {
	const char *host, *address, *arbiter;
	int days;
};
/* CA, key and certificate of the first host, roster. -EEXIST: the folder has a cluster. */
int cl_init(const char *dir, const struct cl_first *first, struct tv_err *e) TV_MUST_CHECK;
bool cl_is_authority(const char *dir);
/* What a host sends that joins: nothing of it is trusted. */
struct cl_join {
	char token[CL_TOKEN_ROOM], name[CL_NAME_BYTES], address[CL_ADDRESS_BYTES];
	char fingerprint[CL_FINGERPRINT_ROOM];
	int64_t now_s;
	char csr[CL_CERT_BYTES];
};
/* Checks it, uses the token up, signs, and adds the member. -EACCES: the token is wrong; -EKEYEXPIRED;
 * -EALREADY: it was used; -EEXIST: the name is taken; -EINVAL. */
int cl_admit(const char *dir, const struct cl_join *ask, struct tv_err *e) TV_MUST_CHECK;
/* What a member has asked for (cl_ask), checked by the key that the roster has for it. */
int cl_answer(const char *dir, const char *ask, struct tv_err *e) TV_MUST_CHECK;
/* Its certificates do not count any more. -ENOENT: no member; -EINVAL: the authority itself. */
int cl_revoke(const char *dir, const char *name, struct tv_err *e) TV_MUST_CHECK;
/* Members that left a while ago are removed, which they cannot be at once: they need to learn of it. */
int cl_tidy(const char *dir, struct tv_err *e) TV_MUST_CHECK;

/* ---- member.c ---- */
/* A new key and a request for it; self: a member. *ask: NULL, or the text to send, the caller's. */
int cl_make_request(const char *dir, const char *name, char csr[CL_CERT_BYTES],
		    struct tv_err *e) TV_MUST_CHECK;
/* Asks the authority for a new certificate ("renew") or to be removed ("leave"); the authority itself
 * renews at once. */
int cl_ask(const char *dir, const char *host, const char *what, struct tv_err *e) TV_MUST_CHECK;
/* The question that waits, the caller's; NULL: none does. */
char *cl_asked(const char *dir);
/* A first roster, and the CA that it must be of; the key is that of cl_make_request. */
int cl_settle(const char *dir, const char *host, const char *ca, const char *text,
	      struct tv_err *e) TV_MUST_CHECK;
/* Removes what makes this host a member: keys, roster, lists. */
int cl_forget(const char *dir, struct tv_err *e) TV_MUST_CHECK;

/* ---- keys.c ---- */
/* SHA-256 of the first certificate of a PEM file, lower-case hex. */
int cl_fingerprint_file(const char *path, char out[CL_FINGERPRINT_ROOM],
			struct tv_err *e) TV_MUST_CHECK;
/* The same of a PEM text; from_s and until_s (may be NULL): its validity, in s since 1970. */
int cl_fingerprint(const char *pem, char out[CL_FINGERPRINT_ROOM], int64_t *from_s,
		   int64_t *until_s) TV_MUST_CHECK;
/* Is a certificate with that validity to be renewed by itself? In the last third of its time. */
bool cl_renewal_is_due(int64_t from_s, int64_t until_s, int64_t now_s);

/* ---- token.c ---- */
/* A new one, valid for that long; only its hash is on disk. */
int cl_token_make(const char *dir, int seconds, char out[CL_TOKEN_ROOM],
		  struct tv_err *e) TV_MUST_CHECK;
/* by: NULL, it is only looked at; else it is used up by that host, durably when it returns 0. Errors of
 * cl_admit. */
int cl_token_use(const char *dir, const char *token, const char *by,
		 struct tv_err *e) TV_MUST_CHECK;
/* Nobody may use it any more. */
void cl_token_withdraw(const char *dir, const char *token);

/* ---- invite.c, join.c ---- */
struct cl_invite {
	const char *dir, *host;
	uint16_t port;
	const char *listen; /* an address by number */
	const char *token;
	int seconds;
	void (*ready)(void *arg);		     /* connections are taken from now on */
	void (*refused)(const char *why, void *arg); /* one has failed */
	void *arg;
};
/* Waits for a host to join with that token. 0: joined has its name; -ETIMEDOUT: none came; -EACCES: too
 * many wrong tokens came, and the invitation is withdrawn. */
int cl_invite(const struct cl_invite *invite, char joined[CL_NAME_BYTES],
	      struct tv_err *e) TV_MUST_CHECK;
struct cl_joining {
	const char *dir, *host, *address; /* address: "": that of the connection, with port */
	uint16_t port;
	const char *to_host;
	uint16_t to_port;
	const char *token, *fingerprint;
};
/* The whole of it; *out is the roster, the caller's; address gets what others were given. */
int cl_join(const struct cl_joining *j, struct cl_roster **out, char address[CL_ADDRESS_BYTES],
	    struct tv_err *e) TV_MUST_CHECK;

/* ---- conf.c ---- */
struct cl_conf {
	const char *path, *host, *listen, *address, *dir, *arbiter;
};
/* May a configuration be written, or added to? -EEXIST: it has keys of another making. */
int cl_conf_check(const char *path, const char *dir, struct tv_err *e) TV_MUST_CHECK;
/* A new file, or lines at the end of one that is there; *added: the latter. */
int cl_conf_write(const struct cl_conf *c, bool *added, struct tv_err *e) TV_MUST_CHECK;
/* The lines of a cluster are commented out. */
int cl_conf_leave(const char *path, struct tv_err *e) TV_MUST_CHECK;

#endif
