"""triton-yolo calibrate."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest
from PIL import Image

from tests.calibration.small import LAYERS, images, repository
from tests.clients.commands import completed
from tests.conftest import REPOSITORY, ROOT
from triton_yolo.calibration.command import main
from triton_yolo.calibration.layers import read_float_graph
from triton_yolo.calibration.measure import Evaluator
from triton_yolo.calibration.pictures import read_pictures
from triton_yolo.calibration.quantise import quantised_in
from triton_yolo.calibration.runtimes import openvino_engine
from triton_yolo.cli import progress
from triton_yolo.export.served_model import served_model_of

Calibrate = Callable[..., subprocess.CompletedProcess[str]]
DEEP = ("--max-drop", "30 %", "--calibrator", "minmax", "--sensitivity-images", 4)

pytestmark = pytest.mark.computes


def start(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "triton_yolo", "calibrate", *map(str, arguments)]


def calibrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.run(
        start(*arguments), capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment, check=False
    )


@pytest.fixture
def calibrate_here(capfd: pytest.CaptureFixture[str]) -> Calibrate:
    """The same in this process, where all that takes seconds to load is loaded already."""
    return partial(completed, main, capfd)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why."""
    assert result.returncode == 2, result.stderr
    said = without_progress(result.stderr)
    assert said.count("\n") == 1, result.stderr
    assert said.startswith("triton-yolo calibrate: ")
    return said


def without_progress(text: str) -> str:
    """What stderr holds beside the lines of progress, which a slow machine has more of."""
    return "".join(
        line for line in text.splitlines(keepends=True) if not re.match(r"Step \d of|Choosing the pictures", line)
    )


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small served float graph in its repository."""
    return repository(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures."""
    return images(tmp_path_factory.mktemp("pictures") / "images", 12)


def coco(folder: Path, target: Path, name: str = "kind0") -> Path:
    """Annotations of the pictures in a folder, with one box each."""
    files = sorted(path.name for path in folder.iterdir())
    content = {
        "images": [{"id": i, "file_name": file} for i, file in enumerate(files)],
        "categories": [{"id": 1, "name": name}],
        "annotations": [{"image_id": i, "category_id": 1, "bbox": [8, 8, 32, 32]} for i in range(len(files))],
    }
    target.write_text(json.dumps(content))
    return target


@pytest.mark.slow
def test_it_writes_an_int8_graph_and_a_report_and_the_same_again_from_the_ranges(
    graph: Path, pictures: Path, tmp_path: Path
) -> None:
    out, ranges = tmp_path / "out" / "int8.onnx", tmp_path / "ranges"
    options = (graph, "--images", pictures, "--ranges", ranges, "--out", out, "--report", tmp_path / "report", *DEEP)
    first = calibrate(*options)
    assert first.returncode == 0, first.stderr
    model, report = onnx.load(out), json.loads((tmp_path / "report" / "report.json").read_text())
    onnx.checker.check_model(model, full_check=True)
    assert quantised_in(model) == {layer["name"] for layer in report["layers"] if layer["int8"]} != set()
    assert {f"network/{name}" for name in LAYERS} >= quantised_in(model)
    assert report["judged_by"] == "the float graph's own detections"
    assert report["float"]["map50_95"] > 0.99
    assert report["drop"] <= 0.3
    assert f"{report['macs']['share']:.1%} of the convolutions' MACs" in first.stdout
    assert {path.name for path in (tmp_path / "report").iterdir()} >= {"report.md", "drop.png", "sensitivity.png"}

    [kept] = ranges.glob("*-minmax.json")
    before, written = out.read_bytes(), kept.stat().st_mtime_ns
    again = calibrate(*options)
    assert again.returncode == 0, again.stderr
    assert out.read_bytes() == before
    assert kept.stat().st_mtime_ns == written
    fresh = calibrate(*options[:3], "--ranges", tmp_path / "others", *options[5:])
    assert fresh.returncode == 0, fresh.stderr
    assert out.read_bytes() == before
    assert (tmp_path / "others" / kept.name).read_bytes() == kept.read_bytes()


