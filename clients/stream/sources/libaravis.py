"""The part of Aravis that a source needs, called through ctypes.

Its bindings for Python (PyGObject) have to be compiled where there is no wheel, and cannot be given the address of
memory that a buffer shall lie in. The library alone is one small package of Debian and Ubuntu: libaravis-0.8-0.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from triton_yolo.clients.stream.errors import SourceError

LOG = logging.getLogger(__name__)

POINTER, TEXT, INT, UINT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint
SIZE, U64, DOUBLE = ctypes.c_size_t, ctypes.c_uint64, ctypes.c_double
LOST = ctypes.CFUNCTYPE(None, POINTER, POINTER)  # handler of the signal "control-lost"
SUCCESS, CLEARED, ABORTED = 0, 1, 7  # ArvBufferStatus (arvbuffer.h)


class _Error(ctypes.Structure):
    """GError (glib/gerror.h)."""

    _fields_ = (("domain", ctypes.c_uint32), ("code", INT), ("message", TEXT))


_ERROR = ctypes.POINTER(ctypes.POINTER(_Error))
_OUT_INT, _OUT_U64, _OUT_SIZE = (ctypes.POINTER(kind) for kind in (INT, U64, SIZE))

# Result and arguments, in the order of the headers of Aravis 0.8.
_ARAVIS: Mapping[str, tuple[Any, list[Any]]] = {
    "arv_camera_new": (POINTER, [TEXT, _ERROR]),
    "arv_camera_get_device": (POINTER, [POINTER]),
    "arv_camera_get_device_id": (TEXT, [POINTER, _ERROR]),
    "arv_camera_get_pixel_format_as_string": (TEXT, [POINTER, _ERROR]),
    "arv_camera_set_pixel_format_from_string": (None, [POINTER, TEXT, _ERROR]),
    "arv_camera_dup_available_pixel_formats_as_strings": (POINTER, [POINTER, ctypes.POINTER(UINT), _ERROR]),
    "arv_camera_get_region": (None, [POINTER, _OUT_INT, _OUT_INT, _OUT_INT, _OUT_INT, _ERROR]),
    "arv_camera_set_region": (None, [POINTER, INT, INT, INT, INT, _ERROR]),
    "arv_camera_get_frame_rate": (DOUBLE, [POINTER, _ERROR]),
    "arv_camera_set_frame_rate": (None, [POINTER, DOUBLE, _ERROR]),
    "arv_camera_set_exposure_time": (None, [POINTER, DOUBLE, _ERROR]),
    "arv_camera_set_gain": (None, [POINTER, DOUBLE, _ERROR]),
    "arv_camera_is_gv_device": (INT, [POINTER]),
    "arv_camera_gv_set_packet_size": (None, [POINTER, INT, _ERROR]),
    "arv_camera_gv_set_packet_size_adjustment": (None, [POINTER, INT]),
    "arv_camera_get_payload": (UINT, [POINTER, _ERROR]),
    "arv_camera_execute_command": (None, [POINTER, TEXT, _ERROR]),
    "arv_camera_create_stream": (POINTER, [POINTER, POINTER, POINTER, _ERROR]),
    "arv_camera_start_acquisition": (None, [POINTER, _ERROR]),
    "arv_camera_stop_acquisition": (None, [POINTER, _ERROR]),
    "arv_device_get_feature": (POINTER, [POINTER, TEXT]),
    "arv_gc_feature_node_set_value_from_string": (None, [POINTER, TEXT, _ERROR]),
    "arv_buffer_new": (POINTER, [SIZE, POINTER]),
    "arv_buffer_get_status": (INT, [POINTER]),
    "arv_buffer_get_frame_id": (U64, [POINTER]),
    "arv_buffer_get_system_timestamp": (U64, [POINTER]),
    "arv_buffer_get_image_data": (POINTER, [POINTER, _OUT_SIZE]),
    "arv_buffer_get_image_width": (INT, [POINTER]),
    "arv_buffer_get_image_height": (INT, [POINTER]),
    "arv_stream_push_buffer": (None, [POINTER, POINTER]),
    "arv_stream_timeout_pop_buffer": (POINTER, [POINTER, U64]),
    "arv_stream_stop_thread": (UINT, [POINTER, INT]),
    "arv_stream_get_statistics": (None, [POINTER, _OUT_U64, _OUT_U64, _OUT_U64]),
}
_GOBJECT: Mapping[str, tuple[Any, list[Any]]] = {
    "g_object_unref": (None, [POINTER]),
    "g_clear_error": (None, [_ERROR]),
    "g_free": (None, [POINTER]),
    "g_signal_connect_data": (ctypes.c_ulong, [POINTER, TEXT, LOST, POINTER, POINTER, INT]),
}


class Image(NamedTuple):
    """What a buffer holds.

    Attributes:
        data: address of the first pixel.
        nbytes: size of the image in bytes.
        height: height, in pixels.
        width: width, in pixels.
        number: number that the camera gave it.
        arrived_ns: time since 1970 at which its first packet arrived, in nanoseconds; 0 if unknown.
    """

    data: int
    nbytes: int
    height: int
    width: int
    number: int
    arrived_ns: int


@cache
def _library() -> SimpleNamespace:
    """Load Aravis and GObject."""
    functions = SimpleNamespace()
    for name, declared in (("libaravis-0.8.so.0", _ARAVIS), ("libgobject-2.0.so.0", _GOBJECT)):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            raise SourceError("Aravis is not installed: apt-get install libaravis-0.8-0 (Debian, Ubuntu)") from None
        for function, (result, arguments) in declared.items():
            loaded = getattr(library, function)
            loaded.restype, loaded.argtypes = result, arguments
            setattr(functions, function, loaded)
    return functions


def _call(function: str, *arguments: Any) -> Any:
    """Call a function whose last argument is for an error.

    Raises:
        SourceError: what the library says.
    """
    library, error = _library(), ctypes.POINTER(_Error)()
    result = getattr(library, function)(*arguments, ctypes.byref(error))
    if error:
        said = error.contents.message.decode(errors="replace")
        library.g_clear_error(ctypes.byref(error))
        raise SourceError(said)
    return result


class Camera:
    """A GigE Vision or USB3 Vision camera, controlled by this process alone."""

    def __init__(self, name: str) -> None:
        """Find and open it.

        Args:
            name: what Aravis knows it by: vendor, model and serial number, or an address; empty for the first one.

        Raises:
            SourceError: there is none of this name, or another program controls it.
        """
        self._library = _library()
        self._camera = _call("arv_camera_new", name.encode() or None)
        if not self._camera:
            raise SourceError("there is no camera")
        self._stream: int | None = None
        self.name: str = _call("arv_camera_get_device_id", self._camera).decode()
        self.control_lost = False
        self._handler = LOST(self._lose)  # kept, since the library calls it later
        device = self._library.arv_camera_get_device(self._camera)
        self._library.g_signal_connect_data(device, b"control-lost", self._handler, None, None, 0)
        self._stop()  # what a process that was killed has started: settings are refused meanwhile, and frames go to it

    def _lose(self, *_: object) -> None:
        self.control_lost = True

    @property
    def pixel_format(self) -> str:
        """The name of its pixel format in the Pixel Format Naming Convention of GenICam."""
        return str(_call("arv_camera_get_pixel_format_as_string", self._camera).decode())

    @pixel_format.setter
    def pixel_format(self, name: str) -> None:
        _call("arv_camera_set_pixel_format_from_string", self._camera, name.encode())

    def pixel_formats(self) -> list[str]:
        """Return the names of the pixel formats that it offers."""
        count = UINT()
        names = _call("arv_camera_dup_available_pixel_formats_as_strings", self._camera, ctypes.byref(count))
        found = ctypes.cast(names, ctypes.POINTER(TEXT))[: count.value]
        self._library.g_free(names)
        return [name.decode() for name in found if name]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its images, in pixels."""
        x, y, width, height = INT(), INT(), INT(), INT()
        _call("arv_camera_get_region", self._camera, *map(ctypes.byref, (x, y, width, height)))
        return height.value, width.value

    @size.setter
    def size(self, size: tuple[int, int]) -> None:
        _call("arv_camera_set_region", self._camera, -1, -1, size[1], size[0])  # -1: where it is

    @property
    def frame_rate(self) -> float:
        """Frames a second that it is set to."""
        return float(_call("arv_camera_get_frame_rate", self._camera))

    @frame_rate.setter
    def frame_rate(self, fps: float) -> None:
        _call("arv_camera_set_frame_rate", self._camera, fps)

    def set_exposure(self, microseconds: float) -> None:
        """Set the time of exposure, in microseconds."""
        _call("arv_camera_set_exposure_time", self._camera, microseconds)

    def set_gain(self, gain: float) -> None:
        """Set the gain, in the camera's own unit (mostly dB)."""
        _call("arv_camera_set_gain", self._camera, gain)

    def set_packet_size(self, nbytes: int) -> None:
        """Set the size of a network packet of GigE Vision, in bytes with headers, and let nobody change it."""
        if not self._library.arv_camera_is_gv_device(self._camera):
            raise SourceError("packet_size is for GigE Vision: this camera is on USB")
        if not 576 <= nbytes < 1 << 16:
            raise SourceError("packets have 576 to 65535 bytes")
        self._library.arv_camera_gv_set_packet_size_adjustment(self._camera, 0)  # NEVER
        _call("arv_camera_gv_set_packet_size", self._camera, nbytes)

    def set_feature(self, name: str, value: object) -> None:
        """Set a feature by its GenICam name; None executes a command.

        Raises:
            SourceError: there is no such feature, or the camera refuses the value.
        """
        if value is None:
            _call("arv_camera_execute_command", self._camera, name.encode())
            return
        node = self._library.arv_device_get_feature(self._library.arv_camera_get_device(self._camera), name.encode())
        if not node:
            raise SourceError(f"it has no feature {name}")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        _call("arv_gc_feature_node_set_value_from_string", node, text.encode())

    @property
    def payload(self) -> int:
        """Size of a buffer, in bytes."""
        return int(_call("arv_camera_get_payload", self._camera))

    def buffer(self, nbytes: int, address: int | None) -> int:
        """Return a new buffer.

        Args:
            nbytes: its size.
            address: where its memory lies; None for memory of the library.
        """
        return int(self._library.arv_buffer_new(nbytes, address))

    def create_stream(self) -> None:
        """Prepare to receive: buffers can be pushed."""
        self._stream = _call("arv_camera_create_stream", self._camera, None, None)
        if not self._stream:
            raise SourceError("no stream can be received from it")

    def start(self) -> None:
        """Let the camera send."""
        _call("arv_camera_start_acquisition", self._camera)

    def push(self, buffer: int) -> None:
        """Give a buffer to be filled."""
        self._library.arv_stream_push_buffer(self._stream, buffer)

    def pop(self, seconds: float) -> int | None:
        """Wait for a buffer that is done with, whether it holds a whole image or not; None if none comes in time."""
        found: int | None = self._library.arv_stream_timeout_pop_buffer(self._stream, int(seconds * 1e6))
        return found

    def status(self, buffer: int) -> int:
        """Return how a buffer was ended: ArvBufferStatus."""
        return int(self._library.arv_buffer_get_status(buffer))

    def image(self, buffer: int) -> Image:
        """Return what a buffer holds that was ended with SUCCESS."""
        library, nbytes = self._library, SIZE()
        data = library.arv_buffer_get_image_data(buffer, ctypes.byref(nbytes))
        height, width = library.arv_buffer_get_image_height(buffer), library.arv_buffer_get_image_width(buffer)
        arrived = library.arv_buffer_get_system_timestamp(buffer)
        number = library.arv_buffer_get_frame_id(buffer)
        return Image(data or 0, nbytes.value, height, width, number, arrived)

    @property
    def underruns(self) -> int:
        """How often there was no buffer for what came."""
        completed, failed, underruns = U64(), U64(), U64()
        self._library.arv_stream_get_statistics(self._stream, *map(ctypes.byref, (completed, failed, underruns)))
        return underruns.value

    def close(self) -> None:
        """Stop it, and give it free; no buffer is written to afterwards."""
        stream, self._stream = self._stream, None
        if self.control_lost:  # whatever is said to it would wait for an answer; the process ends soon
            if stream:
                self._library.arv_stream_stop_thread(stream, 1)
            return
        if stream:
            self._stop()
            self._library.g_object_unref(stream)  # ends its thread, and waits for that
        if self._camera:
            self._library.g_object_unref(self._camera)
            self._camera = None

    def _stop(self) -> None:
        try:
            _call("arv_camera_stop_acquisition", self._camera)
        except SourceError:
            LOG.debug("the camera does not stop", exc_info=True)
