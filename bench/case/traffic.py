"""How many bytes of a frame cross the bus between host and GPU, by the account of the pipeline."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.case.repositories import FIRST, MODEL
from bench.case.rungs import Rung
from bench.case.ways import Setting
from bench.stages import tensor_bytes
from triton_yolo.repository import read_config
from triton_yolo.server.runtimes.base import Device


def bus_bytes(rung: Rung, setting: Setting, repository: Path, device: Device) -> int:
    """Return the bytes that cross the bus for a frame: what goes to the GPU, and the boxes that come back.

    Args:
        rung: the rung.
        setting: of its client.
        repository: that is served.
        device: of the server; on a CPU nothing crosses.
    """
    if device == "cpu":
        return 0
    _, height, width = setting.shape
    network = read_config(repository / (MODEL if rung.repository == FIRST else "yolo") / "config.pbtxt")
    back = sum(tensor_bytes(tensor) for tensor in network.output)
    size = sum(map(tensor_bytes, network.input))
    to_gpu = {
        "first_encoded": size,
        "first_raw": size,
        "graph_encoded": size,
        "graph_raw": size,
        "bytes": height * width * 3,
        "shared": height * width * 3,
        "bayer": height * width,
        "tiles": height * width * 3,  # the whole frame, from where the server keeps it
    }
    jpeg = round(statistics.mean(Path(path).stat().st_size for path in setting.jpegs))
    return to_gpu.get(rung.kind, jpeg) + back
