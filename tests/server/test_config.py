"""Configurations are read through Triton's protobuf, and derived for Python models without drifting."""

from __future__ import annotations

from pathlib import Path

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from tests.conftest import REPOSITORY
from triton_yolo.errors import RepositoryError
from triton_yolo.repository import read_config
from triton_yolo.server.runtimes import runtime_for
from triton_yolo.server.runtimes.base import AT_ONCE, Device

CONFIGS = {path.parent.name: read_config(path) for path in sorted(REPOSITORY.glob("*/config.pbtxt"))}
STAND_INS = {
    "preprocess": "dali.py",
    "preprocess_bayer": "dali.py",
    "preprocess_frames": "dali.py",
    "preprocess_nv12": "dali.py",
    "preprocess_yuyv": "dali.py",
    "yolo": "model.onnx",
}


def as_python_model(config: ModelConfig, device: Device = "cpu") -> ModelConfig:
    runtime = runtime_for(config, device)
    assert runtime
    return runtime.configured(config, device, "auto")


def test_models_of_missing_backends_get_a_stand_in_and_no_others() -> None:
    found = {name: runtime_for(config, "cpu") for name, config in CONFIGS.items()}
    assert {name: runtime.file for name, runtime in found.items() if runtime} == STAND_INS


@pytest.mark.parametrize("name", STAND_INS)
def test_only_backend_platform_model_file_instances_and_the_preferred_batch_change(name: str) -> None:
    original, derived = CONFIGS[name], as_python_model(CONFIGS[name])
    assert derived.backend == "python"
    assert {(group.kind, group.count) for group in derived.instance_group} == {(ModelInstanceGroup.KIND_CPU, 1)}
    back = ModelConfig()
    back.CopyFrom(derived)
    back.backend, back.platform = original.backend, original.platform
    back.default_model_filename = original.default_model_filename
    for group, first in zip(back.instance_group, original.instance_group, strict=True):
        group.kind, group.count = first.kind, first.count
    if original.platform == "tensorrt_plan":
        assert back.parameters["arithmetic"].string_value == "auto"
        del back.parameters["arithmetic"]
    assert list(back.dynamic_batching.preferred_batch_size) == [AT_ONCE]
    back.dynamic_batching.ClearField("preferred_batch_size")
    assert back == original


@pytest.mark.parametrize(("backend", "count"), [("tensorrt", 2), ("dali", 1)])
def test_the_gpus_of_an_instance_are_dropped(backend: str, count: int) -> None:
    config = ModelConfig(
        backend=backend, instance_group=[ModelInstanceGroup(kind=ModelInstanceGroup.KIND_GPU, count=2, gpus=[0, 1])]
    )
    [group] = as_python_model(config).instance_group
    assert (group.kind, group.count, list(group.gpus)) == (ModelInstanceGroup.KIND_CPU, count, [])
    assert config.backend == backend, "the original has changed"


def test_on_a_gpu_too_a_pipeline_is_one_process() -> None:
    config = ModelConfig(backend="dali", instance_group=[ModelInstanceGroup(kind=ModelInstanceGroup.KIND_GPU, count=2)])
    [group] = as_python_model(config, "gpu").instance_group
    assert (group.kind, group.count) == (ModelInstanceGroup.KIND_GPU, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('name: "x"\nmax_batch: 8\n', "max_batch"),  # no such field
        ('name: "x"\nmax_batch_size: "8"\n', "2:17"),  # text for a number; the place is named
        ("input [ { data_type: TYPE_UINT9 } ]", "TYPE_UINT9"),  # no such type
        ('name: "x', "1:"),  # the text ends early
        ("\x00\x01", "1:1"),
    ],
)
def test_a_wrong_field_is_an_error_that_names_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    with pytest.raises(RepositoryError, match="is not a Triton model configuration") as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path} ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(RepositoryError, match=rf"{path} is not a Triton model configuration"):
        read_config(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=rf"cannot read {tmp_path}/config.pbtxt: No such file"):
        read_config(tmp_path / "config.pbtxt")
