"""What a peer's server is told: the network that it serves, and the settings that it serves it with.

Imports little: the servers, which run with packages of their own, read it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.thresholds import Thresholds

VARIABLE = "TRITON_YOLO_PEER"  # of the environment, with a Plan as JSON
PATH = "/predict"  # of every peer's endpoint

Engine = Literal["openvino", "onnxruntime"]


@dataclass(frozen=True)
class Setting:
    """How a peer serves.

    Attributes:
        engine: what computes the network.
        workers: processes that detect.
        at_once: images that one of them works on at a time, each in a thread.
        threads: of a worker's network, for all of its images together.
        batch: most requests that the server gives to a worker together; 1: it does not batch.
        options: of this server alone, with the words for them that the results have.
        environment: variables that the server's documentation names.
    """

    engine: Engine
    workers: int
    at_once: int
    threads: int
    batch: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the setting in words."""
        images = f", {self.at_once} images at once" if self.at_once > 1 else ""
        parts = [f"{_number(self.workers, 'worker')} of {_number(self.threads, 'inference thread')}{images}"]
        parts += [f"batches of up to {self.batch}"] if self.batch > 1 else []
        parts += [f"{name}={value}" for name, value in (self.options | self.environment).items()]  # type: ignore[operator]
        return ", ".join(parts)


@dataclass(frozen=True)
class Network:
    """What all peers serve.

    Attributes:
        graph: path of the ONNX file.
        letterbox: how images are fitted into its input.
        thresholds: of the suppression.
        most: detections of an image, at most.
        frame: height and width of the raw RGB frames that the server takes; None for JPEGs.
    """

    graph: str
    letterbox: Letterbox
    thresholds: Thresholds
    most: int
    frame: tuple[int, int] | None = None


@dataclass(frozen=True)
class Plan:
    """All that a server is told; it listens on 127.0.0.1."""

    port: int
    network: Network
    setting: Setting

    def environment(self) -> dict[str, str]:
        """Return the variables of the server's process."""
        return {**self.setting.environment, VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Plan:
        """Return the plan of this process."""
        content = json.loads(os.environ[VARIABLE])
        network = content["network"]
        frame = network["frame"]
        return cls(
            content["port"],
            Network(
                network["graph"],
                Letterbox(**network["letterbox"]),
                Thresholds(**network["thresholds"]),
                network["most"],
                (frame[0], frame[1]) if frame else None,
            ),
            Setting(**content["setting"]),
        )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"
