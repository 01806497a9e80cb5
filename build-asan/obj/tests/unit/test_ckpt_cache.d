build-asan/obj/tests/unit/test_ckpt_cache.o: tests/unit/test_ckpt_cache.c \
 tests/unit/ckpt_model.h checkpoint/checkpoint.h common/common.h \
 checkpoint/record.h
tests/unit/ckpt_model.h:
checkpoint/checkpoint.h:
common/common.h:
checkpoint/record.h:
