"""Drives perf_analyzer, the load generator that users of Triton know, and reads its CSV."""

from __future__ import annotations

import base64
import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.errors import BenchError

# The newest perf-analyzer needs glibc 2.38. On older systems the one in the wheel of an older tritonclient does.
FALLBACK = Path(__file__).resolve().parents[1] / ".bench" / "bin" / "perf_analyzer"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


@dataclass(frozen=True)
class Load:
    """What perf_analyzer saw at one number of requests in flight.

    Attributes:
        concurrency: requests in flight.
        throughput: inferences a second.
        p50, p90, p95, p99: latency in milliseconds.
    """

    concurrency: int
    throughput: float
    p50: float
    p90: float
    p95: float
    p99: float


class PerfAnalyzer:
    """A perf_analyzer that starts on this machine."""

    def __init__(self, folder: Path) -> None:
        """Find it.

        Args:
            folder: an existing folder for links to the libraries that it needs.

        Raises:
            BenchError: there is none that starts here.
        """
        package = importlib.util.find_spec("pytriton")
        places = package.submodule_search_locations if package else None
        for name, pattern in LIBRARIES.items():
            for place in places or ():
                for library in Path(place).parent.glob(f"nvidia_pytriton.libs/{pattern}"):
                    (folder / name).symlink_to(library)
        self.environment = {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
        for path in (Path(sys.executable).parent / "perf_analyzer", FALLBACK):
            if path.is_file() and self._starts(path):
                self.path = path
                return
        raise BenchError("no perf_analyzer starts on this machine; `make bench` installs one that does")

    def _starts(self, path: Path) -> bool:
        path.chmod(path.stat().st_mode | 0o111)
        try:
            result = subprocess.run([path, "--version"], env=self.environment, capture_output=True, timeout=60)
        except OSError:
            return False
        return result.returncode == 0

    @property
    def version(self) -> str:
        """The package that it came in; the program's own --version leaves the number out."""
        return "of tritonclient 2.50.0" if self.path == FALLBACK else f"of perf-analyzer {version('perf-analyzer')}"

    def run(self, url: str, model: str, data: Path, levels: str, seconds: float, table: Path) -> list[Load]:
        """Load a model and keep perf_analyzer's CSV.

        Args:
            url: HOST:PORT of the gRPC endpoint.
            model: name of the model.
            data: input file, see write_data().
            levels: requests in flight, as perf_analyzer takes them: start:end:step.
            seconds: length of one measurement window; each level has three.
            table: CSV file to write.

        Returns:
            one entry a level, lowest first.

        Raises:
            BenchError: with what perf_analyzer said.
        """
        command = [
            str(self.path),
            *("-m", model, "-u", url, "-i", "grpc", "--input-data", str(data), "--concurrency-range", levels),
            *("--measurement-interval", str(int(seconds * 1000)), "--percentile", "99", "-f", str(table)),
            # Three windows are enough; the comparison's own rounds tell how steady the machine is.
            *("--max-trials", "3", "--stability-percentage", "999"),
        ]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if result.returncode or not table.is_file():
            raise BenchError(f"perf_analyzer failed: {(result.stderr or result.stdout).strip()[-500:]}")
        return read_table(table)


def write_data(images: Sequence[bytes], path: Path) -> None:
    """Write encoded images as perf_analyzer's input data; it sends them in turn."""
    entries = [{"image": {"content": {"b64": base64.b64encode(i).decode()}, "shape": [len(i)]}} for i in images]
    path.write_text(json.dumps({"data": entries}))


def read_table(path: Path) -> list[Load]:
    """Read perf_analyzer's CSV; its times are microseconds."""
    with path.open(newline="") as file:
        rows = [
            Load(
                int(row["Concurrency"]),
                float(row["Inferences/Second"]),
                *(float(row[f"p{level} latency"]) / 1000 for level in (50, 90, 95, 99)),
            )
            for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.concurrency)
