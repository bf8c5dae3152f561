from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from triton_yolo.clients import AsyncDetector, DetectionError, Detector, ServerBusy, ServerUnavailable
from triton_yolo.clients.errors import refused, unavailable
from triton_yolo.server.process import TritonServer

Kind = Literal["Detector", "AsyncDetector"]
FRAME = np.zeros((8, 8, 3), np.uint8)


def detect(kind: Kind, url: str, timeout: float = 5) -> None:
    """One detection of either kind of detector."""

    async def run() -> None:
        async with AsyncDetector(url, timeout=timeout) as detector:
            await detector.detect(FRAME)

    if kind == "AsyncDetector":
        asyncio.run(run())
    else:
        with Detector(url, timeout=timeout) as detector:
            detector.detect(FRAME)


both = pytest.mark.parametrize("kind", ["Detector", "AsyncDetector"])
protocols = pytest.mark.parametrize("scheme", ["", "grpc://", "http://"])


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@both
@protocols
def test_a_missing_server_is_named_with_the_way_to_start_one(kind: Kind, scheme: str) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServerUnavailable) as caught:
            detect(kind, scheme + address)

    shown = address if scheme != "http://" else scheme + address
    assert str(caught.value) == (
        f"the server at {shown} is not available (Connection refused); `triton-yolo serve` starts one"
    )


@both
@protocols
def test_a_host_that_is_not_there_is_named(kind: Kind, scheme: str) -> None:
    with pytest.raises(ServerUnavailable, match=r"nowhere\.invalid:8001 is not available"):
        detect(kind, f"{scheme}nowhere.invalid:8001")


@both
@protocols
def test_an_answer_that_does_not_come_ends_after_the_timeout(kind: Kind, scheme: str, silent: str) -> None:
    with pytest.raises(
        DetectionError, match=f"no answer from {'' if scheme == 'grpc://' else scheme}{silent} within 0.3 s"
    ):
        detect(kind, scheme + silent, timeout=0.3)


@both
def test_http_to_another_port_of_the_server_is_told(kind: Kind, server: TritonServer) -> None:
    for port in (server.addresses.grpc, server.addresses.metrics):
        with pytest.raises(DetectionError, match=f"something answers at http://127.0.0.1:{port}, but it is not Triton"):
            detect(kind, f"http://127.0.0.1:{port}")


@both
def test_grpc_to_the_http_port_is_told(kind: Kind, server: TritonServer) -> None:
    with pytest.raises(ServerUnavailable, match="is not available"):
        detect(kind, f"127.0.0.1:{server.addresses.http}")


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1:21", "http://", "://127.0.0.1:8001"])
@both
def test_an_address_of_another_kind_is_refused(kind: Kind, url: str) -> None:
    with pytest.raises(DetectionError, match="is no address of a server: give HOST:PORT for gRPC"):
        detect(kind, url)


@pytest.mark.parametrize(
    "message",
    [
        "image is empty",
        "in ensemble 'detect', image is empty",
        "[request id: <id_unknown>] image is empty",
        "in ensemble 'detect', Failed to process the request(s) for model instance 'nms_0_0', message: image is empty",
    ],
)
def test_tritons_own_words_are_taken_off_a_message(message: str) -> None:
    assert str(refused("127.0.0.1:8001", message)) == "image is empty"


def test_a_server_that_has_unloaded_its_models_is_shutting_down() -> None:
    error = refused("127.0.0.1:8001", "Request for unknown model: 'detect' has no available versions")
    assert isinstance(error, ServerUnavailable)
    assert str(error) == "the server at 127.0.0.1:8001 is shutting down"


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (
            "in ensemble 'detect', [request id: <id_unknown>] Exceeds maximum queue size",
            ServerBusy,
            "a queue of the server at here:1 is full: send fewer requests at a time, or try again later",
        ),
        ("in ensemble 'detect', Request timeout expired", ServerBusy, "longer than its queue_timeout"),
        (
            "in ensemble 'detect', Server is stopping, scheduler for model has stopped accepting new inference",
            ServerUnavailable,
            "^the server at here:1 is shutting down$",
        ),
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
            ServerUnavailable,
            r"here:1 is not available \(Connection refused\); `triton-yolo serve` starts one$",
        ),
        ("model: not loaded", ServerUnavailable, r"here:1 is not available \(model: not loaded\)"),
    ],
)
def test_a_server_that_takes_no_requests_says_why(message: str, kind: type, words: str) -> None:
    error = unavailable("here:1", message)

    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


def test_only_errors_of_an_image_are_named_after_it() -> None:
    assert str(DetectionError("image is empty").of("a.jpg")) == "a.jpg: image is empty"
    assert isinstance(ServerBusy("full").of("a.jpg"), ServerBusy)
    assert str(ServerBusy("full").of("a.jpg")) == "a.jpg: full"
    assert str(ServerUnavailable("gone").of("a.jpg")) == "gone"
    assert str(DetectionError("image is empty").of("")) == "image is empty"
