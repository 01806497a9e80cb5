# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: whole hosts under software emulation with real KVM (tests/lab/README.md).
.PHONY: lab-image test-lab
lab-image: all tools guest ## the disk of the lab's hosts
	@tests/lab/mklab.sh $(B)
test-lab: ## whole emulated hosts with KVM (as root): tests/lab/README.md
	@tests/deps.sh --lab
	@tests/lab/run.sh
