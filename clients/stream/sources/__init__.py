"""Sources of frames, by kind; each is loaded when a camera of its kind is started."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from triton_yolo.clients.stream.errors import LineError
from triton_yolo.clients.stream.sources.base import Source

# Kind: module, class.
KINDS = {
    "synthetic": ("synthetic", "Synthetic"),
    "folder": ("folder", "Folder"),
    "file": ("video", "VideoFile"),
    "rtsp": ("video", "Rtsp"),
    "v4l2": ("v4l2", "V4l2"),
    "aravis": ("aravis", "Aravis"),
}
FORMS = "synthetic:photo, synthetic:scan, a folder, a video file, rtsp://HOST/PATH, v4l2:/dev/videoN or aravis:ID"


def kind_of(uri: str) -> str:
    """Return the kind of source that a URI names.

    Raises:
        LineError: it names none.
    """
    scheme = re.match(r"([a-z0-9]+):", uri)
    if scheme:
        kind = {"rtsps": "rtsp"}.get(scheme[1], scheme[1])
        if kind in KINDS:
            return kind
        raise LineError(f"{uri!r} is no camera: use {FORMS}")
    path = Path(uri).expanduser()
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    raise LineError(f"{uri!r} is no camera, and no folder or file of this name exists: use {FORMS}")


def source_class(kind: str) -> type[Source]:
    """Return the class of a kind.

    Raises:
        ModuleNotFoundError: a package that it needs is not installed.
    """
    module, name = KINDS[kind]
    found: type[Source] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
