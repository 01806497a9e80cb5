# SPDX-License-Identifier: GPL-2.0-or-later
.PHONY: deb
deb: ## the Debian package: build/deb/twinvm_*.deb
	@B=$(B) debian/build.sh
