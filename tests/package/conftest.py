"""The wheel and the sdist, built out of a copy of the checkout, and empty environments to install them into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

BUILT_BESIDE = ("yolo/1/model.plan", "yolo/1/model.plan.json", "preprocess/1/model.dali", "nms/1/__pycache__/model.pyc")
NOT_COPIED = (".*_cache", ".bench", ".git", ".python", ".venv", "__pycache__", "build", "out", "*.egg-info")


@dataclass(frozen=True)
class Built:
    """What `python -m build` made.

    Attributes:
        wheel: out of the checkout.
        sdist: out of the checkout.
        wheel_of_sdist: out of the sdist.
    """

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside of the checkout."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Return the folder that packages are installed into."""
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def command(self, *arguments: object) -> list[str]:
        """Return a command line that runs a program of the environment."""
        program, *rest = map(str, arguments)
        return [str(self.folder / "bin" / program), *rest]

    def run(self, *arguments: object, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment without this checkout on its path."""
        result = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, cwd=cwd, env=outside(), timeout=500
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def pip(self, *arguments: object) -> str:
        """Run pip for the environment, which has none itself, and return what it says."""
        pip = [sys.executable, "-m", "pip", "--python", self.folder, "--disable-pip-version-check"]
        result = subprocess.run([*pip, *map(str, arguments)], capture_output=True, text=True, env=outside())
        assert result.returncode == 0, result.stderr
        return result.stdout


def outside() -> dict[str, str]:
    """Return the environment's variables without those that lead to this checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def empty(folder: Path) -> Environment:
    """Make a virtual environment with no packages."""
    venv.create(folder)
    return Environment(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, in which plans, pipelines and bytecode lie as after a day's work."""
    copy = tmp_path_factory.mktemp("checkout") / "triton-yolo"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for name in BUILT_BESIDE:
        path = copy / "model_repository" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return copy


@pytest.fixture(scope="session")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The distributions."""
    folder = tmp_path_factory.mktemp("built")
    for kind, name in (("--wheel", "wheel"), ("", "both")):  # without a kind: an sdist, and a wheel out of that
        command = [sys.executable, "-m", "build", *filter(None, [kind]), "--outdir", folder / name, checkout]
        result = subprocess.run(command, capture_output=True, text=True, env=outside())
        assert result.returncode == 0, result.stdout + result.stderr
    [wheel], [sdist], [wheel_of_sdist] = (
        folder.glob(pattern) for pattern in ("wheel/*.whl", "both/*.tar.gz", "both/*.whl")
    )
    return Built(wheel, sdist, wheel_of_sdist)


@pytest.fixture(scope="session")
def client(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and what it needs, and no extra."""
    environment = empty(tmp_path_factory.mktemp("client") / "venv")
    environment.pip("install", "--constraint", ROOT / "constraints.txt", built.wheel)
    return environment


@pytest.fixture(scope="session")
def serving(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, which finds the packages of [server] where these tests run."""
    environment = empty(tmp_path_factory.mktemp("serving") / "venv")
    environment.pip("install", "--no-deps", built.wheel)
    third_party = next(path for path in map(Path, sys.path) if (path / "pytriton").is_dir())
    (environment.packages / "third_party.pth").write_text(f"{third_party}\n")
    return environment
