"""What tiles and frames cost in each code: bytes, and milliseconds to code and to decode them."""

from __future__ import annotations

import importlib.util
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.tiles.scenes import HEIGHT, NOISE, WIDTH
from triton_yolo.boards.line import Line
from triton_yolo.clients.stream.changes import Grid

Pixels = npt.NDArray[np.uint8]
COUNTS = (1, 10, 50, 300)  # tiles; the last is the whole frame
TIMES = 9


def measure() -> list[dict[str, Any]]:
    """Return the figures of each code for some numbers of tiles, of a drawn board with noise."""
    frame = next(Line(1, WIDTH, HEIGHT, boards=1, noise=NOISE)).image
    grid = Grid(HEIGHT, WIDTH, 64)
    order = np.random.default_rng(0).permutation(grid.shape[0] * grid.shape[1])
    rows = []
    for count in COUNTS:
        chosen = np.zeros(order.size, bool)
        chosen[order[:count]] = True
        picture = grid.cut(frame, grid.positions(chosen.reshape(grid.shape))).reshape(-1, 64, 3)
        if count == order.size:
            picture = frame
        for name, (code, decode) in _codes().items():
            seconds, coded = _timed(partial(code, picture))
            back, pixels = _timed(partial(decode, coded))
            rows.append(
                {
                    "tiles": count,
                    "code": name,
                    "bytes": len(coded),
                    "bytes_to_raw": len(coded) / picture.nbytes,
                    "code_ms": 1000 * seconds,
                    "decode_ms": 1000 * back,
                    "without_loss": bool(np.array_equal(np.frombuffer(pixels, np.uint8), picture.reshape(-1))),
                }
            )
    return rows


def _codes() -> dict[str, tuple[Callable[[Pixels], bytes], Callable[[bytes], bytes]]]:
    def opencv(suffix: str, *options: int) -> tuple[Callable[[Pixels], bytes], Callable[[bytes], bytes]]:
        return (
            lambda picture: cv2.imencode(suffix, picture, options)[1].tobytes(),
            lambda coded: cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR).tobytes(),
        )

    zstandard = _zstandard()
    return {
        **({"zstd 1": zstandard} if zstandard else {}),
        "JPEG 90": opencv(".jpg", cv2.IMWRITE_JPEG_QUALITY, 90),
        "JPEG 75": opencv(".jpg", cv2.IMWRITE_JPEG_QUALITY, 75),
        "PNG": opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
        "zlib 1": (lambda picture: zlib.compress(picture.tobytes(), 1), zlib.decompress),
        "raw": (lambda picture: picture.tobytes(), lambda coded: coded),
    }


def _zstandard() -> tuple[Callable[[Pixels], bytes], Callable[[bytes], bytes]] | None:
    """Return zstd, if its package is installed."""
    if importlib.util.find_spec("zstandard") is None:
        return None
    import zstandard

    return lambda picture: zstandard.compress(picture.tobytes(), 1), zstandard.decompress


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the median of seconds, and the result."""
    spent = []
    for _ in range(TIMES):
        start = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), result
