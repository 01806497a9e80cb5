build-asan/obj/checkpoint/decode.o: checkpoint/decode.c \
 checkpoint/decode.h checkpoint/record.h checkpoint/checkpoint.h \
 common/common.h
checkpoint/decode.h:
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
