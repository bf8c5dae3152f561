"""The report of a calibration: its figures as JSON, and tables and pictures for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triton_yolo.calibration.plots import Part, finite, plots, sqnr, weakest, written
from triton_yolo.files import write_together

NAMED = 20  # images left out that are named
MISSING = "n/a"

Rows = Iterable[Sequence[str]]


def write_report(folder: Path, document: Mapping[str, Any]) -> None:
    """Write report.json, report.md and its plots into a folder, which is made; all of them or none.

    Args:
        folder: for the files.
        document: everything that was measured. Any value may be None or NaN. Precisions, shares and drops are of 1,
            drops relative to the float graph's mAP50-95, signal to quantisation noise in dB (None: no noise), ranges
            in the tensors' own unit.

            * graph, graph_sha256, int8_graph, int8_sha256: the file names and hashes.
            * rest, calibrator: the options. judged_by: what precision was measured with. max_drop: what was allowed.
            * drop; float, int8, int8_onnxruntime: precisions as calibration.summary.precision returns them.
            * macs: total, int8, share, of the convolutions. bytes: float, int8, share, of the files.
            * methods: sqnr_db and map50_95 by method, of all but the last convolutions in INT8.
            * layers: in the graph's order; name, macs, parameters, int8, float_because, method, range, sqnr_db by
              method, map50_95 of each convolution alone in INT8.
            * path: the graphs of the search in its order; int8_macs (a share), float_layers, map50_95, drop, within.
            * images: ranges, evaluation, sensitivity, how many; skipped, the reasons by file name.
            * seconds by phase, peak_memory_mb, versions by name.

    Raises:
        OSError: a file cannot be written; what was there stays.
    """
    files = {
        "report.json": f"{json.dumps(_plain(document), indent=2, allow_nan=False)}\n".encode(),
        "report.md": markdown(document).encode("utf-8", "backslashreplace"),  # file names may hold any bytes
        **plots(document),
    }
    write_together({folder / name: content for name, content in files.items()})


def _plain(value: Any) -> Any:
    """Return the value with None for numbers that JSON lacks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def markdown(document: Mapping[str, Any]) -> str:
    """Return the report for people; the same document gives the same text.

    Args:
        document: of write_report.
    """
    layers, path = document["layers"] or [], document["path"] or []
    total = finite((document["macs"] or {}).get("total"))
    sections = [
        f"# INT8 calibration of {_text(document['graph'])}",
        _verdict(document),
        _origin(document),
        "## Precision",
        *_precision(document),
        "![AP50-95 by class, float and INT8](classes.png)",
        "## Methods",
        *_methods(document, layers),
        "![Highest absolute value that each convolution reads](ranges.png)",
        "## What stays float",
        _floats(layers, total),
        "## Sensitivity",
        *_sensitivity(layers, total),
        "![The layers that INT8 hurts most](sensitivity.png)",
        "## Search",
        *_search(path),
        "![Drop against the share of MACs in INT8](drop.png)",
        "## Images",
        *_images(document["images"] or {}),
        "## Time and memory",
        _time(document),
        "## Versions",
        _table("<|<", ("what", "version"), [(_text(k), _text(v)) for k, v in (document["versions"] or {}).items()]),
    ]
    return "\n\n".join(sections) + "\n"


def _verdict(document: Part) -> str:
    drop = finite(document["drop"])
    lost = f"{'loses' if round(drop, 4) >= 0 else 'gains'} {_percent(abs(drop))}"
    if math.isnan(drop):
        lost = "loses an unknown share"
    before, after = (_number((document[side] or {}).get("map50_95"), 3) for side in ("float", "int8"))
    macs, size = ((document[key] or {}).get("share") for key in ("macs", "bytes"))
    return (
        f"INT8 {lost} of mAP50-95 ({before} -> {after}), {_percent(macs, 1)} of the convolution MACs are INT8, "
        f"the file is {_percent(size, 1)} of the float one."
    )


