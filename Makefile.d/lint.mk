# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: lint
lint: ## formatting, includes, circles, sizes, words, scripts; one of them: tests/lint/run.sh STEP
	+@B=$(B) tests/lint/run.sh
