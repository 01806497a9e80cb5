# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: docs
docs: $(B)/tools/fo_tables $(B)/tools/session_tables $(B)/tools/hv_runstates ## docs/FAILOVER.md, STATUS.md, CONTROL.md and RUNSTATES.md
	$(B)/tools/fo_tables >docs/FAILOVER.md
	$(B)/tools/session_tables status >docs/STATUS.md
	$(B)/tools/session_tables control >docs/CONTROL.md
	$(B)/tools/hv_runstates >docs/RUNSTATES.md
