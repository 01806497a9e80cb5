/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host that panics by a machine check is back within minutes, by itself, and as sick as before. Nobody has
 * seen an event; what is left is the firmware's boot error record (BERT), what the kernel wrote as it died
 * (pstore, or where systemd has moved it), and what the next kernel logs of it. Looked at once, before any
 * host can connect: small files of this kernel, of which a few words are searched for.
 *
 * A trace may stay for as long as the host is up, or longer: each counts once, by its key.
 */
#include "daemon/last_boot.h"
#include "daemon/health.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES (256u << 10)
#define FILES_MOST 256	    /* looked at */
#define RECORDS_MOST 100000 /* of the log */
#define RECENT_S (7 * 24 * 3600)
#define KEYS_MOST 64
#define DEATHS_MOST 16

/* ---- traces ---- */
static void add(struct last_boot *out, unsigned *n, const char *key, const char *text)
{
	if (*n == LAST_BOOT_MOST)
		return;
	tv_copy(out[*n].key, sizeof(out->key), key);
	tv_copy(out[(*n)++].text, sizeof(out->text), text);
}

/* ACPI: a Generic Error Status Block: status, offset and length of raw data, length of data, severity. */
static bool bert_is_death(const uint8_t *p, size_t bytes)
{
	return bytes >= 20 && (tv_get_le32(p) & 5) && tv_get_le32(p + 12) > 0 &&
	       tv_get_le32(p + 12) <= bytes - 20 && tv_get_le32(p + 16) <= 1;
}

