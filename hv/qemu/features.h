/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU can do that not every QEMU can, found out once. Private to hv/: see qemu.h. */
#ifndef HV_QEMU_FEATURES_H
#define HV_QEMU_FEATURES_H

#include "hv/qemu/qmp.h"

/* Where the addresses of RAM blocks come from (ramblock.c). */
enum hv_ram_way {
	HV_RAM_UNKNOWN, /* not looked for yet */
	HV_RAM_HVA,	/* `info ramblock` prints them: 8.0 and later */
	HV_RAM_LIST,	/* QEMU's exported ram_list */
	HV_RAM_MAPS,	/* gpa2hva and the sizes of mappings */
};

/*
 * Every difference between QEMUs that hv/ depends on; nothing else in hv/ tries its luck. All of it
 * is asked of QEMU itself, by hv_qemu_ask, but for what is marked "by version": that QEMU does not
 * report.
 */
struct hv_qemu {
	unsigned major, minor, micro;
	char package[96];	  /* the distribution's own version, "" when it has none */
	bool save_state;	  /* xen-save-devices-state */
	bool ramblock_hva;	  /* `info ramblock` has a column with host addresses */
	enum hv_ram_way ram_way;  /* of this VM or standby; set by hv_ramblock_find */
	bool actively_synced;	  /* query-block-jobs says whether a mirror lacks a write: 8.2 and
				     later; known from a command of the same age until a mirror's
				     own answer shows it (mirror.c) */
	bool suppress_vmdesc;	  /* -machine suppress-vmdesc=on: else a load ends with a warning */
	bool send_configuration;  /* -global migration.send-configuration=off */
	bool fd_files;		  /* migrate-incoming fd: takes plain files, too: before 11, by
				     version. Promotion gives a socket, which every QEMU takes */
	bool vm_number;		  /* -id N: Proxmox VE's own QEMU, by its package */
	bool mirror_start_misses; /* a mirror that starts with what is allocated can miss a write
				     that comes meanwhile: from 9.2 on, by version (mirror.c) */
	bool mirror_start_serves; /* between a mirror's filter and its job QEMU serves the guest: 8.0
				     to 9.1, by version (mirror.c) */
};

/* Asks a QEMU, of a VM or run for that (hv_qemu_run), all of the above but ram_way. */
int hv_qemu_ask(struct hv_qmp *q, struct hv_qemu *out, struct tv_err *e) TV_MUST_CHECK;
/*
 * Starts a program without a machine, asks it, and ends it. machines: its query-machines, the
 * caller's. host: ours, for sentences. -ENOENT; -ENOTSUP when it does not answer as QEMU does, with
 * what it printed; at most 20 s.
 */
int hv_qemu_run(const char *binary, const char *host, struct hv_qemu *out, json_t **machines,
		struct tv_err *e) TV_MUST_CHECK;

/* "10.0.2 (Debian 1:10.0.2+ds-2)" */
void hv_qemu_version(const struct hv_qemu *m, char *out, size_t room);
/* One line about all of it, for the log. */
void hv_qemu_text(const struct hv_qemu *m, char *out, size_t room);
/* Of two QEMUs of one major.minor the devices' state has one form. "10.0.2" may be NULL: 0. */
unsigned hv_qemu_number(const char *version); /* major * 1000 + minor; 0: none in it */
/* Is there a machine type of that name (or alias) in query-machines? */
bool hv_qemu_has_machine(json_t *machines, const char *name);
/* Has the machine type's name a version in it, which stands for one form of its state? */
bool hv_qemu_is_versioned(const char *machine);

/* ---- the answers one by one; pure ---- */
/* query-version. TV_E_PROTOCOL */
int hv_qemu_take_version(struct hv_qemu *m, json_t *ret, struct tv_err *e) TV_MUST_CHECK;
/* query-commands */
void hv_qemu_take_commands(struct hv_qemu *m, json_t *list);
/* query-commands, qom-list, device-list-properties: is there one of that name? */
bool hv_qemu_has_name(json_t *list, const char *name);
/* Has the text of `info ramblock` a column of host addresses? Its first line shows it. */
bool hv_qemu_prints_hva(const char *ramblock);

#endif
