"""More requests than a CPU holds: they wait before the first model, and the urgent wait for little."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.server.pictures import jpeg, picture
from tests.server.wire import Client
from triton_yolo.clients import Detector
from triton_yolo.server.runtimes.backlog import Backlog, create

IMAGE = jpeg(picture(1, 960, 1280))
IN_FLIGHT = 32


class Crowd:
    """Clients that ask again and again, all at the same time.

    Attributes:
        answers: that came so far.
    """

    def __init__(self, client: Client) -> None:
        self.answers, self._client = 0, client
        self._stop, self._counted = threading.Event(), threading.Lock()

    def ask(self) -> None:
        while not self._stop.is_set():
            self._client.detect(IMAGE)
            with self._counted:
                self.answers += 1

    @contextmanager
    def asking(self) -> Iterator[Crowd]:
        threads = [threading.Thread(target=self.ask) for _ in range(IN_FLIGHT)]
        for thread in threads:
            thread.start()
        try:
            while self.answers < IN_FLIGHT:
                time.sleep(0.01)
                assert any(thread.is_alive() for thread in threads)
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.slow
def test_what_waits_waits_before_the_first_model_where_its_time_and_its_turn_count(default: Client) -> None:
    counts = []
    with Crowd(default).asking() as crowd:
        while crowd.answers < 4 * IN_FLIGHT:
            counts.append(default.metric("nv_inference_pending_request_count"))  # in the queue of each model
            time.sleep(0.01)
    assert sum(count["preprocess"] for count in counts) > 3 * sum(count["yolo"] for count in counts)
    assert max(count["preprocess"] for count in counts) > IN_FLIGHT / 4


@pytest.mark.slow
def test_an_urgent_request_goes_before_what_has_left_the_queues(default: Client) -> None:
    """Which a request of the same priority does not that does not say so."""
    overtaken_by: dict[bool, list[int]] = {True: [], False: []}
    with Crowd(default).asking() as crowd, Detector(f"127.0.0.1:{default.addresses.grpc}") as detector:
        for _ in range(12):
            before = crowd.answers
            detector.detect(IMAGE, priority=1)
            overtaken_by[True].append(crowd.answers - before)
            before = crowd.answers
            default.detect(IMAGE, priority=1)
            overtaken_by[False].append(crowd.answers - before)
    assert median(overtaken_by[True]) < median(overtaken_by[False]) < IN_FLIGHT


def test_what_a_network_holds_is_known_in_other_processes_by_the_folder_of_its_repository(tmp_path: Path) -> None:
    assert Backlog.of_all(tmp_path).images == 0, "no network on the CPU"
    for name in ("yolo", "yolo_head"):
        (tmp_path / name).mkdir()
        create(tmp_path / name)
    yolo, head, seen = Backlog.of(tmp_path / "yolo"), Backlog.of(tmp_path / "yolo_head"), Backlog.of_all(tmp_path)
    yolo.images, head.images = 5, 300
    assert seen.images == Backlog.of_all(tmp_path).images == 305
    assert Backlog.of(tmp_path / "yolo").images == 0, "one that starts again holds nothing"
    assert seen.images == 300
