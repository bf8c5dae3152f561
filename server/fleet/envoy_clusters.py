"""The servers behind Envoy: where they are, which one gets a request, and which gets none.

The fields are those of Envoy's API v3 (https://www.envoyproxy.io/docs/envoy/latest/api-v3/api).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Config = dict[str, Any]
Cluster = Literal["grpc", "http", "streams"]

TYPE = "type.googleapis.com/envoy"  # what the types of Envoy's messages begin with
CLUSTERS: tuple[Cluster, ...] = ("grpc", "http", "streams")  # streams: gRPC, by the name of the stream
REQUESTS = 256  # in flight of one server: a queue of it holds at most 128
READY = "/v2/health/ready"


@dataclass(frozen=True)
class Endpoint:
    """One server, as Envoy knows it.

    Attributes:
        name: tells the server apart, also after it was started anew on other ports.
        host: IP address.
        grpc: port of gRPC.
        http: port of HTTP, where readiness is asked for.
        admitted: whether it gets new requests; those that it has are answered in any case.
    """

    name: str
    host: str
    grpc: int
    http: int
    admitted: bool = True


@dataclass(frozen=True)
class Files:
    """Servers that are listed in files, which Envoy reads again when they are replaced.

    Attributes:
        folder: with the files that ``endpoints_file`` names.
    """

    folder: str


@dataclass(frozen=True)
class Name:
    """Servers that a name server knows, all on the same ports.

    Attributes:
        name: with one address for each server.
        grpc: port of gRPC.
        http: port of HTTP.
    """

    name: str
    grpc: int = 8001
    http: int = 8000


def endpoints_file(cluster: Cluster) -> str:
    """Return the name of the file that lists a cluster's servers."""
    return f"endpoints-{cluster}.json"


def endpoints(cluster: Cluster, servers: Iterable[Endpoint]) -> Config:
    """Return what the file of a cluster's servers says.

    Args:
        cluster: the cluster.
        servers: all that run.
    """
    return {
        "resources": [
            {
                "@type": f"{TYPE}.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": cluster,
                "endpoints": [{"lb_endpoints": [_endpoint(cluster, server) for server in servers]}],
            }
        ]
    }


def _endpoint(cluster: Cluster, server: Endpoint) -> Config:
    return {
        "health_status": "UNKNOWN" if server.admitted else "DRAINING",
        "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": server.name}}},
        "endpoint": {
            "hostname": server.name,
            "address": address(server.host, server.http if cluster == "http" else server.grpc),
            "health_check_config": {"port_value": server.http},
        },
    }


def cluster(name: Cluster, servers: Files | Name, most: int) -> Config:
    """Return a cluster of servers.

    Args:
        name: of the cluster.
        servers: where they are found.
        most: how many there are at most.
    """
    return {
        "name": name,
        "connect_timeout": "1s",
        **(_listed(name, servers) if isinstance(servers, Files) else _resolved(name, servers)),
        **({"lb_policy": "RING_HASH"} if name == "streams" else {"load_balancing_policy": _least_requests()}),
        "common_lb_config": {
            "healthy_panic_threshold": {"value": 0},  # no request to a server that is not ready, also where none is
            "update_merge_window": "0s",  # what Envoy knows holds for the next request, not for those in a second
        },
        "ignore_health_on_host_removal": True,
        "close_connections_on_host_health_failure": True,  # a server that hangs does not keep what waits for it
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_interval": "0.5s",
                "unhealthy_threshold": 3,
                "healthy_threshold": 1,
                "reuse_connection": False,  # Triton's end waits for connections over HTTP that are open
                "http_health_check": {"path": READY},
            }
        ],
        "outlier_detection": _outliers(),
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": most * REQUESTS,
                    "max_pending_requests": most * REQUESTS,
                    "max_requests": most * REQUESTS,
                    "retry_budget": {"budget_percent": {"value": 50}, "min_retry_concurrency": 16},
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": _protocol(name != "http"),
            }
        },
    }


def _least_requests() -> Config:
    """Return the policy that takes the server with the fewest requests in flight, of all and not of two at random."""
    kind = f"{TYPE}.extensions.load_balancing_policies.least_request.v3.LeastRequest"
    policy = {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": {"@type": kind, "selection_method": "FULL_SCAN"},
    }
    return {"policies": [{"typed_extension_config": policy}]}


def _outliers() -> Config:
    """Return what ejects a server although it says that it is ready: connections that fail or break.

    Answers do not count: a server whose queue is full is in order, and so is one that gets images that are none.
    """
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": 3,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "interval": "1s",
        "base_ejection_time": "5s",
        "max_ejection_time": "60s",
        "max_ejection_percent": 50,
        # Readiness does not ask the models, so it is no reason to take a server back before its time.
        "successful_active_health_check_uneject_host": False,
    }


def _listed(name: Cluster, servers: Files) -> Config:
    source = {"path": f"{servers.folder}/{endpoints_file(name)}"}
    return {
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "path_config_source": source}},
    }


def _resolved(name: Cluster, servers: Name) -> Config:
    endpoint = {
        "address": address(servers.name, servers.http if name == "http" else servers.grpc),
        "health_check_config": {"port_value": servers.http},
    }
    return {
        "cluster_type": {
            "name": "envoy.clusters.dns",
            "typed_config": {
                "@type": f"{TYPE}.extensions.clusters.dns.v3.DnsCluster",
                "dns_refresh_rate": "2s",
                "dns_lookup_family": "V4_PREFERRED",
            },
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def plain_cluster(name: str, place: Config, http2: bool) -> Config:
    """Return a cluster of one address that is always there.

    Args:
        name: of the cluster.
        place: its address.
        http2: whether it speaks HTTP/2.
    """
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": _protocol(http2),
            }
        },
    }


def _protocol(http2: bool) -> Config:
    if not http2:
        return {"http_protocol_options": {}}
    # One connection to a server carries all requests: windows that hold a batch of frames.
    windows = {"initial_stream_window_size": 4 << 20, "initial_connection_window_size": 32 << 20}
    return {"http2_protocol_options": windows}


def address(host: str, port: int) -> Config:
    """Return the address of a port.

    Args:
        host: IP address, or a name.
        port: of it.
    """
    return {"socket_address": {"address": host, "port_value": port}}


def pipe(path: str) -> Config:
    """Return the address of a socket in the file system.

    Args:
        path: of the socket, at most 107 bytes.
    """
    return {"pipe": {"path": path, "mode": 0o600}}


def names(servers: Sequence[Endpoint]) -> dict[str, str]:
    """Return the names of servers by their addresses of gRPC and HTTP, as Envoy's statistics write them."""
    return {f"{server.host}:{port}": server.name for server in servers for port in (server.grpc, server.http)}
