"""A line's file: what is taken, and where the message points to otherwise."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import pytest

from tests.docs.pages import page
from triton_yolo.clients import AsyncDetector, Detector
from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.line import TileSettings, line_of, read_line
from triton_yolo.clients.stream.tiles import TileEncoder

CAMERA = "{name: a, uri: 'synthetic:photo'}"


def written(folder: Path, content: str, name: str = "belt.yaml") -> Path:
    file = folder / name
    file.write_text(content)
    return file


def test_a_camera_is_all_that_a_line_needs(tmp_path: Path) -> None:
    line = read_line(written(tmp_path, f"cameras: [{CAMERA}]"))
    assert line.name == "belt"
    assert [camera.name for camera in line.cameras] == ["a"]
    assert line.cameras[0].fps is None


def test_the_settings_of_tiles_on_their_page_are_the_defaults_everywhere(tmp_path: Path) -> None:
    [shown] = page("docs/tiles.md").fenced("yaml")
    [camera] = read_line(written(tmp_path, shown)).cameras
    assert camera.transport == "tiles"
    assert camera.tiles == TileSettings()
    for function in (Detector.stream, AsyncDetector.stream, TileEncoder):
        defaults = {name: one.default for name, one in inspect.signature(function).parameters.items()}
        for name, value in TileSettings().model_dump().items():
            assert defaults[name] == value, (function, name)


def test_sizes_are_written_as_height_and_width(tmp_path: Path) -> None:
    line = read_line(written(tmp_path, "cameras: [{name: a, uri: 'synthetic:photo', size: 240x320}]"))
    assert line.cameras[0].size == "240x320"


@pytest.mark.parametrize(
    ("file", "name"), [("_belt 1.yaml", "belt-1"), ("...yaml", "line"), ("ä.yaml", "-"), (f"{'x' * 80}.yaml", "x" * 64)]
)
def test_any_name_of_a_file_makes_a_name_of_a_line(tmp_path: Path, file: str, name: str) -> None:
    line = read_line(written(tmp_path, f"cameras: [{CAMERA}]", file))
    assert line.name == (name if name != "-" else "line")


def test_a_camera_that_waits_for_a_trigger_is_never_silent(tmp_path: Path) -> None:
    line = read_line(written(tmp_path, "cameras: [{name: a, uri: 'synthetic:photo', silent_after: .inf}]"))
    assert line.cameras[0].silent_after == math.inf


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        # Keys.
        (f"cameras: [{CAMERA}]\nname: a\nname: b", ", line 3, column 1", "the key 'name' stands twice"),
        ("cameras: [{name: a, uri: 'synthetic:photo', name: b}]", ", line 1, column 45", "stands twice"),
        (f"cameras: [{CAMERA}]\nlabel: a", ": label", "unknown key"),
        ("cameras: [{name: a, uri: 'synthetic:photo', port: 1}]", ": cameras[0].port", "unknown key"),
        (f"cameras: [{CAMERA}]\n1: a", ": ", "eys should be strings"),
        (f"cameras: [{CAMERA}]\n? [1]\n: a", ", line 2, column 3", "unhashable"),
        (f"cameras: [{CAMERA}]\nname: !!map [1]", ", line 2, column 7", "expected a mapping"),
        ("cameras: [{name: a, uri: 'synthetic:photo', transport: pictures}]", ": cameras[0].transport", "'tiles'"),
        (
            "cameras: [{name: a, uri: 'synthetic:photo', tiles: {side: 20}}]",
            ": cameras[0].tiles.side",
            "multiple of 16",
        ),
        ("cameras: [{name: a, uri: 'synthetic:photo', tiles: {sides: 16}}]", ": cameras[0].tiles.sides", "unknown key"),
        # Types.
        ("name: a", ": cameras", "Field required"),
        ("cameras: 5", ": cameras", "valid tuple"),
        ("cameras: []", ": cameras", "at least 1"),
        ("cameras: [a]", ": cameras[0]", "valid dictionary"),
        (f"cameras: [{CAMERA}]\nslots: many", ": slots", "valid integer"),
        (f"cameras: [{CAMERA}]\nslots: 2", ": slots", "greater than or equal to 3"),
        (f"cameras: [{CAMERA}]\nmemory: fast", ": memory", "'system', 'cuda' or 'plain'"),
        (f"cameras: [{CAMERA}]\ndeadline_ms: 0", ": deadline_ms", "greater than 0"),
        (f"cameras: [{CAMERA}]\ndeadline_ms: .inf", ": deadline_ms", "finite"),
        (f"cameras: [{CAMERA}]\nwindow_ms: .nan", ": window_ms", "finite"),
        (f"cameras: [{CAMERA}]\nscore_threshold: 1.5", ": score_threshold", "less than or equal to 1"),
        ("cameras: [{name: a, uri: 'synthetic:photo', fps: fast}]", ": cameras[0].fps", "valid number"),
        ("cameras: [{name: a, uri: 'synthetic:photo', fps: 0}]", ": cameras[0].fps", "greater than 0"),
        ("cameras: [{name: a, uri: 'synthetic:photo', options: [1]}]", ": cameras[0].options", "valid dictionary"),
        # Names, sizes, places.
        ("cameras: [{name: 'a b', uri: 'synthetic:photo'}]", ": cameras[0].name", "match pattern"),
        (f"cameras: [{CAMERA}, {CAMERA}]", ": cameras[1].name", "'a' is the name of cameras[0] too"),
        ("cameras: [{name: a, uri: 'synthetic:photo', size: 320}]", ": cameras[0].size", "valid string"),
        ("cameras: [{name: a, uri: 'synthetic:photo', size: 0x9}]", ": cameras[0].size", "valid string"),
        ("cameras: [{name: a, uri: 'synthetic:photo', size: 1by2}]", ": cameras[0].size", "a size is HxW"),
        ("cameras: [{name: a, uri: 'tape:1'}]", ": cameras[0].uri", "'tape:1' is no camera"),
        (f"cameras: [{CAMERA}]\nslots: 4\nbacklog: 3", ": backlog", "3 frames need 5 slots, and there are 4"),
        # No YAML, no mapping.
        ("cameras: [", ", line 1, column 11", "expected"),
        ("", "", "a line is a mapping with the key 'cameras'; got NoneType"),
        ("a: \x01", "", "not allowed"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(
    tmp_path: Path, content: str, where: str, what: str
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(LineError) as caught:
        read_line(file)
    message = str(caught.value)
    assert message.startswith(f"{file}{where}")
    assert what in message
    assert "\n" not in message


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(LineError, match="No such file"):
        read_line(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4")
    with pytest.raises(LineError, match=r"latin\.yaml: no text in UTF-8"):
        read_line(tmp_path / "latin.yaml")


def test_several_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(LineError, match=r"\(and 1 more\)$"):
        read_line(written(tmp_path, f"cameras: [{CAMERA}]\nslots: many\nbacklog: some"))


def test_cameras_without_a_file_get_names_and_a_rate() -> None:
    line = line_of(["synthetic:photo", "synthetic:scan"], name="belt", fps=5)
    assert [(camera.name, camera.fps) for camera in line.cameras] == [("camera-1", 5), ("camera-2", 5)]
    with pytest.raises(LineError, match=r"^cameras\[0\].uri: "):
        line_of(["tape:1"], name="belt")
