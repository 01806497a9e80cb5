build-asan/obj/gen/replicator/control.pb-c.o: \
 build-asan/gen/replicator/control.pb-c.c \
 build-asan/gen/replicator/control.pb-c.h
build-asan/gen/replicator/control.pb-c.h:
