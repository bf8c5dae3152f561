"""Images in every form that the client takes."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from tests.clients.comparing import assert_same
from tests.clients.pictures import TURNED
from triton_yolo.clients import AsyncDetector, DetectionError, Detector
from triton_yolo.clients.images import load, upright_size

LOOSE = 0.001


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("BMP", {}), ("TIFF", {}), ("WebP", {"lossless": True}), ("PNG", {})])
def test_files_of_every_lossless_kind_give_the_same(
    url: str, detector: Detector, frames: list[np.ndarray], kind: str, options: dict, tmp_path: Path
) -> None:
    content = encoded(frames[0], kind, **options)
    (tmp_path / "board").write_bytes(content)

    async def asynchronously():
        async with AsyncDetector(url) as asynchronous:
            return await asynchronous.detect(tmp_path / "board", score_threshold=LOOSE)

    expected = detector.detect(frames[0], score_threshold=LOOSE)
    assert len(expected) > 0
    assert_same(detector.detect(content, score_threshold=LOOSE), expected)
    assert_same(detector.detect(tmp_path / "board", score_threshold=LOOSE), expected)
    assert_same(asyncio.run(asynchronously()), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "1"])
def test_a_pillow_image_is_its_rgb_pixels(grpc_detector: Detector, frames: list[np.ndarray], mode: str) -> None:
    image = PIL.Image.fromarray(frames[0]).convert(mode)

    found = grpc_detector.detect(image, score_threshold=LOOSE)

    assert_same(found, grpc_detector.detect(np.asarray(image.convert("RGB")), score_threshold=LOOSE))


def test_pillow_images_and_converted_files_are_turned_upright() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = TURNED
    content = encoded(np.zeros((20, 40, 3), np.uint8), "WebP", exif=exif)
    with PIL.Image.open(io.BytesIO(content)) as image:
        opened = load(image)

    assert isinstance(opened, np.ndarray)
    converted = load(content)
    assert isinstance(converted, np.ndarray)
    assert opened.shape == converted.shape == (40, 20, 3)
    assert upright_size(content) == (20, 40)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_the_server_decodes_is_sent_as_it_is(kind: str, frames: list[np.ndarray]) -> None:
    content = encoded(frames[0], kind)

    assert load(content) == content
    assert load(bytearray(content)) == content
    assert load(memoryview(content)) == content


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WebP"])
def test_a_file_that_cannot_be_converted_is_named_with_its_kind(
    kind: str, frames: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "half"
    path.write_bytes(encoded(frames[0], kind)[:200])

    with pytest.raises(DetectionError, match=f"half: image is a {kind} that Pillow cannot decode"):
        load(path)


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    content = encoded(np.zeros((4, 4), np.uint16), "TIFF")

    with pytest.raises(DetectionError, match=r"more than 8 bits a channel \(mode I;16\): scale it to 8 bits first"):
        load(content)
