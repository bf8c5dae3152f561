"""The warm-up that the container gets, run by a real server with the models that stand in for DALI and TensorRT."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from deploy.build import read_sample
from deploy.configurations import files, served
from tests.conftest import REPOSITORY
from triton_yolo.repository import read_config
from triton_yolo.server import repository as composing
from triton_yolo.server.errors import ServerError
from triton_yolo.server.process import TritonServer, free_addresses


def warmed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose models are warmed up as the container's are, the files for it among them."""
    repository = Path(shutil.copytree(REPOSITORY, folder / "repository"))
    sample = read_sample()
    for path in repository.glob("*/config.pbtxt"):
        config = read_config(path)
        changed = ModelConfig()
        changed.CopyFrom(config)
        changed.model_warmup.extend(served(config, sample).model_warmup)
        path.write_text(text_format.MessageToString(changed))
        for name, content in files(config, sample).items():
            (path.parent / "warmup").mkdir(exist_ok=True)
            (path.parent / "warmup" / name).write_bytes(content)

    compose_model = composing._compose_model

    def with_warm_up(source: Path, target: Path, *rest: Any) -> None:  # the pip server has no use for it
        compose_model(source, target, *rest)
        if (source / "warmup").is_dir():
            shutil.copytree(source / "warmup", target / "warmup", dirs_exist_ok=True)

    monkeypatch.setattr(composing, "_compose_model", with_warm_up)
    return repository


@pytest.mark.slow
def test_models_are_ready_after_a_real_jpeg_a_real_frame_and_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = warmed(tmp_path, monkeypatch)
    with TritonServer(repository, free_addresses(), log=lambda line: None) as running:
        running.wait_until_ready()


@pytest.mark.slow
def test_a_model_that_its_warm_up_fails_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = warmed(tmp_path, monkeypatch)
    jpeg = repository / "preprocess" / "warmup" / "board.jpg"
    jpeg.write_bytes(bytes(len(jpeg.read_bytes())))
    with (
        TritonServer(repository, free_addresses(), log=lambda line: None) as running,
        # What it says of the reason may be lost: 24.10 may crash while it leaves.
        pytest.raises(ServerError, match="tritonserver ended with status"),
    ):
        running.wait_until_ready()
