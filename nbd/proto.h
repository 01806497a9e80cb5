/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD's numbers (github.com/NetworkBlockDevice/nbd, doc/proto.md). Private to nbd/. */
#ifndef NBD_PROTO_H
#define NBD_PROTO_H

#define NBD_MAGIC UINT64_C(0x4e42444d41474943)	    /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC UINT64_C(0x49484156454f5054) /* "IHAVEOPT" */
#define NBD_REP_MAGIC UINT64_C(0x0003e889045565a9)
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_REPLY_MAGIC 0x67446698u

enum { NBD_F_FIXED = 1, NBD_F_NO_ZEROES = 2 };
enum { NBD_OPT_EXPORT_NAME = 1, NBD_OPT_ABORT = 2, NBD_OPT_INFO = 6, NBD_OPT_GO = 7 };
#define NBD_REP_ACK 1u
#define NBD_REP_INFO 3u
#define NBD_REP_ERR_UNSUP 0x80000001u
#define NBD_REP_ERR_INVALID 0x80000003u
enum { NBD_INFO_EXPORT = 0, NBD_INFO_BLOCK_SIZE = 3 };
enum {
	NBD_T_HAS_FLAGS = 1,
	NBD_T_READ_ONLY = 1 << 1,
	NBD_T_SEND_TRIM = 1 << 5,
	NBD_T_SEND_WRITE_ZEROES = 1 << 6,
};
enum {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_WRITE_ZEROES = 6,
};
enum { NBD_EPERM = 1, NBD_EIO = 5, NBD_EINVAL = 22 };

#define NBD_REQUEST_BYTES 28u
/* Largest request: QEMU cuts longer ones by it. */
#define NBD_MAX_REQUEST_BYTES (32u << 20)
#define NBD_MAX_OPTION_BYTES 4096u
#define NBD_MAX_OPTIONS 64u

#endif
