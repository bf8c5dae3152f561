"""What a result was measured on, and when: the part ``measured_on`` of each file of results."""

from __future__ import annotations

from datetime import date

from triton_yolo.machine import describe_gpu, describe_machine
from triton_yolo.server.runtimes.base import Device


def measured_on(device: Device = "cpu") -> dict[str, object]:
    """Return processor, cores, memory, versions and the date; with a GPU, its name and driver too.

    Args:
        device: where the models computed.

    Raises:
        TritonYoloError: it is a GPU, and there is none.
    """
    gpu = describe_gpu() if device == "gpu" else {}
    return {**describe_machine(), **gpu, "date": date.today().isoformat()}
