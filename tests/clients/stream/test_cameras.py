"""Processes of cameras that behave in every way but the right one; no server is there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.clients.stream.lines import PATIENCE
from triton_yolo.clients.memory.ring import FOLDER, PREFIX
from triton_yolo.clients.stream import cameras as many
from triton_yolo.clients.stream import supervised as module
from triton_yolo.clients.stream.cameras import Cameras
from triton_yolo.clients.stream.errors import CameraError, LineError
from triton_yolo.clients.stream.line import CameraConfig
from triton_yolo.clients.stream.supervised import Camera

FORMAT = '{"format": {"pixel_format": "rgb", "height": 8, "width": 8, "nbytes": 192}, "waits": %s, "comes_back": %s}'
Body = Callable[[Cameras], Awaitable[None]]


async def attached(places: object) -> None:
    """There is no server to tell."""


def config(name: str = "a", **more: object) -> CameraConfig:
    return CameraConfig.model_validate({"name": name, "uri": "synthetic:photo", **more})


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the program that is started in place of a camera's process: {answers} is its descriptor."""
    script = tmp_path / "python"

    def become(body: str) -> None:
        script.write_text(f"#!/bin/bash\nanswers=$3\n{body}\n")
        script.chmod(0o755)

    monkeypatch.setattr(module.sys, "executable", str(script))
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(many, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(many, "LONGEST_WAIT", 0.4)
    yield become
    assert not list(FOLDER.glob(f"{PREFIX}{os.getuid()}-{name_of_line()}*"))
    assert not [child for child in psutil.Process().children() if str(script) in child.cmdline()]


def name_of_line() -> str:
    return f"test-cameras-{os.getpid()}"


def run(body: Body) -> None:
    """Run something with the cameras of a line, and leave nothing of them."""

    async def inside() -> None:
        cameras = Cameras(name_of_line(), 4, False, lambda: None)
        try:
            await asyncio.wait_for(body(cameras), PATIENCE)
        finally:
            await cameras.close()

    gc.collect()
    before = descriptors()
    asyncio.run(inside())
    gc.collect()  # rings are unmapped with their last array
    assert len(descriptors()) <= len(before), (before, descriptors())


def descriptors() -> dict[int, str]:
    """Return what this process has open."""
    found = {}
    for one in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of the listing itself
            found[int(one)] = os.readlink(f"/proc/self/fd/{one}")
    return found


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def says(what: str) -> str:
    """Return the line of a script that says something to the line's process."""
    return f"echo '{what}' >&$answers"


DEVICE, FILE = FORMAT % ("false", "true"), FORMAT % ("false", "false")
LARGE = DEVICE.replace("8,", "64,").replace("192", str(64 * 64 * 3))
ENDED = '{"ended": true}'
PATIENT = FORMAT % ("true", "false")  # a file that is read as fast as it is taken


@pytest.mark.parametrize(
    ("script", "trouble", "again"),
    [
        ("exit 0", "camera a: its process ended", False),
        ("exit 3", "camera a: its process ended", False),
        ("kill -KILL $$", "camera a: its process was ended by SIGKILL", False),
        ("kill -34 $$", "camera a: its process was ended by", False),  # a signal without a name
        (says('{"error": "no tape", "comes_back": false}'), "camera a: no tape", False),
        (says('{"error": "no link", "comes_back": true}'), "camera a: no link", True),
        (f"{says(DEVICE)}; sleep 1000", "camera a: it delivers 8x8, and its size is to be 9x9", False),
    ],
)
def test_what_a_process_says_when_it_does_not_open(
    processes: Callable[[str], None], script: str, trouble: str, again: bool
) -> None:
    processes(script)

    async def body(cameras: Cameras) -> None:
        camera = Camera(config(size="9x9"))
        with pytest.raises(CameraError) as caught:
            await camera.open()
        assert str(caught.value).startswith(trouble)
        assert caught.value.again == again
        await camera.kill()

    run(body)


def test_a_process_that_says_nothing_is_given_up(
    processes: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes("sleep 1000")
    monkeypatch.setattr(module, "OPEN_SECONDS", 0.3)

    async def body(cameras: Cameras) -> None:
        with pytest.raises(CameraError, match="synthetic:photo does not open within 0"):
            await Camera(config()).open()

    run(body)


def test_a_program_that_cannot_be_started_is_the_cameras_trouble(
    processes: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")

    async def body(cameras: Cameras) -> None:
        cameras.add(config())
        await until(lambda: cameras["a"].restarts > 1)
        assert "its process cannot be started: No such file or directory" in cameras["a"].trouble
        await cameras.stop()
        assert cameras.over

    run(body)


def test_children_of_a_process_that_hold_its_pipes_end_with_it(processes: Callable[[str], None]) -> None:
    processes(f"{says(DEVICE)}; sleep 1000 & exec sleep 0.2")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config()], attached)
        await until(lambda: cameras["a"].restarts > 1)
        await cameras.stop()

    run(body)


def test_any_words_on_stderr_are_read(processes: Callable[[str], None]) -> None:
    # A line longer than any buffer, and bytes that are no text.
    processes(f"{says(DEVICE)}; head -c 300000 /dev/zero >&2; {says(ENDED)}")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config()], attached)
        await until(lambda: cameras.over)
        assert cameras["a"].state == "ended"

    run(body)


