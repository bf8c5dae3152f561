"""Seeded damage to encoded images."""

from __future__ import annotations

import numpy as np


def damaged(encoded: bytes, seed: int) -> bytes:
    """The same file after one to four accidents: flipped, lost, repeated or cut bytes."""
    rng = np.random.default_rng(seed)
    data = bytearray(encoded)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data))) if len(data) else 0
        length = int(rng.integers(1, 64))
        kind = rng.integers(8)
        if kind < 4:
            for i in range(at, min(at + length, len(data)), int(rng.integers(1, 16))):
                data[i] ^= int(rng.integers(1, 256))
        elif kind < 5:
            del data[at : at + length]
        elif kind < 7:
            data[at:at] = data[at : at + length]
        else:
            del data[at:]
    return bytes(data)
