"""The report of the ladder: Markdown tables, the bars, and a picture for a slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Rows = Sequence[Mapping[str, Any]]
Result = Mapping[str, Any]

# What two texts on lines of 8 cameras (1280x960, 30 frames/s) say of the same changes; not measured here.
CLAIMS = (
    ("INT8, GPU decoding, batches and overlap: latency", "68 -> 23 ms", 23 / 68),
    ("the same: throughput", "110 -> 270 frames/s", 270 / 110),
    ("the same: memory", "6.2 -> 4.3 GB", 4.3 / 6.2),
    ("the same: load of the bus", "92 -> 58 %", 58 / 92),
    ("shared buffers: latency", "-22 %", 0.78),
    ("shared buffers: processor", "-18 %", 0.82),
    ("shared buffers: jitter", "-40 %", 0.6),
)


@dataclass(frozen=True)
class Bar:
    """What must be reached.

    Attributes:
        device: where.
        words: what is compared.
        stream: of which rungs.
        numbers: of the rung that is held against another, and of the other.
        value: what of a rung is compared; None where it was not measured.
        bound: of the ratio.
        at_least: whether the ratio must be as large, not as small.
    """

    device: Literal["cpu", "gpu"]
    words: str
    stream: str
    numbers: tuple[int, int]
    value: Callable[[Mapping[str, Any]], float | None]
    bound: float
    at_least: bool = False


def _latency(key: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda rung: float(rung["latency_ms"][key])


def _of(key: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda rung: float(rung[key]) if rung.get(key) is not None else None


def both(rung: Mapping[str, Any]) -> float:
    """Return the processor time of a frame, of client and server, in seconds."""
    return float(rung["cpu_seconds_per_frame"]["both"])


def where(result: Result) -> str:
    """Return what a result was measured on."""
    machine = result["measured_on"]
    return str(machine.get("gpu") or f"{machine['cores']} cores")


BARS = (
    Bar("gpu", "encoded: latency p50, overlap to written first", "encoded", (4, 0), _latency("p50"), 0.33),
    Bar("gpu", "encoded: frames/s, overlap to written first", "encoded", (4, 0), _of("frames_per_second"), 2.5, True),
    Bar("gpu", "encoded: bus bytes, overlap to written first", "encoded", (4, 0), _of("bus_bytes_per_frame"), 0.2),
    Bar("gpu", "encoded: GPU memory, overlap to written first", "encoded", (4, 0), _of("gpu_memory_bytes"), 0.6),
    Bar("gpu", "raw: latency p50, shared memory to bytes", "raw", (5, 4), _latency("p50"), 0.5),
    Bar("gpu", "raw: processor, shared memory to bytes", "raw", (5, 4), both, 0.5),
    Bar("gpu", "raw: standard deviation, shared memory to bytes", "raw", (5, 4), _latency("std"), 0.5),
    Bar("cpu", "encoded: processor, overlap to written first", "encoded", (4, 0), both, 0.4),
    Bar(
        "cpu",
        "encoded: bytes over the connection, overlap to written first",
        "encoded",
        (4, 0),
        _of("connection_bytes_per_frame"),
        0.05,
    ),
)


def bars(result: Result) -> list[dict[str, Any]]:
    """Return each bar of the result's device with the ratio that came, ready for JSON."""
    found = []
    for bar in BARS:
        if bar.device != result["device"]:
            continue
        rungs = {rung["number"]: rung for rung in result["rungs"] if rung["stream"] == bar.stream}
        above, below = (bar.value(rungs[number]) for number in bar.numbers)
        ratio = round(above / below, 3) if above is not None and below else None
        met = ratio is not None and (ratio >= bar.bound if bar.at_least else ratio <= bar.bound)
        sign = "at least" if bar.at_least else "at most"
        found.append({"words": bar.words, "wanted": f"{sign} {bar.bound:g}", "ratio": ratio, "met": met})
    return found


def markdown(result: Result) -> str:
    """Return the report as a page's tables."""
    lines = [
        f"{result['cameras']} cameras of {result['width']}x{result['height']}, {where(result)}, "
        f"{result['measured_on']['date']}. Latencies are from capture to result at {result['fps_of_latencies']:g} "
        "frames/s of each camera; all else is as fast as it goes. "
        f"Medians of {result['rounds']} rounds of {result['seconds']:g} s, all rungs in turn in one run.",
        "",
    ]
    for stream, words in (("encoded", "JPEGs"), ("raw", "Raw frames")):
        rungs = [rung for rung in result["rungs"] if rung["stream"] == stream]
        lines += [f"**{words}**", "", *_table(rungs, result["device"]), ""]
    lines += ["| bar | wanted | came | |", "|---|---|---|---|"]
    lines += [
        f"| {bar['words']} | {bar['wanted']} | {'not measured' if bar['ratio'] is None else bar['ratio']} | "
        f"{'met' if bar['met'] else '**not met**'} |"
        for bar in bars(result)
    ]
    lines += ["", "| what two texts say | | ratio |", "|---|---|---|"]
    lines += [f"| {words} | {figures} | {ratio:.2f} |" for words, figures, ratio in CLAIMS]
    return "\n".join(lines) + "\n"


