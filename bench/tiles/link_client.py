"""Program: python -m bench.tiles.link_client HOST:PORT MBITS, the client's end of a link."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import typer

from bench.tiles.measuring import QUALITY, encoded, quantiles
from bench.tiles.scenes import HEIGHT, NOISE, WIDTH
from triton_yolo.boards.line import Line
from triton_yolo.clients.detector import Detector

FRAMES, RAW_SECONDS = 51, 4.0  # a board that stands for 45 and moves for 6; how long pixels are sent


def main(url: str, mbits: float) -> dict[str, Any]:
    """Return p50 and p99 of the time from a frame to its detections, each frame sent when the last one is answered.

    Args:
        url: of the server.
        mbits: bandwidth of the link, for the share of each kind only: the encoder measures it by itself.
    """
    line = Line(1, WIDTH, HEIGHT, boards=2, still_frames=45, moving_frames=6, noise=NOISE)
    frames = [frame.image for frame in islice(line, FRAMES)]
    with Detector(url, timeout=60) as detector:
        for model in ("detect", "detect_frames", "detect_tiles"):
            detector.labels(model)
        detector.detect(encoded(frames[0]))
        raw, end = list[float](), time.monotonic() + RAW_SECONDS
        for frame in frames:
            raw.append(_timed(lambda frame=frame: detector.detect_frames(frame[None])))
            if time.monotonic() > end:
                break
        jpeg = [_timed(lambda frame=frame: detector.detect(encoded(frame))) for frame in frames]
        kinds: Counter[str] = Counter()
        with detector.stream(quality=QUALITY) as stream:

            def detect(frame: np.ndarray) -> None:
                kinds[stream.detect(frame).kind] += 1

            tiles = [_timed(lambda frame=frame: detect(frame)) for frame in frames]
    return {
        "raw": {**quantiles(raw), "frames": len(raw)},
        "jpeg": quantiles(jpeg),
        "tiles": quantiles(tiles),
        "tiles_of_frames_that_are_sent": quantiles(sorted(tiles)[-(FRAMES - kinds["nothing"]) :]),
        "shares": {kind: count / FRAMES for kind, count in kinds.most_common()},
    }


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    typer.echo(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
