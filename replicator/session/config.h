/* SPDX-License-Identifier: GPL-2.0-or-later */
/* twinvmd's configuration file: `key = value` lines, # comments. Keys: docs/CONFIG.md, keys.h. */
#ifndef REPLICATOR_SESSION_CONFIG_H
#define REPLICATOR_SESSION_CONFIG_H

#include "common/common.h"
#include "failover/arbiter/arbiter.h"
#include "replicator/link/link.h"
#include "replicator/session/schedule.h"

#define CONFIG_MAX_PEERS 64
#define CONFIG_MAX_SCHEDULES 24
#define CONFIG_MAX_MAINTENANCE_S 86400
#define CONFIG_MAX_KEYS 80
#define CONFIG_DEFAULT_PORT 7890
#define CONFIG_MEMBERS "members.conf" /* in the folder of `cluster` */
#define CONFIG_DEFAULT_DASHBOARD "127.0.0.1:7891"
#define CONFIG_DEFAULT_MEDIA                                         \
	"/usr/share:/usr/local/share:/usr/lib:/var/lib/libvirt/boot" \
	":/var/lib/vz/template:/var/lib/twinvm/media"
#define CONFIG_DEFAULT_SHARE_MONITORS "/run/qemu-server" /* Proxmox VE's */
#define CONFIG_DEFAULT_QEMU_PATH "/usr/local/bin:/usr/bin:/usr/libexec"

/* What begins an epoch: a timer, held output, or both (replicator/source/pace.c). */
enum pace_mode { PACE_REMUS, PACE_KEMARI, PACE_ADAPTIVE };
/* -EINVAL: no such mode. */
int pace_mode_parse(const char *text, enum pace_mode *out) TV_MUST_CHECK;
const char *pace_mode_name(enum pace_mode m);

