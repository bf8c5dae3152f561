"""What the page says of a camera: whether it is alive, its counts, and its figures of each second."""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from triton_yolo.clients.stream.frames import ResultState
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict

FROZEN_SECONDS = 3.0  # without a frame after which a camera is frozen, if its rate is not lower
FROZEN_PERIODS = 3.0  # of a camera whose rate is known
HISTORY = 300  # seconds of figures that are kept
MOST_NAMES = 64  # classes or reasons that are told apart; others are counted together
OTHERS = "others"
REMEMBERED = 1000  # failed frames of a camera whose board has no verdict yet

Point = tuple[int, int, int, float | None, float | None]


@dataclass
class Second:
    """What has happened since the last second's end."""

    inspected: int = 0
    failed: int = 0
    not_inspected: int = 0
    latencies: list[float] = field(default_factory=list)

    def point(self) -> Point:
        """Return frames inspected, failed and not inspected, and the latencies' median and 99 % in milliseconds."""
        times = sorted(self.latencies)
        middle = round(statistics.median(times), 2) if times else None
        high = round(times[math.ceil(0.99 * len(times)) - 1], 2) if times else None
        return (self.inspected, self.failed, self.not_inspected, middle, high)

    def add(self, verdict: FrameVerdict) -> None:
        """Count a frame."""
        result = verdict.result
        if result.state == ResultState.INSPECTED:
            self.inspected += 1
            if result.latency_ms is not None:
                self.latencies.append(result.latency_ms)
        self.failed += verdict.verdict == Verdict.FAIL
        self.not_inspected += verdict.verdict == Verdict.NOT_INSPECTED


@dataclass
class Counts:
    """Verdicts on boards, and their defects, since the start."""

    passed: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # why boards were not inspected
    defects: Counter[str] = field(default_factory=Counter)  # by class
    with_class: Counter[str] = field(default_factory=Counter)  # boards that have a defect of the class

    def add(self, board: BoardVerdict, defects: Counter[str]) -> None:
        """Count a board.

        Args:
            board: the verdict on it.
            defects: how many it has by class.
        """
        if board.verdict == Verdict.NOT_INSPECTED:
            _count(self.reasons, board.why.partition(":")[0])
        elif board.verdict == Verdict.PASS:
            self.passed += 1
        else:
            self.failed += 1
            for name, number in defects.items():
                _count(self.defects, name, number)
                _count(self.with_class, name)

    def as_dict(self) -> dict[str, Any]:
        """Return them ready for JSON; what was not inspected counts against the yield."""
        missed = sum(self.reasons.values())
        boards = self.passed + self.failed + missed
        return {
            "pass": self.passed,
            "fail": self.failed,
            "not_inspected": missed,
            "yield": self.passed / boards if boards else None,
            "reasons": dict(self.reasons.most_common()),
            "classes": {
                name: {"defects": count, "boards": self.with_class[name]} for name, count in self.defects.most_common()
            },
        }


