"""Values of options that several sources take."""

from __future__ import annotations

import re

from triton_yolo.clients.stream.errors import SourceError


def size_of(value: object) -> tuple[int, int]:
    """Return height and width of a size such as "960x1280".

    Raises:
        SourceError: it is no such size.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value))
    if not match:
        raise SourceError(f"a size is HxW, such as 960x1280; got {value!r}")
    return int(match[1]), int(match[2])
