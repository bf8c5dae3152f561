"""Threads that run images, with functions in place of the network that end when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import numpy as np
import pytest

from triton_yolo.server.runtimes.openvino.workers import Candidates, Workers

WAITS = 30  # seconds for what should come at once
ALONE = 99


class Network:
    """Runs that are held until they are let go.

    Attributes:
        begun: which run has begun with which image; ALONE is the one on all cores.
    """

    def __init__(self, cores: int) -> None:
        self.begun: Queue[tuple[int, int]] = Queue()
        self.goes = {run: threading.Semaphore(0) for run in (ALONE, *range(cores))}

    def run(self, number: int) -> object:
        def begin(image: np.ndarray) -> Candidates:
            assert image.shape[0] == 1
            value = int(image.ravel()[0])
            self.begun.put((number, value))
            assert self.goes[number].acquire(timeout=WAITS)
            if value == 255:
                raise RuntimeError("a bad one")
            return np.full((1, 1, 6), value, np.float32)

        return begin

    def next(self) -> tuple[int, int]:
        return self.begun.get(timeout=WAITS)


@contextmanager
def working(cores: int = 2) -> Iterator[tuple[Network, Workers, Queue]]:
    network, answers = Network(cores), Queue[Candidates | Exception]()
    workers = Workers(network.run(ALONE), [network.run(core) for core in range(cores)])  # type: ignore[arg-type]
    try:
        yield network, workers, answers
    finally:
        for go in network.goes.values():
            go.release(100)
        workers.close()


def images(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)[:, None, None, None]


def test_an_image_that_comes_alone_has_all_cores_and_the_next_ones_wait_for_it() -> None:
    with working() as (network, workers, answers):
        workers.submit(images(1), answers.put, urgent=False)
        assert network.next() == (ALONE, 1)
        workers.submit(images(2), answers.put, urgent=False)
        workers.submit(images(3), answers.put, urgent=False)
        network.goes[ALONE].release()
        assert answers.get(timeout=WAITS).tolist() == [[[1.0] * 6]]
        assert {network.next()[0], network.next()[0]} == {0, 1}, "two that wait have a core each"


def test_an_image_is_answered_when_it_is_done_whatever_its_neighbours_do() -> None:
    with working() as (network, workers, answers):
        workers.submit(images(1, 2), answers.put, urgent=False)
        first, second = network.next(), network.next()
        workers.submit(images(3), answers.put, urgent=False)
        workers.submit(images(4), answers.put, urgent=False)
        network.goes[first[0]].release()
        assert network.next() == (first[0], 3), "the core that is free takes the next one"
        network.goes[first[0]].release()
        assert answers.get(timeout=WAITS)[0, 0, 0] == 3, "before the two that came earlier are done"
        network.goes[second[0]].release()
        assert answers.get(timeout=WAITS)[:, 0, 0].tolist() == [1, 2], "in the order of the request"


def test_several_images_that_are_fewer_than_the_cores_go_one_after_the_other_on_all_of_them() -> None:
    with working(cores=4) as (network, workers, answers):
        workers.submit(images(1, 2, 3), answers.put, urgent=False)
        for value in (1, 2, 3):
            assert network.next() == (ALONE, value)
            network.goes[ALONE].release()
        assert answers.get(timeout=WAITS)[:, 0, 0].tolist() == [1, 2, 3]


def test_what_goes_wrong_is_the_answer_to_its_own_request_alone() -> None:
    with working() as (network, workers, answers):
        for go in network.goes.values():
            go.release(10)
        workers.submit(images(255), answers.put, urgent=False)
        assert repr(answers.get(timeout=WAITS)) == "RuntimeError('a bad one')"
        workers.submit(images(5), answers.put, urgent=False)
        assert answers.get(timeout=WAITS)[0, 0, 0] == 5


@pytest.mark.parametrize("count", [1, 7])
def test_what_waits_is_run_before_the_end(count: int) -> None:
    with working() as (network, workers, answers):
        for value in range(count):
            workers.submit(images(value), answers.put, urgent=False)
        for go in network.goes.values():
            go.release(10)
        workers.close()
        assert sorted(answers.get_nowait()[0, 0, 0] for _ in range(count)) == list(range(count))


def test_the_urgent_go_before_what_waits_and_in_their_own_order() -> None:
    with working() as (network, workers, answers):
        workers.submit(images(1, 2), answers.put, urgent=False)
        running = network.next()[0]
        network.next()
        for value, urgent in ((3, False), (4, True), (5, False), (6, True)):
            workers.submit(images(value), answers.put, urgent)
        for value in (4, 6, 3, 5):
            network.goes[running].release()
            assert network.next() == (running, value)
