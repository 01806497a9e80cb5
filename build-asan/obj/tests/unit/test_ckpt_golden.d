build-asan/obj/tests/unit/test_ckpt_golden.o: \
 tests/unit/test_ckpt_golden.c tests/unit/ckpt_model.h \
 checkpoint/checkpoint.h common/common.h
tests/unit/ckpt_model.h:
checkpoint/checkpoint.h:
common/common.h:
