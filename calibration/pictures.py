"""The pictures that ranges and precision are measured on."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from triton_yolo.calibration.errors import CalibrationError
from triton_yolo.calibration.parallel import on_all_cores
from triton_yolo.calibration.steps import said
from triton_yolo.cli.progress import tracked
from triton_yolo.clients.coco import AnnotationError, Annotations
from triton_yolo.files import find_images
from triton_yolo.letterboxing import letterboxed
from triton_yolo.nms.letterbox import Letterbox

FEWEST = 8  # pictures that say anything about ranges

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # height and width
Made = TypeVar("Made")


@dataclass(frozen=True)
class Pictures:
    """Readable pictures of a folder.

    Attributes:
        files: sorted by name.
        hashes: SHA-256 of each file.
        letterbox: how they are fitted into the network's input.
        skipped: what could not be read, and why.
    """

    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    letterbox: Letterbox
    skipped: Mapping[Path, str]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[tuple[Pixels, Size]]:
        """Read them one at a time: letterboxed, uint8 [3, H, W] RGB, and the height and width before."""
        return map(self._letterboxed, self.files)

    def apart(self, most: int) -> Iterator[list[tuple[Pixels, Size]]]:
        """Read at most so many at a time."""
        for start in range(0, len(self), most):
            yield [self._letterboxed(file) for file in self.files[start : start + most]]

    def mapped(self, function: Callable[[Pixels, Size], Made]) -> Iterator[Made]:
        """Read them, and call a function for each, on all cores; results come in the order of the pictures."""
        return on_all_cores(lambda file: function(*self._letterboxed(file)), self.files)

    def _letterboxed(self, file: Path) -> tuple[Pixels, Size]:
        picture = _read(file)
        height, width = picture.shape[:2]
        return letterboxed(picture, self.letterbox), (height, width)

    def spread(self, most: int) -> Pictures:
        """Return at most so many of them, evenly spread."""
        chosen = _spread(range(len(self)), most)
        files, hashes = (tuple(values[i] for i in chosen) for values in (self.files, self.hashes))
        return Pictures(files, hashes, self.letterbox, self.skipped)

    def since(self, first: int) -> Pictures:
        """Return those from a number on."""
        return Pictures(self.files[first:], self.hashes[first:], self.letterbox, self.skipped)

    def skipping(self, more: Mapping[Path, str]) -> Pictures:
        """Return the same pictures, with more that could not be read."""
        return Pictures(self.files, self.hashes, self.letterbox, {**self.skipped, **more})


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def _read(file: Path) -> Pixels:
    """Upright as its EXIF orientation says, uint8 [H, W, 3] RGB."""
    with PIL.Image.open(file, formats=("JPEG", "PNG")) as image:
        return np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"), np.uint8)


def read_pictures(files: Sequence[Path], letterbox: Letterbox, most: int) -> Pictures:
    """Read files, and leave out those that are damaged.

    Args:
        files: JPEGs and PNGs.
        letterbox: how they are fitted into the network's input.
        most: how many to keep, evenly spread.

    Raises:
        CalibrationError: fewer than FEWEST can be read.
    """
    kept, hashes, skipped = [], [], {}
    chosen = _spread(sorted(files), most)
    read = tracked(on_all_cores(_checked, chosen), len(chosen), said("images"))
    for file, (sha256, why) in zip(chosen, read, strict=True):
        if sha256:
            hashes.append(sha256)
            kept.append(file)
        else:
            skipped[file] = why
    if len(kept) < FEWEST:
        why = "".join(f"; {file}: {reason}" for file, reason in list(skipped.items())[:3])
        raise CalibrationError(f"at least {FEWEST} images are needed, {len(kept)} of {len(chosen)} can be read{why}")
    return Pictures(tuple(kept), tuple(hashes), letterbox, skipped)


def _checked(file: Path) -> tuple[str, str]:
    """Return a file's SHA-256, or why it cannot be read."""
    try:
        _read(file)
        return hashlib.sha256(file.read_bytes()).hexdigest(), ""
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError) as error:
        return "", " ".join(str(error).split()) or type(error).__name__


def find_pictures(folder: Path) -> list[Path]:
    """Return the JPEGs and PNGs of a folder, without those in folders inside it.

    Raises:
        CalibrationError: the folder has none.
    """
    files, _ = find_images([str(folder)])
    if not files:
        raise CalibrationError(f"there are no JPEGs or PNGs in {folder}")
    return files


def annotated(annotations: Annotations, folder: Path) -> dict[Path, int]:
    """Return the annotated images that are in a folder, with their ids.

    Raises:
        AnnotationError: fewer than FEWEST are in the folder: the annotations belong to other images.
    """
    found = {folder / name: number for number, name in annotations.images.items() if (folder / name).is_file()}
    if len(found) < FEWEST:
        example = next(iter(annotations.images.values()), "nothing")
        raise AnnotationError(
            f"the annotations belong to other images: {len(found)} of their {len(annotations.images)} are in {folder}; "
            f"the first that they name is {example}"
        )
    return found
