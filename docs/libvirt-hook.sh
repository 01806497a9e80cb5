#!/bin/sh
# libvirt runs this before it starts a domain (/etc/libvirt/hooks/qemu.d, libvirt 6.5 or later): a VM that
# another host runs by twinvm's record is not started here.
# A package that was removed leaves this file behind: every domain may start then.
[ -x @SBINDIR@/twinvmd ] || exit 0
exec @SBINDIR@/twinvmd hook --config /etc/twinvm/twinvmd.conf "$@"
