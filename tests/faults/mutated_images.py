"""Seeded mutations of JPEG and PNG files that know their grammar: what comes out gets past the first checks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tests.server.damage import damaged

Rng = np.random.Generator
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MARKERS = (0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xC9, 0xCC, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE, 0xDA)
CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT")
LENGTHS = (0, 1, 2, 7, 255, 256, 0x7FFF, 0xFFFF)  # where a length stands: none, some, as many as there can be


@dataclass(frozen=True)
class Part:
    """A segment of a JPEG with the entropy-coded data behind it, or a chunk of a PNG.

    Attributes:
        kind: marker, or name of the chunk.
        content: without length and checksum.
        length: that is claimed; the content's where None.
        tail: bytes behind it: the scan of a JPEG, the checksum of a PNG where it is not the right one.
    """

    kind: int | bytes
    content: bytes
    length: int | None = None
    tail: bytes = b""


def mutated_image(encoded: bytes, rng: Rng) -> bytes:
    """The same picture after one to three mutations of its parts, and sometimes of its bytes."""
    split, join, kinds = (
        (png_parts, png_of, CHUNKS) if encoded.startswith(PNG_SIGNATURE) else (jpeg_parts, jpeg_of, MARKERS)
    )
    parts = split(encoded)
    for _ in range(rng.integers(1, 4)):
        parts = _mutated(parts, rng, kinds)
    out = join(parts)
    return damaged(out, int(rng.integers(1 << 31))) if rng.random() < 0.2 else out


def _mutated(parts: list[Part], rng: Rng, kinds: tuple[int, ...] | tuple[bytes, ...]) -> list[Part]:
    """Mutate one part, or the order of all."""
    at = int(rng.integers(len(parts)))
    part, others = parts[at], [*parts[:at], *parts[at + 1 :]]
    ways: list[Callable[[], list[Part]]] = [
        lambda: others or parts,
        lambda: [*parts[:at], part, *parts[at:]],
        lambda: [*others[: (where := int(rng.integers(len(parts))))], part, *others[where:]],
        lambda: [*parts[:at], replace(part, kind=kinds[rng.integers(len(kinds))]), *parts[at + 1 :]],
        lambda: [*parts[:at], replace(part, length=int(rng.choice(LENGTHS))), *parts[at + 1 :]],
        *[lambda: [*parts[:at], replace(part, content=_content(part.content, rng)), *parts[at + 1 :]]] * 4,
        lambda: [*parts[:at], replace(part, tail=damaged(part.tail, int(rng.integers(1 << 31)))), *parts[at + 1 :]],
    ]
    return ways[rng.integers(len(ways))]()


def _content(content: bytes, rng: Rng) -> bytes:
    """Bytes set to values that mean something, cut, or made longer; sizes in headers are among them."""
    data = bytearray(content)
    kind = rng.integers(6)
    if kind == 0 or not data:
        return bytes(data[: rng.integers(len(data) + 1)])
    if kind == 1:
        return bytes(data) + rng.bytes(int(rng.integers(1, 2000)))
    if kind == 2:  # deflated anew: its checksums hold, the pixels do not fit
        try:
            plain = bytearray(zlib.decompress(content))
        except zlib.error:
            plain = data
        return zlib.compress(bytes(plain[: rng.integers(len(plain) + 1)]), 1)
    for _ in range(rng.integers(1, 4)):
        data[rng.integers(min(len(data), 32))] = int(rng.choice((0, 1, 2, 3, 4, 8, 16, 17, 32, 0x7F, 0x80, 0xFE, 0xFF)))
    return bytes(data)


def jpeg_parts(encoded: bytes) -> list[Part]:
    """The segments of a sound JPEG."""
    parts, at = [], 0
    while at < len(encoded):
        marker = encoded[at + 1]
        if marker in (0xD8, 0xD9):
            end, content = at + 2, b""
        else:
            end = at + 2 + struct.unpack_from(">H", encoded, at + 2)[0]
            content = encoded[at + 4 : end]
        tail = end
        if marker == 0xDA:
            while encoded[tail] != 0xFF or encoded[tail + 1] in (0, *range(0xD0, 0xD8)):
                tail += 1
        parts.append(Part(marker, content, tail=encoded[end:tail]))
        at = tail
    return parts


def jpeg_of(parts: list[Part]) -> bytes:
    """The file of segments."""
    out = bytearray()
    for part in parts:
        assert isinstance(part.kind, int)
        out += bytes((0xFF, part.kind))
        if part.kind not in (0xD8, 0xD9):
            length = len(part.content) + 2 if part.length is None else part.length
            out += struct.pack(">H", min(length, 0xFFFF)) + part.content
        out += part.tail
    return bytes(out)


def png_parts(encoded: bytes) -> list[Part]:
    """The chunks of a sound PNG."""
    parts, at = [], len(PNG_SIGNATURE)
    while at < len(encoded):
        (length,) = struct.unpack_from(">I", encoded, at)
        parts.append(Part(encoded[at + 4 : at + 8], encoded[at + 8 : at + 8 + length]))
        at += 12 + length
    return parts


def png_of(parts: list[Part]) -> bytes:
    """The file of chunks, each with its right checksum unless it has another one."""
    out = bytearray(PNG_SIGNATURE)
    for part in parts:
        assert isinstance(part.kind, bytes)
        out += struct.pack(">I", len(part.content) if part.length is None else part.length) + part.kind + part.content
        out += part.tail or struct.pack(">I", zlib.crc32(part.kind + part.content))
    return bytes(out)
