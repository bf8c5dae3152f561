"""The configurations agree with one another, with the pipelines and with the graph, wherever a number stands twice."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from tritonclient.grpc import model_config_pb2

from tests.conftest import REPOSITORY
from triton_yolo.boards import CLASSES
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.dali_definition import load_definition
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.repository import read_config, read_served_model

CONFIGS = {path.parent.name: read_config(path) for path in sorted(REPOSITORY.glob("*/config.pbtxt"))}
ENSEMBLES = [name for name, config in CONFIGS.items() if config.platform == "ensemble"]
PIPELINES = ["preprocess", "preprocess_bayer", "preprocess_frames", "preprocess_nv12", "preprocess_yuyv"]


def tensors(listed: Any) -> dict[str, tuple[str, list[int]]]:
    """Type and dimensions of inputs or outputs by name."""
    return {t.name: (model_config_pb2.DataType.Name(t.data_type), list(t.dims)) for t in listed}


def parameters(name: str) -> dict[str, str]:
    return {key: value.string_value for key, value in CONFIGS[name].parameters.items()}


def letterbox(name: str) -> dict[str, Any]:
    """The numbers beside a model's dali.py."""
    found: dict[str, Any] = json.loads((REPOSITORY / name / "1" / "letterbox.json").read_text())
    return found


def called_with(name: str, function: str) -> dict[str, Any]:
    """The constant arguments of a call in a model's dali.py."""
    for node in ast.walk(ast.parse((REPOSITORY / name / "1" / "dali.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
            return {k.arg: k.value.value for k in node.keywords if k.arg and isinstance(k.value, ast.Constant)}
    raise AssertionError(f"no {function}")


def test_the_repository_holds_these_models() -> None:
    assert sorted(CONFIGS) == sorted(["assemble", *ENSEMBLES, *PIPELINES, "nms", "yolo"])
    assert ENSEMBLES == ["detect", "detect_bayer", "detect_frames", "detect_nv12", "detect_tiles", "detect_yuyv"]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_has_the_name_of_its_folder(name: str) -> None:
    assert CONFIGS[name].name == name


def test_all_models_take_batches_of_the_same_size() -> None:
    assert {config.max_batch_size for config in CONFIGS.values()} == {32}
    assert {called_with(name, "pipeline_def")["batch_size"] for name in PIPELINES} == {32}
    assert called_with("preprocess", "fn.decoders.image")["hw_decoder_load"] == 32, "of one image: a whole batch"


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_every_tensor_of_an_ensemble_agrees_from_step_to_step(ensemble: str) -> None:
    config = CONFIGS[ensemble]
    known = tensors(config.input)
    for step in config.ensemble_scheduling.step:
        model = CONFIGS[step.model_name]
        inputs, outputs = tensors(model.input), tensors(model.output)
        assert set(step.input_map) == set(inputs), f"{step.model_name} lacks an input"
        for name, value in step.input_map.items():
            assert known[value] == inputs[name], f"{value} is not what {step.model_name} takes as {name}"
        for name, value in step.output_map.items():
            assert value not in known, f"{value} is made twice"
            known[value] = outputs[name]
    for name, tensor in tensors(config.output).items():
        assert known[name] == tensor


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_all_outputs_of_a_dali_step_are_mapped(ensemble: str) -> None:
    for step in CONFIGS[ensemble].ensemble_scheduling.step:
        if CONFIGS[step.model_name].backend == "dali":
            assert set(step.output_map) == set(tensors(CONFIGS[step.model_name].output))


@pytest.mark.parametrize("name", ENSEMBLES)
def test_all_ensembles_answer_alike(name: str) -> None:
    outputs = tensors(CONFIGS[name].output)
    further = {"frame_number", "frame_checksum"} if name == "detect_tiles" else set()
    assert {key: outputs[key] for key in outputs.keys() - further} == tensors(CONFIGS["detect"].output)


def test_the_contract_of_the_ensembles() -> None:
    assert tensors(CONFIGS["detect"].input) == {"image": ("TYPE_UINT8", [-1])}
    assert tensors(CONFIGS["detect_frames"].input) == {"frames": ("TYPE_UINT8", [-1, -1, 3])}
    assert tensors(CONFIGS["detect_bayer"].input) == {
        "frames": ("TYPE_UINT8", [-1, -1]),
        "blue_position": ("TYPE_INT32", [2]),
    }
    assert tensors(CONFIGS["detect_yuyv"].input) == {"frames": ("TYPE_UINT8", [-1, -1, 2])}
    assert tensors(CONFIGS["detect_nv12"].input) == {"frames": ("TYPE_UINT8", [-1, -1])}
    assert tensors(CONFIGS["detect_tiles"].input) == {
        "tiles": ("TYPE_UINT8", [-1, -1, -1, 3]),
        "coded": ("TYPE_UINT8", [-1]),
        "positions": ("TYPE_INT32", [-1, 2]),
        "stream": ("TYPE_UINT8", [-1]),
        "numbers": ("TYPE_INT64", [3]),
        "key": ("TYPE_BOOL", [1]),
        "checksum": ("TYPE_UINT32", [1]),
    }
    assert tensors(CONFIGS["detect"].output) == {
        "num_detections": ("TYPE_INT32", [1]),
        "boxes": ("TYPE_FP32", [100, 4]),
        "scores": ("TYPE_FP32", [100]),
        "classes": ("TYPE_INT32", [100]),
    }


def test_the_input_of_the_network_has_one_size_everywhere() -> None:
    sizes = [[letterbox(name)[side] for side in ("height", "width")] for name in PIPELINES]
    sizes += [tensors(CONFIGS[name].output)["images"][1][1:] for name in PIPELINES]
    sizes += [tensors(CONFIGS["yolo"].input)["images"][1][1:]]
    sizes += [[int(parameters("nms")[f"input_{side}"]) for side in ("height", "width")]]
    assert sizes == [[640, 640]] * 12


def test_the_border_has_one_grey_level() -> None:
    assert [letterbox(name)["pad"] for name in PIPELINES] == [114] * 5


@pytest.mark.parametrize("name", PIPELINES)
def test_images_are_fitted_as_nms_undoes_it(name: str) -> None:
    numbers = letterbox(name)
    del numbers["pad"]
    assert Letterbox(**numbers) == read_served_model(REPOSITORY).letterbox


# How Triton's DALI backend imports a definition (its GenerateAutoserializeScript), without the GPU that it wants.
AUTOSERIALIZE = """
import importlib.util, sys
from nvidia.dali._utils.autoserialize import _discover_autoserialize
spec = importlib.util.spec_from_file_location('autoserialize_mod', sys.argv[1])
head_module = importlib.util.module_from_spec(spec)
sys.modules['autoserialize_mod'] = head_module
spec.loader.exec_module(head_module)
[definition] = _discover_autoserialize(head_module, visited=[])
print(len(definition(device_id=None).serialize()))
"""


@pytest.mark.parametrize("name", PIPELINES)
def test_tritons_own_backend_finds_one_pipeline_wherever_it_runs(name: str, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / name, tmp_path / name)
    command = [sys.executable, "-c", AUTOSERIALIZE, str(tmp_path / name / "1" / "dali.py")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/", env=environment)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 0


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_has_no_numbers_of_its_own(name: str) -> None:
    module = load_definition(REPOSITORY / name / "1" / "dali.py")
    numbers = letterbox(name)
    found = tuple(getattr(module.letterboxing, key) for key in ("HEIGHT", "WIDTH", "CENTRED", "ROUNDING", "PAD"))
    assert found == tuple(numbers[key] for key in ("height", "width", "centred", "rounding", "pad"))


@pytest.mark.parametrize("name", ["letterboxing.py", "ycbcr.py"])
def test_what_definitions_share_is_one_file(name: str) -> None:
    shared = [REPOSITORY / pipeline / "1" / name for pipeline in PIPELINES]
    assert len({path.resolve() for path in shared if path.exists()}) == 1
    importing = [path for path in shared if f"import {name[:-3]}" in path.with_name("dali.py").read_text()]
    assert importing == [path for path in shared if path.exists()]


def test_the_formats_of_clients_are_those_of_the_ensembles() -> None:
    assert {one.model for one in PIXEL_FORMATS.values()} == set(ENSEMBLES) - {"detect", "detect_tiles"}
    for one in PIXEL_FORMATS.values():
        inputs = tensors(CONFIGS[one.model].input)
        assert inputs.pop("frames") == ("TYPE_UINT8", [-1, -1, *one.channels])
        assert inputs == {key: ("TYPE_INT32", list(array.shape[1:])) for key, array in one.inputs(3).items()}


def test_the_graph_is_what_the_configuration_of_the_network_says() -> None:
    """Names, types and dimensions of the model.onnx that stands in the repository."""
    graph = onnx.load(REPOSITORY / "yolo" / "1" / "model.onnx").graph
    kinds = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}
    for values, listed in [(graph.input, CONFIGS["yolo"].input), (graph.output, CONFIGS["yolo"].output)]:
        found = {
            v.name: (
                kinds[v.type.tensor_type.elem_type],
                [d.dim_value for d in v.type.tensor_type.shape.dim][1:],  # without the batch
            )
            for v in values
        }
        assert found == tensors(listed)
        assert all(v.type.tensor_type.shape.dim[0].dim_param for v in values), "the batch size is fixed"


def test_the_defaults_of_the_thresholds_and_the_labels() -> None:
    values = parameters("nms")
    assert (float(values["score_threshold"]), float(values["iou_threshold"])) == (0.25, 0.45)
    assert json.loads(values["labels"]) == list(CLASSES)


def test_the_step_before_the_network_moves_bytes_and_not_floats() -> None:
    kind, dims = tensors(CONFIGS["yolo"].input)["images"]
    assert kind == "TYPE_UINT8"
    assert dims == [3, 640, 640]  # 1.2 MB an image
