"""What a line has measured: counts, bytes and latencies of each camera, in memory of a fixed size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from triton_yolo.clients.stream.costs import Kind
from triton_yolo.clients.stream.frames import Result, ResultState, Sent
from triton_yolo.clients.stream.verdict import Verdict

LOWEST, PER_DECADE, DECADES = 0.01, 230, 7  # of the histogram, in milliseconds: 1 % from one bin to the next


class Latencies:
    """A histogram of latencies whose quantiles are within 1 %."""

    def __init__(self) -> None:
        """Begin empty."""
        self._bins = np.zeros(PER_DECADE * DECADES + 1, np.int64)
        self._count, self._sum, self._squares = 0, 0.0, 0.0

    def add(self, milliseconds: float) -> None:
        """Add one latency."""
        place = round(math.log10(max(milliseconds, LOWEST) / LOWEST) * PER_DECADE)
        self._bins[min(place, len(self._bins) - 1)] += 1
        self._count, self._sum = self._count + 1, self._sum + milliseconds
        self._squares += milliseconds * milliseconds

    def quantile(self, share: float) -> float | None:
        """Return the latency that this share stays within, in milliseconds; None if there are none."""
        if not self._count:
            return None
        place = int(np.searchsorted(self._bins.cumsum(), share * self._count))
        return float(LOWEST * 10 ** (place / PER_DECADE))

    def as_dict(self) -> dict[str, float | None]:
        """Return p50, p99 and standard deviation in milliseconds, ready for JSON."""
        if not self._count:
            return {"p50": None, "p99": None, "std": None}
        variance = self._squares / self._count - (self._sum / self._count) ** 2
        values = {"p50": self.quantile(0.5), "p99": self.quantile(0.99), "std": math.sqrt(max(0.0, variance))}
        return {name: value if value is None else round(value, 3) for name, value in values.items()}

    @classmethod
    def together(cls, parts: Iterable[Latencies]) -> Latencies:
        """Return the latencies of several cameras as one."""
        whole = cls()
        for part in parts:
            whole._bins += part._bins
            whole._count, whole._sum = whole._count + part._count, whole._sum + part._sum
            whole._squares += part._squares
        return whole


class CameraStatistics:
    """What one camera's results add up to.

    Attributes:
        latencies: from capture to answer.
        states: results by state.
        detections: how many boxes were found.
        frames: frames that reached the line's process.
        nbytes: their bytes.
        kinds: how frames were sent of which only changes are; empty for other cameras.
        sent_bytes: bytes of what was sent of those.
        raw_bytes: bytes of those frames as they were captured.
        coded_bytes: bytes of those that were sent whole, as a JPEG or PNG.
        boards: verdicts on boards, where boards are told apart.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.latencies, self.states = Latencies(), Counter[ResultState]()
        self.detections = self.frames = self.nbytes = self.sent_bytes = self.raw_bytes = self.coded_bytes = 0
        self.kinds, self.boards = Counter[str](), Counter[Verdict]()

    def seen(self, nbytes: int) -> None:
        """Count a frame that was taken from the ring."""
        self.frames, self.nbytes = self.frames + 1, self.nbytes + nbytes

    def sent(self, sent: Sent, nbytes: int) -> None:
        """Count a frame of which only changes are sent.

        Args:
            sent: what was sent of it.
            nbytes: of the frame as it was captured.
        """
        self.kinds[sent.kind] += 1
        self.sent_bytes += sent.nbytes
        self.raw_bytes += nbytes
        self.coded_bytes += sent.nbytes if sent.kind == Kind.CODED_FRAME.value else 0

    def judged(self, result: Result) -> None:
        """Count a result."""
        self.states[result.state] += 1
        if result.state == ResultState.INSPECTED and result.latency_ms is not None:
            self.latencies.add(result.latency_ms)
            self.detections += len(result.detections or ())

    def as_dict(self) -> dict[str, Any]:
        """Return latencies, bytes and counts of boards as a report has them."""
        return {
            "latency_ms": self.latencies.as_dict(),
            "bytes_per_frame": round(self.nbytes / self.frames) if self.frames else None,
            "detections": self.detections,
            **({"sent": self._sent()} if self.kinds else {}),
            **({"boards": boards_as_dict(self.boards)} if self.boards else {}),
        }

    def _sent(self) -> dict[str, Any]:
        """Return frames by the way that they were sent, the share of each, and bytes.

        Beside them, which share that is of the frames' bytes as they were captured, and of those of whole frames as
        JPEGs or PNGs; None before one was sent so.
        """
        count = self.kinds.total()
        coded = self.kinds[Kind.CODED_FRAME.value]
        whole = self.coded_bytes / coded if coded else 0.0
        shares = {kind: round(number / count, 4) for kind, number in self.kinds.most_common()}
        return {
            "frames": dict(self.kinds),
            "shares": shares,
            "bytes": self.sent_bytes,
            "bytes_per_frame": round(self.sent_bytes / count),
            "raw_bytes": self.raw_bytes,
            "share_of_raw": round(self.sent_bytes / self.raw_bytes, 5) if self.raw_bytes else None,
            "coded_frame_bytes": round(whole) if whole else None,
            "share_of_coded": round(self.sent_bytes / count / whole, 5) if whole else None,
        }


def boards_as_dict(boards: Counter[Verdict]) -> dict[str, int]:
    """Return how many boards have each verdict, as a report has them."""
    return {verdict.name.lower(): boards[verdict] for verdict in Verdict}
