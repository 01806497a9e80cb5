# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: docs
docs: $(B)/tools/fo_tables $(B)/tools/session_tables ## docs/FAILOVER.md, STATUS.md and CONTROL.md, from the tables
	$(B)/tools/fo_tables >docs/FAILOVER.md
	$(B)/tools/session_tables status >docs/STATUS.md
	$(B)/tools/session_tables control >docs/CONTROL.md
