"""Envoy's configuration as data: who is in front of which servers, and when a request goes to another one.

The fields are those of Envoy's API v3 (https://www.envoyproxy.io/docs/envoy/latest/api-v3/api). Envoy reads JSON, so
nothing here is text that is put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from triton_yolo.contract import STREAM_HEADER

Config = dict[str, Any]
Cluster = Literal["grpc", "http", "streams"]

TYPE = "type.googleapis.com/envoy"  # what the types of Envoy's messages begin with
CLUSTERS: tuple[Cluster, ...] = ("grpc", "http", "streams")  # streams: gRPC, by the name of the stream
CONTROL = "control"  # prefix of the clusters that lead to the launcher
REQUESTS = 256  # in flight of one server: a queue of it holds at most 128
BUFFERED = 4 << 20  # bytes of a request that are kept for sending it to another server: a JPEG, a frame of 1280x960
LONGEST_SILENCE = "3600s"  # of a gRPC stream, and of a connection
NOT_RUN = ("Exceeds maximum queue size", "has stopped accepting new inference requests")  # Triton's words
ELSEWHERE = (
    "this call is about one server, and the address is that of several: ask one of them at its own address, which "
    "`triton-yolo serve` prints"
)
SERVICE = "/inference.GRPCInferenceService/"
CALLS = (  # that any server answers
    *(f"{SERVICE}Server{call}" for call in ("Live", "Ready", "Metadata")),
    *(f"{SERVICE}Model{call}" for call in ("Infer", "StreamInfer", "Ready", "Metadata", "Config", "Statistics")),
    "/grpc.health.v1.Health/Check",
)
PATHS = r"/v2(/health/(live|ready)|/models/stats|/models/[^/]+(/versions/[^/]+)?(/(infer|ready|stats|config))?)?"
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
            "address": _address(server.host, server.http if cluster == "http" else server.grpc),
            "health_check_config": {"port_value": server.http},
        },
    }


def bootstrap(
    host: str,
    grpc_port: int,
    http_port: int,
    servers: Files | Name,
    most: int,
    admin: Config,
    control: Config | None = None,
    figures: int | None = None,
) -> Config:
    """Return the whole configuration.

    Args:
        host: IP address to listen on.
        grpc_port: port for gRPC.
        http_port: port for HTTP.
        servers: where the servers are found.
        most: how many servers there are at most, for the bounds on requests in flight.
        admin: address of Envoy's own interface, which can end it: for whoever runs it alone.
        control: addresses of the launcher that registers shared memory with each server, "grpc" and "http"; without
            one, shared memory is refused.
        figures: port for Envoy's own metrics, /metrics, and /ready; None for none.
    """
    listeners = [
        _listener("grpc", _address(host, grpc_port), _grpc_routes(control is not None), False),
        _listener("http", _address(host, http_port), _http_routes(control is not None), True),
    ]
    clusters = [
        *(_cluster(name, servers, most) for name in CLUSTERS),
        *(_plain_cluster(f"{CONTROL}-{kind}", address, kind == "grpc") for kind, address in (control or {}).items()),
    ]
    if figures is not None:
        listeners.append(_listener("figures", _address(host, figures), _figures_routes(), True))
        clusters.append(_plain_cluster("admin", admin, False))
    return {
        "node": {"id": "triton-yolo", "cluster": "triton-yolo"},
        "admin": {"address": admin},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{TYPE}.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": 16 * REQUESTS,
                    },
                }
            ]
        },
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 500}}]  # for PATHS
        },
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _listener(name: str, address: Config, routes: list[Config], as_json: bool) -> Config:
    """Return a listener; ``as_json``: Envoy tells errors of its own as Triton does over HTTP."""
    told = {"body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}}
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",  # whoever sends slower is not waited for
        "common_http_protocol_options": {"idle_timeout": LONGEST_SILENCE},
        **({"local_reply_config": told} if as_json else {}),
        "route_config": {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }
    return {
        "name": name,
        "address": address,
        "enable_reuse_port": False,  # a port that somebody has is an error
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _grpc_routes(control: bool) -> list[Config]:
    """Return who answers which call of Triton's gRPC service."""
    by_name = {"headers": [{"name": STREAM_HEADER, "present_match": True}]}
    routes = []
    for path in CALLS:
        options = {"idle_timeout": LONGEST_SILENCE} if path.endswith("StreamInfer") else {}
        routes += [_route({"path": path} | by_name, "streams", options), _route({"path": path}, "grpc", options)]
    if control:
        routes += [_route({"prefix": f"{SERVICE}{kind}SharedMemory"}, "control-grpc") for kind in ("System", "Cuda")]
    return [*routes, _refusal()]


def _http_routes(control: bool) -> list[Config]:
    """Return who answers which path of Triton's HTTP."""
    routes = [_route({"safe_regex": {"regex": PATHS}}, "http")]
    if control:
        routes += [_route({"prefix": f"/v2/{kind}sharedmemory/"}, "control-http") for kind in ("system", "cuda")]
    return [*routes, _refusal()]


def _figures_routes() -> list[Config]:
    """Return what of Envoy's own interface others may see."""
    shown = {"/metrics": "/stats/prometheus", "/ready": "/ready"}
    return [
        *(
            {"match": {"path": path}, "route": {"cluster": "admin", "prefix_rewrite": own}}
            for path, own in shown.items()
        ),
        {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
    ]


def _route(match: Config, cluster: str, options: Config | None = None) -> Config:
    action: Config = {
        "cluster": cluster,
        "timeout": "0s",  # the client's, where it gives one; an answer may take long
        # A deadline of gRPC is Envoy's too: at its end the server's part is reset, and Triton gives the request up.
        "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        **(options or {}),
    }
    if cluster in CLUSTERS:
        action["retry_policy"] = _retries()
    if cluster == "streams":
        action["hash_policy"] = [{"header": {"header_name": STREAM_HEADER}}]
    return {"match": match, "route": action, "request_body_buffer_limit": BUFFERED}


def _retries() -> Config:
    """Return when a request goes to another server: where it is known that this one has not run it."""
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request,retriable-headers",
        # Over HTTP the words are in the body, which Envoy does not read: there the client hears of a full queue.
        "retriable_headers": [{"name": "grpc-message", "string_match": {"contains": words}} for words in NOT_RUN],
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": f"{TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": "8",
    }


def _refusal() -> Config:
    return {"match": {"prefix": "/"}, "direct_response": {"status": 403, "body": {"inline_string": ELSEWHERE}}}


def _cluster(name: Cluster, servers: Files | Name, most: int) -> Config:
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
        "address": _address(servers.name, servers.http if name == "http" else servers.grpc),
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


def _plain_cluster(name: str, address: Config, http2: bool) -> Config:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
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


def _address(host: str, port: int) -> Config:
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
