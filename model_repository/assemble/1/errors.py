"""Why a request is refused; clients tell the kinds apart by the first words."""

from __future__ import annotations

KEY_WANTED, NO_ROOM, NO_DECODER = "send a key frame", "no room for another stream", "no decoder for coded tiles"


class TileError(ValueError):
    """A request is not what it must be."""


class KeyWanted(TileError):
    """The frame that a request builds on is not here; a key frame mends that."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(f"{KEY_WANTED}: {why}")


class NoDecoder(TileError):
    """Tiles are coded, and nothing here decodes them."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(f"{NO_DECODER}: this server has no OpenCV, send pixels")


class NoRoom(TileError):
    """There are as many streams as there may be, or their frames take as many bytes as they may."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(f"{NO_ROOM}: {why}")
