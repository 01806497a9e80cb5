# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: docs
docs: $(B)/tools/fo_tables $(B)/tools/session_tables $(B)/tools/hv_runstates $(B)/tools/event_tables $(B)/tools/metric_tables $(B)/tools/ras_faults ## docs/FAILOVER.md, STATUS.md, CONTROL.md, RUNSTATES.md, HARDWARE-FAULTS.md, the tables of EVENTS.md and METRICS.md
	$(B)/tools/fo_tables >docs/FAILOVER.md
	$(B)/tools/session_tables status >docs/STATUS.md
	$(B)/tools/session_tables control >docs/CONTROL.md
	$(B)/tools/hv_runstates >docs/RUNSTATES.md
	$(B)/tools/ras_faults >docs/HARDWARE-FAULTS.md
	$(B)/tools/event_tables catalog >docs/twinvm.catalog
	$(B)/tools/event_tables kinds >$(B)/kinds.md
	sed -i -e '/^| kind | priority /,/^$$/d' -e '/^<!-- the kinds/r $(B)/kinds.md' docs/EVENTS.md
	$(B)/tools/metric_tables >$(B)/metrics.md
	sed -i -e '/^<!-- the tables/,/^<!-- end/{//!d}' -e '/^<!-- the tables/r $(B)/metrics.md' docs/METRICS.md
