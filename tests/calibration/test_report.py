from __future__ import annotations

import copy
import json
import math
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from triton_yolo.calibration.plots import MOST_CLASSES, WORST, short_name, weakest, written
from triton_yolo.calibration.report import NAMED, markdown, write_report

PLOTS = ("classes.png", "drop.png", "ranges.png", "sensitivity.png")
FILES = sorted((*PLOTS, "report.json", "report.md"))
METHODS = ("minmax", "entropy", "percentile")
LAST = tuple(f"network//head/cv{branch}.{level}/cv{branch}.{level}.2/Conv" for level in range(3) for branch in (2, 3))
SEARCHED = "network//neck/elan_up3/cv1/conv/Conv"


def a_document(classes: int = 6, middle: int = 90) -> dict[str, Any]:
    """What a calibration could have measured."""
    names = [f"network//backbone/elan{i // 9}/cv{i % 9}/conv/Conv" for i in range(middle)]
    names += [f"network//neck/elan_up{i // 9}/cv{i % 9}/conv/Conv" for i in range(middle)]
    layers = [_layer(number, name) for number, name in enumerate([*names, *LAST])]
    total = sum(layer["macs"] for layer in layers)
    in_int8 = sum(layer["macs"] for layer in layers if layer["int8"])
    return {
        "graph": "model.onnx",
        "graph_sha256": "0a" * 32,
        "int8_graph": "model-int8.onnx",
        "int8_sha256": "1b" * 32,
        "rest": "fp16",
        "calibrator": "auto",
        "versions": {"openvino": "2026.4.1", "onnxruntime": "1.31.1", "onnx": "1.23.2", "cpu": "AMD EPYC", "cores": 2},
        "images": {"ranges": 256, "evaluation": 200, "sensitivity": 16, "skipped": {"scans/a|b.jpg": "no *image*"}},
        "judged_by": "annotations",
        "max_drop": 0.01,
        "drop": 0.0042,
        "float": _precision(classes, 0.0),
        "int8": _precision(classes, 0.003),
        "int8_onnxruntime": _precision(classes, 0.004),
        "macs": {"total": total, "int8": in_int8, "share": 0.904},
        "bytes": {"float": 7744418, "int8": 2158000, "share": 0.279},
        "methods": {m: {"sqnr_db": 12.3 + i, "map50_95": 0.45 + 0.1 * i} for i, m in enumerate(METHODS)},
        "layers": layers,
        "path": [
            {"int8_macs": share, "float_layers": floats, "map50_95": 0.723 * (1 - drop), "drop": drop, "within": within}
            for share, floats, drop, within in (
                (0.9967, 6, 0.24, False),
                (0.978, 10, 0.083, False),
                (0.943, 18, 0.021, False),
                (0.812, 34, 0.0031, True),
                (0.88, 26, 0.0065, True),
                (0.921, 22, 0.0125, False),
                (0.904, 24, 0.0042, True),
            )
        ],
        "seconds": {"ranges": 60.2, "sensitivity": 400.0, "search": 80.0},
        "peak_memory_mb": 900,
    }


def _layer(number: int, name: str) -> dict[str, Any]:
    last = name in LAST
    why = "last convolution" if last else "search" if name == SEARCHED else None
    noise = 30 + 14 * math.sin(number) - 18 * (name == SEARCHED)
    return {
        "name": name,
        "macs": 10_000_000 + 300_000 * (number % 40),
        "parameters": 9216,
        "int8": why is None,
        "float_because": why,
        "method": METHODS[number % 3],
        "range": [-0.28, 3 * math.exp(1.5 * math.sin(1.7 * number))],
        "sqnr_db": {} if last else {method: noise - abs(i - number % 3) for i, method in enumerate(METHODS)},
        "map50_95": None if last else 0.72,
    }


def _precision(classes: int, drop: float) -> dict[str, Any]:
    names = ("open", "short", "mousebite", "spur", "copper", "pin-hole", *(f"class {i}" for i in range(6, classes)))
    rows = {n: {"ap50_95": 0.7 + 0.02 * (i % 9) - drop * (1 + i % 7), "ap50": 0.95} for i, n in enumerate(names)}
    return {"map50_95": 0.723 - drop, "map50": 0.956, "per_class": dict(list(rows.items())[:classes])}


def report_of(document: dict[str, Any], folder: Path) -> str:
    write_report(folder, document)
    return (folder / "report.md").read_text()


