"""Pictures as FFmpeg decodes them, and their way into a slot.

What leaves a decoder is nearly always planar 4:2:0. Where its colours are those that the server's conversion of NV12
assumes (BT.601, limited range, as OpenCV assumes too), it goes as NV12: half the bytes of RGB, and one pass that writes
luma and interleaved chroma straight into the slot. HD video that says it is BT.709, full-range video such as motion
JPEG, other subsamplings and odd sizes would come out in wrong colours or not at all, so swscale makes RGB of them with
the matrix that the stream names. PyAV's swscale makes pictures of its own, so that is one copy more.
"""

from __future__ import annotations

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

# BT.709, FCC, SMPTE 240M and BT.2020: AVColorSpace (libavutil/pixfmt.h) and swscale have the same numbers for them.
# Video that names none is BT.601 for swscale and OpenCV, and here.
OTHER_MATRICES = (1, 4, 7, 9)
BT601 = int(Colorspace.ITU601)


class Converter:
    """Writes pictures in one format."""

    def __init__(self, pixel_format: str) -> None:
        """Prepare.

        Args:
            pixel_format: "nv12" or "rgb".
        """
        self._rgb, self._reformatter = pixel_format == "rgb", VideoReformatter()

    def write(self, frame: av.VideoFrame, slot: npt.NDArray[np.uint8]) -> int:
        """Write a picture.

        Args:
            frame: the picture; with even sides if it shall be NV12.
            slot: where to, uint8 [N].

        Returns:
            Its size in bytes.
        """
        height, width = frame.height, frame.width
        if self._rgb:
            shown = self._reformatted(frame, "rgb24", ColorRange.JPEG)
            rows = slot[: height * width * 3].reshape(height, width * 3)
            rows[:] = _plane(shown, 0, width * 3)
            return rows.size
        rows = slot[: height * width * 3 // 2].reshape(height * 3 // 2, width)
        if is_nv12_in_planes(frame):
            chroma = _plane(frame, 1, width // 2), _plane(frame, 2, width // 2)
            cv2.merge(chroma, rows[height:].reshape(height // 2, width // 2, 2))
        else:
            frame = self._reformatted(frame, "nv12", ColorRange.MPEG)
            rows[height:] = _plane(frame, 1, width)
        rows[:height] = _plane(frame, 0, width)
        return rows.size

    def _reformatted(self, frame: av.VideoFrame, name: str, color_range: ColorRange) -> av.VideoFrame:
        """Return a picture in another format, with BT.601 where that has luma and chroma."""
        return self._reformatter.reformat(
            frame,
            format=name,
            src_colorspace=_matrix(frame),
            dst_colorspace=BT601,
            src_color_range=ColorRange.JPEG if _has_full_range(frame) else ColorRange.MPEG,
            dst_color_range=color_range,
            threads=1,  # there are as many processes as cameras already
        )


def is_nv12_in_planes(frame: av.VideoFrame) -> bool:
    """Whether a picture is NV12 but for the order of its bytes, in the colours that the server assumes."""
    return frame.format.name == "yuv420p" and _matrix(frame) == BT601 and not _has_full_range(frame)


def _matrix(frame: av.VideoFrame) -> int:
    return frame.colorspace if frame.colorspace in OTHER_MATRICES else BT601


def _has_full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _plane(frame: av.VideoFrame, number: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a plane of a picture without the ends of its rows, uint8 [rows, width], without a copy."""
    plane = frame.planes[number]
    rows, line = plane.height, plane.line_size
    return np.frombuffer(memoryview(plane), np.uint8, rows * line).reshape(rows, line)[:, :width]
