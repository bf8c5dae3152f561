"""The Python that set-up takes for .venv: the first that can run the server, or one that uv gets."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.package.interpreters import OTHERS, SUPPORTED, interpreters
from triton_yolo.server import interpreter

COMMANDS = ("dirname", "make", "rm", "sh")  # what set-up runs beside Python
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
WHY = "the server needs Python 3.10, 3.11 or 3.12, and this is "
SHIM = "#!/bin/sh\necho 'pyenv: this command exists in another Python version' >&2\nexit 127\n"
KEY = "cpython-3.12.99-linux-x86_64-gnu"
ARCHIVE = "20990101/cpython-3.12.99%2B20990101-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
ARCHIVES = "https://github.com/astral-sh/python-build-standalone/releases/download"  # what a mirror takes the place of


def unsupported() -> str:
    """Return the version of a Python of this machine that the server cannot use, or skip the test."""
    if (found := next((version for version in OTHERS if version in interpreters()), None)) is None:
        pytest.skip("this machine has no Python that the server cannot use")
    return found


class Newcomer:
    """A fresh checkout, and a PATH with nothing on it but what set-up runs.

    Attributes:
        folder: the checkout.
        bin: the one folder on PATH.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder / "checkout", folder / "bin"
        for name in ("Makefile", "constraints.txt", "pyproject.toml", ".ci/venv", "server/interpreter.py"):
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        self.bin.mkdir()
        for name in COMMANDS:
            (self.bin / name).symlink_to(shutil.which(name) or name)

    def has(self, name: str, version: str) -> None:
        """Put a real interpreter on PATH."""
        script = self.bin / name  # and no link, beside which Python would look for its library
        script.write_text(f'#!/bin/sh\nexec {interpreters()[version]} "$@"\n')
        script.chmod(0o755)

    def has_shim(self, name: str) -> None:
        """Put on PATH what pyenv has there for a version that is not chosen."""
        (self.bin / name).write_text(SHIM)
        (self.bin / name).chmod(0o755)

    def sets_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Make .venv, and install nothing into it."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "UV_", "VIRTUAL_ENV"))}
        return subprocess.run(
            ["make", ".venv/bin/pip"],
            cwd=self.folder,
            env={**kept, "PATH": str(self.bin), **variables},
            capture_output=True,
            text=True,
            timeout=500,
        )

    def version(self) -> str:
        """Return the version of .venv's Python, which has a pip that starts."""
        for arguments in (["pip", "--version"], ["python", "--version"]):
            told = subprocess.run([self.folder / ".venv" / "bin" / arguments[0], arguments[1]], capture_output=True)
            assert told.returncode == 0, told.stderr
        found = re.match(r"Python (3\.\d+)", told.stdout.decode())
        assert found
        return found[1]


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    """Somebody with a fresh checkout."""
    return Newcomer(tmp_path)


@pytest.mark.slow
def test_the_first_python_that_starts_is_taken(newcomer: Newcomer) -> None:
    for version in SUPPORTED[: SUPPORTED.index(HERE)]:
        newcomer.has_shim(f"python{version}")
    for name in (f"python{HERE}", "python3"):
        newcomer.has(name, HERE)
    result = newcomer.sets_up()
    assert result.returncode == 0, result.stdout + result.stderr
    assert newcomer.version() == HERE


@pytest.mark.slow
def test_the_newest_of_several_is_taken(newcomer: Newcomer) -> None:
    several = [version for version in SUPPORTED if version in interpreters()]
    if len(several) < 2:
        pytest.skip("this machine has one Python that runs the server")
    for version in several:
        newcomer.has(f"python{version}", version)
    newcomer.has("python3", next((one for one in OTHERS if one in interpreters()), several[-1]))
    result = newcomer.sets_up()
    assert result.returncode == 0, result.stdout + result.stderr
    assert newcomer.version() == several[0]


@pytest.mark.slow
def test_a_python3_without_a_versioned_name_is_taken(newcomer: Newcomer) -> None:
    newcomer.has("python3", HERE)
    result = newcomer.sets_up()
    assert result.returncode == 0, result.stdout + result.stderr
    assert newcomer.version() == HERE


@pytest.mark.slow
def test_a_given_python_is_the_one(newcomer: Newcomer) -> None:
    newcomer.has("my-python", HERE)
    assert newcomer.sets_up(PYTHON="my-python").returncode == 0
    assert newcomer.version() == HERE


