# SPDX-License-Identifier: GPL-2.0-or-later
# make lint STEPS="sizes words": only these
STEPS ?=
.PHONY: lint
lint: ## formatting, includes, circles, sizes, words, documents, scripts; STEPS="sizes words"
	+@B=$(B) tests/lint/run.sh $(STEPS)
