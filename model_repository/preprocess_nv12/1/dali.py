"""NV12 frames, one and a half bytes a pixel, to the network's input.

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
import ycbcr


@autoserialize
@pipeline_def(batch_size=32, num_threads=4, device_id=0, prefetch_queue_depth=1)
def preprocess_nv12(device: str = "gpu"):
    """Convert to RGB, letterbox. Height and width must be even: 2 x 2 pixels share a chroma.

    Args:
        device: where the frames are and stay, "gpu" or "cpu"; "cpu" needs no driver.

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the picture.
    """
    frames = fn.external_source(name="frames", device=device, dtype=types.UINT8, ndim=2, layout="HW")
    # Three parts of height / 2 rows: two of luma and one of chroma.
    parts = fn.reshape(frames, rel_shape=[3, -1, 1], src_dims=[-1, 0, 1])
    luma = fn.reshape(parts[0:2], rel_shape=[1, 2, 1], src_dims=[-1, 1, 2], layout="CHW")
    chroma = fn.reshape(parts[2], rel_shape=[1, 0.5, 2], src_dims=[0, 1, -1], layout="HWC")
    return letterboxing.letterboxed_frames(ycbcr.rgb(luma, chroma, [2, 2]), "CHW")
