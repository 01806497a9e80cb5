build-asan/obj/checkpoint/sum.o: checkpoint/sum.c checkpoint/checkpoint.h \
 common/common.h
checkpoint/checkpoint.h:
common/common.h:
