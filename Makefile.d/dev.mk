# SPDX-License-Identifier: GPL-2.0-or-later
# For those who work on the code; none of it is part of make test.
COVERAGE_B := build-coverage
COVERAGE_HISTORIES ?= 200

.PHONY: check-static check-san coverage tags compile_commands.json print-cppflags
check-static: $(GEN_C) ## clang-tidy, cppcheck, gcc -fanalyzer; tests/deps.sh --static installs them
	+@B=$(B) tests/lint/static.sh
print-cppflags:
	@echo $(filter -std=% -D% -I%,$(CFLAGS_ALL))
check-san: ## the unit tests with AddressSanitizer and UndefinedBehaviorSanitizer: build-asan/
	@B=build-asan SAN=address,undefined tests/run.sh test_
coverage: ## which lines of each room the unit tests and some histories run: build-coverage/
	$(MAKE) --no-print-directory -s B=$(COVERAGE_B) CC="gcc --coverage" CFLAGS="-O0 -g" all unit sim-build
	@tests/coverage.py $(COVERAGE_B) $(COVERAGE_HISTORIES)
compile_commands.json: ## for clangd and other tools that want to know how a file is compiled
	@$(MAKE) --no-print-directory -Bn all unit tools sim-build $(BENCH_BIN) | awk -v dir="$(CURDIR)" \
		'/ -c -o / { gsub(/"/, "\\\""); print n++ ? "," : "["; \
			printf "{\"directory\": \"%s\", \"file\": \"%s\", \"command\": \"%s\"}", dir, $$NF, $$0 } \
		END { print "\n]" }' >$@
tags: ## for editors; needs universal-ctags
	@ctags --version 2>/dev/null | grep -q Universal || \
		{ echo "make tags needs universal-ctags (Debian: apt install universal-ctags)"; exit 1; }
	ctags -f $@ --languages=C -R --exclude='build*' .
