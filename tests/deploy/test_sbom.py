"""The bill of materials: valid, of the project, and with what the constraints pin and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

from deploy.audit import pins
from deploy.sbom import SbomError, sbom
from tests.conftest import ROOT
from tests.support.imports import DECLARED, PROJECT, closure


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What the command writes for the client alone, as text and as JSON; pip installs the client for it."""
    folder = tmp_path_factory.mktemp("sbom")
    command = [sys.executable, "-m", "deploy.sbom", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = folder.iterdir()
    assert done.stdout == f"{path}\n"
    return path.read_text(), json.loads(path.read_text())


@pytest.mark.long
@pytest.mark.slow
def test_it_is_valid_and_of_the_project(bill: tuple[str, dict[str, Any]]) -> None:
    text, content = bill
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    component = content["metadata"]["component"]
    assert (component["name"], component["version"]) == (DECLARED["name"], DECLARED["version"])


@pytest.mark.slow
def test_it_names_what_the_client_needs_in_the_versions_that_are_pinned(bill: tuple[str, dict[str, Any]]) -> None:
    pinned = {(canonicalize_name(name), version) for name, version in pins(ROOT / "constraints.txt")}
    named = {(canonicalize_name(one["name"]), one["version"]) for one in bill[1]["components"]}
    assert named <= pinned
    assert {name for name, _ in named} == {canonicalize_name(name) for name in closure([PROJECT])} - {PROJECT}


def test_what_cannot_be_installed_has_no_bill(tmp_path: Path) -> None:
    with pytest.raises(SbomError, match="pip"):
        sbom("", str(tmp_path / "none.whl"), ROOT / "constraints.txt")
