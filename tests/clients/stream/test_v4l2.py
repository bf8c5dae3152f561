"""Cameras of Video for Linux: real drivers of the kernel's, in a machine of its own, and the kernel's own numbers."""

from __future__ import annotations

import ctypes
import json
import os
import select
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from tests.clients.stream.in_machine import BROKEN, FORMATS
from tests.clients.stream.usb_camera import HEIGHT, WIDTH
from tests.deploy.conftest import tool
from tests.support import machine
from triton_yolo.clients.memory.ring import Reader, Reason, Ring, Writer
from triton_yolo.clients.pixel_formats import PIXEL_FORMATS
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FORMATS as NUMBERS
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.sources import v4l2_api as api
from triton_yolo.clients.stream.sources.base import Outlet
from triton_yolo.clients.stream.sources.v4l2 import V4l2, captured
from triton_yolo.clients.stream.sources.v4l2_buffers import Layout

WAYS = ("slots", "copied")
# The bars of the test pattern, from left to right: white, yellow, cyan, green, magenta, red, blue, black.
BARS = [(255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0), (255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)]
MIDDLES = [80 * bar + 40 for bar in range(8)]  # columns, of 640; the first of two of a pair


class Trials:
    """What the machine wrote down."""

    def __init__(self, folder: Path) -> None:
        """Read it."""
        self._folder = folder
        self.results: dict[str, Any] = json.loads((folder / "results.json").read_text())

    def __getitem__(self, name: str) -> dict[str, Any]:
        result: dict[str, Any] = self.results[name]
        return result

    def frame(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of the last frame of a recording."""
        content: npt.NDArray[np.uint8] = np.load(self._folder / f"{name.replace(' ', '-')}.npy")
        return content

    def picture(self, name: str, pixel_format: str) -> npt.NDArray[np.uint8]:
        """The last frame of a recording of 480x640 in the shape of its format."""
        return self.frame(name).reshape(PIXEL_FORMATS[pixel_format].shape(480, 640))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """One machine for all of this file: it takes most of the time."""
    tool("qemu-system-x86_64", "qemu-system-x86")
    if not machine.available():
        pytest.skip("no kernel with test drivers: .ci/kernel unpacks Debian's into .bench/linux")
    folder = tmp_path_factory.mktemp("machine") / "out"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 255, (5, 12, 16, 3), np.uint8)
    for number, picture in enumerate(pictures):
        large = cv2.resize(picture, (WIDTH, HEIGHT))
        assert cv2.imwrite(str(folder / f"{number}.jpg"), large, [cv2.IMWRITE_JPEG_QUALITY, 95 - number])
    said = machine.run("tests.clients.stream.in_machine", folder, seconds=300)
    sys.stdout.write(said)
    assert "ended with status 0" in said
    return Trials(folder)


def check_account(result: dict[str, Any]) -> None:
    """Every frame is somewhere, and the process held no slot when it had ended."""
    account = result["account"]
    assert account["missing"] == account["reserved"] == 0
    assert account["captured"] == account["answered"] + sum(account["dropped"].values()) + account["in flight"]


def colours(name: str, picture: npt.NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """The colours of the bars, computed from the format's definition alone; coordinates are of the first row."""
    if name == "rgb":
        return [tuple(map(int, picture[240, column])) for column in MIDDLES]  # type: ignore[misc]
    if name.startswith("bayer_"):
        letters = name.removeprefix("bayer_")
        found = []
        for column in MIDDLES:
            four = picture[240:242, column : column + 2].ravel()
            found.append(tuple(int(four[letters.index(letter)]) for letter in "rgb"))
        return found  # type: ignore[return-value]
    if name == "yuyv":
        yuv = [(picture[240, x, 0], picture[240, x, 1], picture[240, x + 1, 1]) for x in MIDDLES]
    else:
        yuv = [(picture[240, x], picture[480 + 120, x], picture[480 + 120, x + 1]) for x in MIDDLES]
    found = []
    for luma, blue, red in yuv:  # ITU-R BT.601, limited range
        y, u, v = (float(luma) - 16) * 255 / 219, (float(blue) - 128) * 255 / 224, (float(red) - 128) * 255 / 224
        rgb = (y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u)
        found.append(tuple(round(min(255.0, max(0.0, value))) for value in rgb))
    return found  # type: ignore[return-value]


@pytest.mark.slow
class TestDrivers:
    """Cameras' processes on vivid, the kernel's test driver, and on uvcvideo with a camera in software."""

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("name", FORMATS)
    def test_each_format_arrives_with_its_colours_and_its_account_is_right(
        self, trials: Trials, name: str, way: str
    ) -> None:
        result = trials[f"{name} {way}"]
        size = PIXEL_FORMATS[name].nbytes(480, 640)
        assert result["first"]["format"] == {"pixel_format": name, "height": 480, "width": 640, "nbytes": size}
        assert result["sizes"] == [[size, 480, 640, NUMBERS.index(name)]] * 8
        assert result["last"]["ended"]
        assert result["last"]["copied"] == (0 if way == "slots" else result["last"]["published"])
        assert result["status"] == 0
        assert result["account"]["answered"] == 8
        check_account(result)
        found = colours(name, trials.picture(f"{name} {way}", name))
        np.testing.assert_allclose(found, BARS, atol=0 if name == "rgb" or "bayer" in name else 4)

    @pytest.mark.parametrize("name", FORMATS)
    def test_the_driver_has_slots_of_the_ring_where_it_takes_them_and_the_same_picture_is_copied_where_it_does_not(
        self, trials: Trials, name: str
    ) -> None:
        assert trials[f"{name} slots"]["running"]["reserved"] >= 3
        assert trials[f"{name} copied"]["running"]["reserved"] == 0
        np.testing.assert_array_equal(trials.frame(f"{name} slots"), trials.frame(f"{name} copied"))

    @pytest.mark.parametrize("name", ["bayer_grbg", "nv12", "rgb"])
    def test_what_lies_between_lines_is_left_out(self, trials: Trials, name: str) -> None:
        assert trials[f"padded {name}"]["running"]["reserved"] == 0
        np.testing.assert_array_equal(trials.frame(f"padded {name}"), trials.frame(f"{name} slots"))

    @pytest.mark.parametrize("way", WAYS)
    def test_times_of_capture_are_the_drivers(self, trials: Trials, way: str) -> None:
        result = trials[f"bayer_rggb {way}"]
        assert all(0 < late < 10e9 for late in result["late"])
        assert all(first < second for first, second in pairwise(result["times"]))
        frames = result["numbers"][-1] - result["numbers"][0]
        assert 20e6 < (result["times"][-1] - result["times"][0]) / frames < 80e6  # 25 frames/s, on a busy machine
        assert result["wall less monotonic"] == pytest.approx([result["clock difference"]] * 8, abs=50e6)

    def test_the_format_with_the_fewest_bytes_is_chosen_where_none_is_named(self, trials: Trials) -> None:
        assert trials["nothing said"]["first"]["format"]["pixel_format"] == "bayer_rggb"

    def test_a_frame_of_1280x960_goes_through_a_slot(self, trials: Trials) -> None:
        result = trials["large"]
        assert result["first"]["format"]["nbytes"] == 960 * 1280
        assert result["running"]["reserved"] >= 3
        assert result["account"]["answered"] == 6
        picture = trials.frame("large").reshape(960, 1280)
        assert [int(picture[480, 160 * bar + 80]) for bar in range(8)] == [red for red, _, _ in BARS]

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("no device", "/dev/video9: cannot be opened: there is no such device"),
            ("a file", "this is no V4L2 device"),
            ("multi-planar", "multi-planar interface of V4L2 alone, which is not supported"),
            ("its second device", "delivers no pictures"),
            ("a size that it does not have", "has no size 481x640; it has 180x320, 360x640, 480x640"),
            ("a rate that it does not have", "frames/s in 480x640 of bayer_rggb, and not 1000"),
            ("a rate that cannot be set", "60 frames/s in 720x1280 of bayer_rggb, and not 25"),
            ("a format that it does not have", "has none of mjpeg; the codes of its formats are"),
            ("an input that it does not have", "its input cannot be set: the driver does not take it"),
            ("a control that it does not have", "no control 'sharpness_of_mind'; it has"),
            ("a value that it does not take", "the control test_pattern is a whole number from 0 to 21; got 1000"),
            ("a second camera", "another program uses it"),
            ("no signal", "there is no signal at this input"),
        ],
    )
    def test_what_cannot_be_opened_says_why(self, trials: Trials, name: str, words: str) -> None:
        result = trials[name]
        assert words in result["first"]["error"]
        assert result["status"] == 3

    def test_a_control_may_be_named_by_its_number(self, trials: Trials) -> None:
        assert trials["a control by number"]["account"]["answered"] == 3

    def test_a_camera_goes_on_while_another_program_tries_to_use_it(self, trials: Trials) -> None:
        assert trials["a first camera"]["frames"] == 3
        check_account(trials["a first camera"])

    def test_after_a_kill_the_slots_that_the_driver_had_are_free_and_the_camera_can_be_opened_at_once(
        self, trials: Trials
    ) -> None:
        result = trials["killed"]
        assert result["status"] == -9
        assert result["reserved"] >= 2  # of three, one may have been on its way
        assert result["recovered"]["missing"] == result["recovered"]["reserved"] == 0
        assert result["frames"] == 3
        check_account(result["stopped"])

    @pytest.mark.parametrize("way", WAYS)
    def test_frames_that_the_driver_drops_are_counted(self, trials: Trials, way: str) -> None:
        result = trials[f"dropped {way}"]
        check_account(result)
        assert result["account"]["dropped"]["source lost"] >= 2  # four of five
        assert result["numbers"] == sorted(set(result["numbers"]))

    def test_nothing_is_missed_when_the_drivers_numbers_begin_again(self, trials: Trials) -> None:
        result = trials["numbers that begin again"]
        check_account(result)
        assert result["numbers"][-1] > 128  # its first number is that far from the end of 32 bits
        assert result["account"]["captured"] < 500

    @pytest.mark.parametrize("way", WAYS)
    def test_a_frame_that_the_driver_marks_as_broken_is_dropped(self, trials: Trials, way: str) -> None:
        result = trials[f"broken {way}"]
        check_account(result)
        assert result["account"]["dropped"]["source lost"] >= 1
        assert result["account"]["answered"] == 8

    @pytest.mark.parametrize("way", WAYS)
    def test_a_slow_reader_costs_the_oldest_frames_and_the_camera_goes_on(self, trials: Trials, way: str) -> None:
        result = trials[f"slow {way}"]
        check_account(result)
        assert result["account"]["dropped"]["ring full"] >= 1
        assert len(result["numbers"]) == 8
        assert result["numbers"][3] >= result["noted"] - 1  # at most two had waited, of which the last was the newest

    @pytest.mark.parametrize("way", WAYS)
    def test_a_stream_that_fails_ends_with_a_reason_and_can_be_opened_again(self, trials: Trials, way: str) -> None:
        result = trials[f"fatal {way}"]
        assert "was lost: the camera does not answer as it should" in result["last"]["error"]
        check_account(result)
        assert trials[f"after {way}"]["account"]["answered"] == 8

    def test_a_signal_of_another_size_ends_the_source_which_then_opens_in_that_size(self, trials: Trials) -> None:
        result = trials["changed"]
        assert (result["first"]["format"]["height"], result["first"]["format"]["width"]) == (720, 1280)
        assert "the size or the rate of the signal has changed" in result["last"]["error"]
        check_account(result)
        after = trials["after the change"]
        assert (after["first"]["format"]["height"], after["first"]["format"]["width"]) == (480, 640)
        assert after["account"]["answered"] == 3

    @pytest.mark.parametrize("name", ["unplugged", "usb unplugged"])
    def test_a_camera_that_is_unplugged_ends_with_a_reason(self, trials: Trials, name: str) -> None:
        assert "it is not there any more; was it unplugged?" in trials[name]["last"]["error"]
        assert trials[name]["status"] == 3
        check_account(trials[name])

    def test_a_usb_camera_sends_pixels_at_the_rate_that_its_bus_has_room_for(self, trials: Trials) -> None:
        assert trials["usb at a low rate"]["first"]["format"]["pixel_format"] == "yuyv"

    def test_jpegs_of_a_usb_camera_go_on_as_they_are_through_slots(self, trials: Trials) -> None:
        result = trials["usb"]
        assert result["first"]["format"]["pixel_format"] == "encoded"
        assert result["running"]["reserved"] >= 3
        sent = [path.read_bytes() for path in sorted(trials._folder.glob("*.jpg"))]
        assert trials.frame("usb").tobytes() in sent
        assert {size for size, *_ in result["sizes"]} <= set(map(len, sent))
        assert {size for size, *_ in result["sizes"]} > {len(sent[0])}

    def test_broken_jpegs_are_dropped_and_counted(self, trials: Trials) -> None:
        result = trials["usb"]
        check_account(result)
        assert result["account"]["answered"] == 2 * BROKEN
        assert result["account"]["dropped"]["source lost"] >= 1


