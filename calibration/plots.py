"""The pictures of a calibration's report."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from triton_yolo.calibration.options import METHODS

Part = Mapping[str, Any]  # of the report's document

WORST = 30  # layers that are shown of those that INT8 hurts
MOST_CLASSES, MOST_BLOCKS = 20, 10
DPI, WIDTH = 120, 8.0  # dots an inch, inches
LONGEST, LETTERS = 34, 140  # characters of a name, and of a line across a plot

# Told apart by the colour-blind: https://jfly.uni-koeln.de/color/
GREY, BLACK = "#8a8a8a", "#222222"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
STYLES = dict(zip(METHODS, ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^")), strict=True))
HATCH = "////"
PLAIN = FuncFormatter(lambda value, _: f"{value:g}")


def finite(value: float | None) -> float:
    """Return the value, NaN if it is missing or infinite."""
    return value if value is not None and math.isfinite(value) else math.nan


def written(path: Sequence[Part]) -> int | None:
    """Return which step made the graph: of those within the bound, the one with the most in INT8, and the last."""
    within = [number for number, step in enumerate(path) if step["within"]]
    return max(within, key=lambda number: (finite(path[number]["int8_macs"]), number), default=None)


def sqnr(layer: Part, method: str | None = None) -> float:
    """Signal to quantisation noise in dB of a layer, by its own method or another; infinite without noise.

    NaN if it was not measured.
    """
    measured, method = layer["sqnr_db"] or {}, method or layer["method"]
    if method not in measured:
        return math.nan
    return math.inf if measured[method] is None else measured[method]


def weakest(layers: Iterable[Part]) -> list[Part]:
    """Return the measured layers that INT8 hurts most, at most WORST of them, the weakest first."""
    return sorted((layer for layer in layers if not math.isnan(sqnr(layer))), key=sqnr)[:WORST]


def short_name(name: str) -> str:
    """Return a node's name without repetitions: network//head/cv3.0/cv3.0.2/Conv is head/cv3.0.2."""
    parts = [part for part in name.split("//")[-1].split("/") if part]
    kept = [part for part, after in pairwise([*parts, ""]) if not f"{after}.".startswith(f"{part}.")]
    for ending in ("Conv", "conv"):  # the operator, and the module that wraps nothing else
        if len(kept) > 1 and kept[-1] == ending:
            del kept[-1]
    short = "/".join(kept) or name
    return short if len(short) <= LONGEST else f"...{short[3 - LONGEST :]}"


def plots(document: Part) -> dict[str, bytes]:
    """Draw everything.

    Args:
        document: of report.write_report.

    Returns:
        PNGs by file name.
    """
    layers = document["layers"] or []
    figures = {
        "drop.png": _drop(document["path"] or [], finite(document["max_drop"])),
        "sensitivity.png": _sensitivity(layers),
        "ranges.png": _ranges(layers),
        "classes.png": _classes(document["float"] or {}, document["int8"] or {}),
    }
    return {name: _png(figure) for name, figure in figures.items()}


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _figure(height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _nothing(why: str) -> Figure:
    figure, axes = _figure(1.5, "")
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes)
    return figure


def _legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """Draw the legend below everything, so that it covers nothing."""
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def _point(marker: str, colour: str, label: str, filled: bool = True, size: float = 6) -> Line2D:
    face = colour if filled else "none"
    return Line2D([], [], ls="", marker=marker, mec=colour, mfc=face, ms=size, label=label)


def _bars_from_above(axes: Axes, names: Sequence[str]) -> None:
    """Name horizontal bars, the first at the top."""
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", lw=0.6)


def _drop(path: Sequence[Part], bound: float) -> Figure:
    x = np.array([100 * finite(step["int8_macs"]) for step in path])
    y = np.array([100 * finite(step["drop"]) for step in path])
    drawn = np.isfinite(x) & np.isfinite(y)
    if not drawn.any():
        return _nothing("No graph was measured in a search.")
    figure, axes = _figure(4.2, "What each graph of the search loses")
    within = np.array([bool(step["within"]) for step in path])
    handles = []
    for inside, marker, colour, label in ((True, "o", BLUE, "within"), (False, "x", RED, "outside")):
        shown = drawn & (within == inside)
        if shown.any():
            axes.plot(x[shown], y[shown], marker, color=colour, ms=6, mew=1.5, clip_on=False)
            handles.append(_point(marker, colour, f"{label} the bound"))
    if math.isfinite(bound):
        axes.axhline(100 * bound, color=BLACK, ls="--", lw=1)
        handles.append(Line2D([], [], color=BLACK, ls="--", lw=1, label=f"the bound: {100 * bound:g} %"))
    best = written(path)
    if best is not None and drawn[best]:
        axes.plot(x[best], y[best], "o", ms=13, mfc="none", mec=BLACK, mew=1.5, clip_on=False)
        label = f"written: {x[best]:.1f} % INT8, drop {round(y[best], 2) + 0:.2f} %"
        handles.append(_point("o", BLACK, label, filled=False, size=10))
    linear = 100 * max(finite(bound) if bound > 0 else 0, 0.001)
    axes.margins(0.06, 0.1)
    if y[drawn].max() > 10 * linear:  # otherwise the points around the bound would be one
        axes.set_yscale("symlog", linthresh=2 * linear, linscale=1.5)
        steps = [part * 10.0**power for power in range(-3, 3) for part in (1, 2, 5) if part * 10.0**power >= linear / 2]
        axes.yaxis.set_major_locator(FixedLocator([0, *steps, *(-step for step in steps)]))
        axes.yaxis.set_major_formatter(PLAIN)
    axes.set_ylim(bottom=min(-0.1 * linear, 1.2 * y[drawn].min()))
    axes.grid(color="#dddddd", lw=0.6)
    axes.set_xlabel("convolution MACs in INT8, %", fontsize=9)
    axes.set_ylabel("relative drop of mAP50-95, %", fontsize=9)
    _legend(figure, handles)
    return figure


