"""RTSP cameras against GStreamer's RTSP server."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from subprocess import Popen

import pytest

from tests.clients.stream.camera_process import CameraFailed, CameraProcess, run_beside
from tests.clients.stream.films import colour_error, number_of, rgb_of, shoot
from tests.clients.stream.rtsp_server import PACKAGES, is_installed
from tests.clients.stream.test_video import COLOUR_TOLERANCE
from triton_yolo.clients.memory.ring import Reason

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason=f"GStreamer's RTSP server is not installed: {PACKAGES}"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of frames that a camera would send: none depends on a later one, and a whole one comes each second."""
    folder = tmp_path_factory.mktemp("films")
    return shoot(folder / "minute.mp4", 1500, bf="0", g="25", preset="ultrafast")


@contextmanager
def served(film: Path, port: int = 0) -> Iterator[tuple[str, Popen[str]]]:
    """Serve a film with a real server: its address, and its process."""
    told: list[str] = []
    program = [sys.executable, "-m", "tests.clients.stream.rtsp_server", str(film), str(port)]
    with run_beside(program, lambda line: not told.append(line) and line.strip().isdigit()) as server:
        yield f"rtsp://127.0.0.1:{int(told[0])}/line", server


@pytest.fixture(scope="module")
def url(film: Path) -> Iterator[str]:
    """The address of a server that runs all the time."""
    with served(film) as (url, _):
        yield url


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_arrive_in_order_and_the_camera_stops_when_told(url: str, transport: str) -> None:
    with CameraProcess("rtsp", url, rows=64, transport=transport) as camera:
        assert not camera.waits
        assert camera.format == {"pixel_format": "nv12", "height": 96, "width": 192, "nbytes": 96 * 192 * 3 // 2}
        seen = []
        for _, pixels in camera.frames():
            frame = rgb_of(pixels)
            assert colour_error(frame) <= COLOUR_TOLERANCE
            seen.append(number_of(frame))
            if len(seen) == 75:
                break
        camera.stop()
        assert not camera.counts().dropped
    assert seen == list(range(seen[0], seen[0] + 75))


def test_a_rate_leaves_frames_out_at_regular_distances(url: str) -> None:
    with CameraProcess("rtsp", url, fps=5) as camera:
        seen = []
        for _, pixels in camera.frames():
            seen.append(number_of(rgb_of(pixels)))
            if len(seen) == 12:
                break
    steps = [later - earlier for earlier, later in pairwise(seen)]
    assert 4 <= sum(steps) / len(steps) <= 6


def test_a_server_that_dies_is_lost_and_one_that_comes_back_is_found(film: Path) -> None:
    with served(film) as (url, server):
        with CameraProcess("rtsp", url, timeout=2) as camera:
            frames = camera.frames()
            next(frames)
            server.kill()
            with pytest.raises(CameraFailed, match=f"{url} was lost"):
                for _ in frames:
                    pass
            camera.counts()
        with pytest.raises(CameraFailed, match=f"cannot open {url}: Connection refused"):
            CameraProcess("rtsp", url, timeout=2)
    with served(film, int(url.split(":")[2].partition("/")[0])) as (again, _), CameraProcess("rtsp", again) as camera:
        assert again == url
        assert next(camera.frames())


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_that_falls_silent_is_lost_after_the_timeout(film: Path, transport: str) -> None:
    with served(film) as (url, server), CameraProcess("rtsp", url, transport=transport, timeout=1) as camera:
        frames = camera.frames()
        next(frames)
        server.send_signal(19)  # SIGSTOP: its connections stay open
        silent = time.monotonic()
        with pytest.raises(CameraFailed, match=r"was lost: no (answer|picture within 1 s)"):
            for _ in frames:
                pass
        assert time.monotonic() - silent < 4


def test_a_camera_stops_within_two_seconds_though_its_server_is_silent(film: Path) -> None:
    with served(film) as (url, server), CameraProcess("rtsp", url, timeout=30) as camera:
        next(camera.frames())
        server.send_signal(19)
        time.sleep(0.3)
        camera.stop()


def test_the_end_of_a_stream_is_a_loss(tmp_path: Path) -> None:
    film = shoot(tmp_path / "short.mp4", 25, bf="0")
    with (
        served(film) as (url, _),
        CameraProcess("rtsp", url) as camera,
        pytest.raises(CameraFailed, match="was lost: it ended"),
    ):
        for _ in camera.frames():
            pass


def test_frames_that_nobody_takes_make_room_for_newer_ones(url: str) -> None:
    with CameraProcess("rtsp", url, rows=3) as camera:
        next(camera.frames())
        time.sleep(1)
        newest = number_of(rgb_of([pixels for _, pixels in islice(camera.frames(), 3)][-1]))
        counts = camera.counts()
        assert counts.dropped[Reason.RING_FULL] > 10
        assert newest > 20


def test_a_password_is_not_in_messages(film: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(CameraFailed) as failed:
        CameraProcess("rtsp", f"rtsp://user:secret@127.0.0.1:{port}/line")
    assert str(failed.value) == f"cannot open rtsp://127.0.0.1:{port}/line: Connection refused"


def test_a_path_that_the_server_does_not_have_is_said(url: str) -> None:
    with pytest.raises(CameraFailed, match=r"cannot open .*/other: .*404"):
        CameraProcess("rtsp", url.replace("/line", "/other"))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("transport", "quic", "transport is tcp or udp; got 'quic'"),
        ("timeout", "soon", "timeout is a number of seconds; got 'soon'"),
        ("timeout", 0, "timeout is a number of seconds; got 0"),
        ("size", "96x96", "unknown options of rtsp: size; it knows pixel_format, timeout, transport"),
    ],
)
def test_a_wrong_option_is_said(option: str, value: object, says: str) -> None:
    with pytest.raises(CameraFailed, match=says):
        CameraProcess("rtsp", "rtsp://127.0.0.1:1/line", **{option: value})
