"""The Markdown pages of the repository, taken apart: links, headings, code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

BUILT = {"build", "dist", "node_modules", "out"}  # folders that a checkout may have and git does not
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4,}\S.*|[ ]*)\n)+")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        path: of the file.
        text: content of the file.
    """

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Return the path from the repository's root."""
        return self.path.relative_to(ROOT).as_posix()

    def fenced(self, language: str) -> list[str]:
        """Return the code blocks between fences that name a language."""
        return [block[2] for block in FENCE.findall(self.text) if block[1] == language]

    def prose(self) -> str:
        """Return the text without code blocks."""
        return FENCE.sub("", self.text)

    def code(self) -> Iterator[str]:
        """Yield the lines of all code blocks, and the code within sentences."""
        for _, _, block in FENCE.findall(self.text):
            yield from block.splitlines()
        for block in INDENTED.findall(self.prose()):
            yield from block.splitlines()
        yield from SPAN.findall(self.prose())

    def links(self) -> list[str]:
        """Return the targets of all links and pictures."""
        return LINK.findall(SPAN.sub("", re.sub(r"\[`([^`]*)`\]", r"[\1]", self.prose())))

    def anchors(self) -> set[str]:
        """Return the names of the headings, as GitHub makes them."""
        found: set[str] = set()
        for heading in re.findall(r"^#+ (.+)$", self.prose(), re.MULTILINE):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            number = 0
            while (unique := f"{anchor}-{number}" if number else anchor) in found:
                number += 1
            found.add(unique)
        return found


def pages() -> list[Page]:
    """Return every page of the repository."""
    return [Page(path, path.read_text()) for path in sorted(_files(ROOT)) if path.suffix == ".md"]


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, but in those that are built or hidden."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir():
            yield path
        elif path.name not in BUILT and (path.name[0] != "." or path.name == ".github"):
            yield from _files(path)


def page(name: str) -> Page:
    """Return the page of this path from the repository's root."""
    return Page(ROOT / name, (ROOT / name).read_text())
