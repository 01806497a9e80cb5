/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the web server may listen: what is reached from the network has TLS and a token. */
#include "replicator/session/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

/* -EINVAL: no number. */
static int is_loopback(const char *host, bool *loopback)
{
	char plain[64]; /* without a scope */
	struct in6_addr v6;
	struct in_addr v4;

	if (!tv_copy(plain, sizeof(plain), host))
		return -EINVAL;
	plain[strcspn(plain, "%")] = 0;
	if (inet_pton(AF_INET, host, &v4) == 1)
		*loopback = ntohl(v4.s_addr) >> 24 == 127;
	else if (inet_pton(AF_INET6, plain, &v6) == 1 && config_is_number(host))
		*loopback = IN6_IS_ADDR_LOOPBACK(&v6);
	else
		return -EINVAL;
	return 0;
}

static int check_open(const struct config *c, struct tv_err *e)
{
	if (!c->dashboard_tls)
		return tv_fail(e, -EINVAL,
			       "dashboard = %s can be reached from the network: set "
			       "dashboard_tls = yes, or use a loopback address",
			       c->dashboard);
	if (!c->dashboard_token[0])
		return tv_fail(e, -EINVAL,
			       "dashboard = %s can be reached from the network: set "
			       "dashboard_token_file, or use a loopback address",
			       c->dashboard);
	return 0;
}

int config_dashboard(const struct config *c, struct config_dashboard *out, struct tv_err *e)
{
	bool own = c->dashboard_cert[0];

	*out = (struct config_dashboard){
		.on = strcmp(c->dashboard, "no") != 0, .cert = "", .key = ""};
	if (!out->on)
		return 0;
	if (config_address(c->dashboard, out->host, sizeof(out->host), &out->port) ||
	    out->port == CONFIG_DEFAULT_PORT || is_loopback(out->host, &out->loopback))
		return tv_fail(e, -EINVAL,
			       "dashboard must be ADDRESS:PORT with a numeric address and a port "
			       "other than %d, or no, not '%s'",
			       CONFIG_DEFAULT_PORT, c->dashboard);
	if (own != (bool)c->dashboard_key[0])
		return tv_fail(e, -EINVAL, "set both of dashboard_cert and dashboard_key, or none");
	if (c->dashboard_tls) {
		out->cert = own ? c->dashboard_cert : c->cert;
		out->key = own ? c->dashboard_key : c->key;
	}
	return out->loopback ? 0 : check_open(c, e);
}