def test_a_camera_that_is_stopped_while_it_opens_ends_at_once(processes: Callable[[str], None]) -> None:
    processes("sleep 1000")

    async def body(cameras: Cameras) -> None:
        cameras.add(config("early"))
        cameras.add(config("late"))
        await cameras.remove("early")  # before there is a process
        await until(lambda: cameras["late"]._process is not None)
        await cameras.remove("late")
        assert {camera.state for camera in cameras} == {"ended"}

    run(body)


def test_a_camera_that_is_stopped_as_it_has_opened_does_not_run(processes: Callable[[str], None]) -> None:
    processes(f"{says(DEVICE)}; exec sleep 1000")

    async def body(cameras: Cameras) -> None:
        for moment in range(20):  # another one each time
            cameras.add(config())
            for _ in range(moment):
                await asyncio.sleep(0.002)
            await cameras.remove("a")
            assert cameras["a"].state == "ended"

    run(body)


def test_silence_ends_a_process_that_does_not_wait_for_its_reader(processes: Callable[[str], None]) -> None:
    processes(f"{says(FILE)}; exec sleep 1000")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config(silent_after=0.2)], attached)
        await until(lambda: cameras["a"].restarts > 0)
        assert cameras["a"].trouble == "no frame within 0.2 s"
        await cameras.stop()

    run(body)


def test_a_slow_camera_has_time_for_two_frames() -> None:
    assert Camera(config(fps=0.1, silent_after=5)).silence == 20
    assert Camera(config(fps=30, silent_after=5)).silence == 5
    assert Camera(config(silent_after=5)).silence == 5


def test_a_file_that_waits_for_its_reader_is_never_silent(processes: Callable[[str], None]) -> None:
    processes(f"{says(PATIENT)}; exec sleep 1")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config(silent_after=0.1)], attached)
        await until(lambda: cameras["a"].state != "running")
        assert cameras["a"].trouble == "its process ended"

    run(body)


def test_a_device_is_opened_for_ever_and_a_file_that_kills_its_process_is_not(
    processes: Callable[[str], None],
) -> None:
    processes(f"case $4 in file) {says(FILE)};; *) {says(DEVICE)};; esac; kill -SEGV $$")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config("file"), config("device")], attached)
        await until(lambda: cameras["file"].over)
        assert cameras["file"].state == "failed"
        assert cameras["file"].trouble == "its process was ended by SIGSEGV"
        assert 2 <= cameras["file"].restarts <= 4
        before = cameras["device"].restarts
        await until(lambda: cameras["device"].restarts > before + 1)
        await cameras.stop()
        assert cameras["device"].state == "ended"

    run(body)


