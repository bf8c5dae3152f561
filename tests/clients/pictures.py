"""JPEGs of cameras that were turned."""

from __future__ import annotations

from pathlib import Path

import PIL.Image

TURNED = 6  # EXIF: the camera was held upright, so width and height change places


def jpeg(width: int, height: int, orientation: int, path: Path) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.new("RGB", (width, height), "white").save(path, exif=exif)
    return path.read_bytes()
