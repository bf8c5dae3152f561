"""Command line: python -m bench.case.summary, the README's table out of the kept cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

KEPT = Path(__file__).resolve().parents[1] / "results"
SHOWN = {"encoded": ("JPEGs", 4), "raw": ("raw frames", 6)}  # by stream: words, and the rung that stands for "served"


def main() -> None:
    """Print the table."""
    typer.echo(summary(kept()), nl=False)


def kept() -> list[dict[str, Any]]:
    """Return the kept results, those of a GPU first."""
    return [json.loads(path.read_text()) for path in sorted(KEPT.glob("case-*/case.json"), reverse=True)]


def summary(results: Iterable[Mapping[str, Any]]) -> str:
    """Return a table of what the line is like as it is written first, and as it is served."""
    lines = [
        "| 8 cameras, 1280x960: written first -> served | frames/s | latency p50 | processor a frame | sent a frame |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        machine = result["measured_on"]
        where = machine.get("gpu") or f"{machine['cores']} cores"
        for stream, (words, number) in SHOWN.items():
            first, served = (_rung(result, stream, place) for place in (0, number))
            cells = [
                f"{words}, {where}",
                _pair(first["frames_per_second"], served["frames_per_second"]),
                _pair(first["latency_ms"]["p50"], served["latency_ms"]["p50"], " ms"),
                _pair(_milliseconds(first), _milliseconds(served), " ms"),
                _pair(_kilobytes(first), _kilobytes(served), " kB"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rung(result: Mapping[str, Any], stream: str, number: int) -> dict[str, Any]:
    [rung] = [rung for rung in result["rungs"] if (rung["stream"], rung["number"]) == (stream, number)]
    return dict(rung)


def _milliseconds(rung: Mapping[str, Any]) -> float:
    return 1e3 * float(rung["cpu_seconds_per_frame"]["both"])


def _kilobytes(rung: Mapping[str, Any]) -> float:
    return float(rung["connection_bytes_per_frame"]) / 1e3


def _pair(first: float, served: float, unit: str = "") -> str:
    return f"{_short(first)} -> **{_short(served)}{unit}**"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


if __name__ == "__main__":
    typer.run(main)
