"""What a line's file says of each kind of sink; nothing that a sink needs is loaded for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from triton_yolo.clients.stream.strict import Strict


class JsonSettings(Strict):
    """Lines of JSON in a file.

    Attributes:
        kind: "json".
        path: the file, to which lines are added.
    """

    kind: Literal["json"]
    path: Path


# All of them, told apart by their key ``kind``.
SinkSettings = JsonSettings
