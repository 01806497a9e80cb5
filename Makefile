# SPDX-License-Identifier: GPL-2.0-or-later
# twinvm: `make` builds into build/, `make help` lists the targets. Other builds beside it:
#   make B=build-tsan SAN=thread all unit      SAN=address,undefined likewise
#   make B=build-debug CFLAGS="-O0 -g3" all
SHELL := /bin/bash
B ?= build
# A room is a folder with a .may_include (who includes whom: tests/lint/includes.py).
ROOMS := $(patsubst ./%/.may_include,%,$(shell find . -name 'build*' -prune -o -name .may_include -print | sort))
ifeq ($(origin CC),default)
CC := gcc
endif
PKGS := libevent libevent_openssl libevent_pthreads openssl libprotobuf-c liblz4 libxxhash jansson libcurl libnl-3.0 libnl-route-3.0 libseccomp libtracefs
# Of twinvm alone.
CLI_PKGS := ncursesw
# Of twinvm-libvirt alone: no other program may need them on a host.
LV_PKGS := libvirt libvirt-qemu libxml-2.0

# A missing library is a hard, clear error, never a silent loss of a feature.
NOBUILD := help deps clean demo test test-lab tags
BUILDS := $(filter-out $(NOBUILD),$(or $(MAKECMDGOALS),all))
ifneq ($(BUILDS),)
MISSING := $(strip $(foreach p,$(PKGS) $(CLI_PKGS) $(LV_PKGS),$(shell pkg-config --exists $(p) || echo $(p))))
ifneq ($(MISSING),)
$(error missing libraries: $(MISSING); run 'make deps' (as root on Debian) to install them)
endif
endif

WERROR ?= -Werror
WARN := -Wall -Wextra -Wshadow -Wvla -Wimplicit-fallthrough -Wmissing-prototypes -Wstrict-prototypes \
	-Wwrite-strings -Wundef -Wno-format-truncation $(WERROR)
CFLAGS ?= -O2 -g
CFLAGS_ALL := -std=gnu11 $(WARN) -D_GNU_SOURCE -I. -I$(B)/gen $(CFLAGS) $(shell pkg-config --cflags $(PKGS) $(LV_PKGS) 2>/dev/null) -pthread
# LDFLAGS, too, is for whoever builds: a distribution's hardening.
LDLIBS := $(LDFLAGS) $(shell pkg-config --libs $(PKGS) 2>/dev/null) -pthread
CLI_LDLIBS := $(shell pkg-config --libs $(CLI_PKGS) 2>/dev/null)
LV_LDLIBS := $(LDFLAGS) $(shell pkg-config --libs $(LV_PKGS) jansson 2>/dev/null) -pthread
ifdef SAN
CFLAGS_ALL += -fsanitize=$(SAN) -fno-omit-frame-pointer
LDLIBS += -fsanitize=$(SAN)
LV_LDLIBS += -fsanitize=$(SAN)
endif
# Tests put string literals into argument vectors as they come.
CFLAGS_TESTS := -Wno-write-strings

