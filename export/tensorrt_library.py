"""The version of TensorRT's library on this machine; also a script, for an image that has no other package yet."""

from __future__ import annotations

import ctypes
import sys

MAJORS = range(10, 20)  # the major version is in the file's name


def library_version() -> str | None:
    """Return the version of the library that programs load here, such as 11.2.1; None without one."""
    for major in MAJORS:
        try:
            library = ctypes.CDLL(f"libnvinfer.so.{major}")
        except OSError:
            continue
        parts = (getattr(library, f"getInferLib{part}Version")() for part in ("Major", "Minor", "Patch"))
        return ".".join(map(str, parts))
    return None


if __name__ == "__main__":
    sys.stdout.write(library_version() or sys.exit("libnvinfer.so is not on this machine's library path"))
