# SPDX-License-Identifier: GPL-2.0-or-later
# make install [PREFIX=/usr/local] [DESTDIR=]: all that the Debian package has (make deb): programs, man pages,
# completion, an example of a configuration, systemd's files, libvirt's hook, documents, Grafana's files.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d
CATALOGDIR ?= /usr/lib/systemd/catalog
SHAREDIR = $(DESTDIR)$(PREFIX)/share
MAN_SRC := $(wildcard docs/man/*.py docs/man/*.md) docs/CONFIG.md docs/WIRE.md

.PHONY: man install
man: $(B)/man/made ## the man pages, from --help, docs/CONFIG.md and docs/WIRE.md: man -M build/man twinvm
$(B)/man/made: $(MAN_SRC) $(B)/twinvm $(B)/twinvmd $(B)/twinvm-libvirt
	PYTHONDONTWRITEBYTECODE=1 python3 docs/man/pages.py $(B) $(B)/man
	@touch $@
install: all man ## PREFIX=/usr/local DESTDIR=
	install -D -m 755 $(B)/twinvmd $(DESTDIR)$(PREFIX)/sbin/twinvmd
	install -D -m 755 $(B)/twinvm-libvirt $(DESTDIR)$(PREFIX)/sbin/twinvm-libvirt
	install -D -m 755 $(B)/twinvm $(DESTDIR)$(PREFIX)/bin/twinvm
	install -d $(DESTDIR)$(SYSCONFDIR)/twinvm
	install -D -m 644 docs/twinvmd.conf.example $(SHAREDIR)/doc/twinvm/examples/twinvmd.conf
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' docs/twinvmd.service >$(B)/twinvmd.service
	install -D -m 644 $(B)/twinvmd.service $(DESTDIR)$(UNITDIR)/twinvmd.service
	sed 's|@BINDIR@|$(PREFIX)/bin|' docs/twinvm-shutdown.service >$(B)/twinvm-shutdown.service
	install -D -m 644 $(B)/twinvm-shutdown.service $(DESTDIR)$(UNITDIR)/twinvm-shutdown.service
	install -D -m 644 docs/twinvm-scopes.conf $(DESTDIR)$(UNITDIR)/scope.d/50-twinvm.conf
	install -D -m 644 docs/twinvm-scopes.conf $(DESTDIR)$(UNITDIR)/user@.service.d/50-twinvm.conf
	install -D -m 644 docs/twinvm.sysusers.conf $(DESTDIR)$(SYSUSERSDIR)/twinvm.conf
	install -D -m 644 docs/twinvm.tmpfiles.conf $(DESTDIR)$(TMPFILESDIR)/twinvm.conf
	install -D -m 644 docs/twinvm.catalog $(DESTDIR)$(CATALOGDIR)/twinvm.catalog
	sed 's|@SBINDIR@|$(PREFIX)/sbin|' docs/libvirt-hook.sh >$(B)/libvirt-hook.sh
	install -D -m 755 $(B)/libvirt-hook.sh $(DESTDIR)$(SYSCONFDIR)/libvirt/hooks/qemu.d/twinvm
	install -D -m 644 docs/twinvm.bash-completion $(SHAREDIR)/bash-completion/completions/twinvm
	ln -sf twinvm $(SHAREDIR)/bash-completion/completions/twinvmd
	install -d $(foreach n,1 5 7 8,$(SHAREDIR)/man/man$(n)) $(SHAREDIR)/doc/twinvm/grafana
	set -e; for n in 1 5 7 8; do install -m 644 $(B)/man/man$$n/*.$$n $(SHAREDIR)/man/man$$n/; done
	install -m 644 README.md docs/*.md $(SHAREDIR)/doc/twinvm/
	install -m 644 docs/grafana/* $(SHAREDIR)/doc/twinvm/grafana/
