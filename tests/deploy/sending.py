"""What the tests of this folder send."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import ROOT

BOARD = ROOT / "deploy" / "board.jpg"
UNAVAILABLE = "StatusCode.UNAVAILABLE"


def image(path: Path = BOARD) -> tritonclient.grpc.InferInput:
    """A file as one request's input of `detect`."""
    return encoded(path.read_bytes())


def encoded(content: bytes) -> tritonclient.grpc.InferInput:
    values = np.frombuffer(content, np.uint8)[None]
    tensor = tritonclient.grpc.InferInput("image", values.shape, "UINT8")
    tensor.set_data_from_numpy(values)
    return tensor


def frames(count: int) -> tritonclient.grpc.InferInput:
    """So many grey frames as one request's input of `detect_frames`."""
    values = np.full((count, 96, 128, 3), 114, np.uint8)
    tensor = tritonclient.grpc.InferInput("frames", values.shape, "UINT8")
    tensor.set_data_from_numpy(values)
    return tensor


def at_once(port: int, count: int, **options: int) -> Counter[str]:
    """Send requests to `detect` without waiting for answers, and count how they end.

    Returns:
        "ok", or gRPC's status code with the server's message, by number.

    Raises:
        AssertionError: not all are answered within five minutes.
    """
    ends: Counter[str] = Counter()
    lock, done = threading.Lock(), threading.Event()

    def end(result: object, error: InferenceServerException | None) -> None:
        with lock:
            ends["ok" if error is None else f"{error.status()} {error.message()}"] += 1
            if ends.total() == count:
                done.set()

    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        for _ in range(count):
            client.async_infer("detect", [image()], end, client_timeout=300, **options)
        assert done.wait(300), f"{count - ends.total()} of {count} requests hang"
    return ends
