"""Images by the million: from folders, tar archives and object stores, one after the other and never all at once."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from triton_yolo.errors import TritonYoloError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class SourceMissing(TritonYoloError):
    """There is nothing at a place that a user named, or it cannot be reached."""


@dataclass(frozen=True)
class Item:
    """One image, or what stands in its place.

    Attributes:
        name: path or URL; within an archive, the archive's and behind it that of the member.
        read: returns the bytes of the file, raises OSError where that fails.
    """

    name: str
    read: Callable[[], bytes]


def items(places: Sequence[str], suffixes: Sequence[str], wanted: Callable[[str], bool]) -> Iterator[Item]:
    """Yield the images of several places, in an order that stays the same.

    Args:
        places: files, folders (searched at any depth; names that begin with a dot are left out), tar archives, and
            URLs of any file system that fsspec knows: ``s3://bucket/folder``.
        suffixes: endings of images in folders, archives and object stores, in lower case.
        wanted: whether an image of that name is to be read; the content of others is passed over.

    Raises:
        SourceMissing: a place is not there, or its file system cannot be reached.
    """
    for place in places:
        if "://" in place:
            yield from _remote(place, suffixes, wanted)
        elif os.path.isdir(place):
            yield from _folder(place, suffixes, wanted)
        elif not os.path.exists(place):
            raise SourceMissing(f"{place}: no such file or folder")
        else:
            yield from _file(place, partial(_opened, place), suffixes, wanted)


def _folder(folder: str, suffixes: Sequence[str], wanted: Callable[[str], bool]) -> Iterator[Item]:
    def unreadable(error: OSError) -> None:
        raise SourceMissing(f"cannot read the folder {error.filename}: {error.strerror}")

    for inside, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(inside, name)
            if _is_one_of(name, suffixes) or _is_one_of(name, ARCHIVES):
                yield from _file(path, partial(_opened, path), suffixes, wanted)


def _file(
    name: str,
    opened: Callable[[], AbstractContextManager[IO[bytes]]],
    suffixes: Sequence[str],
    wanted: Callable[[str], bool],
) -> Iterator[Item]:
    """Yield an image, or those of an archive."""
    if _is_one_of(name, ARCHIVES):
        yield from _archive(name, opened, suffixes, wanted)
    elif wanted(name):

        def read() -> bytes:
            with opened() as file:
                return file.read()

        yield Item(name, read)


def _archive(
    name: str,
    opened: Callable[[], AbstractContextManager[IO[bytes]]],
    suffixes: Sequence[str],
    wanted: Callable[[str], bool],
) -> Iterator[Item]:
    """Yield the images of a tar archive, which is read once from its beginning to its end.

    Where it is damaged, the last item stands for the rest, under the name of the archive.
    """
    try:
        with opened() as file, tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                inside = f"{name}/{member.name}"
                if not member.isfile() or not _is_one_of(member.name, suffixes) or not wanted(inside):
                    continue
                content = archive.extractfile(member)
                yield Item(inside, _known(content.read() if content is not None else b""))
    except (OSError, EOFError, tarfile.TarError) as error:
        if wanted(name):
            yield Item(name, _broken(f"the archive cannot be read to its end: {error}"))


def _opened(path: str) -> IO[bytes]:
    return open(path, "rb")


def _known(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def _broken(why: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise OSError(0, why)

    return read


def _remote(url: str, suffixes: Sequence[str], wanted: Callable[[str], bool]) -> Iterator[Item]:
    from fsspec.core import url_to_fs  # an extra

    try:
        system, path = url_to_fs(url)
        found = [path] if system.isfile(path) else sorted(system.find(path))
    except (OSError, ImportError, ValueError) as error:
        raise SourceMissing(f"{url} cannot be reached: {error}") from None
    if not found:
        raise SourceMissing(f"{url}: there is nothing")
    for one in found:
        if one == path or _is_one_of(one, suffixes) or _is_one_of(one, ARCHIVES):
            name = str(system.unstrip_protocol(one))
            yield from _file(name, partial(system.open, one, "rb"), suffixes, wanted)


def _is_one_of(name: str, endings: Sequence[str]) -> bool:
    last = PurePosixPath(Path(name).as_posix()).name.lower()
    return last.endswith(tuple(endings)) and not last.startswith(".")
