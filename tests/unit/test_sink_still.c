/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A still from the sink's side to its holder's: what is in it while epochs are applied, and its ends. */
#include "nbd/proto.h"
#include "replicator/sink/still.h"
#include "still/still.h"
#include "tests/unit/replica_kit.h"

#include <endian.h>
#include <poll.h>
#include <sys/mman.h>

#define RAM (8u << 20)
#define VGA (256u << 10)

/* A standby: main RAM in a file, another block that is only read. */
static uint8_t *ram, then[RAM], vga[VGA];
static int ram_fd;
static struct ckpt_rep *rep;
static uint64_t epoch;
static struct sink_still *still;
static int holder;

static uint64_t block_bytes(void *arg, uint32_t block)
{
	(void)arg;
	return block ? RAM : VGA;
}

static uint8_t *map(void *arg, uint32_t block)
{
	(void)arg;
	return block ? ram : NULL;
}

static int read_block(void *arg, uint32_t block, uint64_t offset, void *p, size_t n)
{
	(void)arg;
	memcpy(p, (block ? ram : vga) + offset, n);
	return 0;
}

static const struct ckpt_mem mem = {
	.blocks = 2, .block_bytes = block_bytes, .map = map, .read = read_block};

static void on_disk(void *arg, unsigned disk, uint64_t offset, uint64_t bytes)
{
	(void)arg;
	sink_still_before_disk(still, disk, offset, bytes);
}

/* One epoch: memory and disks. */
static void run_epoch(unsigned pages)
{
	struct tv_err e = {0};

	for (unsigned i = 0; i < pages; i++) {
		uint64_t at = rnd() % (RAM / TV_PAGE_BYTES) * TV_PAGE_BYTES;

		sink_still_before_page(still, 1, at);
		ram[at + rnd() % TV_PAGE_BYTES] ^= 0x55;
	}
	memset(vga, (int)rnd(), VGA);
	some_writes(30);
	feed_epoch(rep, ++epoch);
	assert_int_equal(ckpt_rep_verify(rep, epoch, out.records, sum(), &e), 0);
	assert_int_equal(ckpt_rep_apply(rep, epoch, &e), 0);
}

static int set_up(void **state)
{
	(void)state;
	ram_fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(ram_fd, RAM), 0);
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	for (unsigned i = 0; i < RAM; i += 1000)
		ram[i] = (uint8_t)(rnd() >> 20);
	rep = open_rep(16u << 20, 16u << 20);
	some_writes(30);
	first_copy(rep);
	ckpt_rep_watch(rep, on_disk, NULL);
	still = NULL;
	epoch = 0;
	run_epoch(10);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ckpt_rep_remove(rep);
	ckpt_rep_free(rep);
	munmap(ram, RAM);
	close(ram_fd);
	return 0;
}

static void begin(uint64_t disk_bytes, const uint8_t *device_state)
{
	struct sink_still_conf conf = {.dir = dir, .disk_bytes = disk_bytes};
	struct sink_still_source src = {.mem = &mem,
					.ram_fd = ram_fd,
					.state = device_state,
					.state_bytes = 9,
					.rep = rep,
					.disks = DISKS,
					.epoch = epoch,
					.suspended = true};

	conf.about = json_pack("{ss ss ss si s{s[{ss si sb}{ss si sb}] s[{ss si}{ss si}]}}", "name",
			       "vm", "vm_id", "id", "session", "se", "generation", 4, "description",
			       "blocks", "name", "vga", "bytes", (int)VGA, "main", 0, "name",
			       "pc.ram", "bytes", (int)RAM, "main", 1, "disks", "name", "a",
			       "bytes", (int)BYTES, "name", "b", "bytes", (int)BYTES);
	assert_non_null(conf.about);
	memcpy(then, ram, RAM);
	assert_int_equal(sink_still_new(&conf, &still, &holder), 0);
	sink_still_begin(still, &src);
}

/* The loop ends it, the apply thread leaves it. */
static void end(void)
{
	struct sink_still *s = still;

	sink_still_end(s, "the test is over", true);
	assert_true(sink_still_is_over(s));
	sink_still_leave(&still);
	assert_null(still);
}

static void await_end(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 30000), 1);
}

/* The first piece of a disk, as QEMU would ask for it. */
static void read_disk(int fd, uint8_t *out_bytes, uint32_t n)
{
	uint8_t b[64] = {0};
	uint32_t v;

	assert_int_equal(tv_read_all(fd, b, 18), 0);
	memcpy(b, "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0", 20);
	assert_int_equal(tv_write_all(fd, b, 20), 0);
	assert_int_equal(tv_read_all(fd, b, 10), 0);
	assert_int_equal(b[9] & NBD_T_READ_ONLY, NBD_T_READ_ONLY);
	memset(b, 0, sizeof(b));
	v = htobe32(NBD_REQUEST_MAGIC);
	memcpy(b, &v, 4);
	v = htobe32(n);
	memcpy(b + 24, &v, 4);
	assert_int_equal(tv_write_all(fd, b, NBD_REQUEST_BYTES), 0);
	assert_int_equal(tv_read_all(fd, b, 16), 0);
	assert_memory_equal(b + 4, "\0\0\0\0", 4);
	assert_int_equal(tv_read_all(fd, out_bytes, n), 0);
}

