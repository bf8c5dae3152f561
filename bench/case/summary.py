"""Command line: python -m bench.case.summary, the README's table out of the kept cases."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from bench.case.report import both, where

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
        for stream, (words, number) in SHOWN.items():
            first, served = (_rung(result, stream, place) for place in (0, number))
            cells = [
                f"{words}, {where(result)}",
                _pair(first["frames_per_second"], served["frames_per_second"]),
                _pair(first["latency_ms"]["p50"], served["latency_ms"]["p50"], " ms"),
                _pair(1e3 * both(first), 1e3 * both(served), " ms"),
                _pair(_kilobytes(first), _kilobytes(served), " kB"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _rung(result: Mapping[str, Any], stream: str, number: int) -> dict[str, Any]:
    [rung] = [rung for rung in result["rungs"] if (rung["stream"], rung["number"]) == (stream, number)]
    return dict(rung)


def _kilobytes(rung: Mapping[str, Any]) -> float:
    return float(rung["connection_bytes_per_frame"]) / 1e3


def _pair(first: float, served: float, unit: str = "") -> str:
    return f"{_short(first)} -> **{_short(served)}{unit}**"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


if __name__ == "__main__":
    typer.run(main)
