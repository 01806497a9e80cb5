build-asan/obj/checkpoint/encode.o: checkpoint/encode.c \
 checkpoint/record.h checkpoint/checkpoint.h common/common.h
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
