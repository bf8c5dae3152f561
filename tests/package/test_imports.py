"""Imports point one way: bench -> deploy, calibration -> server -> export -> clients -> the package's root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.imports import imports

# Part: the parts that it may import, beside itself.
ALLOWED: dict[str, set[str]] = {
    "nms": set(),  # and assemble and gather: a Triton server loads its files without the package
    "root": {"nms"},
    "clients": {"root", "nms"},
    "export": {"clients", "root", "nms"},
    "server": {"export", "clients", "root", "nms"},
    "calibration": {"server", "export", "clients", "root", "nms"},
    "deploy": {"server", "export", "clients", "root", "nms"},
    "bench": {"deploy", "calibration", "server", "export", "clients", "root", "nms"},
    "training": {"export", "clients", "root", "nms"},
}
LINKED = ("clients", "export", "server", "calibration")  # folders at the top that are parts of triton_yolo
REPOSITORY = ("model_repository", "nms", "assemble", "gather")  # the models that are Python, and where they lie
BESIDE = ("deploy", "bench", "training")  # folders at the top that a wheel does not have
# These name parts of the package by strings and load them when they are asked for.
BY_NAME = {"triton_yolo/__init__.py": {"clients"}, "triton_yolo/cli/main.py": {*LINKED, "bench"}}


def files() -> Iterator[tuple[str, Path]]:
    """Every Python file of the project but the tests, each once, with its part."""
    for folder in (*LINKED, *BESIDE):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield folder, path
    for path in sorted((ROOT / "model_repository").rglob("*.py")):
        yield "nms", path
    for folder in ("", "boards", "cli", "graphs"):
        for path in sorted((ROOT / "triton_yolo" / folder).glob("*.py")):
            yield "root", path


def part_of(name: str) -> str | None:
    """The part that an imported name belongs to; None for other people's packages."""
    top, *rest = name.split(".")
    if top in BESIDE:
        return top
    if top != "triton_yolo":
        return None
    first = rest[0] if rest else ""
    if first in LINKED:
        return first
    return "nms" if first in REPOSITORY else "root"


def test_every_folder_of_the_package_is_known_here() -> None:
    known = {"boards", "cli", "graphs", *REPOSITORY, *LINKED}
    assert {
        path.name for path in (ROOT / "triton_yolo").iterdir() if path.is_dir() and path.name[0] not in "._"
    } == known
    code = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "triton_yolo"}
    assert code == {*LINKED, *BESIDE}


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_those_below_it_alone(part: str) -> None:
    wrong = []
    for own, path in files():
        exempt = BY_NAME.get(path.relative_to(ROOT).as_posix(), set())
        for name in imports(path, typing_only=True) if own == part else ():
            target = part_of(name)
            if target not in {None, part, *ALLOWED[part], *exempt}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("path", BY_NAME)
def test_the_root_loads_parts_by_name_alone(path: str) -> None:
    parts = {part_of(name) for name in imports(ROOT / path)}
    assert parts <= {None, "root"}, "an import here would load the part with `import triton_yolo`"


def test_the_old_names_at_the_top_are_imported_by_nobody() -> None:
    tests = [("tests", path) for path in sorted((ROOT / "tests").rglob("*.py"))]
    tops = {*LINKED, *REPOSITORY}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for _, path in [*files(), *tests]
        for name in imports(path, typing_only=True)
        if name.split(".")[0] in tops
    ]
    assert not wrong


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return set(result.stdout.split())


def test_importing_the_package_loads_nobody_elses() -> None:
    others = loaded_by("import triton_yolo") - set(sys.stdlib_module_names) - {"triton_yolo"}
    assert not others & {"onnx", "openvino", "grpc", "numpy", "tritonclient", "typer"}


def test_importing_the_client_loads_neither_the_server_s_packages_nor_the_drawing_s() -> None:
    code = "from triton_yolo import AsyncDetector, Detector"
    assert not loaded_by(code) & {"onnx", "onnxruntime", "openvino", "nvidia", "cv2", "supervision", "cuda", "pytriton"}


@pytest.mark.parametrize("module", ["dali.cpu_pipeline", "openvino.engine", "proved"])
def test_what_the_servers_stubs_import_loads_no_grpc(module: str) -> None:
    """Each stub is a process of its own, which would take 20 MB and a tenth of a second more."""
    assert "grpc" not in loaded_by(f"import triton_yolo.server.runtimes.{module}")


LAUNCHER = """
from triton_yolo.repository import DEFAULT_REPOSITORY
from triton_yolo.server import serve
from triton_yolo.server.process import TritonServer, free_addresses
with TritonServer(DEFAULT_REPOSITORY, free_addresses(), lambda line: None) as server:
    server.wait_until_ready()
    assert "yolo" in server.proved()
"""


def test_the_servers_launcher_loads_neither_grpc_nor_numpy() -> None:
    """It stays as long as its server, and would hold 50 MB for what is read once."""
    assert not loaded_by(LAUNCHER) & {"google", "grpc", "numpy", "onnx", "tritonclient"}


def test_openvino_is_imported_in_one_place_with_its_one_core_and_its_telemetry_off() -> None:
    """Its telemetry forks beside other threads, and tells others of a plant's machines."""
    tests = [("tests", path) for path in sorted((ROOT / "tests").rglob("*.py"))]
    importers = {
        path.relative_to(ROOT).as_posix()
        for _, path in [*files(), *tests]
        for name in imports(path, typing_only=True)
        if name.split(".")[0] == "openvino"
    }
    assert importers == {"triton_yolo/openvino_runtime.py"}
    makers = {path.relative_to(ROOT).as_posix() for _, path in [*files(), *tests] if "ov.Core(" in path.read_text()}
    assert makers - {"tests/package/test_imports.py"} == importers, "each core that goes may end the process"
    code = "from triton_yolo.server.runtimes.openvino import engine\nimport threading; print(threading.active_count())"
    code += "; import sys; print('sent' if sys.modules['openvino_telemetry'] else 'kept')"
    assert {"1", "kept"} <= loaded_by(code)


def test_onnx_runtime_keeps_no_store_of_events_to_send(tmp_path: Path) -> None:
    """Its telemetry has a database in the user's home, which appears with the first session."""
    code = "import sys, triton_yolo, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    graph = ROOT / "models" / "pcb-yolox-nano.onnx"
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(graph)], env=environment, cwd=ROOT, check=True, timeout=120)
    assert not list(tmp_path.rglob("*.db"))
