"""Why a request is refused; clients tell the kinds apart by the first words."""

from __future__ import annotations

KEY_WANTED, NO_ROOM, NO_DECODER = "send a key frame", "no room for another stream", "no decoder for this code"
OTHER_NETWORK = "features of another network"


class BadUpdate(ValueError):
    """A request is not what it must be."""


class KeyWanted(BadUpdate):
    """The frame that a request builds on is not here; a key frame mends that."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(f"{KEY_WANTED}: {why}")


class NoDecoder(BadUpdate):
    """Nothing here decodes what is coded."""

    def __init__(self, why: str) -> None:
        """Say why, and what to send instead."""
        super().__init__(f"{NO_DECODER}: {why}")


class OtherNetwork(BadUpdate):
    """Features are of another network than the one here."""

    def __init__(self, why: str) -> None:
        """Say of which, and of which they must be."""
        super().__init__(f"{OTHER_NETWORK}: {why}")


class NoRoom(BadUpdate):
    """There are as many streams as there may be, or their frames take as many bytes as they may."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(f"{NO_ROOM}: {why}")
