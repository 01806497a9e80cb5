build-asan/obj/checkpoint/record.o: checkpoint/record.c \
 checkpoint/record.h checkpoint/checkpoint.h common/common.h
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
