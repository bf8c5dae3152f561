"""The one definition of letterboxing raw frames: an RGB frame to the network's input.

Triton's DALI backend serialises it by itself; the server for machines without that backend builds the same function
with ``device="cpu"``.
"""

import json
import math
from pathlib import Path

import nvidia.dali.fn as fn
import nvidia.dali.math as dmath
import nvidia.dali.types as types
from nvidia.dali import pipeline_def
from nvidia.dali.plugin.triton import autoserialize

# Written by triton-yolo export for the model that is served.
LETTERBOX = json.loads(Path(__file__).with_name("letterbox.json").read_text())
HEIGHT, WIDTH = LETTERBOX["height"], LETTERBOX["width"]  # the network's input
PAD = LETTERBOX["pad"]  # grey level of the border, as YOLO is trained
CENTRED = LETTERBOX["centred"]  # False leaves the image at the top left, as YOLOX is trained
ROUNDING = LETTERBOX["rounding"]  # of the letterboxed size to whole pixels: "nearest", "down" or "up"


@autoserialize
@pipeline_def(batch_size=32, num_threads=4, device_id=0, prefetch_queue_depth=1)
def preprocess_frames(device: str = "gpu"):
    """Letterbox: bilinear, no antialiasing, the odd pixel on the right and the bottom.

    Args:
        device: where the frames are and stay, "gpu" or "cpu"; "cpu" needs no driver.

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the frame.
    """
    pixels = fn.external_source(name="frames", device=device, dtype=types.UINT8, ndim=3, layout="HWC")
    if ROUNDING == "nearest":
        # DALI's own scale, a float32, rounded to the nearest: the sizes of preprocess up to 8192 x 8192 but for 36,
        # where a long side of 5888 or 6912 leaves the other one pixel short.
        resized, image_size = fn.resize(
            pixels,
            size=[HEIGHT, WIDTH],
            mode="not_larger",
            interp_type=types.INTERP_LINEAR,
            antialias=False,
            subpixel_scale=False,
            save_attrs=True,  # the sizes before
        )
    else:
        # Integer arithmetic, as in preprocess, with the sizes of frames on a GPU brought to the CPU. Eight frames take
        # 0.4 ms longer so, and of DALI's executors only the newer one does it, which Triton's backend takes where the
        # environment has DALI_USE_EXEC2=1 (server/installation.py); with the older one the model does not load.
        image_size = pixels.shape(dtype=types.INT32, device="cpu")[0:2]
        resized = fn.resize(pixels, size=_fitted(image_size), interp_type=types.INTERP_LINEAR, antialias=False)
    # One pass writes border and planes. The crop begins (input - output) * position before the image, cut to a whole
    # number of pixels, so that the odd one is on the right and the bottom.
    boxed = fn.crop_mirror_normalize(
        resized,
        crop=(HEIGHT, WIDTH),
        crop_pos_y=0.5 if CENTRED else 0.0,
        crop_pos_x=0.5 if CENTRED else 0.0,
        rounding="truncate",
        out_of_bounds_policy="pad",
        fill_values=[PAD],
        mean=[0.0],
        std=[1.0],
        dtype=types.UINT8,
        output_layout="CHW",
    )
    return boxed, image_size


def _fitted(image_size):
    """The size that a frame is resized to, rounded down or up, at least one pixel."""
    common = math.lcm(HEIGHT, WIDTH)
    # The side that fills the network's input, measured so that the frame is resized by common / longest.
    longest = fn.reductions.max(image_size * types.Constant([common // HEIGHT, common // WIDTH], dtype=types.INT64))
    scaled = image_size * types.Constant([common, common], dtype=types.INT64)
    if ROUNDING == "up":
        scaled += longest - 1
    return fn.cast(dmath.max(scaled // longest, 1), dtype=types.FLOAT)
