"""Finding images, and writing results."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".jpg", ".jpeg", ".png")  # in a folder; a file that is named by itself may have any
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
SHOWN = 4  # kinds of other files that a message names


class Found(NamedTuple):
    """What ``find_images`` found.

    Attributes:
        files: images, each once.
        missing: arguments without any image, each with the reason.
    """

    files: list[Path]
    missing: dict[str, str]


def find_images(arguments: Iterable[str], *, suffixes: Sequence[str] = SUFFIXES, recursive: bool = False) -> Found:
    """Return the files that a user named.

    Args:
        arguments: files, folders, and patterns such as ``boards/*.png`` and ``**/*.jpg``.
        suffixes: endings of the files to take from a folder, in lower case; a file that is named by itself may have
            any, except a video's.
        recursive: also search the folders inside a folder; those whose names begin with a dot are left out.

    Returns:
        The files in the order of the arguments, sorted within each, and the arguments without any.
    """
    files: list[Path] = []
    missing: dict[str, str] = {}
    for argument in arguments:
        path = Path(argument)
        reason = ""
        if path.is_dir():
            found = [file for file in _files(path, recursive) if file.suffix.lower() in suffixes]
            reason = "" if found else _why_empty(path, suffixes, recursive)
        elif path.exists():
            found = [path]
        else:
            found = sorted(Path(name) for name in glob.glob(argument, recursive=True) if Path(name).is_file())
            reason = "" if found else _why_absent(argument)
        if len(found) == 1 and found[0].suffix.lower() in VIDEOS:
            found, reason = [], "a video: save its frames as images first, or send them with Detector.detect_frames"
        files += found
        if not found:
            missing[argument] = reason
    return Found(list(dict.fromkeys(files)), missing)


def _files(folder: Path, recursive: bool) -> list[Path]:
    """Return the files of a folder, sorted."""
    if not recursive:
        return sorted(path for path in folder.iterdir() if path.is_file())
    files = []
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(inside, name) for name in names]
    return sorted(path for path in files if path.is_file())


def _why_absent(argument: str) -> str:
    if "://" in argument:
        return "a URL: download the image first"
    return "no file has a name of this pattern" if glob.has_magic(argument) else "no such file or folder"


def _why_empty(folder: Path, suffixes: Sequence[str], recursive: bool) -> str:
    if not recursive:
        deeper = [path for path in _files(folder, recursive=True) if path.suffix.lower() in suffixes]
        if deeper:
            return f"the images are in folders inside this one: look in {deeper[0].parent}, or search them all"
    files = _files(folder, recursive)
    if not files:
        return "an empty folder" if not any(folder.iterdir()) else "a folder without files"
    kinds = ", ".join(sorted({path.suffix.lower() or "no suffix" for path in files})[:SHOWN])
    return f"a folder with {len(files)} {'file' if len(files) == 1 else 'files'} of other kinds ({kinds})"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; its folder is made.

    Raises:
        OSError: it cannot be written.
    """
    write_together({path: content})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files so that each is there whole or as it was; none is put in its place before all are written.

    Args:
        files: content by path; folders are made.

    Raises:
        OSError: one cannot be written.
    """
    written: dict[Path, str] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, written[path] = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(written[path], 0o644)  # mkstemp makes it readable by its owner alone
        for path in files:
            os.replace(written[path], path)
            del written[path]
    finally:
        for beside in written.values():
            os.unlink(beside)
