"""What is left of frames on the server and in /dev/shm, whatever became of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from tests.clients.comparing import assert_same
from tests.conftest import REPOSITORY
from tests.server.cells import copy_with_cells
from triton_yolo.clients import DetectionError, Detections, Detector, ServerUnavailable
from triton_yolo.clients.memory.registration import unregister
from triton_yolo.clients.memory.shared import PREFIX
from triton_yolo.server.process import TritonServer, free_addresses

SHARED_MEMORY = Path("/dev/shm")
GREY = np.full((2, 64, 64, 3), 114, np.uint8)
CLIENT = """
import os, signal, sys
from triton_yolo.clients import Detector

detector = Detector(sys.argv[1], memory="system")
frames = detector.frames(2, 64, 64)
frames.array[...] = 114
detector.detect_frames(frames)
detector.detect_frames(frames.array)
print("ready", os.getpid(), flush=True)
{end}
"""


def registered(server: TritonServer) -> set[str]:
    """Names of the regions that the server has."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.addresses.grpc}") as client:
        return set(client.get_system_shared_memory_status(as_json=True).get("regions", {}))


@pytest.fixture
def left(server: TritonServer) -> Callable[..., set[str]]:
    """Tells what a process has on the server and in /dev/shm that was not there before: this one or another."""

    def names() -> set[str]:
        return registered(server) | {path.name for path in SHARED_MEMORY.iterdir()}

    before = names()
    return lambda pid=None: {name for name in names() - before if name.startswith(f"{PREFIX}{pid or os.getpid()}-")}


