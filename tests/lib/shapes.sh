# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# VMs with the command lines of tests/shapes, and the test guest in them. Source it after pair.sh, as root.
#
#   shape_start HOST SHAPE NO    starts tests/shapes/SHAPE.args in a folder of its own. NO: its address is 10.77.0.NO. Sets
#                                SHAPE_NAME[SHAPE], the VM's name. SHAPES_TPM=1: with its TPM, and a swtpm for it;
#                                SHAPES_QUEUES=1: with both queues, which a kernel without sch_plug does not hold
#   shape_boots SHAPE            waits until its guest runs, and counts where it has no network
#   shape_works SHAPE            its client begins
#   shape_goes_on HOST SHAPE WHAT  its guest works there after this
#   shape_cut SHAPE              its client knows that the fault was just injected
#   shape_ends SHAPE             nothing was lost
#   shapes_bridges HOST          the second bridge of the shapes with two

# Several VMs at once on a small machine: each client works slowly.
CLIENT_OPTIONS=(--timeout-ms 60000 --pause-us 50000)
declare -A SHAPE_NAME=() SHAPE_NO=() SHAPE_DIR=() SHAPE_SERIAL=()

shapes_bridges() {
	host_run "$1" ip link add br1 type bridge stp_state 0 forward_delay 0
	host_run "$1" ip link set br1 up
}

_shape_has() { grep -q -e "$2" "tests/shapes/$1.args"; }
_shape_client() { CLIENT=$1 GUEST_IP=10.77.0.${SHAPE_NO[$1]} "${@:2}"; }
_shape_net() { _shape_has "$1" '^-netdev$'; }

# Its words in WORDS, with its folder, the guest's kernel, and without its TPM.
_shape_words() {
	local word option='' append
	WORDS=()
	append="$(<"$GUEST_DIR/cmdline") twinvm.tick=1"
	! _shape_net "$1" || append+=" twinvm.ip=10.77.0.${SHAPE_NO[$1]}/24"
	while IFS= read -r word; do
		case $word in [#!]*) continue ;; -*) option=$word ;; esac
		[[ -n ${SHAPES_QUEUES:-} ]] || word=${word/'"fds":"30:31"'/'"fd":"30"'}
		case ${SHAPES_TPM:-}$option$word in
		-tpmdev-tpmdev) ;;
		-tpmdev* | -chardev*id=*tpm* | -device*tpm-*) [[ $option = -tpmdev ]] || unset 'WORDS[-1]' ;;
		*) WORDS+=("${word//\/var\/lib\/shapes/${SHAPE_DIR[$1]}}") ;;
		esac
	done <"tests/shapes/$1.args"
	WORDS+=(-kernel "$PAIR_ROOT/$GUEST_KERNEL" -initrd "$PAIR_ROOT/$GUEST_INITRD" -append "$append")
	# Where the shape has no serial port: what the guest counts must be seen somewhere.
	[[ -z ${SHAPE_SERIAL[$1]} ]] || WORDS+=(-serial "file:${SHAPE_SERIAL[$1]}")
}

# What the line names is made: images, keys, a configuration file, a manager's daemon.
_shape_files() {
	local host=$1 shape=$2 dir=${SHAPE_DIR[$2]} sock
	mkdir -p "$dir/domain-1-b1"
	qemu-img create -q -f qcow2 "$dir/d0.qcow2" 64M
	qemu-img create -q -f raw "$dir/d1.raw" 32M
	qemu-img create -q -f qcow2 "$dir/box.qcow2" 64M
	qemu-img create -q -f qcow2 -F qcow2 -b "$dir/box.qcow2" "$dir/b8.img"
	# qemu-img measures how fast it hashes, and fails when it gets no CPU for that time.
	! _shape_has "$shape" luks.img || await "$AWAIT_S" "a LUKS image" \
		qemu-img create -q --object secret,id=s,data=passw0rd -f luks -o key-secret=s,iter-time=10 "$dir/luks.img" 32M
	head -c 2M /dev/zero >"$dir/seed.iso"
	head -c 32 /dev/urandom >"$dir/domain-1-b1/master-key.aes"
	cp /usr/share/OVMF/OVMF_VARS_4M.fd "$dir/vars.fd"
	# A node may be smaller than its file.
	! _shape_has "$shape" '"size":540672}' || truncate -s 1M "$dir/vars.fd"
	cat >"$dir/q35.cfg" <<-END
		# as Proxmox VE's pve-q35.cfg
		[device "ehci"]
		  driver = "ich9-usb-ehci1"
		  multifunction = "on"
		  bus = "pcie.0"
		  addr = "1d.7"

		[device "pcidmi"]
		  driver = "i82801b11-bridge"
		  bus = "pcie.0"
		  addr = "1e.0"

		[device "pci.0"]
		  driver = "pci-bridge"
		  bus = "pcidmi"
		  addr = "1.0"
		  chassis_nr = "1"
	END
	if [[ -n ${SHAPES_TPM:-} ]] && _shape_has "$shape" '^-tpmdev$'; then
		mkdir -m 700 "$dir/tpm"
		sock=$dir/$(grep -o -e 'tpm3.sock' -e '8007.swtpm' "tests/shapes/$shape.args")
		host_spawn "$host" "$dir/swtpm.log" swtpm socket --tpm2 --tpmstate "dir=$dir/tpm" --ctrl "type=unixio,path=$sock"
		await "$AWAIT_S" "swtpm of $shape" test -S "$sock"
	fi
	_shape_has "$shape" qmeventd || return 0
	host_spawn "$host" "$dir/eventd.log" python3 -c "
import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
while True:
  c = s.accept()[0]
  while c.recv(4096): pass" "$dir/qmeventd.sock"
	await "$AWAIT_S" "the manager's daemon" test -S "$dir/qmeventd.sock"
}

