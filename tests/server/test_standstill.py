"""A Python model's process that stood still while Triton waited for it answers no more."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from tests.server.fleet.load import Load
from tests.server.processes import stubs
from tests.support.servers import serving
from triton_yolo.clients import Detector
from triton_yolo.nms import standstill
from triton_yolo.nms.standstill import Standstill
from triton_yolo.server import process
from triton_yolo.server.process import TritonServer

SECONDS = 60
STOPS = 5


class Clocks:
    """The monotonic and the wall clock of a process whose watching thread beats when it is told to."""

    def __init__(self, signs: Path) -> None:
        self.now, self.ahead, self.signs, self.main = 100.0, 1e9, signs, signs.with_name("main")
        self._beats, self._waits = threading.Semaphore(0), threading.Semaphore(0)

    def wait(self, seconds: float) -> bool:
        self._waits.release()
        self._beats.acquire()
        return False

    def run(self, slices: int) -> None:
        """The thread that gives signs of life has run so often, as proc(5) tells it."""
        self.signs.write_text(f"1234567 89 {slices}")

    def compute(self, seconds: float) -> None:
        """The main thread has had a processor for so long in all."""
        self.main.write_text(f"{round(seconds * 1e9)} 89 12")

    def began(self) -> None:
        """The thread waits for its first beat."""
        assert self._waits.acquire(timeout=SECONDS)

    def beats(self, number: int) -> None:
        """Time goes by as it does where nothing stands still."""
        for _ in range(number):
            self.now += standstill.BEAT
            self._beats.release()
            assert self._waits.acquire(timeout=SECONDS)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clocks:
    clocks = Clocks(tmp_path / "schedstat")
    time_module = SimpleNamespace(
        monotonic=lambda: clocks.now,
        time=lambda: clocks.now + clocks.ahead,
    )
    monkeypatch.setattr(standstill, "time", time_module)
    monkeypatch.setattr(standstill, "Event", lambda: clocks)
    monkeypatch.setattr(standstill, "os", SimpleNamespace(_exit=_exit))
    monkeypatch.setattr(standstill, "_thread_of_signs", lambda: clocks.signs)
    monkeypatch.setattr(standstill, "_main_thread", lambda: clocks.main)
    clocks.run(0)
    clocks.compute(7)
    return clocks


@pytest.fixture
def watch(clocks: Clocks) -> Standstill:
    watch = Standstill("nms")
    clocks.began()
    return watch


class Ended(BaseException):
    """The process would have ended."""


def _exit(status: int) -> None:
    raise Ended(status)


def test_a_long_execute_is_no_standstill(clocks: Clocks, watch: Standstill) -> None:
    with watch:
        clocks.beats(50)
    with watch:
        clocks.now += standstill.LIMIT / 2


@pytest.mark.parametrize("beats_after", [0, 30])
def test_a_process_that_stood_still_in_execute_ends(
    clocks: Clocks, watch: Standstill, capsys: pytest.CaptureFixture[str], beats_after: int
) -> None:
    def answer() -> None:
        with watch:
            clocks.now += 0.7
            clocks.beats(beats_after)

    with pytest.raises(Ended):
        answer()
    assert "nms: this process stood still for 0." in capsys.readouterr().err


@pytest.mark.parametrize("beats_after", [0, 5])
def test_requests_that_waited_through_a_standstill_are_not_taken(
    clocks: Clocks, watch: Standstill, beats_after: int
) -> None:
    clocks.now += 0.7
    clocks.beats(beats_after)
    with pytest.raises(Ended):
        watch.__enter__()


def test_a_standstill_long_before_a_request_does_no_harm(clocks: Clocks, watch: Standstill) -> None:
    clocks.now += 3600
    clocks.beats(int(standstill.SUSPECT / standstill.BEAT) + 3)
    with watch:
        clocks.beats(3)


@pytest.mark.parametrize(("step", "ends"), [(0.7, True), (-3600.0, False)])
def test_a_clock_set_forward_in_execute_ends_the_process(
    clocks: Clocks, watch: Standstill, step: float, ends: bool
) -> None:
    """Triton's second is one of the wall clock."""
    with pytest.raises(Ended) if ends else nullcontext(), watch:
        clocks.ahead += step


@pytest.mark.parametrize(
    ("seconds", "signs", "ends"), [(0.7, 2, True), (0.95, 3, False), (6.0, 19, False), (6.0, 5, True)]
)
def test_python_may_wait_as_long_as_there_are_signs_of_life(
    clocks: Clocks, watch: Standstill, seconds: float, signs: int, ends: bool
) -> None:
    """As for a tritonserver that stands still itself."""
    clocks.beats(3)
    clocks.now += seconds
    clocks.run(signs)
    with pytest.raises(Ended) if ends else nullcontext(), watch:
        clocks.beats(1)


@pytest.mark.parametrize(("computed", "ends"), [(0.1, True), (0.3, False)])
def test_computing_without_a_pause_is_no_standstill(
    clocks: Clocks, watch: Standstill, computed: float, ends: bool
) -> None:
    """As DALI does when a pipeline is built once more; before a standstill, too, there is some."""
    with pytest.raises(Ended) if ends else nullcontext(), watch:
        clocks.now += 0.9
        clocks.compute(7 + computed)
        clocks.run(2)


def test_what_keeps_python_waiting_is_excused(clocks: Clocks, watch: Standstill) -> None:
    with watch, watch.excused():
        clocks.now += 30
        clocks.beats(1)
    with watch:
        clocks.beats(1)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_with_cells(REPOSITORY, tmp_path_factory.mktemp("cells") / "repository")


@pytest.fixture
def fresh(repository: Path) -> Iterator[TritonServer]:
    with serving(repository) as server:
        yield server


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher kills no process that was stopped."""
    monkeypatch.setattr(process, "LOOK_SECONDS", 3600)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["preprocess", "yolo", "nms"])
def test_no_request_gets_the_answer_of_one_that_was_given_up(fresh: TritonServer, model: str) -> None:
    """The launcher ends the process while it is stopped."""
    answers_no_more(fresh, model)


@pytest.mark.slow
@pytest.mark.usefixtures("nobody_looks")
@pytest.mark.parametrize("model", ["preprocess", "yolo"])
def test_a_process_that_was_stopped_ends_without_the_launcher_too(fresh: TritonServer, model: str) -> None:
    """By itself, or by what it reads where the request that was given up had been."""
    answers_no_more(fresh, model)


def answers_no_more(fresh: TritonServer, model: str) -> None:
    url = f"{fresh.addresses.host}:{fresh.addresses.grpc}"
    with Detector(url) as alone:
        expected = Load.expected(alone)
    [stub] = [p for p in stubs(fresh.running.pid) if any(f"/{model}/" in part for part in p.cmdline())]
    with Load(url, expected) as load:
        load.wait_for(20)
        for _ in range(STOPS):  # a stop that no request waits through does no harm
            stub.send_signal(signal.SIGSTOP)
            time.sleep(2)
            stub.send_signal(signal.SIGCONT)
            if ended := ends_within(3, fresh):
                break
        assert ended, "the process answers although it stood still"
        fresh.kill()


def ends_within(seconds: float, server: TritonServer) -> bool:
    """Whether the server can answer no more."""
    end = time.monotonic() + seconds
    while server.broken() is None and time.monotonic() < end:
        time.sleep(0.02)
    return server.broken() is not None
