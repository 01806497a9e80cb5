# SPDX-License-Identifier: GPL-2.0-or-later
# The demo, its guest, the tests and what they need installed.
.PHONY: deps guest demo test
deps: ## installs the Debian packages that all of this needs (as root)
	@tests/deps.sh
guest: ## the VM of the demo and the tests: build/guest/
	@tests/guest/mkguest.sh $(B)
demo: ## two hosts, Redis in a VM, a power cut: build/demo/summary.json (as root)
	@tests/demo/demo.sh
test: ## unit and integration tests (as root); some of them: tests/run.sh PATTERN...
	@tests/run.sh