class TestNumbers:
    """Layouts and numbers against the kernel's header."""

    STRUCTURES = (
        ("v4l2_capability", api.Capability),
        ("v4l2_fmtdesc", api.FmtDesc),
        ("v4l2_pix_format", api.PixFormat),
        ("v4l2_format", api.Format),
        ("v4l2_frmsizeenum", api.FrmSizeEnum),
        ("v4l2_frmivalenum", api.FrmIvalEnum),
        ("v4l2_streamparm", api.StreamParm),
        ("v4l2_requestbuffers", api.RequestBuffers),
        ("v4l2_buffer", api.Buffer),
        ("v4l2_queryctrl", api.QueryCtrl),
        ("v4l2_control", api.Control),
        ("v4l2_dv_timings", api.DvTimings),
        ("v4l2_event_subscription", api.EventSubscription),
        ("v4l2_event", api.Event),
    )
    FIELDS = (
        ("v4l2_capability", "device_caps", api.Capability.device_caps),
        ("v4l2_fmtdesc", "pixelformat", api.FmtDesc.pixelformat),
        ("v4l2_format", "fmt", api.Format.fmt),
        ("v4l2_pix_format", "sizeimage", api.PixFormat.sizeimage),
        ("v4l2_frmsizeenum", "stepwise", api.FrmSizeEnum.size),
        ("v4l2_frmivalenum", "discrete", api.FrmIvalEnum.min),
        ("v4l2_streamparm", "parm.capture.timeperframe", api.StreamParm.timeperframe),
        ("v4l2_requestbuffers", "memory", api.RequestBuffers.memory),
        ("v4l2_buffer", "timestamp", api.Buffer.seconds),
        ("v4l2_buffer", "sequence", api.Buffer.sequence),
        ("v4l2_buffer", "m", api.Buffer.m),
        ("v4l2_buffer", "length", api.Buffer.length),
        ("v4l2_queryctrl", "minimum", api.QueryCtrl.minimum),
        ("v4l2_queryctrl", "flags", api.QueryCtrl.flags),
        ("v4l2_event", "u", api.Event.u),
        ("v4l2_event", "id", api.Event.id),
    )
    CONSTANTS = (
        *("QUERYCAP", "ENUM_FMT", "G_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON", "STREAMOFF"),
        *("S_PARM", "S_CTRL", "QUERYCTRL", "G_INPUT", "S_INPUT", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"),
        *("S_DV_TIMINGS", "DQEVENT", "SUBSCRIBE_EVENT", "QUERY_DV_TIMINGS"),
    )
    VALUES = (
        *("CAP_VIDEO_CAPTURE", "CAP_VIDEO_CAPTURE_MPLANE", "CAP_STREAMING", "CAP_DEVICE_CAPS", "CAP_TIMEPERFRAME"),
        *("BUF_FLAG_ERROR", "BUF_FLAG_TIMESTAMP_MASK", "BUF_FLAG_TIMESTAMP_MONOTONIC", "CTRL_FLAG_DISABLED"),
        *("CTRL_FLAG_NEXT_CTRL", "EVENT_SOURCE_CHANGE", "FIELD_NONE"),
    )

    def test_layouts_and_numbers_are_those_of_the_kernels_header(self, tmp_path: Path) -> None:
        compiler = tool("cc", "gcc and libc6-dev")
        if not Path("/usr/include/linux/videodev2.h").exists():
            pytest.skip("no linux/videodev2.h: linux-libc-dev")
        expected = {f"sizeof(struct {name})": ctypes.sizeof(ours) for name, ours in self.STRUCTURES}
        expected |= {f"offsetof(struct {name}, {field})": ours.offset for name, field, ours in self.FIELDS}
        expected |= {f"VIDIOC_{name}": getattr(api, name) for name in self.CONSTANTS}
        expected |= {f"V4L2_{name}": getattr(api, name) for name in self.VALUES}
        expected |= {
            "V4L2_BUF_TYPE_VIDEO_CAPTURE": api.VIDEO_CAPTURE,
            "V4L2_MEMORY_MMAP": api.MMAP,
            "V4L2_MEMORY_USERPTR": api.USERPTR,
            "V4L2_FRMSIZE_TYPE_DISCRETE": api.DISCRETE,
            "V4L2_FRMIVAL_TYPE_DISCRETE": api.DISCRETE,
            "VIDEO_MAX_FRAME": api.MAX_FRAME,
            "V4L2_PIX_FMT_SRGGB8": api.fourcc("RGGB"),
            "V4L2_PIX_FMT_SBGGR8": api.fourcc("BA81"),
            "V4L2_PIX_FMT_SGRBG8": api.fourcc("GRBG"),
            "V4L2_PIX_FMT_SGBRG8": api.fourcc("GBRG"),
            "V4L2_PIX_FMT_NV12": api.fourcc("NV12"),
            "V4L2_PIX_FMT_YUYV": api.fourcc("YUYV"),
            "V4L2_PIX_FMT_RGB24": api.fourcc("RGB3"),
            "V4L2_PIX_FMT_MJPEG": api.fourcc("MJPG"),
            "V4L2_PIX_FMT_JPEG": api.fourcc("JPEG"),
        }
        lines = "\n".join(f'printf("%llu\\n", (unsigned long long)({name}));' for name in expected)
        source = "#include <stdio.h>\n#include <stddef.h>\n#include <linux/videodev2.h>\n"
        (tmp_path / "numbers.c").write_text(f"{source}int main(void) {{\n{lines}\n}}\n")
        program = tmp_path / "numbers"
        subprocess.run([compiler, "-o", program, tmp_path / "numbers.c"], check=True)
        said = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
        # Enumerations are signed in C: what is printed of them is as large as it is here all the same.
        assert dict(zip(expected, map(int, said), strict=True)) == expected


class TestLayout:
    """How a frame lies in a driver's buffer."""

    def test_lines_are_copied_without_what_lies_between_them(self) -> None:
        buffer = np.arange(3 * 8, dtype=np.uint8)
        slot = np.zeros(32, np.uint8)
        assert Layout(3, 5, 8, 24).unpad(buffer, slot, 24) == 15
        np.testing.assert_array_equal(slot[:15].reshape(3, 5), buffer.reshape(3, 8)[:, :5])
        assert not slot[15:].any()

    def test_the_last_line_may_end_with_its_pixels(self) -> None:
        layout = Layout(3, 5, 8, 24)
        assert layout.is_whole(2 * 8 + 5)
        assert not layout.is_whole(2 * 8 + 4)
        assert layout.unpad(np.zeros(21, np.uint8), np.ones(15, np.uint8), 21) == 15

    def test_a_jpeg_is_as_long_as_what_is_used_and_never_empty(self) -> None:
        layout = Layout(0, 0, 0, 100)
        slot = np.zeros(100, np.uint8)
        assert layout.unpad(np.full(100, 7, np.uint8), slot, 30) == 30
        assert slot.sum() == 210
        assert layout.is_whole(1)
        assert not layout.is_whole(0)


class TestTimes:
    """When a frame was captured."""

    def test_the_drivers_time_counts_where_its_clock_is_ours(self) -> None:
        buffer = api.Buffer(flags=api.BUF_FLAG_TIMESTAMP_MONOTONIC, seconds=1, microseconds=500_000)
        monotonic_ns, wall_ns = captured(buffer)
        assert monotonic_ns == 1_500_000_000
        later = captured(api.Buffer(flags=0, seconds=1))
        assert later[0] > 1_500_000_000
        assert later[1] - wall_ns == pytest.approx(later[0] - monotonic_ns, abs=50e6)

    @pytest.mark.parametrize(
        "buffer",
        [
            api.Buffer(flags=0, seconds=1),  # a clock that is not said
            api.Buffer(flags=api.BUF_FLAG_TIMESTAMP_MONOTONIC),  # no time
            api.Buffer(flags=api.BUF_FLAG_TIMESTAMP_MONOTONIC, seconds=1 << 40),  # a time to come
        ],
    )
    def test_other_times_are_not_believed(self, buffer: api.Buffer) -> None:
        assert captured(buffer)[0] > 1_500_000_000


class TestSlots:
    """What a source that lends slots to a driver asks of the ring."""

    def test_a_slot_for_a_driver_may_cost_the_oldest_frame(self) -> None:
        ready, (stop, _) = os.eventfd(0), os.pipe()
        with Ring.create(f"test-slots-{os.getpid()}", 3, 1, 100) as ring, Ring.open(ring.path) as theirs:
            writer = Writer(theirs, 0, ready)
            outlet = Outlet(writer, FrameFormat("bayer_rggb", 2, 2, 4), stop, waits=False)
            for number in range(3):
                outlet.put(bytes([number] * 4))
            assert writer.reserve() is None
            row = writer.reserve(overwrite=True)
            assert row is not None
            assert [capture.number for capture in Reader(ring).ready()] == [1, 2]
            writer.slot(row)[:4] = 7
            outlet.publish(writer.begin_in(row, 1, 2))
            writer.miss(Reason.SOURCE_LOST, 5)
            assert ring.counts(0) == (9, 0, {Reason.RING_FULL: 1, Reason.SOURCE_LOST: 5}, 3)
            assert ring.slot(row, 0)[:5].tolist() == [7, 7, 7, 7, 0]
            writer.close()

    def test_a_source_waits_for_its_device_and_for_the_word_to_stop(self) -> None:
        device, stop = os.eventfd(0), os.eventfd(0)
        outlet = Outlet(cast(Writer, None), FrameFormat("rgb", 1, 1, 3), stop, waits=False)
        os.eventfd_write(device, 1)
        assert outlet.wait(device, select.POLLIN) == select.POLLIN
        os.eventfd_write(stop, 1)
        assert outlet.wait(device, select.POLLIN) == 0


class TestOptions:
    """What a line's file may say of a camera."""

    @pytest.mark.parametrize(
        ("uri", "options", "words"),
        [
            ("v4l2:", {}, "names no device"),
            ("v4l2:video0", {}, "names no device"),
            ("v4l2:/dev/video0", {"size": "640"}, "a size is HxW"),
            ("v4l2:/dev/video0", {"pixel_format": "bgr"}, "'bgr' is no pixel format of V4L2 cameras"),
            ("v4l2:/dev/video0", {"buffers": 0}, "buffers is a whole number from 1 to 32; got 0"),
            ("v4l2:/dev/video0", {"buffers": "many"}, "buffers is a whole number from 1 to 32; got 'many'"),
            ("v4l2:/dev/video0", {"input": -1}, "input is a whole number"),
            ("v4l2:/dev/video0", {"controls": [1]}, "controls are values by name"),
            ("v4l2:/dev/video0", {"gain": 1}, "unknown options of v4l2: gain; it knows buffers, controls, input"),
        ],
    )
    def test_what_is_wrong_is_refused_before_a_device_is_opened(
        self, uri: str, options: dict[str, Any], words: str
    ) -> None:
        with pytest.raises(SourceError, match=words.replace("'", ".")):
            V4l2(uri, None, options)

    def test_a_device_that_is_not_there_is_named_with_what_to_do(self) -> None:
        with pytest.raises(SourceError, match=r"/dev/no-video: cannot be opened: there is no such device; is the"):
            V4l2("v4l2:/dev/no-video", None, {}).open()
