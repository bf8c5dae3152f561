"""Random pictures that are smooth enough for resampling to matter, and the many ways to encode them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def picture(seed: int, height: int, width: int, channels: int = 3) -> Pixels:
    """A picture of soft blobs with a little grain, uint8 [height, width, channels]."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // 24 + 2, width // 24 + 2, channels), np.float32)
    blobs = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    grain = rng.standard_normal((height, width, 1), np.float32)
    return (blobs * 255 + grain * 3).clip(0, 255).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of this kind, "JPEG" or "PNG"."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    """An RGB or, with one channel, grey JPEG."""
    return encode(Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels), "JPEG", **options)


def png(pixels: Pixels) -> bytes:
    """An RGB PNG."""
    return encode(Image.fromarray(pixels), "PNG", compress_level=1)


def rotated(pixels: Pixels, orientation: int) -> bytes:
    """A JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(pixels, exif=exif, quality=90)


def _sixteen_bits(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", pixels[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


ENCODINGS: dict[str, Callable[[Pixels], bytes]] = {
    "JPEG 4:4:4": lambda p: jpeg(p, subsampling=0, quality=95),
    "JPEG 4:2:2": lambda p: jpeg(p, subsampling=1),
    "JPEG 4:2:0": lambda p: jpeg(p, subsampling=2),
    "JPEG progressive": lambda p: jpeg(p, progressive=True, quality=90),
    "JPEG grey": lambda p: jpeg(p[..., :1], quality=90),
    "JPEG CMYK": lambda p: encode(Image.fromarray(p).convert("CMYK"), "JPEG", quality=95),
    "PNG RGB": png,
    "PNG grey": lambda p: encode(Image.fromarray(p[..., 0]), "PNG"),
    "PNG grey and alpha": lambda p: encode(Image.fromarray(p[..., 0]).convert("LA"), "PNG"),
    "PNG RGBA": lambda p: encode(Image.fromarray(np.dstack([p, p[..., 1]])), "PNG"),
    "PNG palette": lambda p: encode(Image.fromarray(p).quantize(64), "PNG"),
    "PNG black and white": lambda p: encode(Image.fromarray(p[..., 0]).convert("1"), "PNG"),
    "PNG of 16 bits": _sixteen_bits,
    **{f"EXIF orientation {n}": partial(rotated, orientation=n) for n in range(1, 9)},
}