# What a manager hands over open, and taps that QEMU opens by name.
_shape_fds() {
	local name
	FDS=()
	case $2 in
	libvirt-linux-q35) FDS=(30:listen:"${SHAPE_DIR[$2]}/b1.libvirt" 40:listen:"${SHAPE_DIR[$2]}/b1.qga" 50:tap:vnet1) ;;
	libvirt-windows11*) FDS=(30:tap:vnet3 ${SHAPES_QUEUES:+31:tap:vnet3}) ;;
	nova*) FDS=(30:file:"${SHAPE_DIR[$2]}/console.log" 40:tap:vnet7) ;;
	esac
	for name in $(printf '%s\n' "${FDS[@]}" | sed -n 's/.*:tap://p' | sort -u) $(sed -n 's/.*,ifname=\([^,]*\).*/\1/p' "tests/shapes/$2.args"); do
		host_tap "$1" "$name"
		[[ $name != vnet8b ]] || host_run "$1" ip link set "$name" master br1
		[[ $(printf '%s\n' "${FDS[@]}" | grep -c ":$name$") -lt 2 ]] || {
			host_run "$1" ip link del "$name"
			host_run "$1" ip tuntap add dev "$name" mode tap multi_queue
			host_run "$1" ip link set "$name" master br0 up
		}
	done
}

shape_start() {
	local host=$1 shape=$2 dir=$PAIR_DIR/$2 name qmp
	SHAPE_NO[$shape]=$3 SHAPE_DIR[$shape]=$dir SHAPE_SERIAL[$shape]=
	_shape_has "$shape" isa-serial || SHAPE_SERIAL[$shape]=$dir/serial.log
	name=$(grep -A1 '^-name$' "tests/shapes/$shape.args" | sed -n '2{s/^guest=//;s/,.*//;p}')
	SHAPE_NAME[$shape]=$name
	mkdir "$dir"
	chmod 711 "$dir"
	_shape_files "$host" "$shape"
	_shape_fds "$host" "$shape"
	_shape_words "$shape"
	host_spawn "$host" "$dir/qemu.log" python3 tests/tools/fdrun.py "${FDS[@]}" -- "${WORDS[@]}"
	qmp=$(grep -o '/var/lib/shapes/[a-z0-9]*\.qmp' "tests/shapes/$shape.args" | tail -n 1)
	GUEST_QMP[$name]=$dir/${qmp##*/}
	await "$AWAIT_S" "QMP of $name: $(tail -n 2 "$dir/qemu.log" 2>/dev/null)" test -S "${GUEST_QMP[$name]}"
	GUEST_PID[$name]=$(procs_of "$host" "qemu-system.*$dir/")
	! _shape_has "$shape" '^-S$' || python3 tests/tools/qmp.py "${GUEST_QMP[$name]}" cont >/dev/null
}

_shape_ticks() { grep -ac tick "$1" 2>/dev/null || true; }
_shape_ticked() { (($(_shape_ticks "$1") > $2)); }
_shape_log() { # HOST SHAPE: its serial port's file there
	local file
	file=$(host_path "$1" "/run/twinvm/$(vm_field "$1" "${SHAPE_NAME[$2]}" "['id']")/vm/serial.log")
	[[ ! -e $file ]] || echo "$file"
}

shape_boots() {
	local log=${SHAPE_SERIAL[$1]}
	if _shape_net "$1"; then
		_shape_client "$1" await 180 "the guest of $1 to answer" _shape_client "$1" guest_answers
	else
		await 180 "the guest of $1 to count" _shape_ticked "$log" 1
	fi
}
shape_works() { ! _shape_net "$1" || _shape_client "$1" client_start; }
shape_goes_on() {
	local log=''
	if _shape_net "$2"; then
		_shape_client "$2" goes_on "$2 $3"
		return
	fi
	await "$AWAIT_S" "a serial port of $2 on $1" _shape_find "$1" "$2"
	log=$(_shape_log "$1" "$2")
	await "$AWAIT_S" "the guest of $2 to count: $3" _shape_ticked "$log" "$(_shape_ticks "$log")"
}
_shape_find() { [[ -n $(_shape_log "$1" "$2") ]]; }
shape_cut() { ! _shape_net "$1" || _shape_client "$1" client_cut; }
shape_ends() { ! _shape_net "$1" || _shape_client "$1" client_ends; }
