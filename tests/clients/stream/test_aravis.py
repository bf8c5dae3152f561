"""GigE Vision cameras: Aravis' own fake camera, which speaks the protocol on the loopback interface."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise

import numpy as np
import pytest

from tests.clients.stream.camera_process import CameraFailed, CameraProcess, run_beside
from tests.clients.stream.gige_camera import PACKAGE, is_installed
from triton_yolo.clients.memory.ring import Capture, Reason, State
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.sources.libaravis import Camera

# By address: the camera also answers on other interfaces of this machine, through which no frame would come.
URI = "aravis:127.0.0.1"
LOST_WITHIN = 10  # seconds: Aravis asks once a second, and takes three seconds without an answer for the end

pytestmark = [
    pytest.mark.skipif(not is_installed(), reason=f"Aravis is not installed: {PACKAGE}"),
    pytest.mark.slow,
]


@contextmanager
def fake_camera(lost: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run a fake camera: its process, when it answers.

    Args:
        lost: how many of a thousand packets get lost.
    """
    program = [sys.executable, "-m", "tests.clients.stream.gige_camera", "LINE1", str(lost)]
    with run_beside(program, lambda line: line == "ready\n") as process:
        yield process


@pytest.fixture
def camera() -> Iterator[None]:
    """A fake camera as it is when it is switched on."""
    with fake_camera():
        yield


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(
    ("genicam", "expected", "nbytes"),
    [
        ("RGB8", "rgb", 200 * 600 * 3),
        ("BayerRG8", "bayer_rggb", 200 * 600),
        ("BayerBG8", "bayer_bggr", 200 * 600),
        ("BayerGR8", "bayer_grbg", 200 * 600),
        ("BayerGB8", "bayer_gbrg", 200 * 600),
        ("Mono8", "rgb", 200 * 600 * 3),
    ],
)
def test_frames_arrive_in_order_and_none_is_missing(genicam: str, expected: str, nbytes: int) -> None:
    with CameraProcess("aravis", URI, fps=50, rows=64, pixel_format=genicam, size="200x600") as camera:
        assert not camera.waits
        assert camera.format == {"pixel_format": expected, "height": 200, "width": 600, "nbytes": nbytes}
        captures = [capture for capture, _ in islice(camera.frames(), 60)]
        assert not camera.counts().dropped
        camera.stop()
        assert camera.copies == (1 if genicam == "Mono8" else 0)  # the others are received into the ring
    assert [capture.number for capture in captures] == list(range(60))
    assert all(later.wall_ns > earlier.wall_ns for earlier, later in pairwise(captures))


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize("fps", [20, 50])
def test_the_rate_is_set_in_the_camera(fps: int) -> None:
    with CameraProcess("aravis", URI, fps=fps) as camera:
        next(camera.frames())
        camera.stop()
    found = Camera("127.0.0.1")
    try:
        assert found.frame_rate == fps
    finally:
        found.close()


def assert_numbers_are_the_cameras(frames: Sequence[tuple[Capture, np.ndarray]]) -> None:
    """Check that numbers count all frames that the camera sent: the colours of RGB8 go on by one with each."""
    first, pixels = frames[0]
    palette = pixels[0, :255]
    for capture, shown in frames:
        assert (shown[0, :255] == np.roll(palette, first.number - capture.number, 0)).all()