static void test_one_epoch(void **state)
{
	static uint8_t have[RAM], old_vga[VGA], disks[DISKS][BYTES], piece[65536];
	struct still s;
	struct tv_err e = {0};
	uint64_t frozen = epoch;

	(void)state;
	memcpy(disks, model, sizeof(model));
	memcpy(old_vga, vga, VGA);
	begin(8u << 20, (const uint8_t *)"the state");
	do
		run_epoch(40);
	while (sink_still_step(still));
	run_epoch(100);
	assert_int_equal(still_receive(holder, NULL, NULL, &s, &e), 0);
	assert_true(s.epoch == frozen && s.generation == 4 && s.suspended && s.saved_bytes > 0);
	assert_int_equal(pread(s.ram_fd, have, RAM, 0), RAM);
	assert_memory_equal(have, then, RAM);
	assert_int_equal(pread(s.blocks_fd, have, VGA, (off_t)s.blocks[0].offset), VGA);
	assert_memory_equal(have, old_vga, VGA);
	assert_int_equal(pread(s.state_fd, have, 100, 0), 9);
	assert_memory_equal(have, "the state", 9);
	assert_int_equal(s.n_disks, DISKS);
	for (unsigned i = 0; i < DISKS; i++) {
		run_epoch(10);
		read_disk(s.disks[i].fd, piece, sizeof(piece));
		assert_memory_equal(piece, disks[i], sizeof(piece));
	}
	images_are_model(rep); /* and the replica is what it is without one */
	assert_false(still_ended(&s, &e));
	end();
	await_end(s.fd);
	assert_true(still_ended(&s, &e));
	assert_non_null(strstr(e.text, "the test is over"));
	/* Memory is given back though the holder has it still, and the disks are closed. */
	assert_int_equal(read(s.disks[0].fd, piece, 1), 0);
	for (struct stat st = {.st_size = 1}; st.st_size;)
		assert_int_equal(fstat(s.ram_fd, &st), 0);
	still_close(&s);
}

/* The holder's end is all that the loop needs to see. */
static void test_holder_goes(void **state)
{
	(void)state;
	begin(8u << 20, (const uint8_t *)"the state");
	close(holder);
	await_end(sink_still_fd(still));
	run_epoch(100);
	end();
	run_epoch(100);
	images_are_model(rep);
}

static void ends_with(int rc, const char *word)
{
	struct still s;
	struct tv_err e = {0};

	while (sink_still_step(still))
		;
	assert_true(sink_still_is_over(still));
	assert_int_equal(still_receive(holder, NULL, NULL, &s, &e), rc);
	assert_non_null(strstr(e.text, word));
	end();
}

static void test_refusals(void **state)
{
	(void)state;
	begin(8u << 20, NULL);
	ends_with(-ENODATA, "no epoch");
	assert_int_equal(setenv("TWINVM_FAULT", "still_memory", 1), 0);
	begin(8u << 20, (const uint8_t *)"the state");
	unsetenv("TWINVM_FAULT");
	ends_with(-ENOMEM, "MiB of memory are needed");
}

/* The VM overwrites too much: the still ends, the replica continues. */
static void test_disk_limit(void **state)
{
	(void)state;
	begin(CKPT_BLOCK_BYTES, (const uint8_t *)"the state");
	for (unsigned i = 0; i < 3; i++)
		run_epoch(20);
	ends_with(-ENOSPC, "overwritten more of its disks");
	run_epoch(20);
	images_are_model(rep);
}

/* A promotion begins: the apply thread leaves at once, and no disk is readable from then on. */
static void test_promotion_first(void **state)
{
	struct still s;
	struct tv_err e = {0};
	struct sink_still *old;
	uint8_t b[18];

	(void)state;
	begin(8u << 20, (const uint8_t *)"the state");
	while (sink_still_step(still))
		;
	assert_int_equal(still_receive(holder, NULL, NULL, &s, &e), 0);
	old = still;
	sink_still_fail(still, TV_E_GONE, "a failover comes first");
	sink_still_leave(&still);
	assert_int_equal(tv_read_all(s.disks[0].fd, b, 18), 0);
	assert_true(still_ended(&s, &e));
	sink_still_end(old, "too late", true);
	for (ssize_t n = 1; n > 0;)
		n = read(s.disks[0].fd, b, 1);
	still_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_epoch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_holder_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_promotion_first, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
