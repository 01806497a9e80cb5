build-asan/obj/tests/unit/test_ckpt_roundtrip.o: \
 tests/unit/test_ckpt_roundtrip.c tests/unit/ckpt_model.h \
 checkpoint/checkpoint.h common/common.h
tests/unit/ckpt_model.h:
checkpoint/checkpoint.h:
common/common.h:
