"""The repository of another model."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from google.protobuf import text_format

from tests.conftest import REPOSITORY
from triton_yolo.dali_definition import load_definition
from triton_yolo.errors import RepositoryError
from triton_yolo.export.repository import GRAPH_PATH, PLAN, write_repository
from triton_yolo.export.served_proof import proof_of
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.served_model import ServedModel
from triton_yolo.nms.thresholds import Thresholds
from triton_yolo.repository import read_config, read_served_model

DEFAULT = read_served_model()
OTHER = ServedModel(
    ("Käfer", 'a "b"', "c\\d"), Letterbox(384, 640, False, "down"), Thresholds(0.25, 1.0), 200, DEFAULT.max_detections
)
GRAPH_BYTES = (REPOSITORY / GRAPH_PATH).read_bytes()
PROOF_BYTES = proof_of(REPOSITORY / GRAPH_PATH).read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_default_model_gives_the_default_repository(tmp_path: Path) -> None:
    assert write_repository(tmp_path / "new" / "folder", GRAPH_BYTES, PROOF_BYTES, DEFAULT) == []
    assert files(tmp_path / "new" / "folder") == files(REPOSITORY)


def test_sizes_labels_and_candidates_are_the_models(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", OTHER)
    configs = {path.parent.name: read_config(path) for path in tmp_path.glob("*/config.pbtxt")}
    assert list(configs["yolo"].input[0].dims) == [3, 384, 640]
    assert list(configs["yolo"].output[0].dims) == list(configs["nms"].input[0].dims) == [200, 6]
    pipelines = [name for name in configs if name.startswith("preprocess")]
    assert len(pipelines) == 5
    for name in pipelines:
        assert next(list(o.dims) for o in configs[name].output if o.name == "images") == [3, 384, 640]
        module = load_definition(tmp_path / name / "1" / "dali.py").letterboxing
        assert (module.HEIGHT, module.WIDTH, module.CENTRED, module.ROUNDING) == (384, 640, False, "down")
    values = {key: value.string_value for key, value in configs["nms"].parameters.items()}
    assert json.loads(values.pop("labels")) == list(OTHER.labels)
    assert values == {
        "input_height": "384",
        "input_width": "640",
        "letterbox": "top-left",
        "letterbox_rounding": "down",
        "iou_threshold": "1",
        "score_threshold": "0.25",
    }
    assert (tmp_path / GRAPH_PATH).read_bytes() == b"graph"
    assert proof_of(tmp_path / GRAPH_PATH).read_bytes() == b"proof"


def test_more_detections_can_be_answered(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", dataclasses.replace(DEFAULT, max_detections=300))
    for name in ("detect", "detect_bayer", "detect_frames", "detect_nv12", "detect_tiles", "detect_yuyv", "nms"):
        outputs = {output.name: list(output.dims) for output in read_config(tmp_path / name / "config.pbtxt").output}
        wanted = {"num_detections": [1], "boxes": [300, 4], "scores": [300], "classes": [300]}
        assert {**outputs, **wanted} == outputs


def test_what_the_model_does_not_determine_stays_as_the_user_set_it(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", DEFAULT)
    path = tmp_path / "nms" / "config.pbtxt"
    config = read_config(path)
    config.instance_group[0].count = 3
    config.parameters["score_threshold"].string_value = "0.4"
    config.parameters["iou_threshold"].string_value = "0.6"
    path.write_text(f"# mine\n{text_format.MessageToString(config)}")
    write_repository(
        tmp_path, b"another", b"proof", dataclasses.replace(DEFAULT, labels=("a",), letterbox=Letterbox(320, 320))
    )
    again = read_config(path)
    assert again.instance_group[0].count == 3
    assert again.parameters["score_threshold"].string_value == "0.4"
    assert again.parameters["iou_threshold"].string_value == "0.6"
    assert again.parameters["input_height"].string_value == "320"
    assert path.read_text().startswith("# mine\n")


def test_suppression_comes_back_when_an_end_to_end_model_goes(tmp_path: Path) -> None:
    def overlap() -> str:
        return read_config(tmp_path / "nms" / "config.pbtxt").parameters["iou_threshold"].string_value

    write_repository(tmp_path, b"graph", b"proof", OTHER)
    assert overlap() == "1"
    write_repository(tmp_path, b"graph", b"proof", DEFAULT)
    assert overlap() == "0.45"


def test_a_plan_of_another_graph_is_removed(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", DEFAULT)
    beside = tmp_path / f"{PLAN}.json"
    for path in (tmp_path / PLAN, beside):
        path.write_bytes(b"built")
    assert write_repository(tmp_path, b"graph", b"proof", DEFAULT) == []
    assert (tmp_path / PLAN).exists(), "it is the same graph"
    assert write_repository(tmp_path, b"another", b"proof", DEFAULT) == [tmp_path / PLAN, beside]
    assert not (tmp_path / PLAN).exists()
    assert not beside.exists()


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", DEFAULT)
    before = files(tmp_path)
    (tmp_path / "yolo" / "config.pbtxt").unlink()
    (tmp_path / "yolo" / "1").rename(tmp_path / "yolo" / "kept")
    (tmp_path / "yolo" / "1").write_bytes(b"a file where a folder should be")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        write_repository(tmp_path, b"another", b"proof", OTHER)
    (tmp_path / "yolo" / "1").unlink()
    (tmp_path / "yolo" / "kept").rename(tmp_path / "yolo" / "1")
    after = files(tmp_path)
    assert after == {name: content for name, content in before.items() if name != "yolo/config.pbtxt"}
    assert not [name for name in os.listdir(tmp_path / "nms") if name.startswith(".config")]


def test_a_configuration_that_is_none_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    write_repository(tmp_path, b"graph", b"proof", DEFAULT)
    (tmp_path / "nms" / "config.pbtxt").write_text("no configuration")
    before = files(tmp_path)
    with pytest.raises(RepositoryError, match="is not a Triton model configuration"):
        write_repository(tmp_path, b"another", b"proof", OTHER)
    assert files(tmp_path) == before
