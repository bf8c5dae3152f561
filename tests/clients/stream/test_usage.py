"""What the command refuses: one line that says what is wrong, and status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.commands import run
from tests.clients.stream.lines import grpc_url
from triton_yolo.clients.commands.stream import main
from triton_yolo.server.process import TritonServer, free_addresses

CAMERA = "{name: a, uri: 'synthetic:photo'}"


def refusal(*arguments: object) -> str:
    """Return the one line with which the command refuses."""
    result = run(main, *map(str, arguments))
    assert result.exit_code == 2, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("triton-yolo stream: ")
    return line.removeprefix("triton-yolo stream: ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("cameras: [{name: a, uri: 'foto:1'}]", "cameras[0].uri: 'foto:1' is no camera: use synthetic:photo"),
        ("cameras: [{name: a, uri: nowhere}]", "cameras[0].uri: 'nowhere' is no camera, and no folder or file"),
        (f"cameras: [{CAMERA}, {CAMERA}]", "cameras[1].name: 'a' is the name of cameras[0] too"),
        (f"cameras: [{CAMERA}]\nfps: 5", "fps: unknown key; there are name, url,"),
        ("cameras: [{name: a, uri: 'synthetic:photo', fsp: 5}]", "cameras[0].fsp: unknown key; there are name, uri,"),
        (f"cameras: [{CAMERA}]\ncameras: []", "line 2, column 1: the key 'cameras' stands twice"),
        ("cameras: [", "line 1, column 11:"),
        ("- a", "a line is a mapping with the key 'cameras'; got list"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(content)
    line = refusal(file)
    assert line.startswith(str(file))
    assert said in line


def test_files_that_are_missing_or_given_with_cameras_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "line.yaml"
    assert refusal(file) == f"{file}: No such file or directory"
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory"
    assert "give a line's file, or --camera once or more" in refusal()
    assert "give LINE.yaml or --camera" in refusal(file, "--camera", "synthetic:photo")
    file.write_text(f"cameras: [{CAMERA}]")
    assert "--fps is for --camera" in refusal(file, "--fps", 5)
    assert "is no camera" in refusal("--camera", "drawing:1")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--deadline", "inf", "deadline_ms: Input should be"),
        ("--fps", "inf", "cameras[0].fps: Input should be"),
        ("--seconds", "inf", "--seconds is a number of seconds; got inf"),
        ("--report", "/", "--report / is a folder: name a file"),
        ("--show-tiles", "/tmp", "--show-tiles: no camera has transport: tiles"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(option: str, value: str, said: str) -> None:
    assert said in refusal("--camera", "synthetic:photo", option, value)


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    url = f"127.0.0.1:{free_addresses().grpc}"
    assert f"the server at {url} is not available" in refusal("--camera", "synthetic:photo", "--url", url)


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        (
            "{name: a, uri: 'synthetic:photo', size: 480x640, options: {size: 240x320, frames: 1}}",
            "camera a: it delivers 240x320, and its size is to be 480x640",
        ),
        ("{name: a, uri: 'synthetic:photo', options: {sizes: 1}}", "camera a: unknown options of synthetic: sizes"),
        ("{name: a, uri: 'synthetic:photo', options: {frames: [1]}}", "camera a: int() argument must be"),
        (
            "{name: a, uri: 'synthetic:photo', options: {defects: [1, many]}}",
            "camera a: defects is a list of numbers of 0 or more, such as [2, 0, 0]; got [1, 'many']",
        ),
        ("{name: a, uri: 'folder:/nowhere'}", "camera a: [Errno 2] No such file or directory: '/nowhere'"),
    ],
)
def test_cameras_that_cannot_be_opened_are_refused(
    tmp_path: Path, server: TritonServer, camera: str, said: str
) -> None:
    file = tmp_path / "line.yaml"
    file.write_text(f"cameras: [{camera}]\nurl: {grpc_url(server)}\nname: test-{tmp_path.name}")
    assert said in refusal(file)
