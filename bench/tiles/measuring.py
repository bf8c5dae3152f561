"""One scene in three ways: pixels, JPEGs, and what has changed."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.counting_proxy import CountingProxy
from bench.processor_time import processor_seconds
from bench.tiles.scenes import Scene, Seen
from triton_yolo.boards import CLASSES
from triton_yolo.clients.coco import IOU_THRESHOLD, SCORE_THRESHOLD, Annotations, evaluate
from triton_yolo.clients.detections import Detections
from triton_yolo.clients.detector import Detector
from triton_yolo.clients.stream.changes import Changes, Grid
from triton_yolo.server.process import TritonServer

QUALITY = 90  # of all JPEGs
LINK_MBITS = 100.0  # the encoder is told: what pays is then the same on any machine
FOUND_SCORE, FOUND_IOU = 0.25, 0.5  # a defect is found
EVERYTHING = {"score_threshold": SCORE_THRESHOLD, "iou_threshold": IOU_THRESHOLD}  # as for average precision


def measure(scene: Scene, server: TritonServer) -> dict[str, Any]:
    """Return the figures of one scene."""
    at = server.addresses
    with CountingProxy(at.host, at.grpc) as proxy, Detector(f"{proxy.host}:{proxy.port}") as detector:
        for model in ("detect", "detect_frames", "detect_tiles"):
            detector.labels(model)
        raw = _raw_bytes(scene, detector, proxy)
        whole = _whole(scene, detector, proxy, server)
        tiles = _tiles(scene, detector, proxy, server)
    found_whole, found_tiles = whole.pop("found"), tiles.pop("found")
    figures = {
        "what": scene.what,
        "frames": scene.count,
        "bytes_a_frame": {"raw": raw, "jpeg": whole["bytes"], "tiles": tiles["bytes"]},
        "jpeg_to_tiles": whole["bytes"] / tiles["bytes"],
        "raw_to_tiles": raw / tiles["bytes"],
        **({"bytes_a_frame_with_the_start": tiles["with_start"]} if scene.start else {}),
        "shares": tiles["shares"],
        "latency_ms": {"jpeg": whole["latency_ms"], "tiles": tiles["latency_ms"]},
        "server_processor_ms_a_frame": {"jpeg": whole["server_ms"], "tiles": tiles["server_ms"]},
        "client_processor_ms_a_frame": {"jpeg": whole["client_ms"], "tiles": tiles["client_ms"]},
    }
    if scene.detected:
        seen = list(islice(scene.frames(), scene.detected))
        figures["map50_95"] = {"whole": precision(seen, found_whole), "tiles": precision(seen, found_tiles)}
        figures["defects"] = _delays(seen, found_whole, found_tiles)
    return figures


def _raw_bytes(scene: Scene, detector: Detector, proxy: CountingProxy) -> int:
    """Return bytes of one frame as pixels, with its answer and the protocol's own."""
    frame = next(scene.frames()).image[None]
    detector.detect_frames(frame)
    before = proxy.bytes
    detector.detect_frames(frame)
    return proxy.bytes - before


class _Meter:
    """Bytes, seconds and the processor's time of frames."""

    def __init__(self, proxy: CountingProxy, server: TritonServer) -> None:
        self.proxy, self.pid = proxy, server.running.pid
        self.seconds: list[float] = []
        self.bytes: list[int] = []
        self.server, self.client = processor_seconds(self.pid), 0.0

    def figures(self, start: int) -> dict[str, Any]:
        """Return them for a frame; bytes after the first so many."""
        count, server = len(self.seconds), processor_seconds(self.pid) - self.server
        return {
            "bytes": statistics.mean(self.bytes[start:]),
            "with_start": statistics.mean(self.bytes),
            "latency_ms": quantiles(self.seconds),
            "server_ms": 1000 * server / count,
            "client_ms": 1000 * self.client / count,
        }

    def each(self, frames: Iterable[Seen]) -> Iterator[Seen]:
        """Yield frames, and measure what is done with each; drawing them is not counted."""
        for frame in frames:
            before = self.proxy.bytes, time.perf_counter(), time.process_time()
            yield frame
            self.seconds.append(time.perf_counter() - before[1])
            self.client += time.process_time() - before[2]
            self.bytes.append(self.proxy.bytes - before[0])


def _whole(scene: Scene, detector: Detector, proxy: CountingProxy, server: TritonServer) -> dict[str, Any]:
    """Send each frame as a JPEG; of a scene that is not detected on in whole, some."""
    meter, found = _Meter(proxy, server), list[Detections]()
    for frame in meter.each(islice(scene.frames(), scene.detected or scene.count)):
        found.append(detector.detect(encoded(frame.image), **EVERYTHING))  # type: ignore[arg-type]
    return {**meter.figures(0), "found": found}


