build-asan/obj/checkpoint/spool.o: checkpoint/spool.c checkpoint/record.h \
 checkpoint/checkpoint.h common/common.h
checkpoint/record.h:
checkpoint/checkpoint.h:
common/common.h:
