#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# VMs as managers start them (tests/shapes): each is protected, survives a power cut, is protected again by its former host,
# and is switched back to it as planned. SHAPES=all: all eight; or names of files in tests/shapes. SHAPES_FIRST=switch: the
# planned switch first, and the power cut on the way back.
# time limit: 900
set -euo pipefail
cd "$(dirname "$0")/../.."
PAIR_CALM=1
. tests/lib/pair.sh
. tests/lib/shapes.sh

# Those that differ most: NUMA memory, SPICE; daemonized, throttled, a manager's daemon; UEFI, a configuration file; two
# bridges, an overlay.
SHAPES=${SHAPES:-libvirt-windows-i440fx proxmox-linux proxmox-uefi-tpm vagrant-overlay}
[[ $SHAPES != all ]] || SHAPES="libvirt-linux-q35 libvirt-windows-i440fx libvirt-windows11-tpm libvirt-luks proxmox-linux
	proxmox-uefi-tpm nova-log-by-descriptor vagrant-overlay"
[[ -e /usr/share/OVMF/OVMF_CODE_4M.secboot.fd ]] || skip "no OVMF (make deps)"

SHAPES_TPM=${SHAPES_TPM-1}
PAIR_ARBITER="file"
PAIR_CONF="replica_plaintext = yes
bridges = br1"
pair_up
for host in hostA hostB; do
	shapes_bridges "$host"
done

no=20
for shape in $SHAPES; do
	shape_start hostA "$shape" $((no++))
done
for shape in $SHAPES; do
	shape_boots "$shape"
	step "$shape has booted"
done
for shape in $SHAPES; do
	protect "${SHAPE_NAME[$shape]}"
done
for shape in $SHAPES; do
	await_pair hostA hostB "${SHAPE_NAME[$shape]}"
	await_epochs hostA "${SHAPE_NAME[$shape]}" 3
	step "$shape is protected"
done
for shape in $SHAPES; do
	shape_works "$shape"
done

# cut FROM TO, switch FROM TO: every VM moves, and its client continues
cut() {
	for shape in $SHAPES; do
		shape_cut "$shape"
	done
	host_power_cut "$1"
	for shape in $SHAPES; do
		await_state "$AWAIT_S" "$2" "${SHAPE_NAME[$shape]}" alone
		shape_goes_on "$2" "$shape" "after the power cut"
		step "$shape runs on $2 after a power cut"
	done
}
switch() {
	for shape in $SHAPES; do
		tw_must "$1" failover "${SHAPE_NAME[$shape]}"
		await_primary "$2" "${SHAPE_NAME[$shape]}"
		shape_goes_on "$2" "$shape" "after the planned switch"
		step "$shape runs on $2 after a planned switch"
	done
}
there=cut back=switch
[[ ${SHAPES_FIRST:-cut} = cut ]] || there=switch back=cut

$there hostA hostB
if [[ $SHAPES = *vagrant* ]]; then
	says 'UP' host_run hostB ip -o link show master br1
fi
[[ $there = switch ]] || {
	host_boot hostA
	shapes_bridges hostA
	daemon_start hostA
}
for shape in $SHAPES; do
	await_pair hostB hostA "${SHAPE_NAME[$shape]}"
	shape_goes_on hostB "$shape" "protected again"
	step "$shape is protected by hostA"
done
$back hostB hostA
for shape in $SHAPES; do
	shape_ends "$shape"
done