def section(report: str, title: str) -> str:
    return report.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:2] == "| "]


def test_the_report_begins_with_what_calibration_cost_and_brought() -> None:
    verdict = markdown(a_document()).splitlines()[2]

    assert verdict == (
        "INT8 loses 0.42 % of mAP50-95 (0.723 -> 0.720), 90.4 % of the convolution MACs are INT8, "
        "the file is 27.9 % of the float one."
    )


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        (-0.0042, "INT8 gains 0.42 % of mAP50-95"),
        (-0.00001, "INT8 loses 0.00 % of mAP50-95"),  # neither a gain nor -0
        (None, "INT8 loses an unknown share of mAP50-95"),
        (0.02, "1 % was allowed, so this is too much"),
        (0.01, "1 % was allowed."),
    ],
)
def test_the_verdict_fits_the_drop(drop: float | None, said: str) -> None:
    assert said in markdown(a_document() | {"drop": drop})


def test_every_table_has_its_figures() -> None:
    report = markdown(a_document())

    precision = rows(section(report, "Precision"))
    assert ["mAP50-95", "0.7230", "0.7200", "0.7190", "-0.0030"] in precision
    assert ["mAP50", "0.9560", "0.9560", "0.9560", "+0.0000"] in precision
    assert ["pin-hole", "0.8000", "0.7820", "0.7760", "-0.0180", "0.9500", "0.9500"] in precision
    assert ["percentile", "14.3", "0.6500", "10.10 %", "60"] in rows(section(report, "Methods"))
    search = rows(section(report, "Search"))
    assert search[1] == ["1", "99.67 %", "6", "0.5495", "24.00 %", "no"]
    assert search[-1] == ["7", "90.40 %", "24", "0.7200", "0.42 %", "yes, written"]
    assert [row[-1] for row in search].count("yes, written") == 1
    assert ["evaluation", "200"] in rows(section(report, "Images"))
    assert ["sensitivity, s", "400.0"] in rows(section(report, "Time and memory"))
    assert ["all, s", "540.2"] in rows(section(report, "Time and memory"))
    assert ["peak memory, MB", "900"] in rows(section(report, "Time and memory"))
    assert ["openvino", "2026.4.1"] in rows(section(report, "Versions"))
    for said in ("Judged by annotations", "Ranges by auto", "computes in fp16", "`model-int8.onnx`", "1b" * 32):
        assert said in report


def test_every_layer_that_stays_float_is_named_with_its_share() -> None:
    document = a_document()
    floats = [layer for layer in document["layers"] if not layer["int8"]]
    shares = [f"{100 * layer['macs'] / document['macs']['total']:.2f} %" for layer in floats]

    named = rows(section(markdown(document), "What stays float"))[1:]

    assert [row[0] for row in named[:-1]] == [f"`{layer['name']}`" for layer in floats]
    assert [row[1] for row in named[:-1]] == ["search"] + ["last convolution"] * len(LAST)
    assert [row[3] for row in named[:-1]] == shares
    assert named[-1][0] == f"all {len(floats)}"


def test_the_weakest_layers_are_shown_weakest_first() -> None:
    document = a_document()
    first = {**document["layers"][5], "name": "silent", "sqnr_db": {"minmax": None}, "method": "minmax"}
    document["layers"] = [first, *document["layers"]]

    shown = rows(section(markdown(document), "Sensitivity"))[1:]

    assert len(shown) == WORST
    assert shown[0][0] == f"`{SEARCHED}`"
    assert shown[0][-1] == "float"
    noise = [max(map(float, row[3:6])) for row in shown]  # the chosen method is the best one here
    assert noise == sorted(noise)
    assert weakest(document["layers"][:1]) == [first]  # no noise is the best there can be, yet measured
    assert "no noise" in markdown(document | {"layers": [first]})


def test_images_left_out_are_named_up_to_a_count() -> None:
    document = a_document()
    assert r"| `scans/a\|b.jpg` | no \*image\* |" in markdown(document)
    document["images"]["skipped"] = {f"{i}.jpg": "is empty" for i in range(NAMED + 3)}

    images = section(markdown(document), "Images")

    assert f"| left out | {NAMED + 3} |" in images
    assert f"| `{NAMED - 1}.jpg` | is empty |" in images
    assert f"`{NAMED}.jpg`" not in images
    assert "and 3 more" in images


