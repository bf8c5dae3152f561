"""Whom Envoy lets in: TLS, certificates of clients, API keys and their rates.

What is secret or changes is not in Envoy's configuration: it reads that from files, and again when they are replaced.
Of API keys it gets hashes alone, as passwords of HTTP's Basic authentication (RFC 7617). SHA-1 is the one that its
filter knows; that nobody finds a key to a hash rests on the keys, which are long and random.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from triton_yolo.contract import OVER_RATE, WANTS_KEY
from triton_yolo.server.fleet.envoy_clusters import TYPE, Config

CLIENT = "triton-yolo-client"  # header that the filter of keys sets for that of rates
BASIC = f"{TYPE}.extensions.filters.http.basic_auth.v3.BasicAuth"
LIMIT = f"{TYPE}.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
CERTIFICATE, CLIENTS, KEYS, RATES = "certificate", "clients", "keys", "rates"  # names of what is read from files


class ApiKey(NamedTuple):
    """What one client is let in by.

    Attributes:
        client: its name.
        key: what it shows.
        rate: requests that it may send in a second, at each port; None for any number.
    """

    client: str
    key: str
    rate: int | None


class Doors(NamedTuple):
    """Where Envoy reads whom it lets in; what is None is not asked for.

    Attributes:
        certificate: path_config_source of the server's certificate, as ``certificate`` has it.
        clients: of the authorities for clients' certificates, as ``authorities`` has them.
        keys: of the API keys, as ``keys`` has them.
        rates: of their rates, as ``rates`` has them; None where ``keys`` is.
    """

    certificate: Config | None = None
    clients: Config | None = None
    keys: Config | None = None
    rates: Config | None = None


def transport_socket(doors: Doors) -> Config | None:
    """Return how connections are encrypted; None where they are not."""
    if doors.certificate is None:
        return None
    common: Config = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE, "sds_config": _source(doors.certificate)}],
    }
    if doors.clients is not None:
        common["validation_context_sds_secret_config"] = {"name": CLIENTS, "sds_config": _source(doors.clients)}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": doors.clients is not None,
        },
    }


def filters(doors: Doors) -> list[Config]:
    """Return what each request passes: nothing but clients whose keys are known, and no more often than they may."""
    found = ((KEYS, doors.keys, BASIC), (RATES, doors.rates, LIMIT))
    return [
        {"name": name, "config_discovery": {"config_source": _source(source), "type_urls": [kind]}}
        for name, source, kind in found
        if source is not None
    ]


def told() -> list[Config]:
    """Return the words for who is not let in, by which clients tell them from other errors."""
    return [
        {
            "filter": {
                "status_code_filter": {
                    "comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"told_{status}"}}
                }
            },
            "body": {"inline_string": words},
        }
        for status, words in ((401, WANTS_KEY), (429, OVER_RATE))
    ]


def certificate(chain: Config, key: Config, watched: Config | None = None) -> Config:
    """Return the file with the server's certificate.

    Args:
        chain: Envoy's DataSource of the certificate, with those that vouch for it, PEM.
        key: that of its private key, PEM.
        watched: WatchedDirectory in which something is moved when both are replaced, where they are files.
    """
    content = {"certificate_chain": chain, "private_key": key}
    return _secret(CERTIFICATE, {"tls_certificate": content | ({"watched_directory": watched} if watched else {})})


def authorities(trusted: Config, watched: Config | None = None) -> Config:
    """Return the file with the authorities for clients' certificates.

    Args:
        trusted: Envoy's DataSource of their certificates, PEM.
        watched: as for ``certificate``.
    """
    content = {"trusted_ca": trusted} | ({"watched_directory": watched} if watched else {})
    return _secret(CLIENTS, {"validation_context": content})


def keys(known: Iterable[ApiKey]) -> Config:
    """Return the file with hashes of API keys."""
    users = "".join(f"{one.client}:{{SHA}}{_hash(one.key)}\n" for one in known)
    return _extension(KEYS, {"@type": BASIC, "users": {"inline_string": users}, "forward_username_header": CLIENT})


def rates(known: Iterable[ApiKey]) -> Config:
    """Return the file with the rates of clients that have one."""
    everyone = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return _extension(
        RATES,
        {
            "@type": LIMIT,
            "stat_prefix": RATES,
            "filter_enabled": everyone,
            "filter_enforced": everyone,
            "rate_limited_as_resource_exhausted": True,
            "always_consume_default_token_bucket": False,
            "rate_limits": [{"actions": [{"request_headers": {"header_name": CLIENT, "descriptor_key": "client"}}]}],
            "descriptors": [
                {
                    "entries": [{"key": "client", "value": one.client}],
                    "token_bucket": {"max_tokens": one.rate, "tokens_per_fill": one.rate, "fill_interval": "1s"},
                }
                for one in known
                if one.rate is not None
            ],
        },
    )


def _source(path: Config) -> Config:
    return {"resource_api_version": "V3", "path_config_source": path}


def _secret(name: str, content: Config) -> Config:
    kind = f"{TYPE}.extensions.transport_sockets.tls.v3.Secret"
    return {"resources": [{"@type": kind, "name": name, **content}]}


def _extension(name: str, content: Config) -> Config:
    kind = f"{TYPE}.config.core.v3.TypedExtensionConfig"
    return {"resources": [{"@type": kind, "name": name, "typed_config": content}]}


def _hash(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
