"""A real RTSP server: GStreamer's, as Debian and Ubuntu package it, which sends the H.264 of a file.

``python -m tests.clients.stream.rtsp_server FILE`` serves it at rtsp://127.0.0.1:PORT/line once for each client, in the
file's own time, and prints the port. The library is called through ctypes, so that no binding has to be built.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from pathlib import Path

LIBRARIES = ("gstreamer-1.0", "gstrtspserver-1.0", "glib-2.0")
PACKAGES = "libgstrtspserver-1.0-0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"  # of Debian and Ubuntu


def is_installed() -> bool:
    """Whether the libraries are there."""
    return all(map(ctypes.util.find_library, LIBRARIES))


def serve(file: Path, port: int) -> None:
    """Serve a file of H.264 for ever.

    Args:
        file: an MP4.
        port: TCP port; 0 for a free one.
    """
    gst, rtsp, glib = (ctypes.CDLL(ctypes.util.find_library(name)) for name in LIBRARIES)
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for library, name, result, arguments in (
        (gst, "gst_init", None, [pointer, pointer]),
        (rtsp, "gst_rtsp_server_new", pointer, []),
        (rtsp, "gst_rtsp_server_set_address", None, [pointer, text]),
        (rtsp, "gst_rtsp_server_set_service", None, [pointer, text]),
        (rtsp, "gst_rtsp_server_get_mount_points", pointer, [pointer]),
        (rtsp, "gst_rtsp_media_factory_new", pointer, []),
        (rtsp, "gst_rtsp_media_factory_set_launch", None, [pointer, text]),
        (rtsp, "gst_rtsp_mount_points_add_factory", None, [pointer, text, pointer]),
        (rtsp, "gst_rtsp_server_attach", ctypes.c_uint, [pointer, pointer]),
        (rtsp, "gst_rtsp_server_get_bound_port", ctypes.c_int, [pointer]),
        (glib, "g_main_loop_new", pointer, [pointer, ctypes.c_int]),
        (glib, "g_main_loop_run", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    gst.gst_init(None, None)
    server, factory = rtsp.gst_rtsp_server_new(), rtsp.gst_rtsp_media_factory_new()
    rtsp.gst_rtsp_server_set_address(server, b"127.0.0.1")
    rtsp.gst_rtsp_server_set_service(server, str(port).encode())
    launch = f'( filesrc location="{file}" ! qtdemux ! rtph264pay name=pay0 pt=96 config-interval=-1 )'
    rtsp.gst_rtsp_media_factory_set_launch(factory, launch.encode())
    rtsp.gst_rtsp_mount_points_add_factory(rtsp.gst_rtsp_server_get_mount_points(server), b"/line", factory)
    if not rtsp.gst_rtsp_server_attach(server, None):
        sys.exit(f"port {port} cannot be used")
    print(rtsp.gst_rtsp_server_get_bound_port(server), flush=True)  # noqa: T201  # whoever started this reads it
    glib.g_main_loop_run(glib.g_main_loop_new(None, 0))


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