def test_the_json_is_the_document_without_numbers_that_json_lacks(tmp_path: Path) -> None:
    document = a_document()
    write_report(tmp_path, document)
    assert json.loads((tmp_path / "report.json").read_text()) == document
    write_report(tmp_path, document | {"drop": math.nan, "path": [{**document["path"][-1], "drop": math.inf}]})

    kept = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)

    assert (kept["drop"], kept["path"][0]["drop"]) == (None, None)


@pytest.mark.slow
def test_the_same_document_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        write_report(tmp_path / folder, copy.deepcopy(a_document()))

    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def without_values(value: Any, nothing: float | None) -> Any:
    """A document in which nothing that is a number could be measured."""
    if isinstance(value, dict):
        return {key: without_values(one, nothing) for key, one in value.items()}
    if isinstance(value, list):
        return [without_values(one, nothing) for one in value]
    return nothing if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def emptied(document: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, (dict, list)) else value for key, value in document.items()}


@pytest.mark.parametrize(
    "document",
    [
        a_document(),
        a_document(classes=1, middle=1),
        a_document(classes=80),
        without_values(a_document(), None),
        without_values(a_document(), math.nan),
        emptied(a_document()),
        a_document() | {"path": a_document()["path"][:1], "methods": {}},  # nothing within the bound
        a_document() | {"path": a_document()["path"][-1:], "max_drop": 0},
        a_document() | {"int8": {"map50_95": 0.7, "map50": 0.9, "per_class": {"$a$ ^{": {"ap50_95": 1, "ap50": 1}}}},
    ],
    ids=["usual", "smallest", "largest", "null", "nan", "empty", "none within", "no search", "odd names"],
)
def test_every_document_gives_a_report_whose_plots_show_something(document: dict[str, Any], tmp_path: Path) -> None:
    report = report_of(document, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert "nan" not in report.replace("-nano", "")
    for name in PLOTS:
        assert f"]({name})" in report
        with PIL.Image.open(tmp_path / name) as image:
            pixels = np.asarray(image.convert("L"))
        assert pixels.shape[1] == 960
        assert (pixels < 128).sum() > 300  # letters and lines
        assert (pixels == 255).mean() > 0.3  # on white


def test_the_step_written_is_the_last_within_bounds_with_the_most_in_int8() -> None:
    steps = [(0.9, False), (0.7, True), (0.8, True), (0.8, True), (0.6, True)]
    path = [{"int8_macs": share, "within": within} for share, within in steps]

    assert written(path) == 3
    assert written(path[:1]) is None


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("network//head/cv3.0/cv3.0.2/Conv", "head/cv3.0.2"),
        ("/backbone/backbone/dark2/dark2.1/m/m.0/conv1/conv/Conv", "backbone/dark2.1/m.0/conv1"),
        ("/head/reg/Conv_1", "head/reg/Conv_1"),  # shared weights: another than head/reg/Conv
        ("/model.1/conv/Conv", "model.1"),
        ("/model.1/model.10/Conv", "model.1/model.10"),  # not the same number
        ("Conv", "Conv"),
        ("Conv_12", "Conv_12"),
        ("//", "//"),
        ("/a" * 40, "a"),
        ("x" * 30 + "/" + "y" * 30, "..." + "/" + "y" * 30),
    ],
)
def test_names_are_shortened_to_what_tells_layers_apart(name: str, short: str) -> None:
    assert short_name(name) == short


@pytest.mark.slow
def test_only_the_classes_that_lose_most_are_drawn_where_there_are_many(tmp_path: Path) -> None:
    heights = {}
    for classes in (MOST_CLASSES, MOST_CLASSES + 1, 80):
        write_report(tmp_path, a_document(classes))
        with PIL.Image.open(tmp_path / "classes.png") as image:
            heights[classes] = image.height

    assert len(set(heights.values())) == 1


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"kept")

    with pytest.raises(OSError):
        write_report(tmp_path / "taken" / "report", a_document())

    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").read_bytes() == b"kept"


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Let this process fail to write more, as where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_report_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    write_report(tmp_path, a_document())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    smallest = min(len(before[name]) for name in PLOTS)

    with files_no_longer_than(smallest // 2), pytest.raises(OSError):
        write_report(tmp_path, a_document(classes=1, middle=1) | {"layers": []})

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
