# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: docs
docs: $(B)/tools/fo_tables ## docs/FAILOVER.md, from the decision tables
	$< >docs/FAILOVER.md
