"""The boards of a line: what is known of one while its frames come, and the verdict on it."""

from __future__ import annotations

from collections import Counter

from triton_yolo.clients.stream.frames import ResultState
from triton_yolo.clients.stream.rules import Rule, VerdictSettings, failed_by
from triton_yolo.clients.stream.verdict import BoardVerdict, FrameVerdict, Verdict


class Board:
    """A board whose frames still come; of a size that does not grow with them.

    Attributes:
        number: number among the boards of its camera.
        frames: how many of its frames have a verdict.
    """

    def __init__(self, camera: str, number: int, settings: VerdictSettings) -> None:
        """Begin without a frame.

        Args:
            camera: name of the camera.
            number: number among the boards of that.
            settings: the rules.
        """
        self.number, self.frames = number, 0
        self._camera, self._settings, self._rules = camera, settings, settings.of(camera)
        self._inspected = self._reused = self._most = self._first_ns = self._last_ns = 0
        self._numbers: tuple[int, int] | None = None
        self._failed = [0] * len(self._rules)  # frames that failed by each rule
        self._counts = [0] * len(self._rules)  # the most that counted by each rule in one frame
        self._worst: list[tuple[str, float] | None] = [None] * len(self._rules)
        self._missing = Counter[str]()  # why frames were not inspected

    def add(self, frame: FrameVerdict) -> None:
        """Take the verdict on the next frame."""
        result = frame.result
        self.frames += 1
        self._numbers = (self._numbers[0] if self._numbers else result.number, result.number)
        self._first_ns = self._first_ns or result.captured_ns
        self._last_ns = result.captured_ns or self._last_ns
        if result.state != ResultState.INSPECTED or result.detections is None:
            self._missing[frame.why] += 1
            return
        self._inspected += 1
        self._reused += result.age > 0
        if frame.verdict != Verdict.FAIL:
            return
        self._most = max(self._most, len(frame.defects or ()))
        detections = result.detections
        for rule, mask in failed_by(self._rules, detections):
            place = self._rules.index(rule)
            self._failed[place] += 1
            self._counts[place] = max(self._counts[place], sum(mask))
            rows = zip(mask, detections.names, detections.scores.tolist(), strict=True)
            counted = [(name, score) for counts, name, score in rows if counts]
            self._worst[place] = max([*counted, *filter(None, [self._worst[place]])], key=lambda one: one[1])

    def verdict(self, interrupted: str = "") -> BoardVerdict:
        """Return the verdict on the board as it is known now.

        Args:
            interrupted: why no more of it can be seen, though there is more; empty if it was seen to its end.
        """
        broken = [place for place, rule in enumerate(self._rules) if self._failed[place] >= rule.frames]
        if broken:
            verdict, why = Verdict.FAIL, "; ".join(self._words(self._rules[place], place) for place in broken)
        elif missing := interrupted or self._why_not():
            verdict, why = Verdict.NOT_INSPECTED, missing
        else:
            verdict, why = Verdict.PASS, ""
        worst = [found for place in broken if (found := self._worst[place])]
        return BoardVerdict(
            self._camera,
            self.number,
            verdict,
            why,
            self.frames,
            self._inspected,
            self._most if broken else 0,
            max(worst, key=lambda one: one[1], default=None),
            self._numbers,
            self._first_ns,
            self._last_ns,
            self._reused,
        )

    def _words(self, rule: Rule, place: int) -> str:
        words = in_words(self._counts[place], rule)
        return words if self.frames == 1 else f"{words} in {self._failed[place]} of {self.frames} frames"

    def _why_not(self) -> str:
        """Return why too little of the board was inspected; empty if it was enough."""
        expected = max(self.frames, self._settings.wanted or 0)
        # With fewer frames than a rule needs to fail the board, that it did not says nothing.
        fewest = max(self._settings.min_frames, *(rule.frames for rule in self._rules))
        if self._inspected >= fewest and self._inspected >= self._settings.min_share * expected:
            return ""
        reasons = self._missing.most_common(1)
        why = f": {reasons[0][0]}" if reasons else ""
        if expected == 1:
            return reasons[0][0] if reasons else "no frame came"
        return f"{self._inspected} of {expected} frames were inspected{why}"


def in_words(count: int, rule: Rule) -> str:
    """Return how many a rule has found, in words."""
    return "1 defect" if (count, rule.words) == (1, "defects") else f"{count} {rule.words}"
