"""The TLS profile: a real nginx with the project's configuration in front of a real server."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import ROOT
from tests.deploy.conftest import MeasuredServer, tool
from tests.deploy.sending import BOARD, frames, image
from tests.support.certificates import Authority, Certificate
from triton_yolo.clients import Access, Detector, ServerUnavailable
from triton_yolo.contract import WANTS_CERTIFICATE
from triton_yolo.server.process import free_addresses

CONFIG = ROOT / "deploy" / "proxy" / "nginx.conf"


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and the certificate to trust."""

    https: int
    grpc: int
    certificate: Path
    own: Certificate | None = None  # the client's

    def get(self, path: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        """The status of an answer."""
        request = urllib.request.Request(f"https://localhost:{self.https}{path}", content, headers or {})
        trust = ssl.create_default_context(cafile=str(self.certificate))
        if self.own:
            trust.load_cert_chain(self.own.certificate, self.own.key)
        try:
            with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def client(self) -> tritonclient.grpc.InferenceServerClient:
        return tritonclient.grpc.InferenceServerClient(
            f"localhost:{self.grpc}",
            ssl=True,
            root_certificates=str(self.certificate),
            private_key=self.own and str(self.own.key),
            certificate_chain=self.own and str(self.own.certificate),
        )


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for the proxy and for clients."""
    return Authority(tmp_path_factory.mktemp("plant"), "plant")


@pytest.fixture(scope="module")
def proxy(measured: MeasuredServer, plant: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Nginx with the project's configuration at other addresses, and a certificate of this run alone."""
    with running(measured, plant, tmp_path_factory.mktemp("proxy")) as one:
        yield one


@contextmanager
def running(measured: MeasuredServer, plant: Authority, folder: Path) -> Iterator[Proxy]:
    """A proxy with a certificate of the authority; ``folder`` is what TLS_DIR is."""
    program = tool("nginx", "apt-get install nginx-light")
    own = plant.vouch("localhost")
    shutil.copy(own.key, folder / "privkey.pem")
    shutil.copy(own.certificate, folder / "fullchain.pem")
    free = free_addresses()
    config = CONFIG.read_text()
    for old, new in [
        ("triton:8000 resolve", f"127.0.0.1:{measured.addresses.http}"),
        ("triton:8001 resolve", f"127.0.0.1:{measured.addresses.grpc}"),
        ("listen 8443 ", f"listen 127.0.0.1:{free.http} "),
        ("listen 8444 ", f"listen 127.0.0.1:{free.grpc} "),
        ("/tmp/", f"{folder}/"),
        ("/tls/", f"{folder}/"),
        ("worker_processes auto", "worker_processes 1"),
    ]:
        assert old in config
        config = config.replace(old, new)
    (folder / "nginx.conf").write_text(config)
    command = [program, "-p", folder, "-c", folder / "nginx.conf", "-g", "daemon off;"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for(free.http, process, folder / "log")
            yield Proxy(free.http, free.grpc, plant.certificate)
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until somebody listens."""
    for _ in range(100):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def test_inference_goes_through_https(proxy: Proxy) -> None:
    headers = {"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"}
    assert proxy.get("/v2/models/detect/infer", BOARD.read_bytes(), headers) == 200


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/detect", "/v2/models/detect/config"]
)
def test_health_and_metadata_go_through_https(proxy: Proxy, path: str) -> None:
    assert proxy.get(path) == 200


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v2/systemsharedmemory/status", None),
        ("/v2/systemsharedmemory/region/a/register", b"{}"),
        ("/v2/cudasharedmemory/status", None),
        ("/v2/repository/index", b""),
        ("/v2/repository/models/detect/unload", b""),
        ("/v2/models/detect/trace/setting", None),
        ("/v2/trace/setting", None),
        ("/v2/logging", None),
        ("/metrics", None),
        ("/", None),
    ],
)
def test_what_is_for_the_servers_own_machine_does_not_go_through_https(
    proxy: Proxy, path: str, content: bytes | None
) -> None:
    assert proxy.get(path, content) == 403


def test_inference_goes_through_grpc_with_tls(proxy: Proxy) -> None:
    with proxy.client() as client:
        assert client.is_server_ready()
        assert client.get_model_config("detect").config.name == "detect"
        assert client.infer("detect", [image()]).as_numpy("num_detections")[0, 0] > 0
        assert client.infer("detect_frames", [frames(8)]).as_numpy("boxes").shape == (8, 100, 4)


def test_a_stream_goes_through_grpc_with_tls(proxy: Proxy) -> None:
    found: list[np.ndarray] = []
    with proxy.client() as client:
        client.start_stream(lambda result, error: found.append(error or result.as_numpy("num_detections")))
        for _ in range(2):
            client.async_stream_infer("detect_frames", [frames(1)])
        client.stop_stream()  # waits for the answers
    assert [answer.tolist() for answer in found] == [[[0]], [[0]]]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("a", "/a", 1),
        lambda client: client.get_cuda_shared_memory_status(),
        lambda client: client.get_model_repository_index(),
        lambda client: client.unload_model("detect"),
        lambda client: client.get_trace_settings(),
        lambda client: client.update_log_settings({"log_verbose_level": 1}),
    ],
)
def test_what_is_for_the_servers_own_machine_does_not_go_through_grpc(
    proxy: Proxy, call: Callable[[tritonclient.grpc.InferenceServerClient], object]
) -> None:
    with proxy.client() as client, pytest.raises(InferenceServerException) as refused:
        call(client)
    assert refused.value.status() == "StatusCode.PERMISSION_DENIED"


@pytest.fixture(scope="module")
def guarded(measured: MeasuredServer, plant: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The same, which asks clients for certificates, as the configuration's first lines say."""
    folder = tmp_path_factory.mktemp("guarded")
    lines = [line[4:] for line in CONFIG.read_text().splitlines() if line.startswith("#   ssl_")]
    (folder / "clients.conf").write_text("\n".join(lines).replace("/tls/", f"{folder}/"))
    shutil.copy(plant.certificate, folder / "clients.pem")
    with running(measured, plant, folder) as one:
        yield one


def test_a_client_with_a_certificate_that_is_known_is_answered(guarded: Proxy, plant: Authority) -> None:
    own = plant.vouch("client")
    assert replace(guarded, own=own).get("/v2/health/ready") == 200
    with replace(guarded, own=own).client() as client:
        assert client.is_server_ready()
    for url in (f"grpcs://localhost:{guarded.grpc}", f"https://localhost:{guarded.https}"):
        with Detector(url, access=Access(plant.certificate, own.certificate, own.key)) as detector:
            assert len(detector.detect(BOARD))


@pytest.mark.parametrize("shown", ["none", "another authority's"])
def test_others_are_refused_with_words(guarded: Proxy, plant: Authority, tmp_path: Path, shown: str) -> None:
    own = Authority(tmp_path, "other").vouch("client") if shown != "none" else None
    assert replace(guarded, own=own).get("/v2/health/ready") == 401
    access = Access(plant.certificate, own.certificate, own.key) if own else Access(plant.certificate)
    for url in (f"grpcs://localhost:{guarded.grpc}", f"https://localhost:{guarded.https}"):
        with (
            Detector(url, access=access) as detector,
            pytest.raises(ServerUnavailable, match=WANTS_CERTIFICATE),
        ):
            detector.detect(BOARD)