@pytest.mark.slow
def test_annotations_judge_where_they_are_given(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate
) -> None:
    model = read_float_graph(graph)
    served = served_model_of(model, graph)
    shown = read_pictures(sorted(pictures.iterdir()), served.letterbox, 12)
    found = Evaluator.of_itself(openvino_engine(model), shown, served).annotations
    images = [{"id": number, "file_name": name} for number, name in found.images.items()]
    categories = [{"id": number, "name": name} for number, name in found.categories.items()]
    content = {"images": images, "categories": categories, "annotations": found.boxes[::2]}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    result = calibrate_here(
        *(graph, "--images", pictures, "--annotations", tmp_path / "coco.json", "--ranges", tmp_path, *DEEP),
        *("--out", tmp_path / "o.onnx", "--report", tmp_path / "report", "--rest", "fp32", "--max-drop", 99),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (report["judged_by"], report["rest"]) == ("annotations", "fp32")
    assert 0 < report["float"]["map50_95"] < 0.99  # every other box is annotated
    assert quantised_in(onnx.load(tmp_path / "o.onnx")) == {f"network/{name}" for name in LAYERS}


@pytest.mark.slow
def test_annotations_of_nothing_that_the_float_graph_finds_are_refused(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate
) -> None:
    annotations = coco(pictures, tmp_path / "coco.json")
    options = ("--images", pictures, "--annotations", annotations, "--ranges", tmp_path, *DEEP)
    assert "the float graph finds nothing of what is annotated" in refused(calibrate_here(graph, *options))


@pytest.mark.slow
def test_where_nothing_is_good_enough_nothing_is_written(graph: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    result = calibrate(
        graph, "--images", pictures, "--ranges", tmp_path / "ranges", "--out", out, *DEEP, "--max-drop", 0
    )
    assert "no convolution can be INT8 with a loss of at most 0.00% of mAP50-95" in refused(result)
    assert not out.exists()


def test_damaged_images_are_named_skipped_and_counted(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(pictures, folder)
    (folder / "000.png").write_bytes((folder / "000.png").read_bytes()[:500])
    (folder / "text.jpg").write_text("no picture")
    result = calibrate_here(graph, "--images", folder, "--ranges", tmp_path, "--out", tmp_path / "o.onnx", *DEEP)
    assert result.returncode == 0, result.stderr
    assert "2 images that cannot be read, the first is" in result.stdout
    assert "000.png" in result.stdout


@pytest.mark.parametrize("left", [0, 7])
def test_too_few_images_are_an_error(
    graph: Path, pictures: Path, tmp_path: Path, left: int, calibrate_here: Calibrate
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted(pictures.iterdir())[:left]:
        shutil.copy(path, folder)
    message = refused(calibrate_here(graph, "--images", folder, "--ranges", tmp_path))
    assert ("there are no JPEGs or PNGs in" if left == 0 else "at least 8 images are needed, 7 of 7") in message


def test_annotations_of_other_images_are_refused(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate
) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for i in range(8):
        Image.new("RGB", (64, 64)).save(others / f"other{i}.png")
    annotations = coco(others, tmp_path / "coco.json")
    message = refused(calibrate_here(graph, "--images", pictures, "--annotations", annotations))
    assert "the annotations belong to other images: 0 of their 8 are in" in message


def test_annotations_of_other_classes_are_refused(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate
) -> None:
    annotations = coco(pictures, tmp_path / "coco.json", name="cat")
    message = refused(calibrate_here(graph, "--images", pictures, "--annotations", annotations))
    assert "the graph does not know cat: it detects kind0, kind1, kind2" in message


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        (ROOT / "models" / "pcb-yolov9t-elan.onnx", "it is not a served graph: make one with triton-yolo export"),
        (REPOSITORY / "yolo" / "1" / "model.onnx", "is quantised already: give the float graph"),
        (ROOT / "README.md", "is not an ONNX file"),
    ],
)
def test_what_is_no_served_float_graph_is_refused(
    pictures: Path, path: Path, complaint: str, calibrate_here: Calibrate
) -> None:
    assert complaint in refused(calibrate_here(path, "--images", pictures))


@pytest.mark.parametrize("value", ["-1", "101 %", "much"])
def test_a_drop_that_is_no_percentage_is_refused(
    graph: Path, pictures: Path, value: str, calibrate_here: Calibrate
) -> None:
    result = calibrate_here(graph, "--images", pictures, "--max-drop", value)
    assert result.returncode == 2
    assert "percentage from 0 to 100" in result.stderr


def test_ctrl_c_leaves_the_old_graph_and_the_ranges_that_were_found(
    graph: Path, pictures: Path, tmp_path: Path
) -> None:
    out, ranges = tmp_path / "int8.onnx", tmp_path / "ranges"
    out.write_bytes(b"the old one")
    options = (graph, "--images", pictures, "--ranges", ranges, "--out", out, "--report", tmp_path / "report", *DEEP)
    process = subprocess.Popen(start(*options), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(ranges.glob("*-minmax.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert (
        without_progress(message)
        == "triton-yolo calibrate: interrupted; what was measured is kept, and no graph was written\n"
    )
    assert out.read_bytes() == b"the old one"
    assert {path.suffix for path in ranges.iterdir()} == {".json"}
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_where_there_is_no_terminal_lines_say_the_step_the_share_and_the_time_that_is_left(
    graph: Path, pictures: Path, tmp_path: Path, calibrate_here: Calibrate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    result = calibrate_here(graph, "--images", pictures, "--ranges", tmp_path, "--out", tmp_path / "o.onnx", *DEEP)
    assert result.returncode == 0, result.stderr
    steps = [line for line in result.stderr.splitlines() if line.startswith("Step ")]
    assert {int(line.split()[1]) for line in steps} >= {6, 7}
    share = r"Step [1-8] of 8, [\w ,-]+: \d+ of \d+, \d+%, \d+ (s|min) left"
    assert any(re.fullmatch(share, line) for line in steps), steps


@pytest.mark.long
@pytest.mark.slow
def test_one_that_is_killed_again_and_again_comes_to_the_same_and_measures_nothing_twice(
    graph: Path, pictures: Path, tmp_path: Path
) -> None:
    options = ("--images", pictures, "--max-drop", "30 %", "--sensitivity-images", 4)
    whole = calibrate(graph, *options, "--ranges", tmp_path / "whole", "--out", tmp_path / "whole.onnx")
    assert whole.returncode == 0, whole.stderr
    kept = tmp_path / "kept"
    command = start(graph, *options, "--ranges", kept, "--out", tmp_path / "killed.onnx")
    answers: dict[str, object] = {}
    for goal, end in zip((1, 3, 5, 7, 9), [signal.SIGKILL, signal.SIGINT] * 3, strict=False):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(measured_in(kept)) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(end)
        process.wait(60)
        found = measured_in(kept)
        assert found.items() >= answers.items(), "what was measured before is kept as it was"
        assert len(found) >= goal
        answers = found
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True)
    assert measured_in(kept) == measured_in(tmp_path / "whole")
    assert (tmp_path / "killed.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def measured_in(folder: Path) -> dict[str, object]:
    """The questions that a calibration has answered, with the answers."""
    files = list(folder.glob("*-measured.json"))
    assert len(files) <= 1
    return dict(json.loads(files[0].read_bytes())["answers"]) if files else {}