def run_client(url: str, end: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run a client that does not close what it has opened; return its process id too."""
    done = subprocess.run([sys.executable, "-c", CLIENT.format(end=end), url], capture_output=True, text=True)
    ready, pid = done.stdout.split()[:2]
    assert ready == "ready"
    return done, pid


def test_frames_are_registered_until_they_are_closed(url: str, server: TritonServer, left) -> None:
    with Detector(url, memory="system") as detector:
        with detector.frames(2, 64, 64) as frames:
            assert left() == {frames.name}
            assert frames.name in registered(server)
            assert (SHARED_MEMORY / frames.name).stat().st_size == frames.nbytes == GREY.nbytes
        assert left() == set()
        frames.close()


def test_an_error_closes_frames(url: str, left) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        Detector(url, memory="system") as detector,
        detector.frames(2, 64, 64) as frames,
    ):
        detector.detect_frames(frames)
        assert len(left()) == 1
        raise ZeroDivisionError
    assert left() == set()


def test_a_closed_detector_has_closed_all_frames_and_detects_no_more(url: str, left) -> None:
    detector = Detector(url, memory="system")
    frames = detector.frames(2, 64, 64)
    detector.detect_frames(GREY)
    assert len(left()) == 2

    detector.close()
    detector.close()

    assert left() == set()
    for use in (
        lambda: detector.detect_frames(frames),
        lambda: detector.detect_frames(GREY),
        lambda: detector.detect(GREY[0]),
        lambda: detector.frames(1, 8, 8),
        lambda: detector.labels(),
        lambda: frames.array,
        lambda: frames.fill(GREY),
        lambda: np.from_dlpack(frames),  # type: ignore[arg-type]
    ):
        with pytest.raises(DetectionError, match=r"(detector has|frames have) been closed"):
            use()


def test_frames_that_nobody_refers_to_are_given_back(url: str, left) -> None:
    detector = Detector(url, memory="system")
    detector.frames(2, 64, 64)
    assert left() == set()
    detector.detect_frames(GREY)
    assert len(left()) == 1

    del detector

    assert left() == set()


def test_a_view_that_outlives_its_frames_keeps_its_pixels(url: str, left) -> None:
    with Detector(url, memory="system") as detector, detector.frames(2, 64, 64) as frames:
        frames.fill(GREY)
        view = frames.array

    assert left() == set()
    np.testing.assert_array_equal(view, GREY)
    view[...] = 0


def test_arrays_keep_one_region_that_grows(url: str, left) -> None:
    with Detector(url, memory="system") as detector:
        for size in (8, 64, 16, 64):
            detector.detect_frames(GREY[:, :size])
            (name,) = left()
        assert (SHARED_MEMORY / name).stat().st_size == GREY.nbytes
        with pytest.raises(DetectionError, match="must be a number from 0 to 1"):
            detector.detect_frames(GREY, score_threshold=2)
        assert left() == {name}


def test_memory_that_the_server_cannot_find_is_refused_with_what_to_check(url: str, left) -> None:
    with Detector(url, memory="system") as detector, detector.frames(1, 8, 8) as frames:
        unregister(detector.protocol, "system", frames.name)
        (SHARED_MEMORY / frames.name).unlink()
        with pytest.raises(
            DetectionError, match=f"Unable to open shared memory region: '/{frames.name}'; .* a server on this machine"
        ):
            frames.register()  # type: ignore[attr-defined]
    assert left() == set()


def test_a_lack_of_memory_is_told(url: str, left) -> None:
    with (
        Detector(url, memory="system") as detector,
        pytest.raises(DetectionError, match="no room for 3000000000000 bytes of frames in /dev/shm: No space left"),
    ):
        detector.frames(1, 1_000_000, 1_000_000)
    assert left() == set()


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_without_a_server_nothing_is_left(scheme: str, left) -> None:
    with (
        Detector(f"{scheme}127.0.0.1:1", memory="system") as detector,
        pytest.raises(ServerUnavailable, match="is not available"),
    ):
        detector.frames(1, 8, 8)
    assert left() == set()


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGINT)", "os.fork()"])
def test_a_client_that_forgets_to_close_leaves_nothing(url: str, left, end: str) -> None:
    done, pid = run_client(url, end)

    assert "Exception ignored" not in done.stderr
    assert left(pid) == set()


def test_a_killed_client_does_not_hinder_the_next(url: str, left) -> None:
    done, pid = run_client(url, "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    forgotten = left(pid)
    assert len(forgotten) == 2

    with Detector(url, memory="system") as detector:
        assert len(detector.detect_frames(GREY)) == 2
        assert len(left()) == 1
        for name in forgotten:  # what the documentation tells to do
            unregister(detector.protocol, "system", name)
            (SHARED_MEMORY / name).unlink()
    assert left() | left(pid) == set()


def test_two_clients_at_once_do_not_meet(url: str, left, frames: list[np.ndarray]) -> None:
    with (
        Detector(url, memory="system") as one,
        Detector(url, memory="system") as other,
        one.frames(1, 480, 640) as ours,
        other.frames(1, 480, 640) as theirs,
    ):
        ours.array[...], theirs.array[...] = frames[4], frames[4][::-1]
        found = [one.detect_frames(ours, score_threshold=0.01), other.detect_frames(theirs, score_threshold=0.01)]

        assert_same(found[0][0], one.detect(frames[4], score_threshold=0.01))
        assert_same(found[1][0], one.detect(frames[4][::-1], score_threshold=0.01))
    assert left() == set()


def test_a_request_that_was_given_up_leaves_nothing_and_a_sound_server(url: str, left) -> None:
    with Detector(url, memory="system") as patient, Detector(url, timeout=0.3) as hasty:
        with patient.frames(32, 2000, 2000) as frames:
            frames.array[...] = 114
            with pytest.raises(DetectionError, match="no answer"):
                hasty.detect_frames(frames)
            with pytest.raises(DetectionError, match="currently in use"):
                unregister(patient.protocol, "system", frames.name)
        assert left() == set()  # close has waited until the server let go
        patient.detect_frames(GREY)


def when_it_answers(detect: Callable[[], list[Detections]]) -> list[Detections]:
    """The client's connection takes up to a second to find out that there is a server again."""
    for _ in range(20):
        try:
            return detect()
        except ServerUnavailable:
            time.sleep(0.2)
    return detect()


@pytest.mark.slow
def test_frames_outlive_a_server_that_is_restarted(left, tmp_path: Path) -> None:
    addresses, repository = free_addresses(), copy_with_cells(REPOSITORY, tmp_path / "repository")  # quick to load
    with Detector(f"127.0.0.1:{addresses.grpc}", memory="system") as detector:
        with TritonServer(repository, addresses, log=lambda line: None) as first:
            first.wait_until_ready()
            frames = detector.frames(2, 64, 64)
            frames.fill(GREY)
            before = detector.detect_frames(frames, score_threshold=0)
            assert min(map(len, before)) > 0
            detector.detect_frames(GREY)
        with pytest.raises(ServerUnavailable):
            detector.detect_frames(frames)
        with TritonServer(repository, addresses, log=lambda line: None) as second:
            second.wait_until_ready()
            found = when_it_answers(lambda: detector.detect_frames(frames, score_threshold=0))
            for one, other in zip(found, before, strict=True):
                assert_same(one, other)
            assert registered(second) == {frames.name}
            detector.detect_frames(GREY)
            assert len(registered(second)) == 2
    assert frames.closed  # after the server had gone
    assert left() == set()
