build-asan/obj/tests/unit/test_ckpt_spool.o: tests/unit/test_ckpt_spool.c \
 tests/unit/ckpt_model.h checkpoint/checkpoint.h common/common.h \
 checkpoint/record.h
tests/unit/ckpt_model.h:
checkpoint/checkpoint.h:
common/common.h:
checkpoint/record.h:
