"""Envoy's configuration as data: it listens, routes and stands before servers.

Envoy reads JSON, so nothing here is text that is put together.
"""

from __future__ import annotations

from triton_yolo.server.fleet.envoy_access import Doors, filters, told, transport_socket
from triton_yolo.server.fleet.envoy_clusters import (
    CLUSTERS,
    REQUESTS,
    TYPE,
    Config,
    Files,
    Name,
    address,
    cluster,
    plain_cluster,
)
from triton_yolo.server.fleet.envoy_routes import (
    CONTROL,
    LONGEST_SILENCE,
    LONGEST_UPLOAD,
    figures_routes,
    grpc_routes,
    http_routes,
)

OPEN = Doors()


def bootstrap(
    host: str,
    grpc_port: int,
    http_port: int,
    servers: Files | Name,
    most: int,
    admin: Config,
    control: Config | None = None,
    figures: int | None = None,
    doors: Doors = OPEN,
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
        figures: port for Envoy's own metrics, /metrics, and /ready; None for none. It is open to all who reach it.
        doors: whom the other two let in.
    """
    listeners = [
        _listener(
            "grpc", address(host, grpc_port), grpc_routes(control is not None, doors.keys is not None), False, doors
        ),
        _listener("http", address(host, http_port), http_routes(control is not None), True, doors),
    ]
    clusters = [
        *(cluster(name, servers, most) for name in CLUSTERS),
        *(plain_cluster(f"{CONTROL}-{kind}", place, kind == "grpc") for kind, place in (control or {}).items()),
    ]
    if figures is not None:
        listeners.append(_listener("figures", address(host, figures), figures_routes(), True))
        clusters.append(plain_cluster("admin", admin, False))
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


def _listener(name: str, place: Config, routes: list[Config], as_json: bool, doors: Doors = OPEN) -> Config:
    """Return a listener; ``as_json``: of HTTP, where Envoy tells errors of its own as Triton does over HTTP."""
    replies: Config = {"body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}} if as_json else {}
    host: Config = {"name": name, "domains": ["*"], "routes": routes}
    if doors.keys is not None:
        replies["mappers"] = told()
        host["request_headers_to_remove"] = ["authorization"]  # the servers need not know it
    encrypted = transport_socket(doors)
    manager = {
        "@type": f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",  # whoever sends slower is not waited for
        **({"request_timeout": LONGEST_UPLOAD} if as_json else {}),  # streams of gRPC have no end
        "common_http_protocol_options": {"idle_timeout": LONGEST_SILENCE},
        **({"local_reply_config": replies} if replies else {}),
        "route_config": {"name": name, "virtual_hosts": [host]},
        "http_filters": [
            *filters(doors),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{TYPE}.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }
    return {
        "name": name,
        "address": place,
        "enable_reuse_port": False,  # a port that somebody has is an error
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [
            {
                "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                **({"transport_socket": encrypted, "transport_socket_connect_timeout": "10s"} if encrypted else {}),
            }
        ],
    }