static bool names_death(const char *text)
{
	static const char *const words[] = {"Fatal machine check", "Fatal local machine check",
					    "Fatal hardware error",
					    "Machine check from unknown source"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

static void look_file(const char *dir, const char *name, struct last_boot *out, unsigned *n)
{
	TV_FREE char *text = NULL;
	char path[512], key[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (stat(path, &st) || !S_ISREG(st.st_mode) || time(NULL) - st.st_mtime > RECENT_S ||
	    (strncmp(name, "dmesg", 5) != 0 && strncmp(name, "mce-", 4) != 0) ||
	    tv_read_file(path, FILE_BYTES, &text, NULL))
		return;
	if (strncmp(name, "mce-", 4) != 0 && !names_death(text))
		return;
	snprintf(key, sizeof(key), "pstore %.100s %lld", name, (long long)st.st_mtime);
	add(out, n, key, "what its kernel wrote as it died (pstore)");
}

static void look_folder(const char *dir, unsigned depth, unsigned *left, struct last_boot *out,
			unsigned *n)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[400];

	while (d && (e = readdir(d)) && *left) {
		if (e->d_name[0] == '.')
			continue;
		(*left)--;
		look_file(dir, e->d_name, out, n);
		if (depth &&
		    snprintf(path, sizeof(path), "%s/%.200s", dir, e->d_name) < (int)sizeof(path))
			look_folder(path, depth - 1, left, out, n);
	}
	if (d)
		closedir(d);
}

/* /dev/kmsg gives a record for each read, and EAGAIN at its end; EPIPE: some were overwritten. */
static bool log_names_death(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool previous = false, death = false;
	char record[8193];
	ssize_t r = 0;

	for (unsigned i = 0; fd >= 0 && i < RECORDS_MOST && !death; i++) {
		r = read(fd, record, sizeof(record) - 1);
		if (r < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (r <= 0)
			break;
		record[r] = '\0';
		previous |= strstr(record, "Error records from previous boot") != NULL;
		death = previous && strstr(record, "event severity: fatal");
	}
	tv_close_fd(&fd);
	return death;
}

unsigned last_boot_look(const struct last_boot_paths *p, struct last_boot out[LAST_BOOT_MOST])
{
	TV_FREE char *boot = NULL, *bert = NULL;
	unsigned n = 0, left = FILES_MOST;
	char key[160];
	size_t bytes;

	if (tv_read_file(p->boot_id, 128, &boot, NULL))
		return 0; /* nothing could be distinguished */
	boot[strcspn(boot, "\n")] = '\0';
	snprintf(key, sizeof(key), "boot %.64s", boot);
	if (!tv_read_file(p->bert, FILE_BYTES, &bert, &bytes) &&
	    bert_is_death((const uint8_t *)bert, bytes))
		add(out, &n, key, "the firmware's boot error record (BERT)");
	else if (log_names_death(p->log))
		add(out, &n, key, "the kernel's log of this boot");
	for (unsigned i = 0; i < 2; i++)
		look_folder(p->pstore[i], 1, &left, out, &n);
	return n;
}

/* ---- what is known of it ---- */
static void path_of(const struct daemon *d, char *out, size_t room)
{
	snprintf(out, room, "%s/last-boot.json", d->conf.state_dir);
}

/* {"seen":[KEY], "deaths":[s since 1970]}; what is damaged is taken for empty: at worst it counts again. */
static json_t *load(const struct daemon *d)
{
	TV_FREE char *text = NULL;
	char path[300];
	json_t *o = NULL;

	path_of(d, path, sizeof(path));
	if (!tv_read_file(path, 1 << 20, &text, NULL))
		o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (o && json_is_array(json_object_get(o, "seen")) &&
	    json_is_array(json_object_get(o, "deaths")))
		return o;
	json_decref(o);
	if (text)
		tv_log(TV_WARN,
		       "%s cannot be read: what this host died of earlier may be reported again",
		       path);
	return json_pack("{s[] s[]}", "seen", "deaths");
}

static bool is_in(const json_t *list, const char *key)
{
	json_t *o;
	size_t i;

	json_array_foreach((json_t *)list, i, o)
		if (json_is_string(o) && !strcmp(json_string_value(o), key))
			return true;
	return false;
}

static void push(json_t *list, json_t *value, size_t most)
{
	json_array_append_new(list, value);
	while (json_array_size(list) > most)
		json_array_remove(list, 0);
}

static unsigned recent(const json_t *deaths, int64_t now_s)
{
	unsigned n = 0;
	json_t *o;
	size_t i;

	json_array_foreach((json_t *)deaths, i, o)
		n += json_is_integer(o) && now_s - json_integer_value(o) < RECENT_S;
	return n;
}

static void died(struct daemon *d, json_t *known, const char *by)
{
	json_t *deaths = json_object_get(known, "deaths");
	TV_FREE char *text = NULL;
	char sentence[300], path[300];

	push(deaths, json_integer((json_int_t)time(NULL)), DEATHS_MOST);
	snprintf(sentence, sizeof(sentence),
		 "this host is back after it died of a hardware fault%s: so says %s",
		 recent(deaths, time(NULL)) > 1 ? ", not for the first time in 7 days" : "", by);
	path_of(d, path, sizeof(path));
	text = json_dumps(known, JSON_INDENT(1));
	if (text)
		durable_write_later(d, path, text);
	health_notice(d, RAS_RULE_HOST_RETURNED, NULL, sentence);
}

void last_boot_start(struct daemon *d, const struct last_boot_paths *p)
{
	static const struct last_boot_paths own = {
		.bert = "/sys/firmware/acpi/tables/data/BERT",
		.pstore = {"/sys/fs/pstore", "/var/lib/systemd/pstore"},
		.log = "/dev/kmsg",
		.boot_id = "/proc/sys/kernel/random/boot_id"};
	struct last_boot found[LAST_BOOT_MOST];
	unsigned n = last_boot_look(p ? p : &own, found);
	const char *by = NULL;
	json_t *known, *seen;

	if (!n)
		return;
	known = load(d);
	seen = json_object_get(known, "seen");
	for (unsigned i = 0; i < n; i++)
		if (!is_in(seen, found[i].key)) {
			push(seen, json_string(found[i].key), KEYS_MOST);
			by = by ? by : found[i].text;
		}
	if (by)
		died(d, known, by);
	json_decref(known);
}
