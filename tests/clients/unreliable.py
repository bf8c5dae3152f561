"""A way to a server that is not to be relied on."""

from __future__ import annotations

from collections import Counter

import numpy as np

from triton_yolo.clients import DetectionError
from triton_yolo.clients.protocols.base import Call, Json, Protocol, Tensors
from triton_yolo.clients.request import Request


class Unreliable(Protocol):
    """A way to the real server on which requests and answers are lost, doubled and late."""

    def __init__(self, real: Protocol, seed: int) -> None:
        self.real, self.random, self.held = real, np.random.default_rng(seed), list[Request]()
        self.faults: Counter[str] = Counter()

    def infer(self, request: Request) -> Tensors:
        kind = ["sound", "sound", "sound", "lost", "answer lost", "doubled", "late"][self.random.integers(7)]
        self.faults[kind] += 1
        if kind == "lost":
            raise DetectionError("no answer in time")
        if kind == "late":
            self.held.append(request)
            raise DetectionError("no answer in time")
        if self.random.integers(2):
            self.release()
        answer = self.real.infer(request)
        if kind == "doubled":
            self.send(request)
        if kind == "answer lost":
            raise DetectionError("no answer in time")
        if self.random.integers(2):
            self.release()
        return answer

    def release(self) -> None:
        """Send what is late, and nobody waits for its answer."""
        while self.held:
            self.send(self.held.pop(0))

    def send(self, request: Request) -> None:
        try:
            self.real.infer(request)
        except DetectionError:
            self.faults["refused"] += 1

    def call(self, call: Call) -> Json:
        return self.real.call(call)

    def close(self) -> None:
        self.real.close()