def wait_until_passed(camera: CameraProcess, frames: int, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Wait until so many frames have found no free slot: the number of frames until then."""
    end = time.monotonic() + 30
    while (counts := camera.counts()).dropped.get(Reason.RING_FULL, 0) <= frames:
        assert time.monotonic() < end, counts
        meanwhile()
        time.sleep(0.005)
    return counts.captured


def mosaic(palette: np.ndarray, phase: int, pattern: str, height: int, width: int) -> np.ndarray:
    """What the fake camera sends as Bayer frame: its colours go on by one with each column and row, uint8 [H, W].

    Args:
        palette: its colours, uint8 [255, 3] RGB.
        phase: the first one's place in it.
        pattern: letters of the first two rows.
        height: of the frame, in pixels.
        width: of the frame, in pixels.
    """
    rows, columns = np.indices((height, width))
    channels = np.array(["rgb".index(letter) for letter in pattern]).reshape(2, 2)[rows % 2, columns % 2]
    return palette[(rows + columns + phase) % 255, channels]


@pytest.mark.usefixtures("camera")
def test_bayer_patterns_are_those_of_the_camera() -> None:
    # The fake camera of Aravis 0.8 exchanges red and blue in BayerRG8 and BayerBG8, and only there: in its source, the
    # red of its colours goes to the pixels whose comment says B.
    patterns = {"BayerRG8": "rggb", "BayerBG8": "bggr", "BayerGR8": "grbg", "BayerGB8": "gbrg"}
    with CameraProcess("aravis", URI, pixel_format="RGB8", size="16x300") as camera:
        [(_, rgb)] = islice(camera.frames(), 1)
        camera.stop()
    palette = rgb[0, :255]
    assert (rgb[9, :255] == np.roll(palette, -9, 0)).all()
    for name, own in patterns.items():
        with CameraProcess("aravis", URI, pixel_format=name, size="16x300") as camera:
            [(_, frame)] = islice(camera.frames(), 1)
            assert camera.format["pixel_format"] == f"bayer_{own}"
            camera.stop()
        colours = palette[:, ::-1] if name in ("BayerRG8", "BayerBG8") else palette
        fitting = {
            pattern
            for pattern in patterns.values()
            if any((mosaic(colours, phase, pattern, 16, 300) == frame).all() for phase in range(255))
        }
        assert fitting == {own}


@pytest.mark.usefixtures("camera")
def test_a_grey_camera_is_rgb_of_three_equal_channels() -> None:
    with CameraProcess("aravis", URI, pixel_format="Mono8", size="256x256") as camera:
        [(_, pixels)] = islice(camera.frames(), 1)
    assert (pixels == pixels[..., :1]).all()
    row = pixels[0, :, 0].astype(int)
    assert set(np.diff(row)) <= {1, -254}  # its ramp, which begins again


@pytest.mark.usefixtures("camera")
def test_features_are_set_by_their_names_before_the_other_options() -> None:
    features = {"TriggerMode": "Off", "ExposureTimeAbs": 20000, "Width": 128, "Height": 64, "TestRegister": 77}
    with CameraProcess("aravis", URI, features=features, exposure_us=5000, pixel_format="BayerRG8") as camera:
        assert (camera.format["height"], camera.format["width"]) == (64, 128)
        assert next(camera.frames())


@pytest.mark.usefixtures("camera")
def test_a_camera_that_waits_for_a_trigger_sends_nothing_and_is_not_lost() -> None:
    with CameraProcess("aravis", URI, features={"TriggerMode": "On", "TriggerSource": "Software"}) as camera:
        with pytest.raises(TimeoutError):
            next(camera.frames(timeout=2))
        camera.stop()
    with CameraProcess("aravis", URI, features={"TriggerMode": "Off"}) as camera:
        assert next(camera.frames())


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(("rows", "genicam"), [(3, "BayerRG8"), (8, "BayerRG8"), (4, "Mono8")])
def test_frames_that_nobody_takes_make_room_for_newer_ones(rows: int, genicam: str) -> None:
    with CameraProcess("aravis", URI, fps=50, rows=rows, pixel_format=genicam) as camera:
        next(camera.frames())
        passed = wait_until_passed(camera, 30)
        oldest, _ = next(camera.frames())
        assert oldest.number >= passed - rows
        camera.stop()


@pytest.mark.usefixtures("camera")
def test_frames_for_which_there_is_no_slot_are_counted_while_the_reader_holds_all_of_them() -> None:
    with CameraProcess("aravis", URI, fps=50, rows=4, pixel_format="RGB8", size="200x300") as camera:
        first = next(camera.frames())
        held: list[Capture] = []

        def hold() -> None:
            held.extend(capture for capture in camera.reader.ready() if camera.reader.take(capture))

        wait_until_passed(camera, 40, hold)
        assert len(held) == camera.reader.limit
        for capture in held:
            camera.reader.release(capture)
        assert_numbers_are_the_cameras([first, *islice(camera.frames(), 5)])


def test_frames_that_lost_packets_are_counted_and_not_delivered() -> None:
    with (
        fake_camera(lost=5),
        CameraProcess("aravis", URI, fps=50, rows=32, pixel_format="RGB8", size="200x300") as camera,
    ):
        frames = list(islice(camera.frames(), 30))
        counts = camera.counts()
    assert counts.dropped[Reason.SOURCE_LOST] > 5
    assert_numbers_are_the_cameras(frames)


def test_a_camera_that_goes_is_lost_and_one_that_comes_back_is_found() -> None:
    with fake_camera() as fake, CameraProcess("aravis", URI) as camera:
        frames = camera.frames(LOST_WITHIN)
        next(frames)
        fake.kill()
        with pytest.raises(CameraFailed, match="camera LINE1 was lost: it does not answer any more"):
            for _ in frames:
                pass
        camera.counts()
    with pytest.raises(CameraFailed, match=r"cannot open 127\.0\.0\.1: "):
        CameraProcess("aravis", URI)
    with fake_camera(), CameraProcess("aravis", URI) as camera:
        assert next(camera.frames())


def test_a_camera_is_found_by_its_name_and_as_the_first_one() -> None:
    with fake_camera():
        for name in ("Aravis-Fake-LINE1", ""):
            found = Camera(name)
            assert found.name == "LINE1"
            found.close()
        with pytest.raises(SourceError):
            Camera("Nobody-LINE9")


@pytest.mark.usefixtures("camera")
def test_a_process_that_is_killed_leaves_a_balanced_account_and_the_camera_can_be_had_again() -> None:
    with CameraProcess("aravis", URI) as camera:
        next(camera.frames())
        camera.kill()
        camera.counts()
        assert State.RESERVED not in camera.ring.states(0).tolist()  # none stays reserved
    deadline = time.monotonic() + LOST_WITHIN  # until the camera misses its controller
    while True:
        try:
            with CameraProcess("aravis", URI) as camera:
                assert next(camera.frames())
                return
        except CameraFailed:
            assert time.monotonic() < deadline


@pytest.mark.usefixtures("camera")
@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("pixel_format", "Mono16", "camera LINE1 sends Mono16, which cannot be used; of what it offers, .* BayerRG8"),
        ("pixel_format", "Mono7", "camera LINE1 does not take pixel_format: 'Mono7'"),
        ("features", {"Colour": 1}, "camera LINE1 does not take feature Colour: 1: it has no feature Colour"),
        ("features", ["Width"], r"features are names and values of GenICam; got \['Width'\]"),
        ("size", "big", "a size is HxW, such as 960x1280; got 'big'"),
        ("packet_size", 100, "packets have 576 to 65535 bytes"),
        ("exposure", 100, "unknown options of aravis: exposure; it knows exposure_us"),
    ],
)
def test_a_wrong_option_is_said(option: str, value: object, says: str) -> None:
    with pytest.raises(CameraFailed, match=says):
        CameraProcess("aravis", URI, **{option: value})
