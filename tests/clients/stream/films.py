"""Films whose every frame says its number in blocks of black and white, above stripes of known colours."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

BITS = 12  # of a number
# Far from grey, where BT.601 and BT.709 differ by tens; R, G, B.
COLOURS = ((200, 40, 40), (40, 180, 40), (40, 40, 200), (200, 180, 40), (40, 180, 200))
FULL, LIMITED = ColorRange.JPEG, ColorRange.MPEG
BT601, BT709 = 6, 1  # AVColorSpace


def draw(number: int, height: int, width: int) -> np.ndarray:
    """Return a frame, uint8 [H, W, 3] RGB."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    columns = np.arange(width)
    frame = np.empty((height, width, 3), np.uint8)
    frame[: height // 2] = np.array(bits, np.uint8)[columns * BITS // width][:, None]
    frame[height // 2 :] = np.array(COLOURS, np.uint8)[columns * len(COLOURS) // width]
    return frame


def number_of(frame: np.ndarray) -> int:
    """Return the number that a frame says.

    Args:
        frame: uint8 [H, W, 3] RGB.
    """
    height, width, _ = frame.shape
    seen = [frame[height // 4, (2 * bit + 1) * width // (2 * BITS)].mean() > 127 for bit in range(BITS)]
    return sum(1 << bit for bit in range(BITS) if seen[bit])


def colour_error(frame: np.ndarray) -> int:
    """Return the largest difference of a channel from what was drawn, in the middle of the stripes."""
    height, width, _ = frame.shape
    middles = [(2 * number + 1) * width // (2 * len(COLOURS)) for number in range(len(COLOURS))]
    return int(np.abs(frame[height * 3 // 4, middles].astype(int) - np.array(COLOURS)).max())


def rgb_of(pixels: np.ndarray) -> np.ndarray:
    """Return a frame as RGB, uint8 [H, W, 3], from RGB or from NV12 as OpenCV converts it."""
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_YUV2RGB_NV12)


def shoot(
    path: Path,
    count: int,
    height: int = 96,
    width: int = 192,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    matrix: int | None = None,
    color_range: ColorRange | None = None,
    **options: str,
) -> Path:
    """Make a film of 25 frames a second.

    Args:
        path: where.
        count: number of frames.
        height: in pixels.
        width: in pixels.
        codec: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name.
        matrix: AVColorSpace that it names and has; None for BT.601 that it does not name.
        color_range: the range that it names and has; None for a limited one that it does not name.
        options: of the encoder.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate=25, options={"crf": "10", **options} if codec == "libx264" else options
        )
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if matrix:
            stream.codec_context.colorspace = matrix
        if color_range:
            stream.codec_context.color_range = color_range
        for number in range(count):
            drawn = av.VideoFrame.from_ndarray(draw(number, height, width), "rgb24")
            frame = drawn.reformat(
                format=pixel_format,
                dst_colorspace=Colorspace.ITU709 if matrix == BT709 else Colorspace.ITU601,
                src_color_range=FULL,
                dst_color_range=color_range or LIMITED,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
