"""What is found in folders, archives and object stores."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import fsspec
import pytest

from triton_yolo.clients.bulk.sources import SourceMissing, items

SUFFIXES = (".jpg", ".png")


def found(*places: object, done: Iterable[str] = ()) -> list[tuple[str, bytes]]:
    """Names and contents of what is found."""
    known = set(done)
    return [(item.name, item.read()) for item in items([*map(str, places)], SUFFIXES, lambda name: name not in known)]


def archive(path: Path, mode: str = "w", **files: bytes) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def boards(tmp_path: Path) -> Path:
    folder = tmp_path / "boards"
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.jpg", "deep/c.JPG", ".git/d.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_folder_is_searched_at_any_depth_in_order_without_what_is_hidden(boards: Path) -> None:
    assert found(boards) == [
        (f"{boards}/a.png", b"a.png"),
        (f"{boards}/b.jpg", b"b.jpg"),
        (f"{boards}/deep/c.JPG", b"deep/c.JPG"),
    ]


def test_a_file_that_is_named_may_have_any_name(boards: Path) -> None:
    assert found(boards / "notes.txt") == [(f"{boards}/notes.txt", b"notes.txt")]


@pytest.mark.parametrize("kind", ["", "gz", "xz"])
def test_archives_are_searched_also_those_in_folders(tmp_path: Path, kind: str) -> None:
    name = f"shard.tar{'.' if kind else ''}{kind}"
    path = archive(tmp_path / name, f"w:{kind}", x__a_jpg=b"1", b_png=b"2", c_txt=b"3", _hidden_jpg=b"4")
    expected = [(f"{path}/x/a.jpg", b"1"), (f"{path}/b.png", b"2")]
    assert found(path) == found(tmp_path) == expected


def test_what_is_done_is_not_read(tmp_path: Path, boards: Path) -> None:
    path = archive(tmp_path / "shard.tar", a_jpg=b"1", b_jpg=b"2")
    (boards / "a.png").unlink()
    (boards / "a.png").symlink_to("gone")
    assert found(path, boards, done=[f"{path}/a.jpg", f"{boards}/a.png", f"{boards}/b.jpg"]) == [
        (f"{path}/b.jpg", b"2"),
        (f"{boards}/deep/c.JPG", b"deep/c.JPG"),
    ]


def test_a_damaged_archive_gives_what_is_whole_and_one_item_that_says_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "shard.tar", a_jpg=b"1" * 600, b_jpg=b"2" * 600)
    path.write_bytes(path.read_bytes()[: 512 + 1024 + 512 + 100])
    *whole, rest = items([str(path)], SUFFIXES, lambda name: True)
    assert [(item.name, item.read()) for item in whole[:1]] == [(f"{path}/a.jpg", b"1" * 600)]
    assert rest.name == str(path)
    with pytest.raises(OSError, match="the archive cannot be read to its end: unexpected end of data"):
        rest.read()


def test_a_file_that_cannot_be_read_says_so_when_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("gone")
    [item] = items([str(tmp_path)], SUFFIXES, lambda name: True)
    with pytest.raises(FileNotFoundError):
        item.read()


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("memory://nothing", "memory://nothing: there is nothing"),
        ("strange://a", "strange://a cannot be reached: Protocol not known: strange"),
    ],
)
def test_a_place_that_is_not_there_is_an_error(place: str, complaint: str) -> None:
    with pytest.raises(SourceMissing, match=complaint):
        found(place)


def test_an_object_store_is_searched_as_a_folder_is(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    shard = archive(tmp_path / "s.tar", a_jpg=b"1")
    for name, content in {"a.jpg": b"2", "deep/b.png": b"3", "c.txt": b"4", "s.tar": shard.read_bytes()}.items():
        store.pipe(f"/line/{name}", content)
    try:
        assert found("memory://line") == [
            ("memory:///line/a.jpg", b"2"),
            ("memory:///line/deep/b.png", b"3"),
            ("memory:///line/s.tar/a.jpg", b"1"),
        ]
        assert found("memory://line/c.txt") == [("memory:///line/c.txt", b"4")]
    finally:
        store.rm("/line", recursive=True)


def test_a_million_files_are_not_listed_before_the_first(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.jpg").write_bytes(b"")
    walk = items([str(tmp_path)], SUFFIXES, lambda name: True)
    assert next(walk).name == f"{tmp_path}/0/a.jpg"
    (tmp_path / "2" / "b.jpg").write_bytes(b"")
    assert [item.name for item in walk][-1] == f"{tmp_path}/2/b.jpg"
