"""Detect on the frames of several cameras, which the server reads from shared memory.

python examples/cameras.py                                simulated cameras over circuit boards
python examples/cameras.py --source 0 --source line.mp4   whatever OpenCV opens: numbers of cameras, files, rtsp://...

The server must run on this machine. Nothing is copied on the way: each camera writes into its place of one block of
memory, and one request names the block.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from triton_yolo import Detector
from triton_yolo.boards import Line

Camera = Callable[[np.ndarray], bool]  # writes RGB pixels into uint8 [H, W, 3]; False when there are no more


def simulated(seed: int, width: int, height: int) -> Camera:
    """Return a camera above a belt with boards."""
    frames: Iterator = iter(Line(seed, width, height, boards=1))

    def read(place: np.ndarray) -> bool:
        place[...] = next(frames).image
        return True

    return read


def opened(source: str, width: int, height: int) -> Camera:
    """Return a camera or video that OpenCV opens."""
    capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not capture.isOpened():
        raise SystemExit(f"OpenCV cannot open {source}")

    def read(place: np.ndarray) -> bool:
        there, frame = capture.read()
        if there:
            cv2.cvtColor(cv2.resize(frame, (width, height)), cv2.COLOR_BGR2RGB, dst=place)
        return there

    return read


def main() -> None:
    """Read, detect and count, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="127.0.0.1:8001", help="HOST:PORT for gRPC, http://HOST:PORT for HTTP")
    parser.add_argument("--source", action="append", help="a source of frames; give it once for each camera")
    parser.add_argument("--cameras", type=int, default=8, help="number of simulated cameras, if there is no --source")
    parser.add_argument("--rounds", type=int, default=20, help="frames of each camera")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    arguments = parser.parse_args()
    width, height = arguments.size
    if arguments.source:
        cameras = [opened(source, width, height) for source in arguments.source]
    else:
        cameras = [simulated(seed, width, height) for seed in range(arguments.cameras)]

    defects: Counter[str] = Counter()
    with (
        Detector(arguments.url, memory="system") as detector,
        detector.frames(len(cameras), height, width) as frames,
    ):
        begin, done = time.perf_counter(), 0
        for _ in range(arguments.rounds):
            if not all(camera(place) for camera, place in zip(cameras, frames.array, strict=True)):
                break
            for number, found in enumerate(detector.detect_frames(frames)):
                defects.update(f"camera {number} {name}" for name in found.names)
            done += len(cameras)
        seconds = time.perf_counter() - begin
    for name, count in sorted(defects.items()):
        print(f"{name}: {count} times")
    print(f"{done} frames of {len(cameras)} cameras, {done / seconds:.1f} frames a second")


if __name__ == "__main__":
    main()
