# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: lint
lint:
	@tests/lint/run.sh
