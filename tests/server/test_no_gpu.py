"""What is said where a GPU is asked for and there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from tests.conftest import REPOSITORY
from triton_yolo.repository import read_config
from triton_yolo.server import gpu_selection
from triton_yolo.server.errors import ServerError
from triton_yolo.server.gpu_selection import Gpu, find_gpu, find_gpus
from triton_yolo.server.repository import compose


def test_a_gpu_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    try:
        find_gpu()
    except ServerError as error:
        expected = str(error)
    else:
        pytest.skip("this machine has a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "triton_yolo", "serve", "--device", "gpu"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [f"triton-yolo serve: {expected}"]
    assert expected.startswith("--device gpu needs ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--gpu", "0", "--device", "cpu"], "--gpu 0 and --device cpu contradict each other"),
        (["--gpu", "all", "--device", "cpu"], "--gpu all and --device cpu contradict each other"),
    ],
)
def test_a_gpu_and_the_cpu_at_once_are_refused(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "triton_yolo", "serve", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"triton-yolo serve: {complaint}")


def test_a_gpu_is_named_by_number_or_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(0, "GPU-2e5c5773-4166", "one"), Gpu(1, "GPU-9c9ac8df-903a", "another")]
    monkeypatch.setattr(gpu_selection, "_gpus", lambda: there)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [gpu_selection.PROVIDER])
    assert find_gpu("1") == find_gpu("GPU-9c9a") == find_gpu("GPU-9c9ac8df-903a") == there[1]
    for wanted, why in (("2", "none"), ("GPU-", "none"), ("GPU-1234", "none")):
        with pytest.raises(ServerError, match=f"--gpu {wanted} is {why} of the GPUs here: 0 .GPU-2e5c5773-4166, one"):
            find_gpu(wanted)


def test_several_gpus_are_all_or_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(number, f"GPU-{number}e5c5773", "one") for number in range(3)]
    monkeypatch.setattr(gpu_selection, "_gpus", lambda: there)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [gpu_selection.PROVIDER])
    assert find_gpus("all") == there
    assert find_gpus("2,GPU-0e5c") == [there[2], there[0]]
    with pytest.raises(ServerError, match="--gpu 1,1 names a GPU twice"):
        find_gpus("1,1")
    with pytest.raises(ServerError, match="--gpu 7 is none of the GPUs here"):
        find_gpus("0,7")


def test_clients_are_told_which_gpu_it_is(tmp_path: Path) -> None:
    """A client's number for it may be another, since the server sees its own GPU alone."""
    compose(REPOSITORY, tmp_path, gpu="GPU-9c9ac8df-903a")
    for name in ("detect", "detect_bayer", "detect_frames", "detect_nv12", "detect_tiles", "detect_yuyv"):
        config = read_config(tmp_path / name / "config.pbtxt")
        assert config.parameters["gpu_uuid"].string_value == "GPU-9c9ac8df-903a"