def _tiles(scene: Scene, detector: Detector, proxy: CountingProxy, server: TritonServer) -> dict[str, Any]:
    meter, found, kinds = _Meter(proxy, server), list[Detections](), Counter[str]()
    with detector.stream(quality=QUALITY, link_mbits=LINK_MBITS, **EVERYTHING) as stream:  # type: ignore[arg-type]
        for frame in meter.each(scene.frames()):
            result = stream.detect(frame.image)
            found.append(result.detections)
            kinds[result.kind] += 1
        figures = meter.figures(scene.start)
    shares = {kind: number / kinds.total() for kind, number in kinds.most_common()}
    return {**figures, "found": found, "shares": shares}


def encoded(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a frame as a JPEG."""
    picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()


def precision(seen: list[Seen], found: list[Detections]) -> float:
    """Return mAP50-95 of what was found in frames against what is in them."""
    rows = [
        {"image_id": number, "category_id": int(kind), "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for number, frame in enumerate(seen)
        if frame.boxes is not None and frame.classes is not None
        for (x1, y1, x2, y2), kind in zip(frame.boxes.tolist(), frame.classes.tolist(), strict=True)
    ]
    names = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    images = [{"id": number, "file_name": str(number)} for number in range(len(seen))]
    truth = Annotations.from_dict({"images": images, "categories": names, "annotations": rows})
    return evaluate(truth, dict(enumerate(found[: len(seen)]))).overall.ap50_95


def _delays(seen: list[Seen], whole: list[Detections], tiles: list[Detections]) -> dict[str, int]:
    """Compare when each defect is found for the first time.

    Returns:
        how many are found in whole frames and by tiles, and the longest time from one to the other, in frames.
    """
    first = [_first_found(seen, found) for found in (whole, tiles)]
    both = first[0].keys() & first[1].keys()
    return {
        "found_in_whole_frames": len(first[0]),
        "found_by_tiles": len(first[1]),
        "found_in_whole_frames_alone": len(first[0].keys() - first[1].keys()),
        "latest_after_whole_frames": max((first[1][defect] - first[0][defect] for defect in both), default=0),
    }


def _first_found(seen: list[Seen], found: list[Detections]) -> dict[tuple[int, tuple[int, float, float]], int]:
    """Return the number of the frame in which each defect is found first, by board and name."""
    first: dict[tuple[int, tuple[int, float, float]], int] = {}
    for number, (frame, detections) in enumerate(zip(seen, found, strict=False)):
        sure = detections.scores >= FOUND_SCORE
        assert frame.boxes is not None and frame.classes is not None
        overlaps = _overlaps(frame.boxes, detections.boxes[sure])
        same = frame.classes[:, None] == detections.classes[sure][None]
        for place in np.flatnonzero(((overlaps >= FOUND_IOU) & same).any(axis=1)).tolist():
            first.setdefault((frame.board, _name(frame, place)), number)
    return first


def _name(frame: Seen, place: int) -> tuple[int, float, float]:
    """Return what tells a defect from others of its board, wherever the belt is: its class, top and bottom edge."""
    assert frame.boxes is not None and frame.classes is not None
    _, top, _, bottom = frame.boxes[place].tolist()
    return int(frame.classes[place]), top, bottom


def _overlaps(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return intersection over union of each box [N, 4] with each other one [M, 4]: [N, M]."""
    corners = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.clip(corners[1] - corners[0], 0, None).prod(axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return np.asarray(common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9), np.float32)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    return {"p50": 1000 * float(np.quantile(seconds, 0.5)), "p99": 1000 * float(np.quantile(seconds, 0.99))}


def encoder_time(frames: int = 60) -> dict[str, float]:
    """Return what it takes to find the changes in a frame of 1280x960, on one core, against what must be read for it.

    Returns:
        ``look_ms``; ``absdiff_ms``, OpenCV's difference of two frames, and ``copy_ms``, NumPy's copy of one, in turn
        with it; ``look_to_absdiff``, the ratio of the first two.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        random = np.random.default_rng(0)
        pictures = [random.normal(100, 2, (960, 1280, 3)).astype(np.uint8) for _ in range(4)]
        changes, spare = Changes(Grid(960, 1280, 64), 4.0), np.empty_like(pictures[0])
        changes.look(pictures[0])
        changes.sent(pictures[0])
        spent: dict[str, list[float]] = {"look": [], "absdiff": [], "copy": []}
        for number in range(frames):
            one, other = pictures[number % 4], pictures[(number + 1) % 4]
            for name, work in (
                ("look", lambda one=one: changes.look(one)),
                ("absdiff", lambda one=one, other=other: cv2.absdiff(one, other, spare)),
                ("copy", lambda one=one: np.copyto(spare, one)),
            ):
                start = time.perf_counter()
                work()
                spent[name].append(time.perf_counter() - start)
    finally:
        cv2.setNumThreads(threads)
    median = {name: 1000 * statistics.median(values[5:]) for name, values in spent.items()}
    return {
        **{f"{name}_ms": value for name, value in median.items()},
        "look_to_absdiff": median["look"] / median["absdiff"],
    }