def test_a_source_that_ends_with_an_error_is_opened_anew_only_if_it_comes_back(
    processes: Callable[[str], None],
) -> None:
    lost = says('{"error": "it is gone", "comes_back": true}')
    processes(f"case $4 in file) {says(FILE)};; *) {says(DEVICE)};; esac; {lost}")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config("file"), config("device")], attached)
        await until(lambda: cameras["file"].over and cameras["device"].restarts > 1)
        assert (cameras["file"].state, cameras["file"].restarts) == ("failed", 0)
        await cameras.stop()

    run(body)


def test_a_camera_that_changes_its_size_gets_a_ring_where_it_needs_one(
    processes: Callable[[str], None], tmp_path: Path
) -> None:
    lost = says('{"error": "it was 8x8, and is 64x64 now", "comes_back": true}')
    sizes = [DEVICE, LARGE, DEVICE]
    turns = "".join(f"{number}) {says(size)};;\n" for number, size in enumerate(sizes))
    # Each start is the next turn; the last one stays.
    processes(f"echo >>{tmp_path}/turns; n=$(($(wc -l <{tmp_path}/turns) - 1))\ncase $n in\n{turns}esac\n"
              f"[ $n = 2 ] && exec sleep 1000\nsleep 0.2; {lost}")  # fmt: skip

    async def body(cameras: Cameras) -> None:
        await cameras.start([config()], attached)
        [first] = cameras["a"].seats
        await until(lambda: cameras["a"].restarts == 1 and cameras["a"].state == "running")
        assert cameras["a"].trouble.endswith("it was 8x8, and is 64x64 now")
        [old, new] = cameras["a"].seats
        assert old is first
        assert new.ring.stride >= 64 * 64 * 3 > old.ring.stride
        assert cameras.tidy() == [old.ring]  # nothing of it is left
        cameras.close_ring(old.ring)
        assert not old.ring.path.exists()
        await until(lambda: cameras["a"].restarts == 2 and cameras["a"].state == "running")
        assert cameras["a"].seats == [new]  # smaller frames fit where larger ones were
        await cameras.stop()

    run(body)


def test_a_line_that_ends_takes_no_camera(processes: Callable[[str], None]) -> None:
    processes(f"{says(DEVICE)}; exec sleep 1000")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config()], attached)
        await cameras.stop()
        with pytest.raises(LineError, match="camera b: the line ends"):
            cameras.add(config("b"))
        assert cameras.over

    run(body)


def test_a_line_whose_cameras_were_all_removed_waits_for_others(processes: Callable[[str], None]) -> None:
    processes(f"{says(DEVICE)}; exec sleep 1000")

    async def body(cameras: Cameras) -> None:
        await cameras.start([config()], attached)
        await cameras.remove("a")
        assert cameras["a"].over
        assert not cameras.over
        cameras.add(config())
        await until(lambda: cameras["a"].state == "running")
        assert len({seat.ring.name for seat in cameras["a"].seats}) == 2  # the old one until it is tidied away
        [old] = cameras.tidy()
        cameras.close_ring(old)
        assert cameras.tidy() == []
        await cameras.stop()
        assert cameras.over

    run(body)


def test_no_camera_captures_before_the_server_knows_its_ring() -> None:
    captured = []

    async def body(cameras: Cameras) -> None:
        async def attach(places: object) -> None:
            await asyncio.sleep(0.5)  # frames would come every 2 ms
            captured.extend(camera.captured for camera in cameras)

        await cameras.start([config(fps=500, options={"size": "32x32", "frames": 1})], attach)
        await until(lambda: cameras["a"].captured > 0)
        await cameras.stop()

    run(body)
    assert captured == [0]
