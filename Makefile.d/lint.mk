# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: lint
lint:
	+@B=$(B) tests/lint/run.sh
