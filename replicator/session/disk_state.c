/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See disk_state.h. */
#include "replicator/session/disk_state.h"
#include "replicator/session/messages.h"

#include <math.h>
#include <string.h>

#define SPARSE(member, field_kind, field_unit, field_meaning)                                   \
	{                                                                                       \
		.name = #member, .kind = FIELD_##field_kind,                                    \
		.offset = offsetof(struct session_disk, member),                                \
		.room_bytes = sizeof(((struct session_disk *)0)->member), .unit = (field_unit), \
		.meaning = (field_meaning), .optional = true, .sparse = true                    \
	}
static const struct field list[] = {
	FIELD(struct session_disk, name, TEXT, "", "as the VM's QEMU calls it"),
	FIELD(struct session_disk, file, TEXT, "",
	      "primary: its image, as QEMU names it; backup: the replica's image"),
	FIELD(struct session_disk, bytes, U64, "bytes", "its size"),
	FIELD(struct session_disk, state, TEXT, "",
	      "copying, until all of it was copied once; then on the primary mirrored, on the "
	      "backup whole"),
	SPARSE(progress, F64, "0 to 1", "primary, while it is copied: how much is done"),
	SPARSE(behind_bytes, U64, "bytes",
	       "primary, mirrored: written by the VM and not committed yet; 0: in sync"),
	SPARSE(image_bytes, U64, "bytes", "backup: what the image takes in its file system"),
};
const struct fields session_disk_fields = FIELDS("disk", list);

static void copy_text(char *to, size_t room, const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	tv_copy(to, room, text ? text : "");
}

unsigned session_disks_described(const json_t *description,
				 struct session_disk out[SESSION_MAX_DISKS])
{
	const json_t *all = json_object_get(description, "disks"), *one;
	json_int_t bytes;
	size_t i;

	json_array_foreach(all, i, one) {
		if (i == SESSION_MAX_DISKS)
			break;
		out[i] = (struct session_disk){
			.progress = NAN, .behind_bytes = UINT64_MAX, .image_bytes = UINT64_MAX};
		copy_text(out[i].name, sizeof(out[i].name), one, "name");
		copy_text(out[i].file, sizeof(out[i].file), one, "file");
		bytes = json_integer_value(json_object_get(one, "bytes"));
		out[i].bytes = bytes > 0 ? (uint64_t)bytes : 0;
	}
	return (unsigned)i;
}

json_t *session_disks_message(const struct session_disk *disks, unsigned n)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++)
		if (json_array_append_new(all, fields_write(&session_disk_fields, &disks[i]))) {
			json_decref(all);
			return NULL;
		}
	return json_pack("{ss so}", "op", session_op_info(SESSION_OP_DISKS)->word, "disks", all);
}

json_t *session_disks_take(const json_t *msg)
{
	const json_t *all = json_object_get(msg, "disks"), *one;
	json_t *out = json_array();
	struct tv_err e;
	size_t i;

	json_array_foreach(all, i, one) {
		struct session_disk d = {
			.progress = NAN, .behind_bytes = UINT64_MAX, .image_bytes = UINT64_MAX};

		if (i == SESSION_MAX_DISKS)
			break;
		if (!fields_read(&session_disk_fields, one, &d, &e))
			(void)!json_array_append_new(out, fields_write(&session_disk_fields, &d));
	}
	return out;
}
