"""GigE Vision and USB3 Vision cameras, through Aravis.

Its receiving thread puts the packets of a frame together in a slot of the ring: nothing is copied afterwards. Two
formats that the server does not take are made RGB in one pass instead: Mono8, since a grey frame is an RGB frame of
three equal channels, and BGR8.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.clients.memory.ring import Reason, Writer
from triton_yolo.clients.pixel_formats import pixel_format
from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import FrameFormat
from triton_yolo.clients.stream.sources.base import Outlet, Source, now
from triton_yolo.clients.stream.sources.libaravis import ABORTED, CLEARED, SUCCESS, Camera, Image
from triton_yolo.clients.stream.sources.options import size_of

# Names of GenICam's Pixel Format Naming Convention, and ours. The older names are those of GigE Vision 1.
FORMATS = {
    "BayerRG8": "bayer_rggb",
    "BayerBG8": "bayer_bggr",
    "BayerGR8": "bayer_grbg",
    "BayerGB8": "bayer_gbrg",
    "YUV422_8": "yuyv",
    "YUV422_YUYV_Packed": "yuyv",
    "YCbCr601_422_8": "yuyv",
    "RGB8": "rgb",
    "RGB8Packed": "rgb",
}
# To rgb: channels, and OpenCV's conversion.
CONVERTED = {"Mono8": (1, cv2.COLOR_GRAY2RGB), "BGR8": (3, cv2.COLOR_BGR2RGB), "BGR8Packed": (3, cv2.COLOR_BGR2RGB)}
OPTIONS = ("pixel_format", "size", "exposure_us", "gain", "packet_size", "features")
WIDEST_GAP = 1000  # frames that may be missing between two; a larger step is a camera that counts anew


class Aravis(Source):
    """``aravis:ID``: the camera of that identifier or address, or ``aravis:`` for the first that answers.

    Options: ``pixel_format`` (GenICam's name; what the camera is set to), ``size`` (HxW), ``exposure_us``, ``gain``,
    ``packet_size`` (bytes; Aravis finds the largest that the network takes), ``features`` (GenICam names and values,
    set in that order before the others; a command has no value). The rate is set in the camera, too.
    """

    kind = "aravis"
    comes_back = True

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset(OPTIONS)

    def open(self) -> FrameFormat:
        """See Source."""
        name = self.uri.removeprefix("aravis:")
        self._said = name or "the first camera"
        try:
            self._camera = Camera(name)
        except SourceError as error:
            raise SourceError(f"cannot open {self._said}: {error}") from None
        self._said = f"camera {self._camera.name}"
        try:
            return self._configured()
        except SourceError:
            self._camera.close()  # else it would refuse everybody until it misses this process
            raise

    def _configured(self) -> FrameFormat:
        """Configure the camera, and return what it delivers then."""
        self._configure()
        self._genicam = self._camera.pixel_format
        ours = "rgb" if self._genicam in CONVERTED else FORMATS.get(self._genicam)
        if ours is None:
            offered = [name for name in self._camera.pixel_formats() if name in FORMATS or name in CONVERTED]
            raise SourceError(
                f"{self._said} sends {self._genicam}, which cannot be used; of what it offers, pixel_format may be "
                f"{', '.join(offered) or 'nothing'}"
            )
        self._height, self._width = self._camera.size
        self._nbytes = pixel_format(ours).nbytes(self._height, self._width)
        self._payload = self._camera.payload
        return FrameFormat(ours, self._height, self._width, max(self._nbytes, self._payload))

    def _configure(self) -> None:
        """Set what the options say.

        Raises:
            SourceError: names the option.
        """
        camera, options = self._camera, self.options
        features = options.get("features") or {}
        if not isinstance(features, Mapping):
            raise SourceError(f"features are names and values of GenICam; got {features!r}")
        for name, value in features.items():
            self._set(f"feature {name}", lambda value, name=name: camera.set_feature(name, value), value)
        for name, setter in (
            ("pixel_format", lambda value: setattr(camera, "pixel_format", str(value))),
            ("size", lambda value: setattr(camera, "size", size_of(value))),
            ("packet_size", lambda value: camera.set_packet_size(int(value))),
            ("exposure_us", lambda value: camera.set_exposure(float(value))),
            ("gain", lambda value: camera.set_gain(float(value))),
        ):
            if name in options:
                self._set(name, setter, options[name])
        if self.fps is not None:
            self._set("fps", lambda value: setattr(camera, "frame_rate", value), self.fps)
        if "size" in options and camera.size != size_of(options["size"]):
            height, width = camera.size
            raise SourceError(f"{self._said} does not take size {options['size']}: it made {height}x{width} of it")

    def _set(self, what: str, setter: Any, value: object) -> None:
        try:
            setter(value)
        except (SourceError, ValueError, TypeError) as error:
            raise SourceError(f"{self._said} does not take {what}: {value!r}: {error}") from None

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        camera, missing = self._camera, _Missing(self._camera, outlet.writer)
        camera.create_stream()
        converted = CONVERTED.get(self._genicam)
        buffers = _Converted(camera, self._payload, *converted) if converted else _Slots(camera, self._payload, outlet)
        buffers.fill_up(outlet)
        camera.start()
        while not outlet.stopped:
            buffer = camera.pop(0.1)
            if camera.control_lost:
                raise SourceError(f"{self._said} was lost: it does not answer any more")
            if buffer is not None:
                status = camera.status(buffer)
                if status == SUCCESS:
                    image = camera.image(buffer)
                    missing.before(image.number)
                    self._deliver(buffer, image, buffers, outlet)
                else:
                    if status not in (CLEARED, ABORTED):  # else no frame had begun
                        missing.failed()
                    buffers.give_back(buffer)
            buffers.fill_up(outlet)

    def _deliver(self, buffer: int, image: Image, buffers: _Buffers, outlet: Outlet) -> None:
        expected = self._height * self._width * buffers.bytes_per_pixel if buffers.bytes_per_pixel else self._nbytes
        if (image.height, image.width, image.nbytes) != (self._height, self._width, expected):
            outlet.writer.miss(Reason.SOURCE_LOST)
            raise SourceError(
                f"{self._said} sent {image.height}x{image.width} in {image.nbytes} bytes; expected "
                f"{self._height}x{self._width} in {expected}"
            )
        buffers.deliver(buffer, image, outlet)

    def close(self) -> None:
        """See Source."""
        self._camera.close()


class _Buffers(ABC):
    """The buffers that a camera fills.

    Attributes:
        bytes_per_pixel: of what the camera sends; 0 where that is what is delivered.
    """

    bytes_per_pixel = 0

    def __init__(self, camera: Camera, payload: int) -> None:
        """Take the camera, and the size of a buffer in bytes."""
        self.camera, self.payload = camera, payload

    @abstractmethod
    def fill_up(self, outlet: Outlet) -> None:
        """Give the camera as many buffers as it should have."""

    @abstractmethod
    def deliver(self, buffer: int, image: Image, outlet: Outlet) -> None:
        """Hand over the whole image in a buffer."""

    def give_back(self, buffer: int) -> None:
        """Give the camera a buffer whose content is of no use."""
        self.camera.push(buffer)


class _Slots(_Buffers):
    """Buffers in slots of the ring: half of them, so that as many frames can wait."""

    def __init__(self, camera: Camera, payload: int, outlet: Outlet) -> None:
        """Take the column as well."""
        super().__init__(camera, payload)
        self._wanted = max(2, outlet.writer.rows // 2)
        self._of_rows: dict[int, int] = {}
        self._rows: dict[int, int] = {}  # of the buffers that the camera has

    def fill_up(self, outlet: Outlet) -> None:
        """See _Buffers."""
        while len(self._rows) < self._wanted:
            row = outlet.writer.reserve(overwrite=True)
            if row is None:
                return  # the reader has them all; frames that come meanwhile are underruns
            if row not in self._of_rows:
                self._of_rows[row] = self.camera.buffer(self.payload, outlet.writer.slot(row).ctypes.data)
            self._rows[self._of_rows[row]] = row
            self.camera.push(self._of_rows[row])

    def deliver(self, buffer: int, image: Image, outlet: Outlet) -> None:
        """See _Buffers."""
        row = self._rows.pop(buffer)
        capture = outlet.writer.begin_in(row, *_arrival(image))
        if image.data != outlet.writer.slot(row).ctypes.data:
            outlet.writer.abandon(capture, Reason.SOURCE_LOST)
            raise SourceError("the camera sends something before the image: switch multipart payloads off")
        outlet.publish(capture, image.nbytes)


class _Converted(_Buffers):
    """Buffers of the library, for images that are made RGB on their way into a slot."""

    COUNT = 4

    def __init__(self, camera: Camera, payload: int, channels: int, conversion: int) -> None:
        """Take OpenCV's conversion, and the channels of what it takes."""
        super().__init__(camera, payload)
        self.bytes_per_pixel, self._conversion, self._given = channels, conversion, 0

    def fill_up(self, outlet: Outlet) -> None:
        """See _Buffers."""
        for _ in range(self._given, self.COUNT):
            self.camera.push(self.camera.buffer(self.payload, None))
        self._given = self.COUNT

    def deliver(self, buffer: int, image: Image, outlet: Outlet) -> None:
        """See _Buffers."""
        sent = np.ctypeslib.as_array((ctypes.c_uint8 * image.nbytes).from_address(image.data))
        sent = sent.reshape(image.height, image.width, self.bytes_per_pixel)

        def fill(slot: npt.NDArray[np.uint8]) -> int:
            shown = slot[: image.height * image.width * 3].reshape(image.height, image.width, 3)
            cv2.cvtColor(sent, self._conversion, shown)
            return shown.size

        outlet.write(fill, captured=_arrival(image))
        self.give_back(buffer)


class _Missing:
    """Counts the frames that are not delivered, each once."""

    def __init__(self, camera: Camera, writer: Writer) -> None:
        """Begin with no frame."""
        self._camera, self._writer = camera, writer
        self._last: int | None = None  # number of the last whole frame, as the camera counts
        self._failed = self._underruns = 0

    def failed(self) -> None:
        """Count a frame that is damaged: packets of it are missing."""
        self._failed += 1  # by no number: without its first packet, a buffer keeps the number that it had before
        self._writer.miss(Reason.SOURCE_LOST)

    def before(self, number: int) -> None:
        """Count what is missing between a whole frame of this number and the one before it, beside damaged ones.

        That is frames for which there was no buffer, or else frames of which no packet arrived.
        """
        underruns = self._camera.underruns  # says whether there were any: several may be of one frame
        if self._last is not None:
            step = number - self._last
            if step <= 0 and self._last < 1 << 16:
                step += (1 << 16) - 1  # GigE Vision counts from 1 to 65535
            missing = step - 1 - self._failed
            if missing > 0 and step <= WIDEST_GAP:
                self._writer.miss(Reason.RING_FULL if underruns > self._underruns else Reason.SOURCE_LOST, missing)
        self._last, self._failed, self._underruns = number, 0, underruns


def _arrival(image: Image) -> tuple[int, int]:
    """Return when an image's first packet arrived, as ``now`` returns it."""
    monotonic_ns, wall_ns = now()
    age = wall_ns - image.arrived_ns if image.arrived_ns else 0
    if not 0 <= age < 10**9:  # the clock was set meanwhile
        age = 0
    return monotonic_ns - age, wall_ns - age