def _origin(document: Part) -> str:
    bound, drop = finite(document["max_drop"]), round(finite(document["drop"]), 6)
    allowed = f"{100 * bound:g} % was allowed" + (", so this is too much" if drop > bound else "")
    macs, size = document["macs"] or {}, document["bytes"] or {}
    rows = [
        ("float", _code(document["graph"]), _count(size.get("float")), _code(document["graph_sha256"])),
        ("INT8", _code(document["int8_graph"]), _count(size.get("int8")), _code(document["int8_sha256"])),
    ]
    about = (
        f"A drop of {allowed if math.isfinite(bound) else 'any size was allowed'}. Judged by "
        f"{_text(document['judged_by'])}. Ranges by {_text(document['calibrator'])}; what is not INT8 computes in "
        f"{_text(document['rest'])}. {_million(macs.get('int8'))} of {_million(macs.get('total'))} million MACs of the "
        "convolutions are INT8."
    )
    return f"{about}\n\n{_table('<|<|>|<', ('graph', 'file', 'bytes', 'SHA-256'), rows)}"


def _precision(document: Part) -> Iterable[str]:
    sides = [document[key] or {} for key in ("float", "int8", "int8_onnxruntime")]
    head = ("", "float", "INT8, OpenVINO", "INT8, ONNX Runtime", "INT8 - float")
    overall = [
        _compared(title, [side.get(key) for side in sides])
        for title, key in (("mAP50-95", "map50_95"), ("mAP50", "map50"))
    ]
    yield _table("<|>|>|>|>", head, overall)
    classes: dict[str, list[Part]] = {}
    for name in dict.fromkeys(name for side in sides for name in side.get("per_class") or {}):
        classes[name] = [(side.get("per_class") or {}).get(name) or {} for side in sides]
    rows = [
        (
            *_compared(_text(name), [side.get("ap50_95") for side in found]),
            *(_number(side.get("ap50")) for side in found[:2]),
        )
        for name, found in classes.items()
    ]
    yield "By class, AP50-95 and then AP50:"
    yield _table("<|>|>|>|>|>|>", ("class", *head[1:], "float, AP50", "INT8, AP50"), rows)


def _compared(title: str, values: Sequence[float | None]) -> Sequence[str]:
    difference = round(finite(values[1]) - finite(values[0]), 4) + 0.0  # no -0
    return title, *map(_number, values), MISSING if math.isnan(difference) else f"{difference:+.4f}"


def _methods(document: Part, layers: Sequence[Part]) -> Iterable[str]:
    before = finite((document["float"] or {}).get("map50_95"))
    rows = []
    for name, method in (document["methods"] or {}).items():
        drop = 1 - finite(method["map50_95"]) / before if before else math.nan
        used = sum(bool(layer["int8"]) and layer["method"] == name for layer in layers)
        noise = math.inf if method["sqnr_db"] is None else method["sqnr_db"]
        rows.append((_text(name), _decibels(noise), _number(method["map50_95"]), _percent(drop), str(used)))
    yield "All but the last convolutions in INT8, with the ranges of one method each:"
    yield _table("<|>|>|>|>", ("method", "SQNR, dB", "mAP50-95", "drop", "layers written with it"), rows)


def _floats(layers: Sequence[Part], total: float) -> str:
    floats = [layer for layer in layers if not layer["int8"]]
    rows = [
        (_code(one["name"]), _text(one["float_because"]), _million(one["macs"]), _share(one["macs"], total))
        for one in floats
    ]
    if rows:
        macs = math.fsum(finite(one["macs"]) for one in floats)
        rows.append((f"all {len(rows)}", "", _million(macs), _share(macs, total)))
    return _table("<|<|>|>", ("layer", "why", "million MACs", "share"), rows)


