"""The real interpreters of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

SUPPORTED = ("3.12", "3.11", "3.10")  # by the server, in the order in which set-up takes them
OTHERS = ("3.13", "3.14", "3.15", "3.9", "3.8")


@cache
def interpreters() -> dict[str, Path]:
    """The real interpreters of this machine, by version: the one that runs this, those on PATH, and pyenv's."""
    folders = [Path(sys.base_prefix, "bin"), *map(Path, os.get_exec_path())]
    folders += sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob("*/bin"))
    found: dict[str, Path] = {}
    for version in (*SUPPORTED, *OTHERS):
        for path in (folder / f"python{version}" for folder in folders):
            if version not in found and path.is_file() and _makes_environments(path, version):
                found[version] = path
    return found


def _makes_environments(path: Path, version: str) -> bool:
    """Whether this is an interpreter, and no shim or environment, with what a virtual environment takes."""
    code = "import ensurepip, sys, venv; print(sys.prefix == sys.base_prefix, '%d.%d' % sys.version_info[:2])"
    result = subprocess.run([path, "-c", code], capture_output=True, text=True)
    return result.stdout == f"True {version}\n"