def _sensitivity(layers: Sequence[Part]) -> Figure:
    shown = [layer for layer in weakest(layers) if math.isfinite(sqnr(layer))]
    if not shown:
        return _nothing("No layer by itself in INT8 made a difference that was measured.")
    what = f"The {len(shown)} layers that INT8 hurts most" if len(shown) > 1 else "The layer that INT8 hurts"
    figure, axes = _figure(1.4 + 0.2 * len(shown), f"{what}, each by itself")
    for row, layer in enumerate(shown):
        hatch = None if layer["int8"] else HATCH
        axes.barh(row, sqnr(layer), 0.72, color=_style(layer)[0], hatch=hatch, edgecolor="white", lw=0)
    _bars_from_above(axes, [short_name(layer["name"]) for layer in shown])
    axes.axvline(0, color=BLACK, lw=0.8)
    axes.set_xlabel("signal to quantisation noise, dB (less is worse)", fontsize=9)
    handles = [Patch(color=STYLES[m][0], label=m) for m in METHODS if any(layer["method"] == m for layer in shown)]
    if not all(layer["int8"] for layer in shown):
        handles.append(Patch(facecolor=GREY, hatch=HATCH, edgecolor="white", lw=0, label="stays float"))
    _legend(figure, handles)
    return figure


def _style(layer: Part) -> tuple[str, str]:
    return STYLES.get(layer["method"], (GREY, "D"))


def _ranges(layers: Sequence[Part]) -> Figure:
    highest = [max(abs(finite(end)) for end in layer["range"] or [None]) for layer in layers]
    shown = [number for number, value in enumerate(highest) if value > 0]  # a log axis has no 0
    if not shown:
        return _nothing("No layer has a range.")
    figure, axes = _figure(4.2, "What the convolutions read")
    looks = [(*_style(layers[number]), bool(layers[number]["int8"])) for number in shown]
    for colour, marker, filled in dict.fromkeys(looks):
        alike = [number for number, look in zip(shown, looks, strict=True) if look == (colour, marker, filled)]
        face = colour if filled else "white"
        axes.plot(alike, [highest[number] for number in alike], marker, mec=colour, mfc=face, ms=4.5, zorder=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(-0.8, len(layers) - 0.2)
    axes.margins(y=0.08)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    _blocks(axes, [short_name(layer["name"]).split("/")[0] for layer in layers])
    axes.set_xlabel("convolution, in the graph's order", fontsize=9)
    axes.set_ylabel("highest absolute value of the range", fontsize=9)
    used = [method for method in METHODS if any(layers[number]["method"] == method for number in shown)]
    handles = [_point(STYLES[method][1], STYLES[method][0], method, size=5) for method in used]
    if not all(layers[number]["int8"] for number in shown):
        handles.append(_point("o", GREY, "hollow: stays float", filled=False, size=5))
    _legend(figure, handles)
    return figure


def _blocks(axes: Axes, blocks: Sequence[str]) -> None:
    """Part the layers where the first part of their names changes, unless that happens all the time."""
    starts = [i for i in range(len(blocks)) if i == 0 or blocks[i] != blocks[i - 1]]
    if not 1 < len(starts) <= MOST_BLOCKS:
        return
    axes.set_title(axes.get_title("left"), loc="left", fontsize=11, pad=18)
    for start, end in pairwise([*starts, len(blocks)]):
        if start:
            axes.axvline(start - 0.5, color=GREY, lw=0.8, ls=":")
        if (end - start) / len(blocks) > len(blocks[start]) / LETTERS:
            place = ((start + end - 1) / 2, 1)
            axes.annotate(
                blocks[start],
                place,
                (0, 4),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=GREY,
                parse_math=False,
            )


def _classes(before: Part, after: Part) -> Figure:
    pairs = {
        name: tuple(finite((side.get("per_class") or {}).get(name, {}).get("ap50_95")) for side in (before, after))
        for name in before.get("per_class") or {}
    }
    pairs = {name: pair for name, pair in pairs.items() if not all(map(math.isnan, pair))}
    if not pairs:
        return _nothing("No class has an average precision.")
    title = "AP50-95 by class"
    if len(pairs) > MOST_CLASSES:
        title += f": the {MOST_CLASSES} of {len(pairs)} that lose most"
        order = sorted(pairs, key=lambda name: -np.nan_to_num(pairs[name][0] - pairs[name][1], nan=-1.0))
        pairs = {name: pairs[name] for name in order[:MOST_CLASSES]}
    figure, axes = _figure(1.3 + 0.36 * len(pairs), title)
    for side, colour in ((0, BLUE), (1, ORANGE)):
        values = [pair[side] for pair in pairs.values()]
        bars = axes.barh(np.arange(len(pairs)) + 0.4 * side - 0.2, np.nan_to_num(values), 0.36, color=colour)
        axes.bar_label(bars, ["" if math.isnan(v) else f"{v:.3f}" for v in values], fontsize=7, padding=2)
    _bars_from_above(axes, [name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}..." for name in pairs])
    axes.set_xlim(0, 1.06)  # room for the figure of a full bar
    axes.set_xticks(np.arange(6) / 5)
    axes.set_xlabel("AP50-95", fontsize=9)
    _legend(figure, [Patch(color=BLUE, label="float"), Patch(color=ORANGE, label="INT8")])
    return figure
