from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.pictures import TURNED, jpeg
from triton_yolo.clients import DetectionError
from triton_yolo.clients.images import upright_size
from triton_yolo.files import find_images, write_together, write_whole


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with images, other files and a folder inside."""
    for name in ("b.png", "a.JPG", "c.jpeg", "notes.txt", "deep/d.png", "odd[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "files", "empty"),
    [
        (["."], ["a.JPG", "b.png", "c.jpeg", "odd[1].png"], []),  # sorted, no other files, not the folder inside
        (["b.png", "a.JPG"], ["b.png", "a.JPG"], []),  # as they were given
        (["*.png"], ["b.png", "odd[1].png"], []),  # a pattern that no shell has expanded; no folder
        (["**/*.png"], ["b.png", "deep/d.png", "odd[1].png"], []),
        (["b.png", ".", "b.png"], ["b.png", "a.JPG", "c.jpeg", "odd[1].png"], []),  # each once
        (["odd[1].png"], ["odd[1].png"], []),  # a name that looks like a pattern
        (["notes.txt"], ["notes.txt"], []),  # named by itself: the server says what is wrong with it
        (["deep", "none.png", "*.gif"], ["deep/d.png"], ["none.png", "*.gif"]),
        (["folder.png"], [], ["folder.png"]),
    ],
)
def test_files_folders_and_patterns_are_found(tree: Path, arguments: list[str], files: list[str], empty: list) -> None:
    found = find_images(arguments)
    assert found.files == [Path(name) for name in files]
    assert list(found.missing) == empty


def test_folders_inside_are_searched_on_demand_in_one_order(tree: Path) -> None:
    (tree / "deep" / "deeper").mkdir()
    (tree / "deep" / "deeper" / "a.png").touch()
    (tree / ".hidden").mkdir()
    (tree / ".hidden" / "x.png").touch()

    found = find_images(["."], recursive=True)

    names = ["a.JPG", "b.png", "c.jpeg", "deep/d.png", "deep/deeper/a.png", "odd[1].png"]
    assert found == ([Path(name) for name in names], {})


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("none.png", "no such file or folder"),
        ("*.gif", "no file has a name of this pattern"),
        ("http://127.0.0.1/board.jpg", "a URL: download the image first"),
        ("line.MP4", "a video: save its frames as images first, or send them with Detector.detect_frames"),
        ("folder.png", "an empty folder"),
        ("texts", "a folder with 2 files of other kinds (.csv, .txt)"),
        ("one", "a folder with 1 file of other kinds (no suffix)"),
        (
            "nested",
            "the images are in folders inside this one: look in nested/in/it, or search them all",
        ),
        ("hollow", "a folder without files"),
    ],
)
def test_what_has_no_image_is_told_with_the_reason(tree: Path, argument: str, reason: str) -> None:
    for name in ("texts/a.txt", "texts/b.csv", "one/README", "nested/in/it/a.png", "line.MP4"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tree / "hollow" / "inside").mkdir(parents=True)

    assert find_images([argument]) == ([], {argument: reason})


def test_a_file_is_written_with_its_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"

    write_whole(path, b"first")
    write_whole(path, b"second")

    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(OSError):
        write_whole(tmp_path / "taken", b"content")

    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


@pytest.mark.parametrize(("orientation", "size"), [(1, (40, 20)), (3, (40, 20)), (5, (20, 40)), (TURNED, (20, 40))])
def test_the_size_is_that_of_the_upright_image(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    assert upright_size(jpeg(40, 20, orientation, tmp_path / "turned.jpg")) == size


def test_bytes_without_a_size_are_refused() -> None:
    with pytest.raises(DetectionError, match="no header"):
        upright_size(b"no image")


def test_files_that_belong_together_change_all_or_none(tmp_path: Path) -> None:
    """The last cannot be written, since its folder would be where a file is."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OSError):
        write_together({tmp_path / "a": b"new", tmp_path / "b": b"new", tmp_path / "taken" / "c": b"new"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "taken"]
    assert (tmp_path / "a").read_bytes() == b"old"
    write_together({tmp_path / "a": b"new", tmp_path / "folder" / "b": b"too"})
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "folder" / "b").read_bytes()) == (b"new", b"too")
