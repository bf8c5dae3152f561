"""How many images networks hold, known to the models before them, which are processes of their own.

Without it, those models go on making images for a network that is behind, with time of the processor that the network
needs, and what has left the first queue waits a second time.
"""

from __future__ import annotations

import mmap
from pathlib import Path

FILE = "backlog"  # in a network's folder: a uint32 in this machine's order of bytes


def create(network: Path) -> None:
    """Leave the file in the folder of a network, which holds nothing."""
    (network / FILE).write_bytes(bytes(4))


class Backlog:
    """The number of images that run in one network or several, and wait there."""

    def __init__(self, *files: Path) -> None:
        """Map what ``create`` left."""
        self._cells = [_mapped(file) for file in files]

    @classmethod
    def of(cls, network: Path) -> Backlog:
        """Return the one of a network, given its folder, which holds nothing."""
        backlog = cls(network / FILE)
        backlog.images = 0
        return backlog

    @classmethod
    def of_all(cls, repository: Path) -> Backlog:
        """Return the sum over the networks of a repository; 0 where there is none on the CPU."""
        return cls(*sorted(repository.glob(f"*/{FILE}")))

    @property
    def images(self) -> int:
        """How many images they hold; only the one of a single network can be set."""
        return sum(cell[0] for cell in self._cells)

    @images.setter
    def images(self, images: int) -> None:
        (cell,) = self._cells
        cell[0] = images


def _mapped(file: Path) -> memoryview:
    with file.open("r+b") as opened:
        return memoryview(mmap.mmap(opened.fileno(), 4)).cast("I")