def _table(rungs: Rows, device: str) -> list[str]:
    gpu = device == "gpu"
    head = ["rung", "what changes", "frames/s", "p50, p99, std ms", "processor ms a frame (client + server)"]
    head += ["server MB", "kB over the connection", "kB copied on the host"]
    head += ["kB over the bus (counted)", "GPU MB"] if gpu else []
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    before = None
    for rung in rungs:
        times, costs = rung["latency_ms"], rung["cpu_seconds_per_frame"]
        late = f" ({rung['dropped_share']:.0%} dropped)" if rung["dropped_share"] > 0.001 else ""
        pays = "" if before is None or _pays(rung, before) else "; **does not pay here**"
        cells = [
            f"{rung['number']} {rung['name']}",
            f"{rung['change']}{pays}",
            f"{rung['frames_per_second']:.1f}",
            f"{times['p50']:.1f}, {times['p99']:.1f}, {times['std']:.1f}{late}",
            f"{1e3 * costs['client']:.1f} + {1e3 * costs['server']:.1f}",
            f"{rung['server_memory_bytes'] / 1e6:.0f}",
            f"{rung['connection_bytes_per_frame'] / 1e3:.1f}",
            f"{rung['copied_bytes_per_frame'] / 1e3:,.0f}",
        ]
        if gpu:
            counted = rung.get("gpu_bus_bytes_per_frame_counted")
            cells.append(
                f"{rung['bus_bytes_per_frame'] / 1e3:,.0f} ({'-' if counted is None else f'{counted / 1e3:,.0f}'})"
            )
            cells.append(f"{rung['gpu_memory_bytes'] / 1e6:,.0f}" if "gpu_memory_bytes" in rung else "-")
        lines.append(f"| {' | '.join(cells)} |")
        before = rung
    return lines


def _pays(rung: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether a rung is better than the one below in something that somebody pays for, by 3 % at least."""
    return bool(
        rung["frames_per_second"] > 1.03 * before["frames_per_second"]
        or rung["latency_ms"]["p50"] < 0.97 * before["latency_ms"]["p50"]
        or both(rung) < 0.97 * both(before)
    )


def _short(number: float) -> str:
    """Return a number for a picture, with three digits that matter."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def picture(result: Result, path: Path) -> None:
    """Draw throughput, latency and processor time of each rung, in the size of a slide.

    Args:
        result: of ``measure``.
        path: of the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns: tuple[tuple[str, Callable[[Mapping[str, Any]], float]], ...] = (
        ("frames/s", lambda rung: rung["frames_per_second"]),
        ("latency p50, ms", lambda rung: rung["latency_ms"]["p50"]),
        ("processor, ms a frame", lambda rung: 1e3 * both(rung)),
        ("copied on the host, MB a frame", lambda rung: rung["copied_bytes_per_frame"] / 1e6),
    )
    figure, axes = pyplot.subplots(2, len(columns), figsize=(16, 9), sharey="row", layout="constrained")
    for row, (stream, words) in zip(axes, (("encoded", "JPEGs"), ("raw", "raw frames")), strict=True):
        rungs = [rung for rung in result["rungs"] if rung["stream"] == stream]
        names = [f"{rung['number']} {rung['name']}" for rung in rungs]
        for place, (title, value) in enumerate(columns):
            values = [value(rung) for rung in rungs]
            axis = row[place]
            colors = ["#b0b7c3", *["#1f5fbf"] * (len(rungs) - 1)]
            drawn = axis.barh(names, values, color=colors, height=0.62)
            axis.bar_label(drawn, [_short(number) for number in values], padding=4, fontsize=12)
            axis.set_xlim(0, 1.25 * max(values))
            axis.set_title(title, fontsize=14, loc="left")
            axis.spines[["top", "right", "bottom"]].set_visible(False)
            axis.set_xticks([])
            axis.tick_params(axis="y", length=0, labelsize=13)
        row[0].set_ylabel(words, fontsize=15)
        row[0].invert_yaxis()
    machine = where(result) if result["device"] == "gpu" else f"{where(result)}, no GPU"
    figure.suptitle(
        f"{result['cameras']} cameras of {result['width']}x{result['height']} on {machine}: one change at a time",
        fontsize=19,
        x=0.01,
        ha="left",
    )
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
