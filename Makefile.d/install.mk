# SPDX-License-Identifier: GPL-2.0-or-later
# make install [PREFIX=/usr/local] [DESTDIR=]: the programs, a configuration to begin with, a systemd unit, and what
# systemd-sysusers makes the users of.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
CATALOGDIR ?= /usr/lib/systemd/catalog
.PHONY: install
install: all ## PREFIX=/usr/local DESTDIR=
	install -D -m 755 $(B)/twinvmd $(DESTDIR)$(PREFIX)/sbin/twinvmd
	install -D -m 755 $(B)/twinvm-libvirt $(DESTDIR)$(PREFIX)/sbin/twinvm-libvirt
	install -D -m 755 $(B)/twinvm $(DESTDIR)$(PREFIX)/bin/twinvm
	install -D -m 644 docs/twinvmd.conf.example $(DESTDIR)$(SYSCONFDIR)/twinvm/twinvmd.conf.example
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' docs/twinvmd.service >$(B)/twinvmd.service
	install -D -m 644 $(B)/twinvmd.service $(DESTDIR)$(UNITDIR)/twinvmd.service
	install -D -m 644 docs/twinvm.sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/twinvm.conf
	install -D -m 644 docs/twinvm.catalog $(DESTDIR)$(CATALOGDIR)/twinvm.catalog
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' docs/libvirt-hook.sh >$(B)/libvirt-hook.sh
	install -D -m 755 $(B)/libvirt-hook.sh $(DESTDIR)$(SYSCONFDIR)/libvirt/hooks/qemu.d/twinvm
