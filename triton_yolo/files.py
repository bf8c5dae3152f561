"""Finding images, their sizes, and writing results."""

from __future__ import annotations

import glob
import io
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import PIL.Image

from triton_yolo.errors import ImageError

SUFFIXES = (".jpg", ".jpeg", ".png")  # in a folder; a file that is named by itself may have any
ORIENTATION = 0x0112  # EXIF tag; values from 5 on swap width and height


def find_images(arguments: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Turn what a user named into files.

    Args:
        arguments: files, folders (their images, not those of folders inside), patterns such as ``boards/*.png`` and
            ``**/*.jpg``.

    Returns:
        the files, each once: in the order of the arguments, sorted within each; and the arguments without any.
    """
    files: list[Path] = []
    empty: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()]
        elif path.exists():
            found = [path]
        else:
            found = [Path(name) for name in glob.glob(argument, recursive=True) if Path(name).is_file()]
        files += sorted(found)
        if not found:
            empty.append(argument)
    return list(dict.fromkeys(files)), empty


def upright_size(encoded: bytes) -> tuple[int, int]:
    """Width and height in pixels of an encoded image, turned as its EXIF orientation says, from its header.

    Args:
        encoded: a JPEG or PNG.

    Raises:
        ImageError: the bytes are neither.
    """
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except (OSError, PIL.Image.DecompressionBombError):
        raise ImageError("image has no header that tells its size") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; its folder is made.

    Raises:
        OSError: it cannot be written.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files so that each is there whole or as it was; none is put in its place before all are written.

    Args:
        files: content by path; folders are made.

    Raises:
        OSError: one cannot be written.
    """
    written: dict[Path, str] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, written[path] = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)  # mkstemp makes it readable by its owner alone
        for path in files:
            os.replace(written[path], path)
            del written[path]
    finally:
        for beside in written.values():
            os.unlink(beside)
