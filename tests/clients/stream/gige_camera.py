"""A GigE Vision camera that is a program: the one that Aravis has for tests, on the loopback interface.

``python -m tests.clients.stream.gige_camera SERIAL`` is what ``arv-fake-gv-camera-0.8 -i 127.0.0.1`` is, without the
desktop libraries that its package needs. It says "ready", and sends 25 frames of 512x512 a second. A second argument is
how many of a thousand packets get lost on their way.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time

PACKAGE = "libaravis-0.8-0"  # of Debian and Ubuntu


def is_installed() -> bool:
    """Whether the library is there."""
    return bool(ctypes.util.find_library("aravis-0.8"))


def run(serial: str, lost: float) -> None:
    """Be a camera for ever.

    Args:
        serial: its serial number.
        lost: share of its packets that get lost.
    """
    aravis = ctypes.CDLL(ctypes.util.find_library("aravis-0.8"))
    gobject = ctypes.CDLL(ctypes.util.find_library("gobject-2.0"))
    aravis.arv_gv_fake_camera_new.restype = ctypes.c_void_p
    camera = ctypes.c_void_p(aravis.arv_gv_fake_camera_new(b"127.0.0.1", serial.encode()))
    if not aravis.arv_gv_fake_camera_is_running(camera):
        sys.exit("127.0.0.1 has a GigE Vision camera already")
    gobject.g_object_set(camera, b"gvsp-lost-ratio", ctypes.c_double(lost), None)
    print("ready", flush=True)  # noqa: T201  # whoever started this reads it
    while True:
        time.sleep(60)


if __name__ == "__main__":
    run(sys.argv[1], float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0)