def test_a_given_python_that_is_not_there_is_named(newcomer: Newcomer) -> None:
    newcomer.has("python3", HERE)
    result = newcomer.sets_up(PYTHON="python3.7")
    assert result.returncode == 2
    assert result.stderr.startswith(
        "make: there is no python3.7. Without PYTHON=..., make looks for one, or gets one.\n"
    )
    assert not (newcomer.folder / ".venv").exists()


def test_a_given_python_that_cannot_run_the_server_is_refused(newcomer: Newcomer) -> None:
    version = unsupported()
    newcomer.has("python3", version)
    result = newcomer.sets_up(PYTHON="python3")
    assert result.returncode == 2
    assert result.stderr.startswith(f"make: PYTHON=python3: {WHY}{version}\n")
    assert not (newcomer.folder / ".venv").exists()


def test_where_there_is_no_python_the_package_to_install_is_named(newcomer: Newcomer) -> None:
    newcomer.has_shim("python3")
    result = newcomer.sets_up()
    assert result.returncode == 2
    assert "make: to get one, make needs a Python 3 with venv: apt-get install python3-venv\n" in result.stderr
    assert not (newcomer.folder / ".venv").exists()


@pytest.mark.slow
def test_where_no_python_can_run_the_server_uv_gets_one_into_the_checkout(newcomer: Newcomer, tmp_path: Path) -> None:
    if "3.12" not in interpreters() or interpreters()["3.12"].parts[1] == "usr":
        pytest.skip("needs a Python 3.12 in its own folder")
    version = unsupported()
    newcomer.has("python3", version)
    home = {"HOME": str(tmp_path / "home")}
    result = newcomer.sets_up(UV_PYTHON_INSTALL_MIRROR=f"file://{tmp_path / 'nowhere'}", **home)
    assert result.returncode == 2
    assert result.stdout.splitlines()[:2] == ["No Python here can run the server:", f"  python3: {WHY}{version}"]
    assert (
        "make: uv could not get Python 3.12, and says why above (no network? a proxy?). Run make again" in result.stderr
    )
    assert not (newcomer.folder / ".venv").exists()

    result = newcomer.sets_up(**mirror(tmp_path / "mirror"), **home)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Getting Python 3.12 with uv into .python" in result.stdout
    assert newcomer.version() == "3.12"
    python = newcomer.folder / ".venv" / "bin" / "python"
    assert newcomer.folder / ".python" in python.resolve().parents
    assert subprocess.run([python, "-I", newcomer.folder / "server" / "interpreter.py"]).returncode == 0
    assert not (newcomer.folder / ".python" / "uv").exists()
    assert not list((tmp_path / "home").rglob("*python*"))


def mirror(folder: Path) -> dict[str, str]:
    """Make a mirror of uv's archives with one, which holds this machine's Python 3.12, and return uv's settings for it.

    uv knows the checksums of the real archives, so a list with this one's takes the place of its own.
    """
    archive = folder / ARCHIVE.replace("%2B", "+")
    archive.parent.mkdir(parents=True)
    left_out = ("site-packages", "test", "__pycache__", "share")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for part in interpreters()["3.12"].resolve().parents[1].iterdir():
            tar.add(part, f"python/{part.name}", filter=lambda one: None if Path(one.name).name in left_out else one)
    entry = {
        "name": "cpython",
        "arch": {"family": "x86_64", "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": 3,
        "minor": 12,
        "patch": 99,
        "prerelease": "",
        "url": f"{ARCHIVES}/{ARCHIVE}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "variant": None,
        "build": "20990101",
    }
    listed = folder / "list.json"
    listed.write_text(json.dumps({KEY: entry}))
    return {"UV_PYTHON_INSTALL_MIRROR": f"file://{folder}", "UV_PYTHON_DOWNLOADS_JSON_URL": f"file://{listed}"}


def test_this_python_lacks_nothing() -> None:
    assert interpreter.lacks() == ""


def test_a_build_folder_that_may_not_be_read_has_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)  # as below another user's home; tests may run as root
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    assert interpreter.library_folder(HERE) is None


def test_what_a_python_of_debian_lacks_is_named_with_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interpreter, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: None)
    wanted = f"venv and libpython{HERE}.so.1.0 missing: apt-get install python{HERE}-venv libpython{HERE}"
    assert interpreter.lacks() == wanted


def test_an_interpreter_of_another_version_says_which_can_run_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    assert interpreter.lacks() == f"{WHY}3.14"
