"""The servers that this one is held against: how each is started, and the settings of it that are tried."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BenchError
from bench.peers.plan import PATH, Engine, Network, Plan, Setting
from bench.peers.programs import ROOT, Program
from triton_yolo.server.process import free_addresses

PYTHON = ROOT / ".bench" / "peers" / "bin" / "python"  # made by `make .bench/peers`
BOUNDARY = "triton-yolo-boundary"
# Nothing tells anybody of what runs here, and nobody but this machine reaches it.
PRIVATE = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux too: Ray's processes listen on 127.0.0.1
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "OTEL_SDK_DISABLED": "true",
}


@dataclass(frozen=True)
class Peer:
    """A server of others.

    Attributes:
        name: with its runtime.
        package: on the package index.
        command: arguments of its interpreter, from the port.
        settings: that are tried, for a number of cores.
    """

    name: str
    package: str
    command: Callable[[int], Sequence[str]]
    settings: Sequence[Setting]

    @contextmanager
    def started(self, setting: Setting, network: Network, body: bytes, folder: Path) -> Iterator[tuple[Program, str]]:
        """Run it alone until the context ends; yields the program and HOST:PORT, when it answers.

        Args:
            setting: to serve with.
            network: to serve.
            body: a request that it must answer.
            folder: an empty one, for what it writes.
        """
        plan = Plan(free_addresses().http, network, setting)
        environment = {**PRIVATE, "BENTOML_HOME": str(folder / "bentoml"), **plan.environment()}
        command = [str(PYTHON), *self.command(plan.port)]
        with Program(f"{self.name}, {setting}", command, environment, folder) as program:
            sent, headers = request_of(setting, body)
            program.wait_until_it_answers(plan.port, PATH, sent, headers)
            yield program, f"127.0.0.1:{plan.port}"


def request_of(setting: Setting, body: bytes) -> tuple[bytes, Mapping[str, str]]:
    """Return body and headers of a request: the bytes as they are, except where BentoML batches."""
    if setting.options.get("input") != "multipart":
        return body, {"Content-Type": "application/octet-stream"}
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="image"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    whole = head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()
    return whole, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def all_peers(cores: int) -> list[Peer]:
    """Return the peers, with the settings that are tried for so many cores."""
    return [
        Peer("LitServe, OpenVINO", "litserve", _litserve, _litserve_settings(cores, "openvino")),
        Peer("LitServe, ONNX Runtime", "litserve", _litserve, _litserve_settings(cores, "onnxruntime")),
        Peer("BentoML, OpenVINO", "bentoml", _bentoml, _bentoml_settings(cores)),
        Peer("Ray Serve, OpenVINO", "ray", _ray, _ray_settings(cores)),
    ]


def installed(peers: Sequence[Peer]) -> dict[str, str]:
    """Return the versions of the peers' packages and of what they compute with.

    Raises:
        BenchError: one is not installed; says how to install it.
    """
    wanted = [*dict.fromkeys(peer.package for peer in peers), "openvino", "onnxruntime", "opencv-python-headless"]
    code = (
        "import importlib.metadata as m, json, sys\n"
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    )
    versions: dict[str, str] = {}
    if PYTHON.is_file():
        result = subprocess.run([str(PYTHON), "-I", "-c", code], capture_output=True, text=True)
        versions = json.loads(result.stdout) if result.returncode == 0 else {}
    if missing := [name for name in wanted if name not in versions]:
        raise BenchError(f"{' and '.join(missing)} not installed for the peers' servers: run `make .bench/peers`")
    return {name: versions[name] for name in wanted}


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _shapes(count: int, engine: Engine) -> tuple[Setting, Setting]:
    """Return a worker for each core, with one thread each, and one worker with all threads for an image at a time."""
    return Setting(engine, count, 1, 1), Setting(engine, 1, 1, count)


def _litserve_settings(count: int, engine: Engine) -> list[Setting]:
    each, one = _shapes(count, engine)
    return [
        each,
        replace(each, options={"fast_queue": True}),
        one,
        Setting(engine, 1, count, count, batch=2 * count),
    ]


def _bentoml_settings(count: int) -> list[Setting]:
    each, one = _shapes(count, "openvino")
    several = Setting("openvino", 1, count, count)
    return [
        replace(each, options={"input": "file"}),
        replace(each, options={"input": "asgi"}),
        replace(one, options={"input": "asgi"}),
        replace(several, options={"input": "asgi"}),
        replace(several, batch=2 * count, options={"input": "multipart"}),
    ]


def _ray_settings(count: int) -> list[Setting]:
    each, one = _shapes(count, "openvino")
    several = Setting("openvino", 1, count, count)
    # HAProxy before it, RAY_SERVE_ENABLE_HA_PROXY, is left out: it listens on every address of the machine.
    optimised = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
    return [
        each,
        replace(each, environment=optimised),
        one,
        replace(several, environment=optimised),
        replace(several, batch=2 * count, environment=optimised),
    ]


def _litserve(port: int) -> Sequence[str]:
    return ("-m", "bench.peers.with_litserve")


def _ray(port: int) -> Sequence[str]:
    return ("-m", "bench.peers.with_ray")


def _bentoml(port: int) -> Sequence[str]:
    return ("-m", "bentoml", "serve", "bench.peers.with_bentoml:Peer", "--host", "127.0.0.1", "--port", str(port))
