"""Runs cameras' processes on the kernel's test drivers, inside a machine of its own, and writes down what came of it.

What is written, ``results.json`` and a file for the last frame of each recording, is judged outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.clients.stream.usb_camera import FPS, MJPEG, YUYV, plug_in
from tests.support.machine import modules
from triton_yolo.clients.memory.ring import Reader, Ring, State
from triton_yolo.clients.stream import camera
from triton_yolo.clients.stream.sources import v4l2, v4l2_api
from triton_yolo.clients.stream.sources.v4l2 import V4l2

FINIT_MODULE = 313  # number of the system call on x86-64
FORMATS = tuple(name for name in v4l2.CODES if name != v4l2.MJPEG)
SLOTS, COPIED, MULTIPLANAR, USB, METADATA = (f"/dev/video{number}" for number in range(5))
# Two inputs each: a camera, and HDMI. The second device has contiguous memory, where no driver takes a ring's slots.
VIVID = (
    "n_devs=3 node_types=0x1,0x1,0x1 multiplanar=1,1,2 allocators=0,1,0 num_inputs=2,2,2 input_types=0xc,0xc,0xc "
    "vid_cap_nr=0,1,2"
)
STILL = {"osd_text_mode": 2, "test_pattern": 1}  # no text in the picture, and bars in full colours
HDMI = 1  # number of an input
NO_SIGNAL, SIGNAL_OF_ANOTHER_SIZE = 1, 4  # values of a control of vivid's
BROKEN = 6  # of so many frames of the USB camera one is broken
LIBC = ctypes.CDLL(None, use_errno=True)


def load(name: str, parameters: str = "") -> None:
    """Load a kernel module and those that it depends on."""
    for path in modules([name]):
        words = parameters if path.stem.replace("-", "_") == name else ""
        file = os.open(path, os.O_RDONLY)
        if LIBC.syscall(FINIT_MODULE, file, words.encode(), 0) and ctypes.get_errno() != 17:  # EEXIST
            raise OSError(ctypes.get_errno(), f"{path.name}: {os.strerror(ctypes.get_errno())}")
        os.close(file)


def press(device: str, control: str, value: int = 1) -> None:
    """Set a control while a camera runs."""
    with open(device, "rb+", buffering=0) as opened:
        source = V4l2(f"v4l2:{device}", None, {})
        source._file = opened.fileno()
        source._set_control(control, value)


class Camera:
    """A camera's process, and what its line's process has."""

    def __init__(self, uri: str, fps: float | None = 25.0, rows: int = 6, **options: Any) -> None:
        """Fork the process, and read what it says first."""
        self.ready = os.eventfd(0)
        answers, theirs = os.pipe()
        their_stdin, self.stdin = os.pipe()
        self.process = os.fork()
        if not self.process:
            status = 70
            try:
                os.close(self.stdin)
                status = camera.main(theirs, their_stdin)
            except BaseException:  # or the child would go on as the parent
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(theirs)
        os.close(their_stdin)
        self.answers = os.fdopen(answers)
        self._tell({"kind": "v4l2", "uri": uri, "fps": fps, "size": None, "options": {"input": 0} | options})
        self.first = json.loads(self.answers.readline())
        self.ring: Ring | None = None
        self.rows, self.noted = rows, 0  # noted: how many frames there were when a slow reader went on

    def start(self, ring: Ring | None = None) -> None:
        """Let it run, in a ring of its own."""
        self.ring = ring or Ring.create("trial", self.rows, 1, self.first["format"]["nbytes"])
        self.reader = Reader(self.ring)
        self._tell({"ring": str(self.ring.path), "column": 0, "ready": self.ready, "freed": None, "row": 0})

    def _tell(self, content: dict[str, Any]) -> None:
        os.write(self.stdin, f"{json.dumps(content)}\n".encode())

    def frames(self, count: int, seconds: float = 15, keep: bool = False) -> list[Any]:
        """Take so many frames, fewer if it ends or they don't come in time, and return them with their bytes.

        Args:
            count: how many.
            seconds: how long it may take.
            keep: don't release them.
        """
        assert self.ring is not None
        found: list[Any] = []
        end = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            if self.answers in select.select([self.ready, self.answers], [], [], 0.5)[0]:
                break
            for capture in self.reader.ready():
                if len(found) < count and self.reader.take(capture):
                    late = time.monotonic_ns() - capture.monotonic_ns
                    found.append((capture, self.ring.slot(capture.row, 0)[: capture.nbytes].copy(), late))
                    if not keep:
                        self.reader.release(capture)
        return found

    def stop(self) -> dict[str, Any]:
        """Stop it, and return what it said last and how it ended."""
        with contextlib.suppress(BrokenPipeError):  # it has ended
            os.write(self.stdin, b"stop\n")
        return self.end()

    def end(self) -> dict[str, Any]:
        """Wait until it ends, and return what it said last and how."""
        last = self.answers.readline()
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        result = {"last": json.loads(last) if last else None, "status": status}
        if self.ring is not None:
            result["account"] = self.account()
        return result

    def account(self) -> dict[str, Any]:
        """Return the column's account, and the states of its slots."""
        assert self.ring is not None
        counts = None
        while counts is None:
            with contextlib.suppress(TimeoutError):  # on a busy machine a process may stand still in the middle
                counts = self.ring.counts(0)
        return {
            "captured": counts.captured,
            "answered": counts.answered,
            "dropped": {reason.words: count for reason, count in counts.dropped.items()},
            "in flight": counts.in_flight,
            "missing": counts.missing,
            "reserved": self.ring.states(0).tolist().count(State.RESERVED),
        }

    def close(self) -> None:
        """Close what the line's process has."""
        if self.ring is not None:
            self.reader.close()
            self.ring.close()
        for file in (self.ready, self.stdin):
            os.close(file)
        self.answers.close()