def _sensitivity(layers: Sequence[Part], total: float) -> Iterable[str]:
    shown = weakest(layers)
    methods = list(dict.fromkeys(method for layer in layers for method in layer["sqnr_db"] or {}))
    head = ("layer", "share of MACs", "method", *(f"{_text(m)}, dB" for m in methods), "mAP50-95", "written in")
    rows = [
        (
            _code(layer["name"]),
            _share(layer["macs"], total),
            _text(layer["method"]),
            *(_decibels(sqnr(layer, method)) for method in methods),
            _number(layer["map50_95"]),
            "INT8" if layer["int8"] else "float",
        )
        for layer in shown
    ]
    what = f"the {len(shown)} that it hurts most" if len(shown) < len(layers) else "the one that it hurts most first"
    yield f"Each layer by itself in INT8, {what}; signal to quantisation noise of the detections, by method:"
    yield _table("<|>|<|" + ">|" * len(methods) + ">|<", head, rows)


def _search(path: Sequence[Part]) -> Iterable[str]:
    best = written(path)
    rows = [
        (
            str(number + 1),
            _percent(step["int8_macs"]),
            _count(step["float_layers"]),
            _number(step["map50_95"]),
            _percent(step["drop"]),
            ("yes" if step["within"] else "no") + (", written" if number == best else ""),
        )
        for number, step in enumerate(path)
    ]
    yield "The graphs that were measured, in their order:"
    yield _table(">|>|>|>|>|<", ("", "MACs in INT8", "layers in float", "mAP50-95", "drop", "within the bound"), rows)


def _images(images: Part) -> Iterable[str]:
    skipped = images.get("skipped") or {}
    counts = {key: value for key, value in images.items() if key != "skipped"} | {"left out": len(skipped)}
    yield _table("<|>", ("for", "images"), [(_text(key), _count(value)) for key, value in counts.items()])
    if skipped:
        more = f", and {len(skipped) - NAMED} more" if len(skipped) > NAMED else ""
        yield f"Left out{more}:"
        named = list(skipped.items())[:NAMED]
        yield _table("<|<", ("image", "why"), [(_code(name), _text(why)) for name, why in named])


def _time(document: Part) -> str:
    seconds = document["seconds"] or {}
    rows = [(f"{_text(phase)}, s", _number(value, 1)) for phase, value in seconds.items()]
    rows.append(("all, s", _number(math.fsum(map(finite, seconds.values())), 1)))
    return _table("<|>", ("", ""), [*rows, ("peak memory, MB", _count(document["peak_memory_mb"]))])


def _table(sides: str, head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table; sides has < for a column of text, > for one of numbers."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|".join("---:" if side == ">" else "---" for side in sides.split("|"))
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *lines]) if lines else "None."


def _text(value: object) -> str:
    """Return any text on one line, without meaning in Markdown."""
    if value is None or value != value:  # None and NaN
        return MISSING
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|~&#$" else sign for sign in " ".join(str(value).split()))


def _code(value: object) -> str:
    """Return any text as code on one line, for names."""
    if value is None:
        return MISSING
    plain = " ".join(str(value).replace("`", "'").split())
    return f"`{plain.replace('|', chr(92) + '|')}`"


def _number(value: float | None, digits: int = 4) -> str:
    return MISSING if math.isnan(finite(value)) else f"{value:.{digits}f}"


def _count(value: float | None) -> str:
    return MISSING if math.isnan(finite(value)) else f"{value:,.0f}"


def _million(value: float | None) -> str:
    return MISSING if math.isnan(finite(value)) else f"{finite(value) / 1e6:,.1f}"


def _percent(value: float | None, digits: int = 2) -> str:
    percent = round(100 * finite(value), digits) + 0.0  # no -0
    return MISSING if math.isnan(percent) else f"{percent:.{digits}f} %"


def _share(value: float | None, whole: float) -> str:
    return _percent(finite(value) / whole if whole else None)


def _decibels(value: float) -> str:
    return "no noise" if value == math.inf else _number(value, 1)
