# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# certs_make DIR HOST...: a CA (DIR/ca.crt, DIR/ca.key) unless there is one, and for each host
# DIR/HOST.crt and DIR/HOST.key: EC P-256, CN and SAN the host's name, good for both sides of TLS.
# CERTS_SAN=IP:10.0.0.1 adds to the SAN.
certs_make() {
	local dir=$1 host
	shift
	mkdir -p "$dir"
	if [[ ! -e $dir/ca.crt ]]; then
		_certs openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
			-subj "/CN=twinvm test CA" -keyout "$dir/ca.key" -out "$dir/ca.crt" \
			-addext "basicConstraints=critical,CA:TRUE" \
			-addext "keyUsage=critical,keyCertSign,cRLSign"
	fi
	for host in "$@"; do
		_certs openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
			-subj "/CN=$host" -keyout "$dir/$host.key" -out "$dir/$host.csr"
		_certs openssl x509 -req -in "$dir/$host.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" \
			-days 30 -set_serial "0x$(openssl rand -hex 8)" -out "$dir/$host.crt" -extfile <(
				echo "subjectAltName=DNS:$host${CERTS_SAN:+,$CERTS_SAN}"
				echo "basicConstraints=critical,CA:FALSE"
				echo "keyUsage=critical,digitalSignature"
				echo "extendedKeyUsage=serverAuth,clientAuth"
			)
		rm -f "$dir/$host.csr"
		chmod 600 "$dir/$host.key"
	done
}
# openssl talks on stderr when all is well, too
_certs() {
	local out
	out=$("$@" 2>&1) || {
		echo "certs: $out" >&2
		return 1
	}
}
