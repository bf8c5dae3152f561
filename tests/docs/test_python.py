"""The Python and the commands that the pages show, run as a reader would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import Page, page, pages
from triton_yolo.boards import CLASSES
from triton_yolo.server.process import TritonServer

SECONDS = 120
# Takes away what Windows lacks, once the standard library has made up its mind about the system.
WITHOUT_POSIX = """
import asyncio, multiprocessing, os, subprocess, sys, tempfile
for module in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
    sys.modules[module] = None
for name in ("fork", "getuid", "mkfifo", "posix_fallocate", "register_at_fork", "sched_getaffinity", "statvfs"):
    delattr(os, name)
"""


def addressed(text: str, server: TritonServer) -> str:
    """Return code with the address of the test's server in place of the default one."""
    http, grpc = server.addresses.http, server.addresses.grpc
    return text.replace("127.0.0.1:8001", f"127.0.0.1:{grpc}").replace("127.0.0.1:8000", f"127.0.0.1:{http}")


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder, with the checkout's package, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the boards that the README draws, and with the files that the pages name."""
    path = tmp_path_factory.mktemp("reader")
    drawn = next(line for line in page("README.md").code() if "triton-yolo boards" in line)
    run([sys.executable, "-m", *drawn.replace("triton-yolo", "triton_yolo").split()], path)
    boards = sorted((path / "boards" / "images").iterdir())
    for name in ("board.jpg", "a.jpg", "b.jpg", "scans/1.jpg", "scans/2.jpg"):
        (path / name).parent.mkdir(exist_ok=True)
        shutil.copy(boards[0], path / name)
    return path


@pytest.mark.parametrize("read", [read for read in pages() if read.fenced("python")], ids=lambda read: read.name)
def test_python_on_a_page_compiles(read: Page) -> None:
    for code in read.fenced("python"):
        compile(code, read.name, "exec")


def test_the_python_of_the_readme_detects(server: TritonServer, folder: Path) -> None:
    [code] = page("README.md").fenced("python")
    lines = run([sys.executable, "-c", addressed(code, server)], folder).splitlines()
    assert [line for line in lines if line.split()[0] in CLASSES]
    assert len([line for line in lines if line.endswith("defects")]) == 4


def test_the_python_of_the_readme_needs_nothing_of_posix(server: TritonServer, folder: Path) -> None:
    [code] = page("README.md").fenced("python")
    assert "defects" in run([sys.executable, "-c", WITHOUT_POSIX + addressed(code, server)], folder)


@pytest.mark.parametrize("number", range(len(page("docs/clients.md").fenced("python"))))
def test_the_python_of_the_clients_page_runs(number: int, server: TritonServer, folder: Path) -> None:
    run([sys.executable, "-c", addressed(page("docs/clients.md").fenced("python")[number], server)], folder)


@pytest.mark.parametrize("number", range(len(page("docs/shared-memory.md").fenced("python"))))
def test_the_python_of_the_page_on_shared_memory_runs(number: int, server: TritonServer, folder: Path) -> None:
    cameras = "class Camera:\n    def read_into(self, view): view[:] = 114\n\ncameras = [Camera()] * 8\n"
    code = page("docs/shared-memory.md").fenced("python")[number]
    run([sys.executable, "-c", cameras + addressed(code, server)], folder)


def test_the_python_of_the_page_on_tiles_runs(server: TritonServer, folder: Path) -> None:
    [code] = page("docs/tiles.md").fenced("python")
    lines = run([sys.executable, "-c", addressed(code, server)], folder).splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert lines[1] == "1 nothing 0 1 0"


def test_the_loop_of_the_page_on_streams_detects(server: TritonServer, folder: Path) -> None:
    [loop] = page("docs/streaming.md").fenced("python")
    address = f"127.0.0.1:{server.addresses.grpc}"
    camera = """
class Camera:
    frames = 0

    def read(self):
        self.frames += 1
        if self.frames > 3:
            raise EOFError
        return np.full((96, 128, 3), 114, np.uint8)

try:
    inspect([Camera(), Camera()], 96, 128)
except EOFError:
    pass
"""
    lines = run([sys.executable, "-c", loop.replace("Detector(", f'Detector("{address}", ') + camera], folder)
    assert lines.splitlines() == ["0 0", "1 0"] * 3


def test_the_detections_of_the_readme_are_drawn_and_printed(server: TritonServer, folder: Path) -> None:
    drawing, printing = (
        line.split("  #")[0].replace("triton-yolo", f"{sys.executable} -m triton_yolo").split(">")[0].split()
        for line in page("README.md").code()
        if line.strip().startswith("triton-yolo detect ")
    )
    url = ["--url", f"127.0.0.1:{server.addresses.grpc}"]
    run([*drawing, *url], folder)
    assert len(list((folder / "found").iterdir())) == 4
    assert len([json.loads(line)["detections"] for line in run([*printing, *url], folder).splitlines()]) == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
class TestCurl:
    """The commands of the contract."""

    def test_the_class_names_are_read(self, server: TritonServer, folder: Path) -> None:
        names, *_ = page("docs/contract.md").fenced("bash")
        assert tuple(json.loads(run(["bash", "-c", addressed(names, server)], folder))) == CLASSES

    def test_an_image_behind_a_header_is_answered_with_json_whose_padding_is_zero(
        self, server: TritonServer, folder: Path
    ) -> None:
        _, detect, _ = page("docs/contract.md").fenced("bash")
        answer = json.loads(run(["bash", "-c", addressed(detect, server)], folder))
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        [number] = outputs["num_detections"]
        assert 0 < number < 100
        assert min(outputs["scores"][:number]) >= 0.4
        assert not any([*outputs["scores"][number:], *outputs["classes"][number:], *outputs["boxes"][4 * number :]])

    def test_an_image_alone_is_answered_with_bytes(self, server: TritonServer, folder: Path) -> None:
        *_, alone = page("docs/contract.md").fenced("bash")
        run(["bash", "-c", addressed(alone, server)], folder)
        assert b'"num_detections"' in (folder / "answer.bin").read_bytes()
