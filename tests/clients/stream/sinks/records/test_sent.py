"""Films of what was sent of cameras whose changes are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.clients.stream.results import inspected
from tests.clients.stream.sinks.records.test_records import decoded
from triton_yolo.clients.stream.events import Picture
from triton_yolo.clients.stream.frames import Sent
from triton_yolo.clients.stream.judge import Judge
from triton_yolo.clients.stream.sinks.records.sent import FPS, LONGEST, SentFilms

HEIGHT, WIDTH, GREY = 96, 128, 150
TILE = np.array([[32, 32, 64, 64]], np.int32)


def test_what_was_sent_stands_out_at_a_bounded_rate(tmp_path: Path) -> None:
    sink, judge = SentFilms(tmp_path), Judge()
    image, wanted = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), []
    for number in range(20):  # ten frames a second
        result = inspected(number)
        sent = Sent("nothing", 0, TILE[:0]) if number % 4 else Sent("coded tiles", 1234, TILE)
        verdict = judge.frame(replace(result, sent=sent))
        side = sink.wants(verdict)
        if side is not None:
            assert side == LONGEST
            wanted.append(number)
            while sink.queued:  # as slow as a camera
                time.sleep(0.001)
            sink.put(Picture(verdict, image, 1.0))
    sink.close()

    assert wanted == list(range(0, 20, 10 // FPS))
    [film] = (decoded(path) for path in tmp_path.rglob("*-sent-0.mp4"))
    assert len(film) == len(wanted)
    for number, (_, shown) in zip(wanted, film, strict=True):
        bright = number % 4 == 0
        assert abs(int(shown[48, 48].mean()) - (GREY if bright else GREY * 0.35)) < 12, number
        assert abs(int(shown[10, 100].mean()) - GREY * 0.35) < 12
    assert sink.status()["shown"] == len(wanted)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name[0] == "."] == [".lock"]


def test_cameras_whose_frames_are_sent_whole_are_not_filmed(tmp_path: Path) -> None:
    sink = SentFilms(tmp_path)
    assert sink.wants(Judge().frame(inspected(0))) is None
    sink.close()
