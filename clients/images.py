"""Images as users have them: files, bytes, arrays and Pillow's images."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import check_pixels
from triton_yolo.clients.request import Pixels

if TYPE_CHECKING:
    import PIL.Image

Image: TypeAlias = "str | Path | bytes | Pixels | PIL.Image.Image"

ORIENTATION = 0x0112  # EXIF tag; values from 5 on swap width and height
# Formats that are decoded here, because the server decodes JPEG and PNG alone, and how their files begin.
CONVERTED = {"BMP": (b"BM",), "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "WebP": (b"RIFF",)}
DEEP = ("I", "F")  # beginnings of the names of Pillow's modes with more than 8 bits a channel


def load(image: Image) -> bytes | Pixels:
    """Return an image in one of the two forms in which the server takes it.

    Args:
        image: path or bytes of an image file; array uint8 [H, W, 3] RGB; or a Pillow image.

    Returns:
        The bytes of a JPEG or PNG, and of a file of any unknown kind, which the server refuses with its reason; pixels
        uint8 [H, W, 3] RGB, turned as the EXIF orientation says, of everything else: BMP, TIFF (its first page), WebP.

    Raises:
        DetectionError: the file cannot be read or converted, or it is no image of these kinds.
    """
    if isinstance(image, np.ndarray):
        check_pixels(image, "[H, W, 3]")
        return image
    if isinstance(image, str | Path):
        encoded = _read(Path(image))
        try:
            return _converted(encoded)
        except DetectionError as error:
            raise error.of(str(image)) from None
    if isinstance(image, bytes | bytearray | memoryview):
        return _converted(bytes(image))
    pillow = sys.modules.get("PIL.Image")  # who has a Pillow image has loaded Pillow
    if pillow is not None and isinstance(image, pillow.Image):
        return _pixels(image)
    raise DetectionError(
        "an image is a path, the bytes of an image file, a uint8 array [H, W, 3], or a Pillow image; "
        f"got {type(image).__module__}.{type(image).__qualname__}"
    )


def upright_size(encoded: bytes) -> tuple[int, int]:
    """Return width and height in pixels of an encoded image, turned as its EXIF orientation says, from its header.

    Args:
        encoded: bytes of a JPEG or PNG.

    Raises:
        DetectionError: there is no such header.
    """
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except (OSError, PIL.Image.DecompressionBombError):
        raise DetectionError("image has no header that tells its size") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DetectionError(f"cannot read {path}: {error.strerror}") from None


def _kind(encoded: bytes) -> str | None:
    """Return the name of a format that is converted here."""
    for name, beginnings in CONVERTED.items():
        if encoded.startswith(beginnings) and (name != "WebP" or encoded[8:12] == b"WEBP"):
            return name
    return None


def _converted(encoded: bytes) -> bytes | Pixels:
    kind = _kind(encoded)
    if kind is None:
        return encoded
    try:
        import PIL.Image
    except ImportError:
        raise DetectionError(
            f"a {kind} image is converted with Pillow, which is not installed: pip install pillow"
        ) from None
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            return _pixels(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DetectionError(f"image is a {kind} that Pillow cannot decode: {error}") from None


def _pixels(image: Any) -> Pixels:
    """Return a Pillow image as uint8 [H, W, 3] RGB, upright."""
    from PIL import ImageOps

    if image.mode.startswith(DEEP):
        raise DetectionError(f"image has more than 8 bits a channel (mode {image.mode}): scale it to 8 bits first")
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