class CameraView:
    """A camera as the page shows it.

    Attributes:
        name: its name.
        counts: since the start.
        history: figures of the last seconds.
    """

    def __init__(self, name: str, fps: float | None, triggered: bool, unchanged_after: float, now: float) -> None:
        """Begin.

        Args:
            name: its name.
            fps: frames a second; None where that is not known.
            triggered: whether it may be silent for any time.
            unchanged_after: seconds with the same pixels after which it is frozen.
            now: seconds of ``time.monotonic``.
        """
        self.name, self.counts, self.history = name, Counts(), deque[Point](maxlen=HISTORY)
        self._patience = max(FROZEN_SECONDS, FROZEN_PERIODS / fps if fps else 0.0)
        self._triggered, self._unchanged_after = triggered, unchanged_after
        self._second = Second()
        self._state, self._trouble = "opening", ""
        self._seen = self._changed = now
        self._frames, self._pixels = False, -1
        self._last: FrameVerdict | None = None
        self._board: BoardVerdict | None = None
        self._board_at = now
        self._failed = deque[tuple[int, Counter[str]]](maxlen=REMEMBERED)  # number of the frame, its defects by class
        self._rows: dict[str, Any] = {}

    def told(self, state: str, trouble: str, now: float) -> None:
        """Take its state over."""
        if state == "running" and self._state != "running":
            self._seen = self._changed = now
        self._state, self._trouble = state, trouble.removeprefix(f"camera {self.name}: ")

    def reported(self, row: dict[str, Any]) -> None:
        """Take its row of the line's report over."""
        self._rows = {"restarts": row.get("restarts", 0), "sent": row.get("sent")}

    def judged(self, verdict: FrameVerdict, now: float) -> None:
        """Take the verdict on a frame."""
        self._second.add(verdict)
        if verdict.verdict == Verdict.FAIL and verdict.defects is not None:
            self._failed.append((verdict.result.number, Counter(verdict.defects.names)))
        self._last, self._frames = verdict, True
        captured = verdict.result.monotonic_ns
        if captured:
            self._seen = max(self._seen, min(now, captured / 1e9))

    def board(self, board: BoardVerdict, now: float) -> Counter[str]:
        """Count a board, whose frames have come, and return how many defects it has by class.

        That is the most that one of its frames shows.
        """
        self._board, self._board_at = board, now
        first, last = board.numbers or (0, -1)
        defects = Counter[str]()
        while self._failed and self._failed[0][0] <= last:
            number, found = self._failed.popleft()
            if number >= first:
                defects |= found
        self.counts.add(board, defects)
        return defects

    @property
    def ended(self) -> bool:
        """Whether it is at its end, or was removed."""
        return self._state == "ended"

    @property
    def latest(self) -> dict[str, Any] | None:
        """The last board, ready for JSON."""
        return board_as_dict(self._board) if self._board else None

    def pictured(self, pixels: int, now: float) -> None:
        """Note what its picture shows, as a number that is the same for the same pixels."""
        if pixels != self._pixels:
            self._pixels, self._changed = pixels, now

    def end_second(self) -> tuple[Point, Second]:
        """Return the figures of the second that is over, and begin the next one."""
        over, self._second = self._second, Second()
        self.history.append(over.point())
        return self.history[-1], over

    def health(self, now: float) -> tuple[str, str]:
        """Return whether the camera is alive, and why not in words.

        That is "live"; "frozen", it says that it runs and no frame comes, or always the same one; "waiting", it is
        triggered and nothing has come; "opening"; "ended", it is at its end or was removed; "dead".
        """
        if self.ended:
            return "ended", self._trouble
        if self._state == "opening" and not self._trouble and not self._frames:
            return "opening", ""
        if self._state != "running":
            return "dead", self._trouble or "no connection"
        silent = now - self._seen
        if silent > self._patience and not self._triggered:
            return "frozen", f"no frame for {silent:.0f} s"
        if now - self._changed > self._unchanged_after and not self._triggered and self._frames:
            return "frozen", f"the same picture for {now - self._changed:.0f} s"
        if silent > self._patience:
            return "waiting", f"no trigger for {silent:.0f} s"
        return "live", ""

    def as_dict(self, now: float) -> dict[str, Any]:
        """Return what the page says of it, ready for JSON."""
        health, why = self.health(now)
        last = self._last
        recent = list(self.history)[-5:]
        medians = [point[3] for point in recent if point[3] is not None]
        highs = [point[4] for point in recent if point[4] is not None]
        return {
            "name": self.name,
            "health": health,
            "trouble": why,
            "age": (now - self._seen) * 1e3 if self._frames else None,
            "verdict": last.verdict.value if last else None,
            "why": last.why if last else "",
            "board": self.latest,
            "board_age": now - self._board_at if self._board else None,
            "blind": bool(sum(missed for _, _, missed, _, _ in recent[-2:])) and not any(p[0] for p in recent[-2:]),
            "rate": sum(point[0] for point in recent) / len(recent) if recent else 0.0,
            "p50": statistics.median(medians) if medians else None,
            "p99": max(highs) if highs else None,
            **self.counts.as_dict(),
            **self._rows,
        }


def board_as_dict(board: BoardVerdict) -> dict[str, Any]:
    """Return what the page says of a board, ready for JSON."""
    return {"number": board.board, "verdict": board.verdict.value, "why": board.why}


def _count(counter: Counter[str], name: str, number: int = 1) -> None:
    counter[name if name in counter or len(counter) < MOST_NAMES else OTHERS] += number
