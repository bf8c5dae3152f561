"""The image files of a folder, one after the other."""

from __future__ import annotations

from pathlib import Path

from triton_yolo.clients.stream.errors import SourceError
from triton_yolo.clients.stream.frames import ENCODED, FrameFormat
from triton_yolo.clients.stream.sources.base import Outlet, Source

SUFFIXES = (".jpg", ".jpeg", ".png")


class Folder(Source):
    """A folder: its JPEGs and PNGs by name, as they are. They are sent encoded, and the server decodes them.

    Options: ``loop`` (false).
    """

    kind = "folder"
    waits = True

    @classmethod
    def known_options(cls) -> frozenset[str]:
        """See Source."""
        return frozenset({"loop"})

    def open(self) -> FrameFormat:
        """See Source."""
        folder = Path(self.uri.removeprefix("folder:")).expanduser()
        self._files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not self._files:
            raise SourceError(f"no JPEG or PNG in {folder}")
        return FrameFormat(ENCODED, 0, 0, max(path.stat().st_size for path in self._files))

    def run(self, outlet: Outlet) -> None:
        """See Source."""
        for number in outlet.ticks(self.fps):
            if number >= len(self._files) and not self.options.get("loop", False):
                return
            file = self._files[number % len(self._files)]
            try:
                outlet.put(file.read_bytes())
            except ValueError:
                raise SourceError(f"{file} has grown: it does not fit into the ring any more") from None
