"""The repository for the server without GPU backends, composed out of the one for containers."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

from tests.conftest import REPOSITORY
from tests.server.test_config import as_python_model
from triton_yolo.repository import read_config
from triton_yolo.server.errors import ServerError
from triton_yolo.server.repository import compose

ENSEMBLES = ["detect", "detect_bayer", "detect_frames", "detect_nv12", "detect_tiles", "detect_yuyv"]
PIPELINES = ["preprocess", "preprocess_bayer", "preprocess_frames", "preprocess_nv12", "preprocess_yuyv"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return shutil.copytree(REPOSITORY, tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def test_every_model_is_composed(source: Path, target: Path) -> None:
    names = ["assemble", *ENSEMBLES, "nms", *PIPELINES, "yolo"]
    assert compose(source, target) == names
    assert sorted(path.name for path in target.iterdir()) == names
    assert all((target / name / "1").is_dir() for name in names)


def test_models_that_run_as_they_are_stay_as_they_are(source: Path, target: Path) -> None:
    compose(source, target)
    for name in (*ENSEMBLES, "assemble", "nms"):
        for file in (path for path in (source / name).rglob("*") if path.is_file()):
            assert (target / file.relative_to(source)).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", [*PIPELINES, "yolo"])
def test_a_stand_in_works_on_the_same_file(source: Path, target: Path, name: str) -> None:
    compose(source, target)
    work = "model.onnx" if name == "yolo" else "dali.py"
    assert (target / name / "1" / work).resolve() == source / name / "1" / work
    for read in ("letterboxing.py", "letterbox.json") if name in PIPELINES else ():
        assert (target / name / "1" / read).resolve() == source / name / "1" / read
    code = {"preprocess": "dali.image_model", "yolo": "openvino.model"}.get(name, "dali.frames_model")
    assert (
        f"from triton_yolo.server.runtimes.{code} import TritonPythonModel"
        in (target / name / "1" / "model.py").read_text()
    )
    derived = read_config(target / name / "config.pbtxt")
    assert derived == as_python_model(read_config(source / name / "config.pbtxt"))


def test_version_folders_that_git_does_not_keep_are_made(source: Path, target: Path) -> None:
    shutil.rmtree(source / "detect" / "1")
    compose(source, target)
    assert (target / "detect" / "1").is_dir()


def test_the_source_is_not_touched(source: Path, target: Path) -> None:
    def listing() -> dict[Path, float]:
        return {path: path.lstat().st_mtime_ns for path in source.rglob("*")}

    before = listing()
    compose(source, target)
    assert listing() == before


def test_a_model_that_nothing_stands_in_for_is_an_error(source: Path, target: Path) -> None:
    config = source / "yolo" / "config.pbtxt"
    config.write_text(config.read_text().replace('platform: "tensorrt_plan"', 'backend: "pytorch"'))
    with pytest.raises(ServerError, match="yolo: no Python model stands in for a pytorch model here"):
        compose(source, target)


@pytest.mark.parametrize(
    ("file", "hint"), [("yolo/1/model.onnx", "triton-yolo export"), ("preprocess_frames/1/dali.py", "DALI pipeline")]
)
def test_a_missing_file_is_an_error_that_says_what_it_is(source: Path, target: Path, file: str, hint: str) -> None:
    (source / file).unlink()
    with pytest.raises(ServerError, match=f"{file} is missing: .*{hint}"):
        compose(source, target)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, target: Path) -> None:
    with pytest.raises(ServerError, match=rf"no model repository at {tmp_path}/nowhere: .*--repository"):
        compose(tmp_path / "nowhere", target)


def test_a_folder_without_models_is_an_error(tmp_path: Path, target: Path) -> None:
    with pytest.raises(ServerError, match=r"none of its folders holds a config\.pbtxt"):
        compose(target, target)


@pytest.fixture(scope="module")
def on_a_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("on_a_gpu")
    compose(REPOSITORY, folder, "gpu")
    return folder


@pytest.mark.parametrize("name", [*PIPELINES, "yolo"])
def test_on_a_gpu_a_stand_in_keeps_its_inputs_there(on_a_gpu: Path, name: str) -> None:
    derived = read_config(on_a_gpu / name / "config.pbtxt")
    assert derived.backend == "python"
    assert {(group.kind, group.count) for group in derived.instance_group} == {(ModelInstanceGroup.KIND_GPU, 1)}
    assert derived.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value == "no"


def test_on_a_gpu_the_network_computes_in_float16(on_a_gpu: Path) -> None:
    assert "onnxruntime_cuda.model import" in (on_a_gpu / "yolo" / "1" / "model.py").read_text()
    graph = onnx.load(on_a_gpu / "yolo" / "1" / "model.onnx")
    assert not [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    served = onnx.load(REPOSITORY / "yolo" / "1" / "model.onnx").graph.node
    assert [node for node in served if node.op_type == "QuantizeLinear"]


def test_a_backend_that_is_there_runs_its_models_as_they_are(source: Path, target: Path) -> None:
    compose(source, target, "gpu", ["dali"])
    for name in PIPELINES:
        for file in ("config.pbtxt", "1/dali.py", "1/letterboxing.py"):
            assert (target / name / file).read_bytes() == (source / name / file).read_bytes()
        assert not (target / name / "1" / "model.py").exists()
    assert (target / "yolo" / "1" / "model.py").is_file()
