"""Finds the tritonserver that the package nvidia-pytriton ships, and what it needs to run outside of that package."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from triton_yolo.server.errors import ServerError
from triton_yolo.server.interpreter import library, library_folder, unsupported


@dataclass(frozen=True)
class Installation:
    """Paths of one installed tritonserver.

    Attributes:
        binary: the server.
        backend: folder of the Python backend.
        stub: the process that runs a Python model, built for this interpreter's version.
        libraries: folders for LD_LIBRARY_PATH.
    """

    binary: Path
    backend: Path
    stub: Path
    libraries: tuple[Path, ...]

    def environment(self) -> dict[str, str]:
        """Return the server's environment: the first python3 on PATH decides which packages a stub sees."""
        paths = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        libraries = [*map(str, self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        return {
            # Triton's DALI backend asks for DALI's older executor, which is slower (docs/gpu-speed.md). DALI reads this
            # (its pull request 5528, "Executor 2.0").
            "DALI_USE_EXEC2": "1",
            # One thread gives back what another has taken: where each of some hundred has an arena of its own, arenas
            # grow for thousands of requests (mallopt(3)).
            "MALLOC_ARENA_MAX": "2",
            **os.environ,
            "PATH": os.pathsep.join(paths),
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        }


def link_backends(installation: Installation, more: Path | None, folder: Path) -> list[str]:
    """Lay out a backend directory with the Python backend, its stub for this interpreter, and perhaps others.

    Links, not copies: the stub finds its libraries by paths relative to where it really is. The Python backend starts
    stubs through a shell without quoting, so ``folder`` must have no blanks; the paths behind the links may.

    Args:
        installation: of find_installation.
        more: folder of other backends, NAME/libtriton_NAME.so each.
        folder: to make.

    Returns:
        the names of the other backends.

    Raises:
        ServerError: ``more`` holds none.
    """
    python = folder / "python"
    python.mkdir(parents=True)
    for file in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (python / file).symlink_to(installation.backend / file)
    (python / "triton_python_backend_stub").symlink_to(installation.stub)
    if more is None:
        return []
    found = {library.parent for library in more.resolve().glob("*/libtriton_*.so")}
    others = sorted(path for path in found if path.name != "python")  # that one is laid out above
    if not others:
        raise ServerError(f"{more} holds no backends of Triton: --backends wants a folder with dali/libtriton_dali.so")
    for other in others:
        (folder / other.name).symlink_to(other)
    return [other.name for other in others]


def find_installation() -> Installation:
    """Locate server, backend, stub and libpython.

    Raises:
        ServerError: one of them is missing; says how to get it.
    """
    package = importlib.util.find_spec("pytriton")
    if package is None or not package.submodule_search_locations:
        raise ServerError(
            unsupported()
            or "nvidia-pytriton is not installed: pip install 'triton-yolo[server]', or `make demo` in a checkout"
        )
    root = Path(package.submodule_search_locations[0])
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    server = root / "tritonserver"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    for path in (server / "bin" / "tritonserver", stub):
        if not path.is_file():
            raise ServerError(f"nvidia-pytriton has no {path.name} for Python {version}: use Python 3.10 to 3.12")
    libraries = (find_libpython(version), root.parent / "nvidia_pytriton.libs", *_dali())
    return Installation(server / "bin" / "tritonserver", server / "backends" / "python", stub, libraries)


def _dali() -> list[Path]:
    """Return the folder of DALI's libraries, for its native backend."""
    package = importlib.util.find_spec("nvidia.dali")
    return [Path(folder) for folder in (package.submodule_search_locations or [])[:1]] if package else []


def find_libpython(version: str) -> Path:
    """Return the folder of the shared library of this interpreter, which the stub is linked against.

    Args:
        version: "3.x".

    Raises:
        ServerError: there is none.
    """
    folder = library_folder(version)
    if folder is not None:
        return folder
    raise ServerError(
        f"{library(version)} of {sys.base_prefix} is missing, and the server's Python backend needs it: "
        f"apt-get install libpython{version}, or use a Python that was built with --enable-shared"
    )
