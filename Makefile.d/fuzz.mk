# SPDX-License-Identifier: GPL-2.0-or-later
# make fuzz: every tests/fuzz/fuzz_*.c runs for FUZZ_SECONDS with clang's libFuzzer and AddressSanitizer.
# New inputs stay in $(B)/fuzz/corpus; committed ones are in tests/fuzz/seeds/NAME. A crash is a failure.
FUZZ_SECONDS ?= 30
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_NAMES := $(FUZZ_SRC:tests/fuzz/%.c=%)
FUZZ_B := $(B)/fuzz
FUZZ_MAKE = $(MAKE) B=$(FUZZ_B) CC=clang SAN=fuzzer-no-link,address,undefined WARN=-w

.PHONY: fuzz fuzz-build
fuzz-build:
	@command -v clang >/dev/null || { echo "make fuzz needs clang"; exit 1; }
	$(FUZZ_MAKE) $(FUZZ_B)/libtwinvm.a $(FUZZ_SRC:%.c=$(FUZZ_B)/obj/%.o)
	@mkdir -p $(FUZZ_B)/bin
	set -e; for n in $(FUZZ_NAMES); do \
		clang -fsanitize=fuzzer,address,undefined -o $(FUZZ_B)/bin/$$n \
			$(FUZZ_B)/obj/tests/fuzz/$$n.o $(FUZZ_B)/libtwinvm.a $(LDLIBS); \
	done
fuzz: fuzz-build ## clang's libFuzzer on all that comes over a wire: FUZZ_SECONDS=30 each
	set -e; for n in $(FUZZ_NAMES); do \
		mkdir -p $(FUZZ_B)/corpus/$$n; \
		seeds=; [ ! -d tests/fuzz/seeds/$$n ] || seeds=tests/fuzz/seeds/$$n; \
		UBSAN_OPTIONS=halt_on_error=1 $(FUZZ_B)/bin/$$n -max_total_time=$(FUZZ_SECONDS) \
			-timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
			-artifact_prefix=$(FUZZ_B)/$$n- $(FUZZ_B)/corpus/$$n $$seeds; \
	done
