"""Requests that are wrong in another way than their image."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.server.pictures import picture, png
from tests.server.wire import Client, concurrently, refusal, same

IMAGE = png(picture(0, 60, 80))
BYTES = np.frombuffer(IMAGE, np.uint8)[None]
FRAME = picture(0, 60, 80)[None]
NAN = float("nan")


@pytest.mark.parametrize(
    ("model", "inputs", "texts"),
    [
        ("detect", {"image": BYTES.astype(np.float32)}, ["data-type is 'FP32'", "expects 'UINT8'", "'image'"]),
        # Without the leading batch dimension the first one is taken for it.
        ("detect", {"image": BYTES[0]}, ["batch-size must be <= 32 for 'detect'"]),
        ("detect", {"picture": BYTES}, ["unexpected inference input 'picture' for model 'detect'"]),
        ("detect_frames", {"frames": FRAME[..., :1]}, ["unexpected shape for input 'frames'", "[-1,-1,-1,3]"]),
        ("detect_frames", {"frames": FRAME[0, :9]}, ["unexpected shape for input 'frames'", "[-1,-1,-1,3]"]),
        ("detect_frames", {"frames": FRAME.astype(np.int8)}, ["data-type is 'INT8'", "expects 'UINT8'"]),
        ("detect_frames", {"image": FRAME}, ["unexpected inference input 'image' for model 'detect_frames'"]),
        ("detects", {"image": BYTES}, ["unknown model: 'detects'"]),
    ],
    ids=["type", "no batch", "name", "grey frame", "one frame", "signed frame", "other model's input", "model"],
)
def test_a_wrong_tensor_gets_an_error_that_names_it(
    cells: Client, model: str, inputs: dict[str, np.ndarray], texts: list[str]
) -> None:
    answer = refusal(lambda: cells.ask(model, None, **inputs))
    for text in texts:
        assert text in answer
    assert cells.ready()


def test_an_input_that_is_missing_is_named(cells: Client) -> None:
    assert "expected 1 inputs but got 0 inputs for model 'detect'" in refusal(lambda: cells.ask("detect"))


@pytest.mark.parametrize("shape", [(1, 0, 5, 3), (1, 5, 0, 3)], ids=str)
def test_a_frame_without_pixels_is_refused(cells: Client, shape: tuple[int, ...]) -> None:
    text = refusal(lambda: cells.detect_frames(np.zeros(shape, np.uint8)))
    assert f"frames has no pixels: {shape[1:]}" in text


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize("value", [-0.01, 1.01, NAN, float("inf"), "high", "", True], ids=str)
def test_a_threshold_that_is_no_number_from_0_to_1_is_refused_over_grpc(cells: Client, name: str, value: Any) -> None:
    assert f"{name} must be a number from 0 to 1, got" in cells.refusal(IMAGE, **{name: value})


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
@pytest.mark.parametrize("value", [-1, 2.5, "NaN", "high", False], ids=str)
def test_a_threshold_that_is_no_number_from_0_to_1_is_refused_over_http(cells: Client, name: str, value: Any) -> None:
    tensor = {"name": "image", "shape": list(BYTES.shape), "datatype": "UINT8", "data": BYTES[0].tolist()}
    status, answer = cells.post("detect", {"parameters": {name: value}, "inputs": [tensor]})
    assert status == 400
    assert f"{name} must be a number from 0 to 1, got" in answer["error"]


def test_an_http_request_with_good_thresholds_is_answered(cells: Client) -> None:
    tensor = {"name": "image", "shape": list(BYTES.shape), "datatype": "UINT8", "data": BYTES[0].tolist()}
    status, answer = cells.post("detect", {"parameters": {"score_threshold": 0.4}, "inputs": [tensor]})
    assert status == 200
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    wanted = cells.detect(IMAGE, score_threshold=0.4)
    assert outputs["num_detections"] == wanted["num_detections"][0].tolist()
    np.testing.assert_allclose(outputs["boxes"], wanted["boxes"].ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "image is empty; send the bytes of one JPEG or PNG"),
        (b"{", "failed to parse the request JSON buffer"),
        (b"[]", "Unable to parse 'inputs'"),
        (b'{"inputs": 3}', "Unable to parse 'inputs'"),
        (b"\xff\xd8\xff", "failed to parse the request JSON buffer"),  # an image where JSON was announced
    ],
    ids=repr,
)
def test_an_http_body_that_is_no_request_is_refused(cells: Client, body: bytes, text: str) -> None:
    answer = exchange(cells, body, len(body)).decode()
    assert answer.startswith(("HTTP/1.1 400 ", "HTTP/1.1 500 "))  # Triton says 500 to what is no JSON
    assert text in answer
    assert cells.ready()


def exchange(client: Client, body: bytes, claimed: int, finish: bool = True) -> bytes:
    """What the server answers to an inference over HTTP whose Content-Length may lie."""
    address = client.addresses
    head = f"POST /v2/models/detect/infer HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {claimed}\r\n"
    with socket.create_connection((address.host, address.http), timeout=10) as connection:
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
        if not finish:
            return b""
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_http_bodies_that_are_cut_off_harm_nobody(cells: Client) -> None:
    wanted = cells.detect(IMAGE, score_threshold=0.4)

    def send(i: int) -> bool:
        if i % 2:
            return exchange(cells, b'{"inputs": [', 5_000_000, finish=False) == b""
        return same(cells.detect(IMAGE, score_threshold=0.4), wanted)

    assert all(concurrently(send, range(100)))
    assert cells.ready()


def test_bad_thresholds_fail_alone_among_requests_of_one_batch(cells: Client) -> None:
    wanted = cells.detect(IMAGE, score_threshold=0.4)
    bad: list[Callable[[], object]] = [lambda: cells.refusal(IMAGE, score_threshold=7)] * 20

    def send(i: int) -> bool:
        if i < len(bad):
            return "score_threshold must be a number from 0 to 1, got 7" in str(bad[i]())
        return same(cells.detect(IMAGE, score_threshold=0.4), wanted)

    assert all(concurrently(send, np.random.default_rng(0).permutation(80).tolist(), threads=24))
