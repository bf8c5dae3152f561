"""The sink of records, fed as a line feeds it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tests.clients.stream.results import inspected, late, one
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.frames import Result
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.rules import Rule, VerdictSettings
from triton_yolo.clients.stream.sinks.records.films import Film
from triton_yolo.clients.stream.sinks.records.sink import Records
from triton_yolo.clients.stream.sinks.records.store import Store
from triton_yolo.clients.stream.sinks.settings import RecordsSettings

HEIGHT, WIDTH = 120, 160
SECOND = 1_000_000_000
BLUE = (200, 60, 20)  # BGR


def picture(number: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A blue picture, a little darker from one to the next."""
    return np.full((HEIGHT, WIDTH, 3), [max(0, level - number) for level in BLUE], np.uint8)


class Fed:
    """A sink that gets results and, where it wants them, pictures."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.sink = Records(RecordsSettings.model_validate({"kind": "records", "folder": folder, **settings}))
        self.judge = Judge(VerdictSettings(rules=(Rule(classes=("open", "short")),)))
        self.start = time.monotonic_ns()

    def feed(self, result: Result, height: int = HEIGHT) -> None:
        """Let a frame come; its picture is made as the line makes it."""
        verdict = self.judge.frame(result)
        side = self.sink.wants(verdict)
        if side is not None:
            image, scale = picture(result.number), 1.0
            if 0 < side < WIDTH:
                scale = side / WIDTH
                image = np.asarray(cv2.resize(image, (side, round(HEIGHT * scale))), np.uint8)
            while self.sink.queued:  # as slow as a camera
                time.sleep(0.001)
            self.sink.put(Picture(verdict, image, scale))
        self.sink.put(verdict)

    def files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.rglob(pattern))


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Fed]:
    made = Fed(tmp_path / "records")
    yield made
    made.sink.close()


def decoded(file: Path) -> list[tuple[float, np.ndarray[Any, Any]]]:
    """Times in seconds and pictures of a film, as far as it goes."""
    frames = []
    with av.open(str(file)) as film:
        try:
            for frame in film.decode(video=0):
                assert frame.time is not None
                frames.append((frame.time, frame.to_ndarray(format="bgr24")))
        except av.InvalidDataError:  # cut off
            pass
    return frames


def test_failures_are_kept_as_pictures_with_all_that_is_known_of_them(fed: Fed) -> None:
    fed.feed(inspected(0))
    fed.feed(inspected(1, one("open", 0.9, 50, 60, 30), one("spur", 0.8, 100, 60, 30)))
    fed.feed(inspected(2, one("spur")))
    fed.feed(late(3))
    fed.sink.close()

    plain, boxes = (fed.files(f"*{end}") for end in ("1.jpg", "1.boxes.jpg"))
    [told] = fed.files("*.json")
    assert len(fed.files("*.jpg")) == 2
    assert told.parent == fed.folder / "top" / "1970-01-01"
    content = json.loads(told.read_text())
    assert content["camera"] == "top"
    assert content["number"] == 1
    assert content["captured"] == "1970-01-01T00:00:00.100Z"
    assert (content["verdict"], content["why"]) == ("fail", "1 open or short")
    assert [(row["name"], row["defect"]) for row in content["detections"]] == [("open", True), ("spur", False)]
    assert content["pictures"] == {
        path.name: {"height": HEIGHT, "width": WIDTH, "scale": 1.0} for path in (*plain, *boxes)
    }
    clear, drawn = (cv2.imread(str(path)).astype(int) for path in (plain[0], boxes[0]))
    assert np.abs(clear - picture(1)).max() <= 3
    redder = drawn[60, :, 2] - clear[60, :, 2] - (drawn[60, :, 0] - clear[60, :, 0])
    assert redder[35] > 100 > redder[85]  # the left edge of the defect is red, that of the other is grey
    assert np.abs(drawn[75, 75] - picture(1)[0, 0]).max() <= 12  # inside, nothing is drawn
    assert fed.sink.status() == {
        "wanted": 1,
        "pictures": 1,
        "films": 0,
        "films_left_out": 0,
        "memory_bytes": 0,
        "kept": 1,
        "removed": 0,
        "lost": 0,
        "bytes": sum(path.stat().st_size for path in (*plain, *boxes, told)),
    }


def test_what_stands_on_an_earlier_frame_says_so(fed: Fed) -> None:
    fed.feed(inspected(1, one("open")))
    fed.feed(replace(inspected(2, one("open")), age=1))
    fed.sink.close()

    first, second = (json.loads(path.read_text()) for path in fed.files("*.json"))
    assert "reused" not in first
    assert (second["number"], second["reused"], second["age"]) == (2, True, 1)


@pytest.mark.parametrize(("pictures", "ends"), [("boxes", [".boxes.jpg"]), ("plain", [".jpg"])])
def test_one_kind_of_picture_is_enough(tmp_path: Path, pictures: str, ends: list[str]) -> None:
    fed = Fed(tmp_path, pictures=pictures, longest=80)
    fed.feed(inspected(1, one()))
    fed.sink.close()

    [file] = fed.files("*.jpg")
    assert file.name.endswith(ends[0])
    assert cv2.imread(str(file)).shape == (60, 80, 3)
    assert json.loads(fed.files("*.json")[0].read_text())["pictures"][file.name]["scale"] == 0.5


def test_pictures_of_a_camera_have_a_pause_between_them_where_that_is_wanted(tmp_path: Path) -> None:
    fed = Fed(tmp_path, interval_s=0.5, pictures="plain")
    for number in range(12):  # ten a second
        fed.feed(inspected(number, one()))
        fed.feed(inspected(number, one(), camera="side"))
    fed.sink.close()

    names = [path.name.rpartition("-")[2] for path in fed.files("*.jpg")]
    assert sorted(names) == sorted(2 * ["0.jpg", "5.jpg", "10.jpg"])


def test_frames_that_were_not_inspected_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    fed = Fed(tmp_path, of=["fail", "not inspected"], pictures="plain")
    fed.feed(late(3))
    fed.feed(inspected(4))
    fed.sink.close()

    [told] = fed.files("*.json")
    assert told.name.endswith("-not-inspected-3.json")
    content = json.loads(told.read_text())
    assert (content["verdict"], content["why"]) == ("not inspected", "late")
    assert "detections" not in content


def test_a_failure_has_a_film_of_the_seconds_around_it(tmp_path: Path) -> None:
    fed = Fed(tmp_path, before_s=1, after_s=1, film_fps=10, film_longest=80)
    for number in range(40):
        fed.feed(inspected(number, *([one("short", 0.9, 50, 60, 30)] if number in (20, 22) else [])))
    fed.sink.close()

    [film] = fed.files("*.mp4")
    [told] = fed.files("*film*.json")
    content = json.loads(told.read_text())
    frames = decoded(film)
    # A second before the first failure to a second behind the last one; the sink has not seen the end before it closed.
    assert [frame["number"] for frame in content["frames"]] == list(range(10, 33))
    assert [frame["number"] for frame in content["frames"] if frame["verdict"] == "fail"] == [20, 22]
    assert [frame["second"] for frame in content["frames"]] == [pytest.approx(time, abs=0.002) for time, _ in frames]
    assert all(image.shape == (60, 80, 3) for _, image in frames)
    passed, failed = frames[9][1].astype(int), frames[10][1].astype(int)
    assert (content["film"], content["failure"]) == (film.name, 20)
    assert failed[30, 18, 2] - passed[30, 18, 2] > 40  # the box of the defect
    assert len(fed.files("*.boxes.jpg")) == 2
    assert fed.sink.status()["films"] == 1


def test_a_film_is_made_while_the_line_runs_once_its_seconds_are_over(tmp_path: Path) -> None:
    fed = Fed(tmp_path, before_s=1, after_s=0.1, film_fps=10, pictures="plain")
    now = time.monotonic_ns()
    for number in range(-3, 1):
        fed.feed(inspected(number + 3, *([one()] if number == 0 else []), captured=now + number * SECOND // 10))
    end = time.monotonic() + 60
    while not fed.sink.status()["films"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    fed.sink.close()

    assert len(decoded(fed.files("*.mp4")[0])) == 4


def test_everything_is_filmed_in_pieces(tmp_path: Path) -> None:
    fed = Fed(tmp_path, everything=True, film_s=1, film_longest=96)
    for number in range(25):
        fed.feed(inspected(number, *([one()] if number == 5 else [])))
    fed.feed(late(25))
    fed.sink.close()

    films = [decoded(file) for file in fed.files("*-all-*.mp4")]
    assert [len(film) for film in films] == [10, 10, 6]
    assert [round(film[-1][0], 3) for film in films] == [0.9, 0.9, 0.5]
    assert all(image.shape == (72, 96, 3) for film in films for _, image in film)
    assert len(fed.files("*.boxes.jpg")) == 1  # of the failure
    # The line at the foot says by its colour what became of the frame: amber for one that was not inspected.
    foot = films[2][-1][1][70, 2].astype(int)
    assert foot[2] > 150 > foot[0]
    assert [file for file in fed.folder.rglob(".*") if file.name != ".lock"] == []


@pytest.mark.parametrize(("height", "width"), [(73, 97), (33, 640), (640, 33)])
def test_films_have_even_sides_and_the_size_of_their_first_picture(height: int, width: int) -> None:
    file = io.BytesIO()
    with Film(file, whole=True) as film:
        for number, shape in enumerate([(height, width, 3), (2 * height, width // 2, 3)]):
            assert film.add(np.full(shape, 90, np.uint8), number * SECOND)
        assert not film.add(np.full(shape, 90, np.uint8), 0)  # older than the last one
    file.seek(0)

    with av.open(file) as container:
        frames = [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    assert [time for time, _ in frames] == [0, 1]
    assert all(image.shape == (height // 2 * 2, width // 2 * 2, 3) for _, image in frames)
    assert all(abs(int(image.mean()) - 90) <= 3 for _, image in frames)


def test_a_film_of_everything_can_be_played_after_a_crash(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.clients.stream.results import inspected
from tests.clients.stream.sinks.records.test_records import Fed
fed = Fed(Path({str(tmp_path)!r}), everything=True, film_s=3600)
for number in range(100):
    fed.feed(inspected(number))
while fed.sink.queued:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == -9
    assert not list(tmp_path.rglob("*.mp4"))

    Store(tmp_path, 10**9).close()

    [film] = tmp_path.rglob("*.mp4")
    assert len(decoded(film)) >= 60


def test_html_and_paths_in_class_names_do_no_harm(tmp_path: Path) -> None:
    fed = Fed(tmp_path / "records")
    fed.judge = Judge()
    result = inspected(1, one())
    assert result.detections is not None
    object.__setattr__(result.detections, "names", ("<b>../../\n\0ü",))
    fed.feed(result)
    fed.sink.close()

    assert len(fed.files("*.boxes.jpg")) == 1
    assert json.loads(fed.files("*.json")[0].read_text())["detections"][0]["name"] == "<b>../../\n\0ü"
    assert [path.name for path in tmp_path.iterdir()] == ["records"]