struct config_peer {
	char name[64];
	char host[128];
	uint16_t port; /* 0: no address is configured, host is "" */
};
/* Which VMs leave a host first whose hardware fails (failover/moves.h). */
#define CONFIG_MAX_PRIORITIES 128
struct config_priority {
	char vm[128];
	int priority;
};
/* What `twinvm test-failover --probe named:NAME` runs. */
#define CONFIG_MAX_PROBES 32
struct config_probe {
	char name[32], command[1024];
};
/* [vm NAME]: what a VM has of its own, whenever it is started. */
#define CONFIG_MAX_VMS 64
struct config_vm {
	char name[128];
	unsigned line;	  /* where it begins */
	char mode[16];	  /* "": as all */
	int epoch_ms;	  /* 0: as all */
	int priority;	  /* -1: as all */
	char backup[136]; /* a peer, or HOST:PORT; "": the only peer */
	bool autoprotect; /* protected without being asked, as soon as it runs */
};
struct config {
	char path[256];
	char host[64]; /* this host's name: common name of its certificate */
	char listen_host[64];
	uint16_t listen_port;
	char address
		[160]; /* HOST:PORT where other hosts reach this one; announced at the arbiter */
	char socket[108];
	char state_dir[200];
	char replica_dir[200]; /* where disks' replicas lie; state_dir/disks by default */
	char run_dir[200];
	char cluster
		[200]; /* folder that `twinvm cluster` keeps; "": keys and peers are the operator's */
	char ca[256], cert[256], key[256];
	char crl[256];	     /* "": none */
	char revoked[1024];  /* names of hosts, with blanks or commas between them */
	char bridge[16];     /* "": taps of promoted VMs are left alone */
	char bridges[256];   /* others that a tap may join, by the name that the primary's has */
	char arbiter[256];   /* default for protect; "none" */
	char arbiters[1024]; /* others that a primary may use; blanks between them */
	char arbiter_ca[256], arbiter_cert[256], arbiter_key[256]; /* for etcds:// */
	char arbiter_user[128],
		arbiter_password[256]; /* an account of etcd; the file with its password */
	int heartbeat_ms;
	int maintenance_timeout_s;
	int epoch_ms;	    /* default of protect --epoch */
	int pause_budget;   /* percent of a busy VM's time, in adaptive mode */
	char mode[16];	    /* default of protect --mode */
	char watchdog[256]; /* device that resets this host unless it is written to; "": none */
	char fence_command[256];  /* "": none */
	bool fence_required;	  /* without an arbiter its success promotes */
	bool fence_check;	  /* it knows --check */
	char libvirt[8];	  /* auto or no: may standbys be domains of libvirt */
	char hung_qemu[16];	  /* wait or failover */
	char media[1024];	  /* folders of the files that a standby may read */
	char qemu_path[512];	  /* folders in which its QEMU is looked for */
	char sink_user[32];	  /* whose rights a sink has */
	char standby_user[64];	  /* that standbys run as */
	char share_monitors[512]; /* folders of sockets that a proxy shares */
	char vm_users[256];	  /* whose QEMUs are VMs besides root's and libvirt's */
	bool replica_plaintext;	  /* an encrypted disk's replica may be plain text */
	bool reprotect; /* find a new backup automatically, after a failover or for a lost one */
	uint64_t staging_bytes;
	uint64_t cache_bytes;
	uint64_t files_bytes; /* copies of files that one VM only reads, on the backup */
	uint64_t spool_bytes;
	uint64_t reserve_bytes;
	char dashboard[80];	   /* ADDRESS:PORT of the web server, or no */
	char dashboard_token[256]; /* file with the token; "": nothing can be changed there */
	char dashboard_names[512]; /* other names that browsers may call it; blanks between them */
	char dashboard_cert[256], dashboard_key[256]; /* "": this host's */
	bool dashboard_tls;
	char health_action[8]; /* act or warn */
	struct config_priority priorities[CONFIG_MAX_PRIORITIES];
	unsigned priority_count;
	int rehearsal_reminder_days; /* 0: none */
	bool peer_commands;	     /* rehearsals that an operator orders on a VM's other host */
	struct config_probe probes[CONFIG_MAX_PROBES];
	unsigned probe_count;
	struct schedule schedules[CONFIG_MAX_SCHEDULES];
	unsigned schedule_count;
	struct config_peer peers[CONFIG_MAX_PEERS];
	unsigned peer_count;
	struct config_vm vms[CONFIG_MAX_VMS];
	unsigned vm_count;
	bool own_address, own_replica_dir; /* as the file has them, not derived from others */
};
/* Defaults that depend on other keys. -ENAMETOOLONG. */
int config_derive(struct config *c, struct tv_err *e) TV_MUST_CHECK;
/*
 * Unknown keys and invalid values are mistakes (-EINVAL, -ERANGE), and what cannot be opened or is no
 * secret is (-ENOENT, -EPERM, -errno). cb gets each of them, in the order of the file and then those of
 * the whole; its sentence names file, line and what is wrong. Returns the first one's code, 0: there is
 * none.
 */
typedef void config_mistake_cb(void *arg, int rc, const struct tv_err *e);
int config_read(const char *path, struct config *out, config_mistake_cb *cb,
		void *arg) TV_MUST_CHECK;
/* The same; e (may be NULL) is the first mistake. */
int config_load(const char *path, struct config *out, struct tv_err *e) TV_MUST_CHECK;
/* probe.NAME; NULL: there is none. */
const char *config_probe(const struct config *c, const char *name);
/* May a standby be a domain of this host's libvirt? */
bool config_has_libvirt(const struct config *c);
/* Are VMs moved off this host as its hardware fails? Else it is only reported. */
bool config_health_acts(const struct config *c);
/* What [vm NAME] has; NULL: there is none. */
const struct config_vm *config_vm(const struct config *c, const char *name);
/* Where a VM of that name is protected if nobody says where: by its section, else by the only peer. NULL:
 * that is not known. */
