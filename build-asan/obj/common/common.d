build-asan/obj/common/common.o: common/common.c common/common.h
common/common.h:
