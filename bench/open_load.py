"""Requests that are sent at their time, whatever became of those before, and how each one ended."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from bench.errors import BenchError
from triton_yolo.contract import URGENT

CALL = "/inference.GRPCInferenceService/ModelInfer"
SECONDS = 120.0  # no request may take longer
NOT_RUN = ("Exceeds maximum queue size", "Request timeout expired")  # Triton's words to what it refuses under a load


@dataclass(frozen=True)
class End:
    """How a request ended.

    Attributes:
        sent: when, in seconds of time.perf_counter.
        seconds: that it took.
        refused: the server's words where it took no request; empty where it answered.
    """

    sent: float
    seconds: float
    refused: str


def requests(images: Sequence[bytes], priority: int, queue_timeout: float | None = None) -> list[bytes]:
    """Return requests to the ensemble "detect" as they go over gRPC.

    Args:
        images: encoded, one for each request.
        priority: 1 or 2.
        queue_timeout: longest time in a queue of the server, in seconds; the server's where None.
    """
    made = []
    for image in images:
        message = service_pb2.ModelInferRequest(model_name="detect", raw_input_contents=[image])
        message.inputs.add(name="image", datatype="UINT8", shape=[1, len(image)])
        message.parameters["priority"].uint64_param = priority
        message.parameters[URGENT].bool_param = priority == 1  # as the Python client does
        if queue_timeout is not None:
            message.parameters["timeout"].int64_param = round(1e6 * queue_timeout)
        made.append(message.SerializeToString())
    return made


class OpenLoad:
    """Sends requests of one kind at a steady rate in a thread; a context manager, which waits for all ends.

    Attributes:
        ends: of the requests, in the order in which they ended.
    """

    def __init__(self, url: str, messages: Sequence[bytes], per_second: float) -> None:
        """Prepare.

        Args:
            url: HOST:PORT of gRPC.
            messages: sent in turn.
            per_second: how many.
        """
        self.ends: list[End] = []
        self._channel = grpc.insecure_channel(url, [("grpc.use_local_subchannel_pool", 1)])
        self._call: Any = self._channel.unary_unary(CALL)
        self._messages, self._pause = messages, 1 / per_second
        self._stop, self._inside, self._changed = threading.Event(), 0, threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> OpenLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with self._changed:
            self._changed.wait_for(lambda: not self._inside)
        self._channel.close()

    def stop(self) -> None:
        """Send no more.

        Raises:
            BenchError: a request ended in another way than an answer or a refusal under the load.
        """
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise BenchError(f"a request failed: {self._failure}")

    def _send(self) -> None:
        begin, number = time.perf_counter(), 0
        while not self._stop.is_set() and self._failure is None:
            due = begin + number * self._pause
            if (wait := due - time.perf_counter()) > 0:
                self._stop.wait(wait)
                continue
            with self._changed:
                self._inside += 1
            sent = time.perf_counter()
            future = self._call.future(self._messages[number % len(self._messages)], timeout=SECONDS)
            future.add_done_callback(partial(self._ended, sent))
            number += 1

    def _ended(self, sent: float, future: Any) -> None:
        seconds, words = time.perf_counter() - sent, ""
        if future.code() is not grpc.StatusCode.OK:
            words = next((one for one in NOT_RUN if one in (future.details() or "")), "")
            if not words:
                self._failure = self._failure or BenchError(f"{future.code().name}: {future.details()}")
        with self._changed:
            self.ends.append(End(sent, seconds, words))
            self._inside -= 1
            self._changed.notify_all()


def milliseconds(ends: Sequence[End]) -> dict[str, float | int]:
    """Return how many there were, and percentiles of what they took, in milliseconds; nothing else where none."""
    if not ends:
        return {"count": 0}
    p50, p99, most = np.percentile([1e3 * end.seconds for end in ends], (50, 99, 100))
    return {"count": len(ends), "p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "most_ms": round(most, 1)}


def summary(ends: Sequence[End]) -> dict[str, Any]:
    """Return how requests ended: answered, and refused by the server's words."""
    words = Counter(end.refused for end in ends if end.refused)
    return {
        "sent": len(ends),
        "answered": milliseconds([end for end in ends if not end.refused]),
        "refused": {one: milliseconds([end for end in ends if end.refused == one]) for one in words},
    }
