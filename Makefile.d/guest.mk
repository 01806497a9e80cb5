# SPDX-License-Identifier: GPL-2.0-or-later
# The demo, its guest, the tests and what they need installed.
.PHONY: deps guest demo test
deps:
	@tests/deps.sh
guest:
	@tests/guest/mkguest.sh $(B)
demo:
	@tests/demo/demo.sh
test:
	@tests/run.sh
