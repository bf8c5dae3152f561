"""The images of deploy/, as far as they say something without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.containers.conftest import TENSORRT, tensorrt
from tests.containers.engine import Engine
from tests.containers.project import Project
from triton_yolo.export.errors import ExportError

pytestmark = pytest.mark.slow

LOAD = "from triton_yolo.export.tensorrt import load_runtime; print(load_runtime('tensorrt').__version__)"
BUILD = """
import onnx
from triton_yolo.export.tensorrt import PlanOptions, build, load_runtime
try:
    build(load_runtime("tensorrt"), onnx.load("model_repository/yolo/1/model.onnx"), PlanOptions((1, 8, 32)))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def build_image(project: Project) -> str:
    """The name of the build service's own image."""
    [name] = [
        line
        for line in project.engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
        if line.startswith("triton-yolo-build:")
    ]
    return name


def test_the_build_image_has_the_bindings_of_its_own_tensorrt_and_no_second_library(
    engine: Engine, build_image: str
) -> None:
    version = engine.docker("run", "--rm", build_image, "python3", "-c", LOAD).stdout
    assert version.startswith("{}.{}.{}.".format(*TENSORRT))
    found = engine.docker("run", "--rm", build_image, "find", "/opt/packages", "-name", "libnvinfer*").stdout
    assert not found


def test_bindings_of_another_version_than_the_library_are_refused(
    engine: Engine, build_image: str, tmp_path: Path
) -> None:
    major, minor, patch = TENSORRT
    tensorrt(tmp_path / "lib", (major, minor + 1, patch))
    mount = f"{tmp_path / 'lib'}:/other:ro"
    command = ("run", "--rm", "--volume", mount, "--env", "LD_LIBRARY_PATH=/other", build_image, "python3", "-c", LOAD)
    result = engine.docker(*command, check=False)
    assert result.returncode == 1
    assert f"{ExportError.__name__}: TensorRT's library is version {major}.{minor + 1}.{patch}" in result.stderr
    assert f"pip install 'tensorrt-cu13-bindings=={major}.{minor + 1}.{patch}.*'" in result.stderr


def test_a_library_that_does_not_load_is_named(engine: Engine, build_image: str, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()  # readable for the image's user, as tmp_path is not
    (folder / f"libnvonnxparser.so.{TENSORRT[0]}").write_bytes(b"no library")
    command = ("run", "--rm", "--volume", f"{folder}:/other:ro", "--env", "LD_LIBRARY_PATH=/other")
    result = engine.docker(*command, build_image, "python3", "-c", LOAD, check=False)
    assert "tensorrt does not load: " in result.stderr
    assert "libnvonnxparser" in result.stderr


def test_a_builder_that_does_not_start_is_an_error_of_one_line(engine: Engine, build_image: str) -> None:
    result = engine.docker("run", "--rm", build_image, "python3", "-c", BUILD)
    assert result.stdout == "ExportError TensorRT's Builder did not start: it gave no reason\n"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("image", ["build", "cpu"])
def test_an_image_runs_as_user_1000_and_holds_no_package_cache(engine: Engine, build_image: str, image: str) -> None:
    name = build_image if image == "build" else "triton-yolo-cpu"
    assert engine.inspect(name)["Config"]["User"].split(":")[0] == "1000"
    assert engine.docker("run", "--rm", name, "id", "-u").stdout == "1000\n"
    assert not engine.docker(
        "run", "--rm", "--user", "0", name, "find", "/root/.cache", "-type", "f", check=False
    ).stdout
