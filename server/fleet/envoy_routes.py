"""Where Envoy sends which call, and when it sends it to another server."""

from __future__ import annotations

from triton_yolo.contract import STREAM_HEADER
from triton_yolo.server.fleet.envoy_clusters import CLUSTERS, TYPE, Config

CONTROL = "control"  # prefix of the clusters that lead to the launcher
BUFFERED = 4 << 20  # bytes of a request that are kept for sending it to another server: a JPEG, a frame of 1280x960
LONGEST_SILENCE = "3600s"  # of a gRPC stream, and of a connection
LONGEST_UPLOAD = "60s"  # of a request over HTTP: 118 MB, a batch of 32 frames of 1280x960, come at 16 Mbit/s
LONGEST_CALL = "300s"  # from the first byte to the answer over gRPC, but for streams: three steps may wait 30 s each
STREAM: Config = {"idle_timeout": LONGEST_SILENCE, "max_stream_duration": {"grpc_timeout_header_max": "0s"}}
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


def grpc_routes(control: bool, keys: bool = False) -> list[Config]:
    """Return who answers which call of Triton's gRPC service.

    Args:
        control: whether there is a launcher, which registers shared memory.
        keys: whether requests are counted by API keys; those within a gRPC stream would not be, so there are none.
    """
    by_name = {"headers": [{"name": STREAM_HEADER, "present_match": True}]}
    routes = []
    for path in [call for call in CALLS if not (keys and call.endswith("StreamInfer"))]:
        options = STREAM if path.endswith("StreamInfer") else {}
        routes += [_route({"path": path} | by_name, "streams", options), _route({"path": path}, "grpc", options)]
    if control:
        routes += [_route({"prefix": f"{SERVICE}{kind}SharedMemory"}, f"{CONTROL}-grpc") for kind in ("System", "Cuda")]
    return [*routes, _refusal()]


def http_routes(control: bool) -> list[Config]:
    """Return who answers which path of Triton's HTTP; see ``grpc_routes``."""
    routes = [_route({"safe_regex": {"regex": PATHS}}, "http")]
    if control:
        routes += [_route({"prefix": f"/v2/{kind}sharedmemory/"}, f"{CONTROL}-http") for kind in ("system", "cuda")]
    return [*routes, _refusal()]


def figures_routes() -> list[Config]:
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
        # Whoever sends a byte a second would else hold one of the requests that may be in flight for ever.
        "max_stream_duration": {"grpc_timeout_header_max": LONGEST_CALL, "max_stream_duration": LONGEST_CALL},
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
