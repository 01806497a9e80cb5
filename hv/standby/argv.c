/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standby's command line, made from the primary's: each option is rewritten as rules.c says,
 * and what makes a QEMU a standby is appended.
 */
#include "hv/standby/rewrite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void rewrite_option(struct hv_rewrite *rw, const struct hv_rw_rule *rule, const char *arg)
{
	char option[64];

	snprintf(option, sizeof(option), "-%s", rule->name);
	rule->make(rw, option, arg);
}

static void rewrite_all(struct hv_rewrite *rw, char *const *argv, unsigned argc)
{
	const char *base = strrchr(argv[0], '/');

	hv_rw_put(rw, base ? base + 1 : argv[0]);
	for (unsigned i = 1; i < argc && !rw->rc; i++) {
		const struct hv_rw_rule *rule;
		const char *word = argv[i];

		/* A word of its own is the first disk's image. */
		if (*word != '-') {
			hv_rw_medium(rw, "-hda", word);
			continue;
		}
		/* Whether an unknown one takes an argument is not known either. */
		rule = hv_rw_rule(word);
		if (!rule)
			hv_rw_deny(rw, NULL, "%.200s", word);
		else if (rule->arity == FLAG)
			rewrite_option(rw, rule, NULL);
		else if (i + 1 < argc)
			rewrite_option(rw, rule, argv[++i]);
		else
			hv_rw_fail(rw, TV_E_REFUSED, "option %s lacks its argument", word);
	}
}

static void append_ours(struct hv_rewrite *rw)
{
	hv_rw_disks_finish(rw);
	hv_rw_drives_finish(rw);
	hv_rw_ram_finish(rw);
	if (rw->qemu->send_configuration) {
		hv_rw_put(rw, "-global");
		hv_rw_put(rw, "migration.send-configuration=off");
	}
	hv_rw_put(rw, "-display");
	hv_rw_put(rw, "none");
	hv_rw_put(rw, "-monitor");
	hv_rw_put(rw, "none");
	hv_rw_put(rw, "-chardev");
	hv_rw_putf(rw, "socket,id=" HV_QMP_CHARDEV ",fd=%d,server=on,wait=off", HV_HOST_FD_QMP);
	hv_rw_put(rw, "-mon");
	hv_rw_put(rw, "chardev=" HV_QMP_CHARDEV ",mode=control");
	hv_rw_put(rw, "-sandbox");
	hv_rw_put(rw, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	hv_rw_put(rw, "-incoming");
	hv_rw_put(rw, "defer");
}

/* The words of desc["argv"]; they live as long as desc. NULL: there are none. */
static char **words_of(json_t *desc, unsigned *n)
{
	json_t *list = json_object_get(desc, "argv");
	char **words = calloc(json_array_size(list) + 1, sizeof(*words));

	*n = 0;
	for (size_t i = 0; words && i < json_array_size(list); i++) {
		words[i] = (char *)json_string_value(json_array_get(list, i));
		if (!words[i]) {
			*n = 0;
			break;
		}
		++*n;
	}
	if (words && !*n) {
		free(words);
		words = NULL;
	}
	return words;
}

int hv_standby_argv(json_t *desc, const struct hv_standby_conf *conf, const struct hv_qemu *qemu,
		    json_t *files, struct hv_host_start *what, char ***out, struct tv_err *e)
{
	struct hv_rewrite rw = {
		.desc = desc,
		.conf = conf,
		.qemu = qemu,
		.what = what,
		.files = files,
		.e = e,
		.cwd = json_string_value(json_object_get(desc, "cwd")),
	};
	TV_FREE char **words = NULL;
	unsigned n;

	*out = NULL;
	what->n_taps = 0;
	what->tpm = false;
	words = words_of(desc, &n);
	if (!words)
		return tv_fail(e, -EINVAL, "the VM's description has no command line");
	hv_rw_ram_init(&rw, words, n);
	hv_rw_tpm_init(&rw, words, n);
	hv_rw_disks_init(&rw);
	rewrite_all(&rw, words, n);
	append_ours(&rw);
	for (unsigned i = 0; i < rw.n_names; i++)
		free(rw.names[i]);
	hv_keyval_dispose(&rw.machine);
	hv_keyval_dispose(&rw.memory);
	if (rw.rc) {
		hv_argv_free(rw.out);
		return rw.rc;
	}
	*out = rw.out;
	return 0;
}

void hv_argv_free(char **argv)
{
	for (char **p = argv; p && *p; p++)
		free(*p);
	free(argv);
}
