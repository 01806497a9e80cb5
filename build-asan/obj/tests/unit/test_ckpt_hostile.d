build-asan/obj/tests/unit/test_ckpt_hostile.o: \
 tests/unit/test_ckpt_hostile.c tests/unit/ckpt_model.h \
 checkpoint/checkpoint.h common/common.h
tests/unit/ckpt_model.h:
checkpoint/checkpoint.h:
common/common.h:
