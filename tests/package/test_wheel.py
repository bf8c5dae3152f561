"""The wheel outside of the checkout: what is in it, what it brings, and that it detects, serves and draws."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import cv2
import pytest

from tests.conftest import ROOT
from tests.package.conftest import Built, Environment, empty, outside
from tests.package.interpreters import interpreters
from triton_yolo.boards import draw_board
from triton_yolo.clients.detector import Detector
from triton_yolo.server.process import TritonServer, free_addresses

pytestmark = pytest.mark.slow

# What `pip install triton-yolo` brings is 30 packages with 198 MB, bytecode counted; it may not grow unseen.
MOST_PACKAGES, MOST_MB = 35, 225


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with defects, as a file."""
    path = tmp_path_factory.mktemp("board") / "board.jpg"
    cv2.imwrite(str(path), draw_board(9_000_058, 640, 480, "photo").image[..., ::-1])
    return path


def content(wheel: Path) -> dict[str, int]:
    """Size of each file of a wheel, but for those that list the others."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist() if not info.filename.endswith("RECORD")}


def test_a_wheel_installs_one_name(built: Built) -> None:
    tops = {name.split("/")[0] for name in content(built.wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"triton_yolo"}


def test_a_wheel_has_every_module_of_the_package_and_its_types(built: Built) -> None:
    folders = ["", "boards", "cli", "graphs", "calibration", "clients", "export", "server", "assemble", "gather", "nms"]
    package = ROOT / "triton_yolo"
    files = {path for folder in folders for path in (package / folder).glob("*.py" if not folder else "**/*.py")}
    wanted = {f"triton_yolo/{path.relative_to(package).as_posix()}" for path in files} | {"triton_yolo/py.typed"}
    assert wanted <= set(content(built.wheel))


def test_a_wheel_has_the_model_repository_and_nothing_that_is_built(built: Built) -> None:
    listed = subprocess.run(["git", "ls-files", "model_repository"], capture_output=True, text=True, cwd=ROOT)
    names = listed.stdout.split() or [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("model_repository/**/*")
        if path.is_file() and "__pycache__" not in path.parts and not re.search(r"\.(plan|dali)", path.name)
    ]
    wanted = {f"triton_yolo/{name}" for name in names if not name.endswith(".gitkeep")}
    found = {name for name in content(built.wheel) if name.startswith("triton_yolo/model_repository/")}
    assert found == wanted
    assert {
        "triton_yolo/model_repository/yolo/1/model.onnx",
        "triton_yolo/model_repository/yolo/1/model.proof.npz",
    } <= found
    assert not [name for name in content(built.wheel) if "__pycache__" in name]


def test_a_wheel_has_the_files_of_the_line_s_page(built: Built) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("clients/stream/sinks/page/static/*")}
    assert {"clients/stream/sinks/page/static/index.html", "clients/stream/sinks/page/static/main.js"} <= files
    assert {f"triton_yolo/{name}" for name in files} <= set(content(built.wheel))


def test_an_sdist_builds_the_same_wheel(built: Built) -> None:
    assert content(built.wheel_of_sdist) == content(built.wheel)


def test_an_sdist_has_no_links(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        assert all(member.isfile() or member.isdir() for member in archive)


def test_the_client_alone_brings_little(client: Environment) -> None:
    names = {package["name"] for package in json.loads(client.pip("list", "--format", "json"))} - {"triton-yolo"}
    size = sum(path.stat().st_size for path in client.packages.rglob("*") if path.is_file())
    assert len(names) <= MOST_PACKAGES, f"{len(names)}: {sorted(names)}"
    assert size <= MOST_MB * 1e6, f"{size / 1e6:.0f} MB"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_client_alone_detects(
    client: Environment, server: TritonServer, board: Path, tmp_path: Path, protocol: str
) -> None:
    at = server.addresses
    url = f"{at.host}:{at.grpc}" if protocol == "grpc" else f"http://{at.host}:{at.http}"
    found = json.loads(client.run("triton-yolo", "detect", board, "--url", url, "--json", cwd=tmp_path).stdout)
    with Detector(url) as detector:
        wanted = detector.detect(board)
    assert found["detections"] == wanted.as_dict()["detections"]
    assert len(wanted) > 0


BETWEEN = [pytest.param(version, marks=pytest.mark.long) for version in ("3.11", "3.12")]  # other tests run on these


@pytest.mark.parametrize("version", ["3.10", *BETWEEN, "3.13", "3.14"])
def test_the_client_alone_runs_on_every_python_from_3_10_on(
    built: Built, server: TritonServer, board: Path, tmp_path: Path, version: str
) -> None:
    if version not in interpreters():
        pytest.skip(f"this machine has no Python {version}")
    subprocess.run([interpreters()[version], "-m", "venv", tmp_path / "venv"], check=True, env=outside())
    environment = Environment(tmp_path / "venv")
    install = ("--only-binary", ":all:", "--constraint", ROOT / "constraints.txt", built.wheel)
    environment.run("pip", "install", "--disable-pip-version-check", *install, cwd=tmp_path)
    at = server.addresses
    for url in (f"{at.host}:{at.grpc}", f"http://{at.host}:{at.http}"):
        found = json.loads(environment.run("triton-yolo", "detect", board, "--url", url, "--json", cwd=tmp_path).stdout)
        assert found["detections"]
    told = environment.run("python", "--version", cwd=tmp_path).stdout
    assert told.startswith(f"Python {version}.")


def test_the_client_alone_hands_frames_over_in_shared_memory(
    client: Environment, server: TritonServer, board: Path, tmp_path: Path
) -> None:
    code = """
import sys
import numpy as np
from PIL import Image
from triton_yolo import Detector

with Detector(sys.argv[1], memory="system") as detector:
    pixels = np.asarray(Image.open(sys.argv[2]))
    with detector.frames(1, *pixels.shape[:2]) as frames:
        frames.array[0] = pixels
        [found] = detector.detect_frames(frames)
        print(len(found))
"""
    url = f"{server.addresses.host}:{server.addresses.grpc}"
    assert int(client.run("python", "-c", code, url, board, cwd=tmp_path).stdout) > 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["detect", "board.jpg", "--draw", "out", "--url", "URL"], "draw"),
        (["boards"], "draw"),
        (["evaluate", "--images", "x"], "evaluate"),
        (["serve"], "server"),
        (["demo"], "server"),
        (["export", "x.onnx"], "export"),
        (["prove", "x.onnx"], "export"),
        (["plan", "x.onnx"], "export"),
        (["calibrate", "x.onnx"], "calibrate"),
    ],
)
def test_a_verb_names_the_extra_that_it_lacks(
    client: Environment, server: TritonServer, board: Path, arguments: list[str], extra: str
) -> None:
    url = f"{server.addresses.host}:{server.addresses.grpc}"
    given = [url if argument == "URL" else argument for argument in arguments]
    result = client.run("triton-yolo", *given, cwd=board.parent, check=False)
    assert result.returncode == 2
    assert f" is not installed: pip install 'triton-yolo[{extra}]'" in result.stderr, result.stderr
    assert result.stderr.startswith(f"triton-yolo {arguments[0]}: ")
    assert result.stderr.count("\n") == 1


def test_a_wheel_offers_no_verb_of_a_checkout(client: Environment, tmp_path: Path) -> None:
    told = client.run("triton-yolo", "--help", cwd=tmp_path).stdout
    assert "serve " in told
    assert "bench" not in told


def test_types_reach_whoever_installs_it(client: Environment, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text("from triton_yolo import Detector\nreveal_type(Detector('x').detect(b''))\n")
    command = [sys.executable, "-m", "mypy", "--python-executable", client.folder / "bin" / "python", "use.py"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=outside())
    assert 'Revealed type is "triton_yolo.clients.detections.Detections"' in result.stdout, result.stdout


def test_types_reach_whoever_installs_an_editable_one(
    checkout: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environment = empty(tmp_path_factory.mktemp("editable") / "venv")
    environment.pip("install", "--no-deps", "--editable", checkout)
    (tmp_path / "use.py").write_text("from triton_yolo import Detector\nreveal_type(Detector('x').detect(b''))\n")
    command = [sys.executable, "-m", "mypy", "--python-executable", environment.folder / "bin" / "python", "use.py"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=outside())
    assert 'Revealed type is "triton_yolo.clients.detections.Detections"' in result.stdout, result.stdout


def test_with_the_server_s_packages_it_serves_the_default_repository(serving: Environment, tmp_path: Path) -> None:
    at = free_addresses()
    ports = ("--http-port", at.http, "--grpc-port", at.grpc, "--metrics-port", at.metrics)
    with subprocess.Popen(
        serving.command("triton-yolo", "serve", *ports),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=outside(),
    ) as process:
        try:
            assert process.stdout
            first = process.stdout.readline()
            assert first.endswith(f"from {serving.packages / 'triton_yolo' / 'model_repository'}\n"), first
            with Detector(f"{at.host}:{at.grpc}") as detector:
                assert "mousebite" in detector.labels()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert process.returncode == 130


def test_with_the_server_s_packages_the_demo_draws(serving: Environment, tmp_path: Path) -> None:
    result = serving.run("triton-yolo", "demo", cwd=tmp_path)
    assert "drawn defects were found where they are" in result.stdout
    assert cv2.imread(str(tmp_path / "out" / "demo.png")).shape[1] > 1000
