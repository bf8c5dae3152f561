"""Images that cannot be decoded: each gets a clear error of its own, and its neighbours get their answers."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from tests.server.pictures import encode, jpeg, picture, png
from tests.server.wire import Client, concurrently, refusal, same

JPEG = jpeg(picture(0, 300, 400))
PROGRESSIVE = jpeg(picture(0, 300, 400), progressive=True)
PNG = png(picture(0, 300, 400))
UNDECODABLE = "image cannot be decoded: it is damaged, or a kind of JPEG or PNG that is not supported"


def claiming(encoded: bytes, height: int, width: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    at = encoded.index(b"\xff\xc0") + 5
    return encoded[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + encoded[at + 4 :]


def flipped(encoded: bytes, at: int) -> bytes:
    """The same file with one byte turned over."""
    return encoded[:at] + bytes([encoded[at] ^ 0xFF]) + encoded[at + 1 :]


def other(kind: str) -> bytes:
    """An image of a kind that is not served."""
    return encode(Image.fromarray(picture(0, 30, 40)), kind)


def with_marker_inside_its_scan() -> bytes:
    at = JPEG.index(b"\xff\xda") + 200
    return JPEG[:at] + b"\xff\xf4\x00\x04\x00\x00" + JPEG[at:]


def with_many_scans() -> bytes:
    """A progressive JPEG whose last scan stands in it a hundred times more."""
    at = PROGRESSIVE.rindex(b"\xff\xda")
    return PROGRESSIVE[:at] + 100 * PROGRESSIVE[at:-2] + PROGRESSIVE[at:]


BAD = {
    "no bytes": (b"", "image is empty; send the bytes of one JPEG or PNG"),
    "text": (b"hello, world", "image is neither JPEG nor PNG: its first bytes are 68 65 6c 6c 6f 2c 20 77"),
    "one byte": (b"\xff", "image is neither JPEG nor PNG: its first bytes are ff"),
    "GIF": (other("GIF"), "image is neither JPEG nor PNG: its first bytes are 47 49 46"),
    "BMP": (other("BMP"), "image is neither JPEG nor PNG: its first bytes are 42 4d"),
    "TIFF": (other("TIFF"), "image is neither JPEG nor PNG: its first bytes are 49 49"),
    "WebP": (other("WEBP"), "image is neither JPEG nor PNG: its first bytes are 52 49 46 46"),
    "JPEG cut in its scan": (JPEG[: len(JPEG) // 2], "image is a JPEG that ends early"),
    "JPEG cut in its header": (JPEG[:100], "image is a JPEG that ends early: 100 bytes"),
    "JPEG without its last byte": (JPEG[:-1], "no end-of-image marker behind its scan"),
    "progressive JPEG cut": (PROGRESSIVE[: len(PROGRESSIVE) // 2], "image is a JPEG that ends early"),
    "JPEG of nothing but its end": (b"\xff\xd8\xff\xd9", "image is a damaged JPEG: no frame header was found in it"),
    "JPEG with a marker in its scan": (with_marker_inside_its_scan(), "marker FF F4 stands inside its scan, at byte"),
    "JPEG of more scans than any camera makes": (with_many_scans(), "image has more than 100 scans"),
    "JPEG that claims 60000x60000": (
        claiming(JPEG, 60000, 60000),
        "image is too large: its header says 60000x60000, the limit is 67108864 pixels",
    ),
    "JPEG that claims no rows": (claiming(JPEG, 0, 400), "image has no pixels: its header says 400x0"),
    "JPEG with a broken table": (flipped(JPEG, JPEG.index(b"\xff\xc4") + 5), UNDECODABLE),
    "PNG cut": (PNG[: len(PNG) // 2], UNDECODABLE),
    "PNG cut in its header": (PNG[:20], "image is a damaged PNG: it ends, or has no IHDR chunk"),
    "PNG with a broken chunk": (flipped(PNG, len(PNG) // 2), UNDECODABLE),
    "PNG with a broken header": (flipped(PNG, 30), UNDECODABLE),
    "PNG that claims 60000x60000": (
        PNG[:16] + (60000).to_bytes(4, "big") * 2 + PNG[24:],
        "image is too large: its header says 60000x60000, the limit is 67108864 pixels",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_gets_a_clear_error_and_the_server_stays_ready(cells: Client, name: str) -> None:
    image, text = BAD[name]
    answer = cells.refusal(image)
    assert "INVALID_ARGUMENT" in answer
    assert text in answer
    assert cells.ready()


def test_neighbours_of_bad_images_get_their_answers(cells: Client) -> None:
    """Every bad image is sent three times among sound ones, 24 at a time, so that they share batches."""
    sound = [jpeg(picture(seed, 200 + seed, 320)) for seed in range(12)]
    alone = [cells.detect(image, score_threshold=0.4) for image in sound]
    jobs: list[int | str] = [*BAD, *BAD, *BAD, *list(range(len(sound))) * 10]
    jobs = [jobs[i] for i in np.random.default_rng(0).permutation(len(jobs))]

    def send(job: int | str) -> bool:
        if isinstance(job, str):
            return BAD[job][1] in cells.refusal(BAD[job][0])
        return same(cells.detect(sound[job], score_threshold=0.4), alone[job])

    right = concurrently(send, jobs, threads=24)
    assert [job for job, fine in zip(jobs, right, strict=True) if not fine] == []
    assert cells.ready()


def test_the_bad_image_of_a_request_of_several_is_named(cells: Client) -> None:
    good = np.frombuffer(JPEG, np.uint8)
    bad = good.copy()
    bad[:4] = 0
    text = refusal(lambda: cells.ask("detect", image=np.stack([good, bad, good])))
    assert "image is neither JPEG nor PNG: its first bytes are 00 00 00 00" in text
    assert "(number 1 of the batch)" in text


def test_100_megabytes_of_noise_are_refused_in_bounded_time(cells: Client) -> None:
    noise = np.random.default_rng(0).bytes(100_000_000)
    start = time.monotonic()
    assert "image is neither JPEG nor PNG" in cells.refusal(noise)
    assert "image is a JPEG that ends early" in cells.refusal(b"\xff\xd8\xff\xe0\x00\x10" + noise.replace(b"\xff", b""))
    assert "image is a JPEG that ends early" in cells.refusal(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 20_000_000)
    assert time.monotonic() - start < 60
    assert cells.ready()


def test_the_largest_image_that_is_taken_is_answered(cells: Client) -> None:
    buffer = io.BytesIO()
    Image.new("L", (8192, 8192), 255).save(buffer, "JPEG")
    assert cells.detect(buffer.getvalue())["num_detections"][0, 0] == 100
