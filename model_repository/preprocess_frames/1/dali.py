"""RGB frames to the network's input.

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
def preprocess_frames(device: str = "gpu"):
    """Letterbox.

    Args:
        device: where the frames are and stay, "gpu" or "cpu"; "cpu" needs no driver.

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the frame.
    """
    pixels = fn.external_source(name="frames", device=device, dtype=types.UINT8, ndim=3, layout="HWC")
    return letterboxing.letterboxed_frames(pixels)
