"""The folder that a Triton container serves, made with TensorRT for RTX for a GPU that is not here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import text_format
from nvidia.dali import Pipeline
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.build import BOARD, main
from deploy.configurations import FRAME, JPEG
from tests.clients.commands import run
from tests.conftest import REPOSITORY, ROOT
from triton_yolo.export.tensorrt import gpu
from triton_yolo.repository import read_config

RTX = ("--runtime", "tensorrt-rtx", "--compute-capability", "8.9")
ENSEMBLES = ["detect", "detect_bayer", "detect_frames", "detect_nv12", "detect_tiles", "detect_yuyv"]
PIPELINES = ["preprocess", "preprocess_bayer", "preprocess_frames", "preprocess_nv12", "preprocess_yuyv"]
PYTHON = ["assemble", "nms"]
MODELS = ["assemble", *ENSEMBLES, "nms", *PIPELINES, "yolo"]

built = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed"
)


def times(models: Path) -> dict[str, int]:
    """When each file that was built was written."""
    return {
        f"{path.parents[1].name}/{path.name}": path.stat().st_mtime_ns
        for pattern in ("*/1/model.dali", "*/1/model.plan")
        for path in models.glob(pattern)
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves on a first run."""
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        pytest.skip("TensorRT for RTX is not installed")
    models = tmp_path_factory.mktemp("made") / "models"
    result = run(main, models, *RTX)
    assert result.exit_code == 0, result.stderr
    return models


