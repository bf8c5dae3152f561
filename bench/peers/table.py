"""The results as Markdown, for docs/benchmarks.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from bench.peers.measuring import LEVELS, PERF_ANALYZER

NOTHING = "-"


def tables(result: Mapping[str, Any]) -> str:
    """Return what docs/benchmarks.md shows of a file of results.

    Args:
        result: as ``bench.peers.measuring.measure`` returns it.
    """
    on, images, agreement = result["measured_on"], result["images"], dict(result["agreement"])
    versions = ", ".join(f"{name} {version}" for name, version in on["peers"].items())
    before = (
        f"{images['width']}x{images['height']} JPEGs of {round(images['mean_bytes'] / 1000)} kB, {on['cores']} cores "
        f"({on['processor']}), the network in {result['arithmetic']}, {on['date']}; {versions}. Medians of "
        f"{result['rounds']} rounds of {result['seconds']:g} s for each number of requests in flight:"
    )
    compared = agreement.pop("images")
    apart = "; ".join(
        f"{name}: {one['largest']['boxes_px']:.2f} px, {one['largest']['scores']:.3f}"
        for name, one in agreement.items()
    )
    settings = "; ".join(f"{name}: {setting}" for name, setting in result["chosen"].items())
    parts = (
        _wrapped(before),
        *("\n".join(rows(result)) for rows in (_speeds, _costs, _ratios)),
        _wrapped(f"The best of the settings that were tried. {settings}."),
        _wrapped(f"Largest differences of a box and of a score from this server's, in {compared} images. {apart}."),
    )
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)


def _speeds(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| images/s, by requests in flight | " + " | ".join(map(str, LEVELS)) + " |"
    yield "|---" * (1 + len(LEVELS)) + "|"
    for name, levels in result["medians"].items():
        cells = [_number(levels.get(str(level), {}), "images_per_second", 1) for level in LEVELS]
        yield f"| {_shown(name)} | {' | '.join(cells)} |"


def _costs(result: Mapping[str, Any]) -> Iterator[str]:
    most = str(LEVELS[-1])
    yield (
        f"| | one at a time, p50 / p99, ms | {most} in flight, p50 / p99, ms | processor time of an image, ms | "
        "cores idle | memory, MB |"
    )
    yield "|---" * 6 + "|"
    for name, levels in result["medians"].items():
        one, many = levels.get("1", {}), levels[most]
        memory = f"{many['resident_bytes'] / 1e6:.0f}" if "resident_bytes" in many else NOTHING
        idle = f"{100 * many['idle_share']:.0f} %" if "idle_share" in many else NOTHING
        cells = [_latency(one), _latency(many), _number(many, "server_cpu_ms_per_image", 1), idle, memory]
        yield f"| {_shown(name)} | {' | '.join(cells)} |"


def _ratios(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| images/s, each at its best number in flight | ratio |"
    yield "|---|---|"
    for one in result["ratios"]:
        span = f"{one['lowest']:.2f} to {one['highest']:.2f}"
        yield f"| {one['of']} / {one['to']} ({span}) | **{one['median']:.2f}** |"


def _shown(name: str) -> str:
    return f"**{name}**" if name.startswith("this server") and name != PERF_ANALYZER else name


def _latency(figures: Mapping[str, float]) -> str:
    return f"{figures['p50_ms']:.0f} / {figures['p99_ms']:.0f}" if "p50_ms" in figures else NOTHING


def _number(figures: Mapping[str, float], name: str, digits: int) -> str:
    return f"{figures[name]:.{digits}f}" if name in figures else NOTHING
