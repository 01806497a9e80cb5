build-asan/obj/checkpoint/cache.o: checkpoint/cache.c checkpoint/record.h \
 checkpoint/checkpoint.h common/common.h
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