const char *config_vm_backup(const struct config *c, const char *name);
/* Of a VM of that name; FO_PRIORITY_DEFAULT where none is configured. */
int config_priority(const struct config *c, const char *vm);
/* Is a QEMU that hangs to be killed, so that the backup runs its VM? */
bool config_fails_over_hung(const struct config *c);
/* Where the web server listens. */
struct config_dashboard {
	bool on;
	char host[64]; /* a number */
	uint16_t port;
	bool loopback;		/* only this host's processes reach it */
	const char *cert, *key; /* points into the configuration; "": no TLS */
};
/* -EINVAL for what must not be: no address, or one of the network without TLS and a token. */
int config_dashboard(const struct config *c, struct config_dashboard *out,
		     struct tv_err *e) TV_MUST_CHECK;
/* For fo_arbiter_open; points into c and t. */
struct fo_arbiter_conf config_arbiter(const struct config *c, const struct fo_times *t);
/* (config_cluster.c) With a folder of `twinvm cluster`: files, peers and revoked names from there, each by
 * set_peer, where the configuration has none. */
typedef int config_set_peer(struct config *c, const char *name, const char *value,
			    struct tv_err *e);
int config_cluster(struct config *c, config_set_peer *set_peer, struct tv_err *e) TV_MUST_CHECK;
/* (address.c) HOST:PORT, [V6]:PORT, V6 or HOST; without a port CONFIG_DEFAULT_PORT. -EINVAL. */
int config_address(const char *text, char *host, size_t room, uint16_t *port) TV_MUST_CHECK;
/* Is it an address by number, IPv4 or IPv6 (also with a scope)? */
bool config_is_number(const char *host);
/* A configured peer by its name; else name is taken for HOST[:PORT], and out->name is "": any
 * configured peer. -EINVAL. */
int config_peer(const struct config *c, const char *name, struct config_peer *out,
		struct tv_err *e) TV_MUST_CHECK;

/* ---- changes.c: a file that is read again ---- */
enum config_effect {
	CONFIG_AT_ONCE,	     /* in use as soon as the file is read again */
	CONFIG_NEXT_SESSION, /* protections that begin from then on */
	CONFIG_RESTART,	     /* when twinvmd is started the next time */
};
struct config_change {
	char key[192]; /* as in the file: peer.hostB */
	enum config_effect effect;
	char from[96], to[96]; /* cut; "": not set */
};
/* Fills out with the first max of them; returns how many there are. */
unsigned config_changes(const struct config *old, const struct config *fresh,
			struct config_change *out, unsigned max);
/* What needs a restart stays as it is in old; what is derived from it follows. */
void config_keep(const struct config *old, struct config *fresh);

/* ---- access.c: who may connect ---- */
/* repl_tls_conf.admit: 0 for a peer's name, -EKEYREVOKED, -ELOOP this host itself, -EPERM. */
int config_admit(const char *name, const void *config, struct tv_err *why) TV_MUST_CHECK;
/* For repl_tls_new; points into c, which must live as long as the connections. */
struct repl_tls_conf config_tls(const struct config *c);
/* When the first of a file's certificates ends, in s since 1970. -EINVAL: none can be read. */
int config_expiry(const char *path, double *out_s) TV_MUST_CHECK;
/* Whether certificates, key and CRL can be used: what repl_tls_new returns. */
int config_check_tls(const struct config *c, struct tv_err *e) TV_MUST_CHECK;
/* A peer's VM may use this host's arbiter, or one that `arbiters` names: never what the peer chose
 * alone. TV_E_REFUSED. */
int config_check_arbiter(const struct config *c, const char *url, struct tv_err *e) TV_MUST_CHECK;
/* The user that sinks run as. -ENOENT: there is none; -EPERM: it is root; -errno. */
int config_sink_user(const struct config *c, uid_t *uid, gid_t *gid,
		     struct tv_err *e) TV_MUST_CHECK;
/*
 * Makes replica_dir and gives it to sink_user; a folder that is that user's already stays as it is.
 * Needs root. Errors of config_sink_user; -EPERM: it is a third user's; -errno. May block with the
 * file system.
 */
int config_give_replicas(const struct config *c, struct tv_err *e) TV_MUST_CHECK;
/* -EPERM for a private key that other users can read; config_read has asked. key: of the
 * configuration, path: its value. */
int config_check_secret(const char *key, const char *path, struct tv_err *e) TV_MUST_CHECK;

#endif