class Trials:
    """The trials, and what came of them."""

    def __init__(self, out: Path) -> None:
        """Write to a folder."""
        self.out, self.results = out, dict[str, Any]()

    def record(
        self, name: str, uri: str, count: int = 8, between: Callable[[Camera], None] | None = None, **arguments: Any
    ) -> None:
        """Take frames from a camera, and keep what they were.

        Args:
            name: name of the trial.
            uri: what the camera opens.
            count: how many frames are taken.
            between: what is done after the first two frames.
            arguments: those of the camera.
        """
        began = time.monotonic()
        one = Camera(f"v4l2:{uri}", **arguments)
        result: dict[str, Any] = {"first": one.first}
        if "format" in one.first:
            one.start()
            found = one.frames(min(2, count))
            result["running"] = one.account()
            if between:
                between(one)
            found += one.frames(count - len(found))
            result |= one.stop()
            result["noted"] = one.noted
            result["numbers"] = [capture.number for capture, *_ in found]
            result["times"] = [capture.monotonic_ns for capture, *_ in found]
            result["wall less monotonic"] = [capture.wall_ns - capture.monotonic_ns for capture, *_ in found]
            result["clock difference"] = time.time_ns() - time.monotonic_ns()
            result["late"] = [late for *_, late in found]
            result["sizes"] = [[capture.nbytes, capture.height, capture.width, capture.format] for capture, *_ in found]
            if found:
                np.save(self.out / f"{name.replace(' ', '-')}.npy", found[-1][1])
        else:
            result |= one.end()
        one.close()
        result["seconds"] = time.monotonic() - began
        self.results[name] = result

    def formats(self) -> None:
        """Every format, through slots and copied."""
        for device, way in ((SLOTS, "slots"), (COPIED, "copied")):
            for pixel_format in FORMATS:
                self.record(f"{pixel_format} {way}", device, size="480x640", pixel_format=pixel_format, controls=STILL)

    def choices(self) -> None:
        """What is chosen where nothing is said, and a size that only HDMI has."""
        self.record("nothing said", SLOTS, count=4, fps=None)
        self.record("large", SLOTS, count=6, fps=None, input=HDMI, size="960x1280", controls=STILL)

    def numbers(self) -> None:
        """Numbers of frames that begin again at 0 after 128 frames."""
        wrap = {"controls": {"wrap_sequence_number": 1}}
        self.record("numbers that begin again", SLOTS, count=140, fps=50.0, size="180x320", **wrap)
        press(SLOTS, "wrap_sequence_number", 0)

    def errors(self) -> None:
        """What is refused."""
        file = Path(tempfile.mkstemp()[1])
        for name, uri, arguments in (
            ("no device", "/dev/video9", {}),
            ("a file", str(file), {}),
            ("multi-planar", MULTIPLANAR, {}),
            ("a size that it does not have", SLOTS, {"size": "481x640"}),
            ("a rate that it does not have", SLOTS, {"size": "480x640", "fps": 1000.0}),
            ("a rate that cannot be set", SLOTS, {"input": HDMI, "fps": 25.0}),
            ("a format that it does not have", SLOTS, {"pixel_format": "mjpeg"}),
            ("an input that it does not have", SLOTS, {"input": 7}),
            ("a control that it does not have", SLOTS, {"controls": {"sharpness_of_mind": 1}}),
            ("a value that it does not take", SLOTS, {"controls": {"test_pattern": 1000}}),
            ("a control by number", SLOTS, {"controls": {"0x00f0f000": 1}}),
        ):
            self.record(name, uri, count=3, **arguments)

    def two(self) -> None:
        """A second program on the same camera."""
        first = Camera(f"v4l2:{SLOTS}", size="480x640")
        first.start()
        first.frames(2)
        self.record("a second camera", SLOTS, size="480x640")
        self.results["a first camera"] = {"frames": len(first.frames(3))} | first.stop()
        first.close()

    def killed(self) -> None:
        """A process that is killed while the driver has slots, and one in its place."""
        one = Camera(f"v4l2:{SLOTS}", size="480x640")
        one.start()
        one.frames(3)
        os.kill(one.process, signal.SIGKILL)
        result: dict[str, Any] = {"status": os.waitstatus_to_exitcode(os.waitpid(one.process, 0)[1])}
        ring = one.ring
        assert ring is not None
        result["reserved"] = ring.states(0).tolist().count(State.RESERVED)
        one.reader.close()
        ring.recover(0)  # before which its account may be in the middle of a change
        result["recovered"] = one.account()
        other = Camera(f"v4l2:{SLOTS}", size="480x640")
        other.start(ring)
        result["frames"] = len(other.frames(3))
        result["stopped"] = other.stop()
        other.close()
        self.results["killed"] = result

    def faults(self) -> None:
        """Frames that the driver drops or marks as broken, readers that are slow, streams that end."""
        for device, way in ((SLOTS, "slots"), (COPIED, "copied")):
            still = {"size": "480x640", "controls": STILL}

            def lose(one: Camera, device: str = device) -> None:
                press(device, "percentage_of_dropped_buffers", 80)
                one.frames(6)
                press(device, "percentage_of_dropped_buffers", 0)

            self.record(f"dropped {way}", device, between=lose, **still)
            broken = self._pressed(device, "inject_v4l2_buf_flag_error")
            self.record(f"broken {way}", device, between=broken, **still)
            self.record(f"slow {way}", device, between=self._hold, **still)
            self.record(f"fatal {way}", device, between=self._pressed(device, "inject_fatal_streaming_error"), **still)
            self.record(f"after {way}", device, **still)

    @staticmethod
    def _pressed(device: str, control: str) -> Callable[[Camera], None]:
        return lambda one: press(device, control)

    @staticmethod
    def _hold(one: Camera) -> None:
        """Hold all frames that a reader may for a while, as one does whose server is busy."""
        held = one.frames(one.rows - 2, seconds=1, keep=True)
        time.sleep(0.6)
        one.noted = one.account()["captured"]
        for capture, *_ in held:
            one.reader.release(capture)

    def padded(self) -> None:
        """Lines with bytes behind them, which a driver may have its reasons for."""
        real = V4l2._wanted

        def wanted(self: V4l2, code: int, height: int, width: int) -> v4l2_api.Format:
            asked = real(self, code, height, width)
            asked.fmt.pix.bytesperline = 4096
            return asked

        V4l2._wanted = wanted  # type: ignore[method-assign]  # before the fork: the camera's process has it
        try:
            for name in ("bayer_grbg", "nv12", "rgb"):
                self.record(f"padded {name}", SLOTS, size="480x640", pixel_format=name, controls=STILL)
        finally:
            V4l2._wanted = real  # type: ignore[method-assign]

    def gone(self) -> None:
        """A signal that changes, and a camera that is unplugged."""
        mode = "dv_timings_signal_mode"
        grabber = {"fps": None, "input": HDMI}
        self.record("changed", COPIED, between=lambda one: press(COPIED, mode, SIGNAL_OF_ANOTHER_SIZE), **grabber)
        self.record("after the change", COPIED, count=3, **grabber)
        press(COPIED, mode, NO_SIGNAL)
        self.record("no signal", COPIED, **grabber)
        self.record("unplugged", SLOTS, size="480x640", between=lambda one: press(SLOTS, "disconnect"))

    def usb(self) -> None:
        """A USB camera, which sends JPEGs where it has no room for pixels, and is unplugged."""
        load("vhci_hcd")
        load("uvcvideo")
        camera = plug_in([path.read_bytes() for path in sorted(self.out.glob("*.jpg"))], BROKEN)
        end = time.monotonic() + 20
        while not os.path.exists(METADATA) and time.monotonic() < end:
            time.sleep(0.1)
        self.record("its second device", METADATA)
        self.record("usb at a low rate", USB, count=0, fps=float(FPS[YUYV]))
        self.record("usb", USB, count=2 * BROKEN, fps=float(FPS[MJPEG]))
        self.record("usb unplugged", USB, fps=None, pixel_format="mjpeg", between=lambda one: os.kill(camera, 15))


def main(out: Path) -> None:
    """Make all trials."""
    trials = Trials(out)
    try:
        load("vivid", VIVID)
        for part in (
            *(trials.formats, trials.choices, trials.numbers, trials.errors, trials.two, trials.killed, trials.faults),
            *(trials.padded, trials.gone, trials.usb),
        ):
            began = time.monotonic()
            part()
            sys.stdout.write(f"{part.__name__}: {time.monotonic() - began:.1f} s\n")
            sys.stdout.flush()
    finally:
        (out / "results.json").write_text(json.dumps(trials.results, indent=1))
        kernel = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout
        sys.stdout.write(kernel[-20_000:])  # pytest shows it where a trial failed


if __name__ == "__main__":
    main(Path(sys.argv[1]))
