"""A tensor that lies in memory which the server has mapped too."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

PREFIX = "triton-yolo-frames-"  # of names on the server and in /dev/shm; process id and random digits follow


@dataclass(frozen=True)
class Region:
    """Where a request's tensor lies.

    Attributes:
        name: under which the server knows the memory.
        byte_size: of the tensor.
        offset: of the tensor in the memory, in bytes.
        shape: of the tensor, with the batch dimension first.
    """

    name: str
    byte_size: int
    offset: int
    shape: tuple[int, ...]


def unique_name() -> str:
    """A name that no other client has, nor one that was killed and whose region the server still holds."""
    return f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
