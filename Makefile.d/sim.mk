# SPDX-License-Identifier: GPL-2.0-or-later
# make sim: the failover engines in simulated hosts (docs/SIMULATION.md). make mutants: each rule broken, in a
# build of its own; the simulation must find every one. One history with its trace: tests/sim/run --seed N
HISTORIES ?= 20000
MUTANT_HISTORIES ?= 20000
SEED ?= 1
SIM_SRC := $(wildcard tests/sim/*.c)
MUTANT_B := $(B)/mutants

.PHONY: sim sim-build mutants
sim-build: $(B)/sim
	@:
$(B)/sim: $(patsubst %.c,$(B)/obj/%.o,$(SIM_SRC) $(wildcard failover/*.c common/*.c))
	$(CC) -o $@ $^ $(LDLIBS)
sim: $(B)/sim ## the failover engines in simulated hosts: HISTORIES=20000 SEED=1
	@$(B)/sim --histories $(HISTORIES) --first $(SEED)
mutants: ## breaks each of their rules: the simulation must find every one
	@mkdir -p $(B)
	@$(MAKE) --no-print-directory B=$(MUTANT_B) CFLAGS="$(CFLAGS) -DFO_MUTANTS" sim-build >$(B)/mutants.log 2>&1 || \
		{ tail -n 40 $(B)/mutants.log; exit 1; }
	@$(MUTANT_B)/sim --mutants --histories $(MUTANT_HISTORIES) --first $(SEED)
