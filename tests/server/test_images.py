"""What is told of an encoded image before it is decoded."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.server.damage import damaged
from tests.server.pictures import ENCODINGS, jpeg, picture
from triton_yolo.server.runtimes.dali.encoded import JPEG, MAX_PIXELS, PNG, ImageError, check_image

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def complaint(data: bytes) -> str:
    """What check_image says, nothing where it is content."""
    try:
        check_image(memoryview(data))
    except ImageError as error:
        return str(error)
    return ""


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def frame(height: int = 6, width: int = 8, components: int = 3, marker: int = 0xC0) -> bytes:
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return segment(marker, b"\x08" + size + bytes([components]) + b"\x01\x11\x00" * components)


def scan(components: int = 3, data: bytes = b"abcd") -> bytes:
    return segment(0xDA, bytes([components]) + b"\x01\x00" * components + b"\x00\x3f\x00") + data


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("size", [(1, 1), (37, 52)], ids=str)
def test_every_kind_of_sound_image_passes(name: str, size: tuple[int, int]) -> None:
    assert complaint(ENCODINGS[name](picture(0, *size))) == ""


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (SOI + frame() + scan() + EOI, ""),  # the least that is a whole JPEG
        (SOI + frame() + scan() + EOI + b"padding of a camera", ""),  # what follows the end is nobody's business
        (SOI + b"\xff\xff" + frame() + scan() + EOI, ""),  # fill bytes before a marker
        (SOI + segment(0xE0, b"") + b"junk" + frame() + scan() + EOI, ""),  # decoders skip this too
        (SOI + frame() + scan(data=b"a\xff\x00b\xff\xd3c\xff\xd4") + EOI, ""),  # stuffed bytes and restarts
        (SOI + segment(0xE1, frame(9, 9) + EOI) + frame() + scan() + EOI, ""),  # a thumbnail inside EXIF
        (SOI + frame(marker=0xC2) + scan() + segment(0xC4, b"table") + scan() + EOI, ""),  # progressive: many scans
        (SOI + frame() + scan(1) + scan(1) + scan(1) + EOI, ""),  # one scan for each component
        (SOI + frame() + scan() + segment(0xFE, b"comment") + EOI, "marker FF FE stands inside its scan, at byte "),
        (SOI + frame() + scan(data=b"a\xff\xd8b") + EOI, "marker FF D8 stands inside its scan"),
        (SOI + frame() + scan(), "image is a JPEG that ends early"),
        (SOI + frame() + scan(data=b"a\xff"), "image is a JPEG that ends early"),
        (SOI + frame(), "image is a JPEG that ends early"),
        (SOI + frame()[:9] + EOI, "image is a JPEG that ends early"),  # the frame's length leads past the end
        (SOI + b"\xff\xe0", "image is a JPEG that ends early: 4 bytes"),
        (SOI + b"\xff\xe0\xff\xff" + EOI * 9, "image is a JPEG that ends early: 24 bytes"),
        (SOI + scan() + EOI, "no frame header"),
        (SOI + EOI, "no frame header"),
        (SOI + frame(0, 8) + scan() + EOI, "image has no pixels: its header says 8x0"),
        (SOI + frame(8192, 8192) + scan() + EOI, ""),  # exactly the limit
        (SOI + frame(8193, 8192) + scan() + EOI, f"its header says 8192x8193, the limit is {MAX_PIXELS} pixels"),
        (SOI + frame(9000, 9000) + frame(1, 1) + scan() + EOI, "it has a second frame header, at byte 21"),
        (PNG, "image is a damaged PNG"),
        (PNG + bytes(8), "image is a damaged PNG"),
        (PNG + bytes(4) + b"IDAT" + bytes(8), "image is a damaged PNG"),
        (PNG + bytes(4) + b"IHDR" + bytes(8), "image has no pixels: its header says 0x0"),
        (PNG[:7], "image is neither JPEG nor PNG: its first bytes are 89 50 4e 47 0d 0a 1a"),
        (b"", "image is empty"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_the_structure_decides(data: bytes, text: str) -> None:
    answer = complaint(data)
    assert text in answer
    assert bool(text) == bool(answer)


# hypothesis finds bytes; the only way out besides an answer is an ImageError, which complaint() catches.
@settings(max_examples=500, deadline=None)
@given(st.sampled_from([b"", JPEG, PNG, SOI + frame(), SOI + frame() + scan(), PNG + b"\0\0\0\rIHDR"]), st.binary())
@example(JPEG, b"")
@example(SOI, b"\xff\xc0\x00\x11\x08\x00")
@example(SOI, b"\xff\xda\x00")
def test_arbitrary_bytes_raise_nothing_but_an_image_error(start: bytes, rest: bytes) -> None:
    assert "\n" not in complaint(start + rest)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_damaged_images_raise_nothing_but_an_image_error(seed: int, progressive: bool) -> None:
    assert "\n" not in complaint(damaged(jpeg(picture(0, 32, 48), progressive=progressive), seed))


def test_a_jpeg_cut_anywhere_is_refused() -> None:
    for progressive in (False, True):
        whole = jpeg(picture(0, 60, 80), progressive=progressive)
        assert all(complaint(whole[:length]) for length in range(len(whole)))


@pytest.mark.parametrize(
    "data", [SOI + b"\xff\xe0\x00\x02" * 5_000_000, SOI + b"\xff\xe0" + bytes(20_000_000), JPEG + b"\xff" * 20_000_000]
)
def test_nonsense_of_20_megabytes_is_refused_quickly(data: bytes) -> None:
    start = time.monotonic()
    assert complaint(data)
    assert time.monotonic() - start < 5
