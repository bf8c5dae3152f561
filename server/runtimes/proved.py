"""Chooses the arithmetic that a model serves with: the fastest of those that find what the graph's proof says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_yolo.export.served_proof import Comparison, ServedProof
from triton_yolo.server.runtimes.base import RECORD


class NotProved(Exception):
    """No arithmetic finds what it must; says what each found instead."""


@dataclass(frozen=True)
class Trial:
    """One arithmetic on the pictures of the proof.

    Attributes:
        arithmetic: its name.
        engine: that computes in it; None where it is wrong.
        comparison: with the proof.
        seconds: for a picture, the fastest.
    """

    arithmetic: str
    engine: Any
    comparison: Comparison
    seconds: float

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"arithmetic": self.arithmetic, "seconds": self.seconds, **self.comparison.document()}


def try_out(arithmetic: str, engine: Any, proof: ServedProof) -> Trial:
    """Run the pictures of a proof in every way in which an engine will run images, until one is wrong.

    Args:
        arithmetic: of the engine.
        engine: to try: its ways() give functions from images uint8 [N, 3, H, W] to candidates float32 [N, K, 6]; the
            first one runs one picture at a time, which is timed.
        proof: to compare with.

    Returns:
        with the comparison of the way that is wrong, or else of the one whose scores are farthest apart.
    """
    ways = engine.ways()
    first = next(ways)
    found, seconds = [], []
    for picture in proof.pixels:
        start = time.perf_counter()
        found.append(first(picture[None])[0])
        seconds.append(time.perf_counter() - start)
    worst = proof.compare(found, arithmetic)
    while worst.holds and (way := next(ways, None)):
        comparison = proof.compare(way(proof.pixels), arithmetic)
        if not comparison.holds or comparison.score > worst.score:
            worst = comparison
    return Trial(arithmetic, engine if worst.holds else None, worst, min(seconds))


def choose(trials: Iterable[Trial], settled: Callable[[Trial], bool]) -> tuple[Trial, list[Trial]]:
    """Take the fastest arithmetic that is right.

    Args:
        trials: lazily, the preferred one first.
        settled: whether a trial that is right makes the others superfluous.

    Returns:
        the one to serve with, and all that were made.

    Raises:
        NotProved: none is right.
    """
    made = []
    for trial in trials:
        made.append(trial)
        if trial.comparison.holds and settled(trial):
            break
    right = [trial for trial in made if trial.comparison.holds]
    if not right:
        raise NotProved("; ".join(f"{trial.arithmetic}: {trial.comparison}" for trial in made))
    return min(right, key=lambda trial: trial.seconds), made


def record(folder: Path, chosen: Trial, made: Sequence[Trial], seconds: float) -> str:
    """Write down what was chosen and why.

    Args:
        folder: of the model's version.
        chosen: of choose.
        made: likewise.
        seconds: that all of it took.

    Returns:
        one line that says so.
    """
    others = [trial for trial in made if trial is not chosen]
    wrong = "".join(
        f", because {trial.arithmetic} is wrong on this processor ({trial.comparison})"
        for trial in others
        if not trial.comparison.holds
    )
    slower = "".join(
        f", which is {trial.seconds / chosen.seconds:.1f} times as fast as {trial.arithmetic} here"
        for trial in others
        if trial.comparison.holds
    )
    line = f"{chosen.arithmetic}{wrong}{slower}; proved: {chosen.comparison}"
    document = {"arithmetic": chosen.arithmetic, "line": line, "seconds": round(seconds, 3)}
    content = {**document, "trials": [trial.document() for trial in made]}
    (folder / RECORD).write_text(f"{json.dumps(content, indent=1)}\n")
    return line


def show_in_metrics(family: Any, model: str, chosen: Trial) -> list[Any]:
    """Let the server's metrics say what a model computes in; returns what has to be kept for that.

    Args:
        family: pb_utils.MetricFamily.
        model: name of the model.
        chosen: of choose.
    """
    proved = chosen.comparison
    kept = []
    for name, description, labels, value in (
        ("yolo_arithmetic", "What the network computes in", {"arithmetic": chosen.arithmetic}, 1),
        ("yolo_proof_detections", "Detections that the network was proved with", {}, proved.detections),
        ("yolo_proof_score_difference", "Largest difference of a score in the proof", {}, proved.score),
        ("yolo_proof_pixel_difference", "Largest difference of a coordinate in the proof", {}, proved.pixels),
    ):
        gauges = family(name=name, description=description, kind=family.GAUGE)
        gauge = gauges.Metric(labels={"model": model, **labels})
        gauge.set(value)
        kept += [gauge, gauges]
    return kept
