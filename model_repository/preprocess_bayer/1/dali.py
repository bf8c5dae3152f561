"""Bayer frames, one byte a pixel, to the network's input.

Triton's DALI backend serialises it by itself; the server for machines without that backend builds the same function
with ``device="cpu"``.
"""

import sys
from pathlib import Path

import nvidia.dali.fn as fn
import nvidia.dali.types as types
from nvidia.dali import pipeline_def
from nvidia.dali.plugin.triton import autoserialize

sys.path.insert(0, str(Path(__file__).parent))  # this file is imported by its path
import letterboxing


@autoserialize
@pipeline_def(batch_size=32, num_threads=4, device_id=0, prefetch_queue_depth=1)
def preprocess_bayer(device: str = "gpu"):
    """Interpolate the colours that each pixel lacks, letterbox.

    The CPU interpolates with OpenCV's bilinear demosaicing, a GPU with NPP's, which lets the green follow the other
    colours at edges. Both want an even height and width.

    Args:
        device: where the frames are and stay, "gpu" or "cpu"; "cpu" needs no driver.

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the frame.
    """
    mosaic = fn.external_source(name="frames", device=device, dtype=types.UINT8, ndim=2, layout="HW")
    # Row and column of the blue pixel among the first 2 x 2.
    blue = fn.external_source(name="blue_position", device="cpu", dtype=types.INT32, ndim=1)
    # DALI counts as OpenCV's names do, from the second row and column.
    pixels = fn.debayer(mosaic, blue_position=1 - blue)
    return letterboxing.letterboxed_frames(pixels)
