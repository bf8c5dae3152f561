"""Whether a Python can run the server. The standard library alone: .ci/venv asks before anything is installed."""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 12)  # nvidia-pytriton has stubs for these


def library(version: str) -> str:
    """Return the name of a Python's shared library, which Triton's stub is linked against.

    Args:
        version: "3.x".
    """
    return f"libpython{version}.so.1.0"


def library_folder(version: str) -> Path | None:
    """Return the folder of the shared library of this interpreter, None if there is none.

    Args:
        version: "3.x".
    """
    folders = [sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib", sysconfig.get_config_var("LIBPL")]
    if sys.base_prefix == "/usr":
        folders += ["/usr/lib64", f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"]
    # os.path, because pathlib raises where a build's folder may not be read, such as one below /root.
    return next((Path(one) for one in folders if one and os.path.isfile(os.path.join(one, library(version)))), None)


def unsupported() -> str:
    """Return that this Python's version cannot run the server, and which can; empty if it can."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return ""
    return f"the server needs Python 3.10, 3.11 or 3.12, and this is {sys.version_info[0]}.{sys.version_info[1]}"


def lacks() -> str:
    """Return what keeps this Python from running the server, and the remedy; empty if nothing does."""
    if unsupported():
        return unsupported()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = {}
    if find_spec("ensurepip") is None:
        packages["venv"] = f"python{version}-venv"
    if library_folder(version) is None:
        packages[library(version)] = f"libpython{version}"
    return f"{' and '.join(packages)} missing: apt-get install {' '.join(packages.values())}" if packages else ""


if __name__ == "__main__":
    sys.exit(lacks() or 0)
