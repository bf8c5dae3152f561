"""Viewers: all get what is new, each at its own pace, and none holds up another one or the line."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.clients.stream.sinks.page.plant import PATIENCE, Viewer, line_of, shown
from triton_yolo.clients.stream.sinks.page import viewer as viewers
from triton_yolo.clients.stream.sinks.page.viewer import UNDERWAY

NAMES = [f"camera-{number}" for number in range(8)]


def test_a_viewer_gets_the_history_then_the_state_the_failures_and_a_picture_of_each_camera() -> None:
    with shown(line_of("top", "side")) as plant:
        plant.feed.frame("top", board=0)
        plant.feed.frame("side", board=1)
        with Viewer(plant.address) as viewer:
            kinds = []
            while len({*kinds}) < 4 or kinds.count("picture") < 2:
                message, jpeg = viewer.next()
                kinds.append(message["type"])
                if message["type"] == "picture":
                    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
                    assert image.shape == plant.feed.boards[0].image.shape
                    assert 0 <= message["age"] < PATIENCE * 1e3
            assert kinds[0] == "hello"
            assert kinds.index("status") < kinds.index("picture")


def test_a_slow_viewer_gets_the_newest_picture_and_none_that_it_has_missed() -> None:
    with shown(line_of("top"), pictures_per_second=60) as plant, Viewer(plant.address) as viewer:
        plant.feed.frame("top", board=1)
        while viewer.number < UNDERWAY:  # takes what it gets, and acknowledges nothing
            plant.feed.frame("top", board=1)
            viewer.next(acknowledge=False)
            time.sleep(0.05)
        for _ in range(50):
            plant.feed.frame("top", board=1)
            time.sleep(0.02)
        with pytest.raises(TimeoutError):
            viewer.socket.recv(0.5)
        newest = plant.page._state.live["top"].header["number"]
        viewer.socket.send(str(viewer.number))
        seen = []
        while not seen:
            message, _ = viewer.next()
            seen += [message["number"]] if message["type"] == "picture" else []
        assert seen[0] >= newest


def test_cameras_take_turns_where_a_viewer_is_slow() -> None:
    with shown(line_of(*NAMES), pictures_per_second=60) as plant, Viewer(plant.address) as viewer:
        plant.feed.run(NAMES, 10)
        viewer.until("picture")
        seen: list[str] = []
        while len(seen) < 40:
            message, _ = viewer.next()
            seen += [message["camera"]] if message["type"] == "picture" else []
            time.sleep(0.02)
        assert set(seen[-16:]) == set(NAMES)


def test_a_picture_is_coded_once_for_all_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    coded: list[int] = []
    original = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *arguments: coded.append(1) or original(*arguments))
    with shown(line_of("top"), pictures_per_second=60) as plant:
        views = [Viewer(plant.address) for _ in range(8)]
        views[0].until("status", lambda message: message["viewers"] == len(views))
        for number in range(10):
            time.sleep(0.05)
            plant.feed.frame("top", board=1)
            for view in views:
                assert view.until("picture")["number"] == number
        for view in views:
            view.close()
        assert len(coded) == 10


def test_pictures_come_no_more_often_than_asked_for() -> None:
    with shown(line_of("top"), pictures_per_second=2) as plant, Viewer(plant.address) as viewer:
        viewer.until("status")
        plant.feed.run(["top"], 20)
        viewer.until("picture")
        first = viewer.until("picture")
        second = first
        while second["captured"] - first["captured"] < 3:
            second = viewer.until("picture")
            count = second["number"] - first["number"]
        shown_pictures = plant.page._state.live["top"].version
        assert count >= 20  # the camera goes on at its own rate
        assert shown_pictures <= 3 * (2 + 1) + 4


@pytest.mark.parametrize("said", ["hello", "0", "-1", "999999", "1" * 60, "²", b"1"])
def test_a_viewer_that_says_anything_but_what_it_has_seen_is_sent_away(said: str | bytes) -> None:
    with shown(line_of("top")) as plant, Viewer(plant.address) as viewer:
        viewer.next()
        viewer.socket.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                viewer.next(acknowledge=False)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_message_that_is_too_long_ends_its_connection() -> None:
    with shown(line_of("top")) as plant, Viewer(plant.address) as viewer, Viewer(plant.address) as other:
        viewer.next()
        viewer.socket.send("1" * 1_000_000)
        with pytest.raises(ConnectionClosed):
            while True:
                viewer.next(acknowledge=False)
        other.until("status")
        plant.feed.frame("top", board=1)
        other.until("picture")


def test_a_viewer_that_has_gone_without_a_word_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "PATIENCE", 2.5)
    with shown(line_of("top")) as plant, Viewer(plant.address) as silent, Viewer(plant.address) as awake:
        awake.until("status", lambda message: message["viewers"] == 2)
        silent.next(acknowledge=False)
        awake.until("status", lambda message: message["viewers"] == 1)
        assert plant.page._state.wishes.watched


def test_nobody_looks_after_the_last_viewer_has_gone() -> None:
    with shown(line_of("top")) as plant:
        with Viewer(plant.address) as viewer:
            viewer.until("status")
            assert plant.page._state.wishes.watched
        end = time.monotonic() + PATIENCE
        while plant.page._state.wishes.watched:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_page_that_ends_takes_no_longer_for_viewers_that_take_nothing() -> None:
    with shown(line_of(*NAMES), pictures_per_second=60) as plant:
        stuck = [Viewer(plant.address) for _ in range(8)]
        plant.feed.run(NAMES, 10)
        time.sleep(1.0)
    assert not plant.page._server._thread.is_alive()
    assert not plant.page._thread.is_alive()
    for view in stuck:
        view.socket.socket.close()


def test_a_viewer_that_takes_nothing_does_not_hold_up_another() -> None:
    with shown(line_of(*NAMES), pictures_per_second=30) as plant:
        stuck = [Viewer(plant.address) for _ in range(4)]
        plant.feed.run(NAMES, 10)
        with Viewer(plant.address) as viewer:
            numbers: dict[str, int] = {}
            while len(numbers) < 8 or min(numbers.values()) < 30:
                message, _ = viewer.next()
                if message["type"] == "picture":
                    numbers[message["camera"]] = message["number"]
        assert plant.page.missed == 0
        for view in stuck:
            view.socket.socket.close()


@pytest.mark.slow
def test_memory_is_bounded_whatever_eight_viewers_do() -> None:
    """What a page holds is counted; the benchmark of eight browsers measures the process."""
    with shown(line_of(*NAMES), pictures_per_second=60, failures_mb=0.2) as plant:
        stop = threading.Event()

        def look() -> None:
            with Viewer(plant.address) as viewer:
                while not stop.is_set():
                    viewer.next()

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for number in range(100):
            for name in NAMES:
                plant.feed.frame(name, board=number // 3)
        stop.set()
        plant.feed.line()
        for thread in threads:
            thread.join()
        state = plant.page._state
        assert state.failures.nbytes <= 0.2e6
        assert len(state.live) == len(NAMES)
        assert all(len(view._pictures) <= len(NAMES) for view in plant.page._app.viewers)
