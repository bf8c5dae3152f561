"""Pictures and films of logged frames, found by the names that records give them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from triton_yolo.clients.stream.sinks.log.page.kept import Kept, small
from triton_yolo.clients.stream.sinks.log.paging import LoggedFrame, frames_of, newest
from triton_yolo.clients.stream.sinks.log.query import Question
from triton_yolo.clients.stream.sinks.log.schema import opened_to_read


def frames(log: Path) -> list[LoggedFrame]:
    """All frames of the boards of a log, the newest board first."""
    with contextlib.closing(opened_to_read(log)) as database:
        return [one for entry in newest(database, Question(), None, 100) for one in frames_of(database, entry)]


def test_each_failed_frame_has_the_pictures_that_records_kept_and_the_film_that_it_is_in(
    written: tuple[Path, Path],
) -> None:
    log, records = written
    kept = Kept(records)
    found = frames(log)
    failed = [one for one in found if one.verdict == "fail"]
    assert len(failed) == 2 * 2 * 3
    used = set()
    for one in failed:
        pictures = kept.pictures(one)
        assert list(pictures) == ["plain.jpg", "boxes.jpg"]
        assert all(path.name.split("-")[-1].startswith(f"{one.number}.") for path in pictures.values())
        used |= set(pictures.values())
        film = kept.film(one)
        assert film is not None
        assert film.parent == records / one.camera / film.parent.name
    assert used == set(records.rglob("*-fail-*.jpg"))
    late = [one for one in found if one.verdict == "not inspected"]
    assert len(late) == 2
    assert not any(kept.pictures(one) for one in late)


def test_a_film_that_ended_before_a_failure_is_not_its_film(written: tuple[Path, Path]) -> None:
    log, records = written
    [*_, first] = [one for one in frames(log) if one.verdict == "fail"]
    kept = Kept(records)
    assert kept.film(first)
    assert kept.film(first._replace(at_ns=first.at_ns + 30 * 10**9)) is None
    assert kept.film(first._replace(at_ns=first.at_ns - 10**9)) is None


@pytest.mark.parametrize("camera", ["..", "../top", "/etc", "a/b", "", "top\n"])
def test_names_lead_nowhere_else(written: tuple[Path, Path], camera: str) -> None:
    log, records = written
    one = frames(log)[0]._replace(camera=camera)
    assert Kept(records).pictures(one) == {}
    assert Kept(records).film(one) is None
    assert Kept(None).pictures(frames(log)[0]) == {}


def test_a_small_picture_is_small_and_one_that_is_broken_is_none(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((960, 1280, 3), 90, np.uint8))
    data = small(tmp_path / "a.jpg")
    assert data is not None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (240, 320, 3)
    for name, content in (("empty.jpg", b""), ("text.jpg", b"no picture")):
        (tmp_path / name).write_bytes(content)
        assert small(tmp_path / name) is None
    assert small(tmp_path / "none.jpg") is None
