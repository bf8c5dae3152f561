"""Features and their differences as they travel: sparse, and coded without loss. Both ends use this file."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from .errors import BadUpdate, NoDecoder

try:
    import zstandard
except ImportError:  # an end without it takes zlib's code alone
    zstandard = None  # type: ignore[assignment]

ZSTD = b"\x28\xb5\x2f\xfd"  # the first bytes of a frame of zstd (RFC 8878, 3.1.1)
LEVEL = 1  # of both codes
HAS_ZSTD = zstandard is not None

Features = npt.NDArray[np.int8]


def encoded(content: bytes, zstd: bool) -> bytes:
    """Code bytes.

    Args:
        content: any.
        zstd: with zstd; else with zlib, which every Python has.
    """
    return zstandard.compress(content, LEVEL) if zstd else zlib.compress(content, LEVEL)


def decoded(coded: bytes, most: int) -> bytes:
    """Decode bytes.

    Args:
        coded: of encoded().
        most: bytes that may come out; no more memory is taken, whatever the code says.

    Raises:
        BadUpdate: it is no such code, is damaged, or has more.
        NoDecoder: it is zstd's, which is not installed here.
    """
    if coded.startswith(ZSTD):
        if zstandard is None:
            raise NoDecoder("this server has no package zstandard, code with zlib")
        return _of_zstd(coded, most)
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(coded, most + 1)
    except zlib.error as error:
        raise BadUpdate(f"coded is damaged: zlib says {error}") from None
    if len(content) > most:
        raise BadUpdate(f"coded must have at most {most} bytes when it is decoded")
    if not engine.eof:
        raise BadUpdate(f"coded ends early: of {len(coded)} bytes, {len(content)} were decoded")
    return content


def _of_zstd(coded: bytes, most: int) -> bytes:
    try:
        size = zstandard.get_frame_parameters(coded).content_size
        if size > most:  # also where it is not said
            raise BadUpdate(f"coded must have at most {most} bytes when it is decoded, and say so; it says {size}")
        content: bytes = zstandard.decompress(coded, most)
    except zstandard.ZstdError as error:
        raise BadUpdate(f"coded is damaged: zstd says {error}") from None
    return content


def packed(features: Features, kept: Features) -> bytes:
    """Return how features differ from others: which do, a bit for each, and by how much, a byte for each that does.

    Args:
        features: int8 [L].
        kept: int8 [L], what they are compared with.
    """
    difference = features.view(np.uint8) - kept.view(np.uint8)  # modulo 256, so that the sum is exact
    changed = difference != 0
    return bytes(np.packbits(changed).tobytes() + difference[changed].tobytes())


def added(kept: Features, content: bytes) -> Features:
    """Return the features that differ so from others.

    Args:
        kept: int8 [L], the others; left as they are.
        content: of packed().

    Raises:
        BadUpdate: it is of another length.
    """
    head = -(-len(kept) // 8)
    bits = np.unpackbits(np.frombuffer(content[:head], np.uint8))
    values = np.frombuffer(content, np.uint8, offset=min(head, len(content)))
    if len(content) < head or bits[len(kept) :].any() or np.count_nonzero(bits) != len(values):
        raise BadUpdate(
            f"coded must be a bit for each of {len(kept)} features, and a byte for each whose bit is set; it has "
            f"{len(content)} bytes"
        )
    features = kept.copy()
    features.view(np.uint8)[bits[: len(kept)].view(bool)] += values
    return features
