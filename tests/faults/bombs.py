"""Small files that cost a decoder much: pixels, scans, chunks and text out of nothing."""

from __future__ import annotations

import math
import struct
import zlib

from tests.faults.mutated_images import Part, jpeg_of, png_of, png_parts
from tests.server.pictures import picture, png

SIDE = 8192  # pixels: the largest square that is decoded
EOB_RUNS = (
    14  # bits of the length of a run of blocks without a coefficient, the most that there are (ITU T.81, G.1.2.2)
)


def zeros(count: int) -> bytes:
    """So many zeros, deflated."""
    packer, block = zlib.compressobj(9), bytes(1 << 20)
    parts = [packer.compress(block[: min(len(block), count - at)]) for at in range(0, count, len(block))]
    return b"".join([*parts, packer.flush()])


def black_png(side: int, bits: int, kind: int, row: int) -> bytes:
    """A whole PNG of black pixels.

    Args:
        side: in pixels.
        bits: of a sample.
        kind: 0 for grey, 6 for RGBA.
        row: bytes of a row.
    """
    header = struct.pack(">IIBBBBB", side, side, bits, kind, 0, 0, 0)
    return png_of([Part(b"IHDR", header), Part(b"IDAT", zeros(side * (1 + row))), Part(b"IEND", b"")])


def png_with(*parts: Part) -> bytes:
    """A small PNG with more chunks behind its header."""
    header, *others = png_parts(png(picture(0, 60, 80)))
    return png_of([header, *parts, *others])


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """A whole progressive JPEG of grey pixels: after that of means, scans of nothing, each over all blocks."""
    blocks = math.ceil(side / 8) ** 2
    means = Part(0xDA, bytes((1, 1, 0x00, 0, 0, 0)), tail=bytes(math.ceil(blocks / 8)))  # a bit says "as before"
    longest = (2 << EOB_RUNS) - 1
    bits = f"0{'1' * EOB_RUNS}" * math.ceil(blocks / longest)
    bits += "1" * (-len(bits) % 8)
    runs = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    nothing = Part(0xDA, bytes((1, 1, 0x00, 1, 63, 0)), tail=runs)
    return jpeg_of(
        [
            Part(0xD8, b""),
            Part(0xDB, b"\0" + b"\1" * 64),
            Part(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes((1, 0x11, 0))),
            Part(0xC4, bytes((0x00, 1, *[0] * 15, 0))),  # of means: a difference of 0 is one bit
            Part(0xC4, bytes((0x10, 1, *[0] * 15, EOB_RUNS << 4))),  # of the rest: a run is one bit, and its length
            means,
            *[nothing] * (scans - 1),
            Part(0xD9, b""),
        ]
    )


def bombs() -> dict[str, tuple[bytes, str]]:
    """By name: the file, and what the server says to it; nothing where it is decoded, which must be cheap."""
    text = zeros(1 << 28)
    return {
        "PNG of 50000x50000": (black_png(50_000, 1, 0, 6250), "image is too large: its header says 50000x50000"),
        "PNG of 8192x8192 with 16 bits and alpha": (black_png(SIDE, 16, 6, 8 * SIDE), ""),
        "PNG with 256 MB of text": (png_with(Part(b"zTXt", b"a\0\0" + text)), ""),
        "PNG with 256 MB of international text": (png_with(Part(b"iTXt", b"a\0\1\0\0\0" + text)), ""),
        "PNG with a colour profile of 256 MB": (png_with(Part(b"iCCP", b"a\0\0" + text)), ""),
        "PNG with more pixels than its header says": (png_with(Part(b"IDAT", text)), ""),
        "PNG of 200,000 chunks": (png_with(*[Part(b"tEXt", b"a\0b")] * 200_000), ""),
        "JPEG of 65500x65500": (jpeg_of_scans(65_500, 2), "image is too large: its header says 65500x65500"),
        "JPEG of 10,000 scans": (jpeg_of_scans(SIDE, 10_000), "image has more than 100 scans"),
        "JPEG of 100 scans": (jpeg_of_scans(SIDE, 100), ""),
    }
