build-asan/obj/checkpoint/stream.o: checkpoint/stream.c \
 checkpoint/decode.h checkpoint/record.h checkpoint/checkpoint.h \
 common/common.h
checkpoint/decode.h:
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