PROTO := $(foreach r,$(ROOMS),$(wildcard $(r)/*.proto))
GEN_C := $(PROTO:%.proto=$(B)/gen/%.pb-c.c)
LIB_SRC := $(filter-out daemon/main.c lv/main.c,$(foreach r,$(filter-out cli,$(ROOMS)),$(wildcard $(r)/*.c)))
LIB_OBJ := $(LIB_SRC:%.c=$(B)/obj/%.o) $(GEN_C:$(B)/gen/%.c=$(B)/obj/gen/%.o)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/%)
# tests/tools/lib_*.c are parts of tools, every other file a program.
TOOL_LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/tools/lib_*.c))
TOOL_SRC := $(filter-out tests/tools/lib_%,$(wildcard tests/tools/*.c))
PRELOAD_SO := $(patsubst tests/preload/%.c,$(B)/tools/%.so,$(wildcard tests/preload/*.c))
TOOL_BIN := $(TOOL_SRC:tests/tools/%.c=$(B)/tools/%) $(PRELOAD_SO)
BENCH_SRC := $(wildcard bench/*.c)
BENCH_BIN := $(BENCH_SRC:bench/%.c=$(B)/bench/%)

# What is not a file, but makes objects or the library old when it changes: the compiler and its flags (ccache
# is none), and which objects there are.
# $(call remember,FILE,TEXT): FILE holds TEXT, and is touched only when that is new
remember = $(if $(subst |$(strip $(2))|,,|$(strip $(file <$(1)))|),$(shell mkdir -p $(B))$(file >$(1),$(strip $(2))))
ifneq ($(BUILDS),)
$(call remember,$(B)/flags,$(filter-out ccache %/ccache,$(CC)) $(CFLAGS_ALL) $(CFLAGS_TESTS) $(LDLIBS) $(LV_LDLIBS))
$(call remember,$(B)/objects,$(LIB_OBJ))
endif

.PHONY: all
all: $(B)/twinvmd $(B)/twinvm $(B)/twinvm-libvirt ## the programs (what make does by itself)

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h &: %.proto
	@mkdir -p $(B)/gen
	protoc-c --c_out=$(B)/gen $<
$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -w -MMD -MP -c -o $@ $<
$(B)/obj/tests/%.o: CFLAGS_HERE := $(CFLAGS_TESTS)
$(B)/obj/%.o: %.c $(B)/flags | $(GEN_C)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(CFLAGS_HERE) -MMD -MP -c -o $@ $<
# The assembler takes the page's files in.
$(B)/obj/web/files.o: $(wildcard web/ui/* web/ui/uplot/*)
$(B)/libtwinvm.a: $(LIB_OBJ) $(B)/objects
	@rm -f $@
	ar rcs $@ $(LIB_OBJ)
$(B)/twinvmd: $(B)/obj/daemon/main.o $(B)/libtwinvm.a
	$(CC) -o $@ $^ $(LDLIBS)
$(B)/twinvm: $(patsubst %.c,$(B)/obj/%.o,$(wildcard cli/*.c)) $(B)/libtwinvm.a
	$(CC) -o $@ $^ $(LDLIBS) $(CLI_LDLIBS)
$(B)/twinvm-libvirt: $(B)/obj/lv/main.o $(B)/libtwinvm.a
	$(CC) -o $@ $^ $(LV_LDLIBS)
# cli/ is no part of the library: what a test of it needs is named here.
TOP_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(filter-out cli/top_poll.c,$(wildcard cli/top_*.c)))
$(B)/tests/test_top $(B)/tests/test_top_text: $(B)/tests/%: $(B)/obj/tests/unit/%.o $(TOP_OBJ) $(B)/libtwinvm.a
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS) -lcmocka
$(B)/tests/test_clones_report: $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/obj/cli/test_report.o $(B)/libtwinvm.a
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS) -lcmocka
$(B)/tests/test_lv_%: LDLIBS += $(LV_LDLIBS)
$(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/libtwinvm.a
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS) -lcmocka
$(B)/libtools.a: $(TOOL_LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(B)/tools/%: $(B)/obj/tests/tools/%.o $(B)/libtools.a $(B)/libtwinvm.a
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS)
$(B)/bench/%: $(B)/obj/bench/%.o $(B)/libtwinvm.a
	@mkdir -p $(@D)
	$(CC) -o $@ $^ $(LDLIBS)

# For programs that are not ours: none of our flags.
$(B)/tools/%.so: tests/preload/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARN) -D_GNU_SOURCE -O2 -g -fPIC -shared -pthread -o $@ $<

# A program is looked for beside the one that starts it (lv/ask.c).
LV_BESIDE := $(foreach d,tests tools bench,$(B)/$(d)/twinvm-libvirt)
$(LV_BESIDE): $(B)/twinvm-libvirt
	@mkdir -p $(@D)
	@ln -sf ../twinvm-libvirt $@

.PHONY: unit tools clean help
unit: $(UNIT_BIN) $(B)/tests/twinvm-libvirt ## the unit tests' programs, build/tests/test_*: each runs by itself
tools: $(TOOL_BIN) $(B)/tools/twinvm-libvirt ## the programs that tests and people use, build/tools/*
clean: ## removes build/ (B=...)
	rm -rf $(B)
help: ## this list
	@awk -F ' ## ' '/^[a-z_.-]+:.* ## / { sub(/:.*/, "", $$1); printf "%-24s %s\n", $$1, $$2 }' Makefile Makefile.d/*.mk
-include $(wildcard Makefile.d/*.mk)
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