@pytest.fixture
def models(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "models"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository to change."""
    return Path(shutil.copytree(REPOSITORY, tmp_path / "repository", ignore=shutil.ignore_patterns("__pycache__")))


def test_every_file_of_the_server_is_there_and_none_of_the_checkouts(made: Path) -> None:
    found = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file() and path.name[0] != ".")
    assert found == sorted(
        [f"{model}/config.pbtxt" for model in MODELS]
        + [f"{model}/1/{name}" for model in PIPELINES for name in ("model.dali", "model.dali.json")]
        + [f"{model}/1/{path.name}" for model in PYTHON for path in (REPOSITORY / model / "1").glob("*.py")]
        + ["yolo/1/model.plan", "yolo/1/model.plan.json"]
        + ["preprocess/warmup/board.jpg", "preprocess_frames/warmup/board.rgb"]
    )
    assert all((made / model / "1").is_dir() for model in MODELS), "Triton wants a version folder, even of an ensemble"


def test_the_plan_is_for_the_batches_of_the_configuration(made: Path) -> None:
    record = json.loads((made / "yolo" / "1" / "model.plan.json").read_text())
    assert record["options"]["batches"] == [1, 8, read_config(REPOSITORY / "yolo" / "config.pbtxt").max_batch_size]
    assert record["options"]["compute_capability"] == "8.9"


@pytest.mark.parametrize("model", MODELS)
def test_configurations_change_in_warm_up_and_model_file_alone(made: Path, model: str) -> None:
    before, after = (read_config(folder / model / "config.pbtxt") for folder in (REPOSITORY, made))
    if model in PIPELINES:
        assert after.default_model_filename == "model.dali"
        after.default_model_filename = before.default_model_filename
    assert len(after.model_warmup) == (3 if model in ("yolo", *PIPELINES) else 0)
    del after.model_warmup[:]
    assert before == after


def test_pipelines_are_warmed_up_with_a_real_jpeg_and_a_real_frame(made: Path) -> None:
    jpeg, frame = (
        read_config(made / name / "config.pbtxt").model_warmup for name in ("preprocess", "preprocess_frames")
    )
    content = (made / "preprocess" / "warmup" / JPEG).read_bytes()
    assert content == BOARD.read_bytes()
    for number, warmup in enumerate(jpeg):
        assert warmup.batch_size == (1, 8, 32)[number]
        assert list(warmup.inputs["image"].dims) == [len(content)]
        assert warmup.inputs["image"].input_data_file == JPEG
    for warmup in frame:
        assert list(warmup.inputs["frames"].dims) == [960, 1280, 3]
        assert warmup.inputs["frames"].input_data_file == FRAME
    assert (made / "preprocess_frames" / "warmup" / FRAME).stat().st_size == 960 * 1280 * 3


@pytest.mark.parametrize(
    ("model", "dims"),
    [
        ("preprocess_bayer", {"frames": [960, 1280], "blue_position": [2]}),
        ("preprocess_yuyv", {"frames": [960, 1280, 2]}),
        ("preprocess_nv12", {"frames": [1440, 1280]}),
    ],
)
def test_pipelines_for_sensors_are_warmed_up_with_black_frames(made: Path, model: str, dims: dict) -> None:
    warmups = read_config(made / model / "config.pbtxt").model_warmup
    assert [warmup.batch_size for warmup in warmups] == [1, 8, 32]
    for warmup in warmups:
        assert {name: list(data.dims) for name, data in warmup.inputs.items()} == dims
        assert all(data.zero_data for data in warmup.inputs.values())
    assert not (made / model / "warmup").exists()


def test_the_network_is_warmed_up_at_its_own_size(models: Path, repository: Path) -> None:
    path = repository / "yolo" / "config.pbtxt"
    config = read_config(path)
    config.input[0].dims[:] = [3, 384, 640]
    path.write_text(text_format.MessageToString(config))
    run(main, models, "--repository", repository, *RTX)
    warmup = read_config(models / "yolo" / "config.pbtxt").model_warmup
    assert [list(sample.inputs["images"].dims) for sample in warmup] == [[3, 384, 640]] * 3
    assert [sample.batch_size for sample in warmup] == [1, 8, 32]


def test_warm_up_of_the_repository_goes_first(models: Path, repository: Path) -> None:
    path = repository / "yolo" / "config.pbtxt"
    path.write_text(path.read_text() + 'model_warmup [ { name: "mine" batch_size: 0 } ]\n')
    run(main, models, "--repository", repository, *RTX)
    assert [sample.name for sample in read_config(models / "yolo" / "config.pbtxt").model_warmup] == ["mine"]


@pytest.mark.parametrize("model", PIPELINES)
def test_a_pipeline_is_the_definitions(made: Path, model: str) -> None:
    content = (made / model / "1" / "model.dali").read_bytes()
    assert (b"image" if model == "preprocess" else b"frames") in content
    assert (b"blue_position" in content) == (model == "preprocess_bayer")
    assert (b"mixed" in content) == (model == "preprocess"), "JPEGs are decoded on the GPU"
    if gpu() is not None:
        Pipeline.deserialize(content).build()


def test_a_second_run_builds_nothing(models: Path) -> None:
    before = times(models)
    assert sorted(before) == [*(f"{name}/model.dali" for name in PIPELINES), "yolo/model.plan"]
    result = run(main, models, *RTX)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("is there and fits") == len(before)
    assert times(models) == before


@pytest.mark.parametrize(
    "change", ["definition", "letterboxing", "letterbox", "pipeline", "record", "dali", "batch", "missing"]
)
def test_a_pipeline_that_does_not_fit_is_serialised_again_and_nothing_else(
    models: Path, repository: Path, change: str
) -> None:
    target = models / "preprocess" / "1" / "model.dali"
    record = Path(f"{target}.json")
    if change == "definition":
        with (repository / "preprocess" / "1" / "dali.py").open("a") as file:
            file.write("\n# another comment\n")
    elif change == "letterboxing":
        with (repository / "preprocess" / "1" / "letterboxing.py").open("a") as file:
            file.write("\n# another comment\n")
    elif change == "letterbox":
        letterbox = repository / "preprocess" / "1" / "letterbox.json"
        letterbox.write_text(letterbox.read_text().replace("640", "320"))
    elif change == "pipeline":
        target.write_bytes(target.read_bytes()[:-1])
    elif change == "record":
        record.write_text("{}")
    elif change == "dali":
        record.write_text(json.dumps({**json.loads(record.read_text()), "dali": "2.1.0"}))
    elif change == "batch":
        config = repository / "preprocess" / "config.pbtxt"
        config.write_text(config.read_text().replace("max_batch_size: 32", "max_batch_size: 16"))
    else:
        target.unlink()
    before = times(models)
    result = run(main, models, "--repository", repository, *RTX)
    assert result.exit_code == 0, result.stderr
    assert {name for name, time in times(models).items() if time != before.get(name)} == {"preprocess/model.dali"}
    after = times(models)
    assert run(main, models, "--repository", repository, *RTX).stdout.count("is there and fits") == len(after)


def test_a_damaged_plan_is_built_again(models: Path) -> None:
    plan = models / "yolo" / "1" / "model.plan"
    plan.write_bytes(plan.read_bytes()[:-1])
    before = times(models)
    assert run(main, models, *RTX).exit_code == 0
    assert {name for name, time in times(models).items() if time != before[name]} == {"yolo/model.plan"}


def test_code_and_models_that_the_repository_no_longer_has_go(models: Path, repository: Path) -> None:
    (models / "nms" / "1" / "old.py").write_text("")
    shutil.rmtree(repository / "detect_frames")
    result = run(main, models, "--repository", repository, *RTX)
    assert result.exit_code == 0, result.stderr
    assert "detect_frames is gone" in result.stdout
    assert not (models / "detect_frames").exists()
    assert not (models / "nms" / "1" / "old.py").exists()


def test_the_repository_stays_as_it_is(models: Path, repository: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in repository.rglob("*") if p.is_file()}

    before = state()
    assert run(main, models, "--repository", repository, *RTX).exit_code == 0
    assert {name: value for name, value in state().items() if "__pycache__" not in name} == before


def damage_definition(repository: Path) -> str:
    (repository / "preprocess" / "1" / "dali.py").write_text("def preprocess(:\n")
    return "preprocess/1/dali.py defines no pipeline"


def unmark(repository: Path) -> str:
    path = repository / "preprocess" / "1" / "dali.py"
    path.write_text(path.read_text().replace("@autoserialize\n", ""))
    return "marks 0 pipelines with @autoserialize: mark one"


def remove_graph(repository: Path) -> str:
    (repository / "yolo" / "1" / "model.onnx").unlink()
    return "model.onnx is missing: it is the graph that `triton-yolo export` writes"


def remove_definition(repository: Path) -> str:
    (repository / "preprocess" / "1" / "dali.py").unlink()
    return "dali.py is missing: it defines the pipeline"


def damage_configuration(repository: Path) -> str:
    (repository / "nms" / "config.pbtxt").write_text("name: 3")
    return "is not a Triton model configuration"


def empty(repository: Path) -> str:
    shutil.rmtree(repository)
    repository.mkdir()
    return "is not a model repository"


@pytest.mark.parametrize(
    "damage", [damage_definition, unmark, remove_graph, remove_definition, damage_configuration, empty]
)
def test_what_cannot_be_built_is_said_on_one_line(tmp_path: Path, repository: Path, damage: object) -> None:
    assert callable(damage)
    complaint = damage(repository)
    result = run(main, tmp_path / "models", "--repository", repository, *RTX)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("python -m deploy.build: ")
    assert complaint in result.stderr


def test_a_repository_is_not_turned_into_what_is_made_of_it(repository: Path) -> None:
    result = run(main, repository, "--repository", repository, *RTX)
    assert result.exit_code == 2
    assert "is a model repository itself" in result.stderr
    assert (repository / "yolo" / "1" / "model.onnx").exists()
    assert read_config(repository / "preprocess" / "config.pbtxt").default_model_filename == "dali.py"


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_without_tensorrt_the_command_says_so_and_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.build", str(tmp_path / "models")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, timeout=120)
    assert result.returncode == 2
    assert "tensorrt is not installed in this environment" in result.stderr
    assert result.stderr.count("\n") == 1


def test_every_configuration_that_is_served_is_one_of_tritons(made: Path) -> None:
    for model in MODELS:
        text_format.Parse((made / model / "config.pbtxt").read_text(), ModelConfig())
