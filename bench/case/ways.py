"""What the client of each rung does with a frame: from what the camera has delivered to detections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from tritonclient import grpc

from bench.case import first_client
from bench.case.repositories import MODEL
from bench.opencv_letterbox import decoded
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.pixel_formats import PixelFormatName
from triton_yolo.nms.detections import detections
from triton_yolo.nms.letterbox import Letterbox
from triton_yolo.nms.thresholds import Thresholds

BAYER: PixelFormatName = "bayer_rggb"


@dataclass(frozen=True)
class Setting:
    """What every rung's client is told.

    Attributes:
        address: HOST:PORT of the server's gRPC.
        jpegs: paths of encoded frames; frame N of camera C is number N * cameras + C, modulo how many there are.
        frames: path of raw frames, uint8 [count, H, W, 3] RGB.
        mosaics: path of the same as Bayer, uint8 [count, H, W].
        shape: count, height and width of the raw frames.
        cameras: how many.
        threshold: lowest score.
        overlap: highest overlap.
        most: most detections of an image.
        letterbox: of the network.
        memory: of shared frames.
    """

    address: str
    jpegs: Sequence[str]
    frames: str
    mosaics: str
    shape: Sequence[int]
    cameras: int
    threshold: float
    overlap: float
    most: int
    letterbox: Letterbox
    memory: Literal["system", "cuda"]

    def raw(self) -> np.ndarray:
        """Map the raw frames."""
        return np.memmap(self.frames, np.uint8, "r", shape=(*self.shape, 3))

    def encoded(self) -> list[bytes]:
        """Read the encoded frames."""
        return [Path(path).read_bytes() for path in self.jpegs]


@dataclass(frozen=True)
class Way:
    """How a client works.

    Attributes:
        lanes: requests at a time, each in a thread of its own.
        frames: in a request.
        work: sends what lane and tick name, and returns the detections of each frame.
    """

    lanes: int
    frames: int
    work: Callable[[int, int], list[Detections]]


Make = Callable[[Setting], AbstractContextManager[Way]]


def _detections(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> Detections:
    return Detections(boxes, scores, classes, tuple(map(str, classes.tolist())))


def _first(setting: Setting, pixels_of: Callable[[int], np.ndarray]) -> Iterator[Way]:
    """A frame a request, float32 both ways."""
    with grpc.InferenceServerClient(setting.address) as client:
        [config] = [client.get_model_config(MODEL).config]
        source, target = config.input[0].name, config.output[0].name

        def work(lane: int, tick: int) -> list[Detections]:
            pixels = pixels_of(tick * setting.cameras + lane)
            tensor = first_client.normalised(first_client.letterboxed(pixels, setting.letterbox))
            request = grpc.InferInput(source, tensor.shape, "FP32")
            request.set_data_from_numpy(tensor)
            [rows] = client.infer(MODEL, [request]).as_numpy(target)
            found = first_client.suppressed(
                rows, (pixels.shape[0], pixels.shape[1]), setting.letterbox, setting.threshold, setting.overlap
            )
            return [_detections(*found)]

        yield Way(setting.cameras, 1, work)


def _graph(setting: Setting, pixels_of: Callable[[int], np.ndarray]) -> Iterator[Way]:
    """A frame a request, uint8 to candidates."""
    thresholds = Thresholds(setting.threshold, setting.overlap)
    with grpc.InferenceServerClient(setting.address) as client:

        def work(lane: int, tick: int) -> list[Detections]:
            pixels = pixels_of(tick * setting.cameras + lane)
            boxed = first_client.letterboxed(pixels, setting.letterbox).transpose(2, 0, 1)
            request = grpc.InferInput("images", (1, *boxed.shape), "UINT8")
            request.set_data_from_numpy(np.ascontiguousarray(boxed)[None])
            candidates = client.infer("yolo", [request]).as_numpy("candidates")
            size = np.array([pixels.shape[:2]], np.int32)
            number, *rows = detections(candidates, size, thresholds, setting.most, setting.letterbox)
            boxes, scores, classes = (part[0, : number[0, 0]] for part in rows)
            return [_detections(boxes, scores, classes)]

        yield Way(setting.cameras, 1, work)


def _from_jpegs(setting: Setting) -> Callable[[int], np.ndarray]:
    images = setting.encoded()
    return lambda number: decoded(images[number % len(images)])


def _from_frames(setting: Setting) -> Callable[[int], np.ndarray]:
    frames = setting.raw()
    return lambda number: np.asarray(frames[number % len(frames)])


@contextmanager
def first_encoded(setting: Setting) -> Iterator[Way]:
    """Decode, normalise, send float32."""
    yield from _first(setting, _from_jpegs(setting))


@contextmanager
def first_raw(setting: Setting) -> Iterator[Way]:
    """Normalise, send float32."""
    yield from _first(setting, _from_frames(setting))


@contextmanager
def graph_encoded(setting: Setting) -> Iterator[Way]:
    """Decode, send uint8."""
    yield from _graph(setting, _from_jpegs(setting))


@contextmanager
def graph_raw(setting: Setting) -> Iterator[Way]:
    """Send uint8."""
    yield from _graph(setting, _from_frames(setting))


def _jpegs(setting: Setting, lanes_of_camera: int) -> Iterator[Way]:
    images = setting.encoded()
    with Detector(setting.address) as detector:

        def work(lane: int, tick: int) -> list[Detections]:
            image = images[(tick * setting.cameras + lane % setting.cameras) % len(images)]
            return [detector.detect(image, score_threshold=setting.threshold)]

        yield Way(setting.cameras * lanes_of_camera, 1, work)


@contextmanager
def jpeg(setting: Setting) -> Iterator[Way]:
    """Send a JPEG, wait for its detections."""
    yield from _jpegs(setting, 1)


@contextmanager
def jpegs(setting: Setting) -> Iterator[Way]:
    """Send JPEGs, two of each camera under way."""
    yield from _jpegs(setting, 2)


@contextmanager
def by_bytes(setting: Setting) -> Iterator[Way]:
    """Send the frames of all cameras as the bytes of one request."""
    batches = _batches(setting, setting.raw())
    with Detector(setting.address) as detector:

        def work(lane: int, tick: int) -> list[Detections]:
            return detector.detect_frames(batches[tick % len(batches)], score_threshold=setting.threshold)

        yield Way(2, setting.cameras, work)


@contextmanager
def shared(setting: Setting) -> Iterator[Way]:
    """Name the frames of all cameras in shared memory."""
    yield from _shared(setting, setting.raw(), "rgb")


@contextmanager
def bayer(setting: Setting) -> Iterator[Way]:
    """Name them as the sensors deliver them."""
    yield from _shared(setting, np.memmap(setting.mosaics, np.uint8, "r", shape=tuple(setting.shape)), BAYER)


def _shared(setting: Setting, frames: np.ndarray, pixel_format: PixelFormatName) -> Iterator[Way]:
    """A camera's driver writes into shared memory on the host; from there one copy leads to a GPU, if there is one."""
    batches = _batches(setting, frames)
    _, height, width = setting.shape
    with Detector(setting.address, memory=setting.memory) as detector, ExitStack() as stack:
        on_gpu = setting.memory == "cuda"
        count = 2 if on_gpu else len(batches)  # one for each lane, or one for each batch, which stays as it is
        places = [
            stack.enter_context(detector.frames(setting.cameras, height, width, pixel_format=pixel_format))
            for _ in range(count)
        ]
        if not on_gpu:
            for place, batch in zip(places, batches, strict=True):
                place.fill(batch)

        def work(lane: int, tick: int) -> list[Detections]:
            place = places[lane if on_gpu else tick % len(batches)]
            if on_gpu:
                place.fill(batches[tick % len(batches)])
            return detector.detect_frames(place, pixel_format=pixel_format, score_threshold=setting.threshold)

        yield Way(2, setting.cameras, work)


@contextmanager
def tiles(setting: Setting) -> Iterator[Way]:
    """Send what has changed of each camera's frames."""
    frames = setting.raw()
    with Detector(setting.address) as detector, ExitStack() as stack:
        streams = [
            stack.enter_context(detector.stream(score_threshold=setting.threshold)) for _ in range(setting.cameras)
        ]

        def work(lane: int, tick: int) -> list[Detections]:
            frame = np.asarray(frames[(tick * setting.cameras + lane) % len(frames)])
            return [streams[lane].detect(frame).detections]

        yield Way(setting.cameras, 1, work)


def _batches(setting: Setting, frames: np.ndarray) -> list[np.ndarray]:
    """Return frames in groups of one of each camera."""
    return [np.ascontiguousarray(frames[i : i + setting.cameras]) for i in range(0, len(frames), setting.cameras)]


WAYS: dict[str, Make] = {
    "first_encoded": first_encoded,
    "first_raw": first_raw,
    "graph_encoded": graph_encoded,
    "graph_raw": graph_raw,
    "jpeg": jpeg,
    "jpegs": jpegs,
    "bytes": by_bytes,
    "shared": shared,
    "bayer": bayer,
    "tiles": tiles,
}
