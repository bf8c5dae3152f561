"""What the GPU's own counters say while a rung is measured, by ``nvidia-smi``."""

from __future__ import annotations

import statistics
import subprocess
from functools import cache
from typing import Any

MEBIBYTE = 1 << 20


class Counters:
    """Samples a GPU once a second; a context manager that does nothing without one."""

    def __init__(self, there: bool) -> None:
        """Prepare.

        Args:
            there: whether there is a GPU to look at.
        """
        self._there = there
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []

    def __enter__(self) -> Counters:
        """Begin: use of the GPU (sm), its memory (fb), and megabytes a second over PCIe to and from it (NVML)."""
        if self._there:
            command = ["nvidia-smi", "dmon", "-i", "0", "-s", "umt", "-d", "1", "--format", "csv,noheader,nounit"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        if self._process:
            self._process.terminate()
            self._lines = self._process.communicate()[0].splitlines()

    def figures(self, frames_per_second: float) -> dict[str, Any]:
        """Return the medians of the samples; those that the driver does not tell are left out.

        Args:
            frames_per_second: by which bytes a second become bytes a frame.
        """
        rows = [line.replace(",", " ").split() for line in self._lines if not line.startswith("#")]
        columns: dict[str, list[float]] = {}
        for row in rows[2:-1]:  # without the start and the end
            for name, value in zip(_names(), row, strict=False):  # a row may be cut off
                if value.replace(".", "").isdigit():
                    columns.setdefault(name, []).append(float(value))
        found = {name: statistics.median(values) for name, values in columns.items()}
        figures: dict[str, Any] = {}
        if "sm" in found:
            figures["gpu_use_percent"] = found["sm"]
        if "fb" in found:
            figures["gpu_memory_bytes"] = found["fb"] * MEBIBYTE
        if "rxpci" in found and "txpci" in found and frames_per_second:
            figures["gpu_bus_bytes_per_frame_counted"] = round(
                (found["rxpci"] + found["txpci"]) * MEBIBYTE / frames_per_second
            )
        return figures


@cache
def _names() -> list[str]:
    """Return the names of the columns that nvidia-smi prints."""
    command = ["nvidia-smi", "dmon", "-i", "0", "-s", "umt", "-c", "1"]
    told = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return told[0].lstrip("# ").split() if told else []
