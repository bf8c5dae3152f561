"""The one definition of letterboxing in DALI, for every dali.py of the repository, which each has it beside itself.

The geometry is integer arithmetic, so that DALI, the NMS that undoes it and the NumPy reference agree on every image
size: to the nearest pixel, scale = min(HEIGHT / height, WIDTH / width), bilinear without antialiasing.
"""

import json
import math
from pathlib import Path

import nvidia.dali.fn as fn
import nvidia.dali.math as dmath
import nvidia.dali.types as types

# Written by triton-yolo export for the model that is served.
LETTERBOX = json.loads(Path(__file__).with_name("letterbox.json").read_text())
HEIGHT, WIDTH = LETTERBOX["height"], LETTERBOX["width"]  # the network's input
PAD = LETTERBOX["pad"]  # grey level of the border, as YOLO is trained
CENTRED = LETTERBOX["centred"]  # False leaves the image at the top left, as YOLOX is trained
ROUNDING = LETTERBOX["rounding"]  # of the letterboxed size to whole pixels: "nearest", "down" or "up"


def letterboxed(pixels, image_size):
    """Letterbox pixels whose size the CPU knows.

    Args:
        pixels: uint8 RGB with a layout, HWC or CHW.
        image_size: int32 [2], their height and width, on the CPU.

    Returns:
        uint8 [3, HEIGHT, WIDTH] RGB; the odd pixel of the border is on the right and the bottom.
    """
    return _boxed(fn.resize(pixels, size=_fitted(image_size), interp_type=types.INTERP_LINEAR, antialias=False))


def letterboxed_frames(pixels, layout="HWC"):
    """Letterbox pixels whose size is known where they are alone.

    Args:
        pixels: uint8 RGB, on the device of the pipeline.
        layout: of the pixels, "HWC" or "CHW".

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the pixels.
    """
    if ROUNDING == "nearest":
        # DALI's own scale, a float32, rounded to the nearest: the sizes of _fitted up to 8192 x 8192 but for 36, where
        # a long side of 5888 or 6912 leaves the other one pixel short.
        resized, image_size = fn.resize(
            pixels,
            size=[HEIGHT, WIDTH],
            mode="not_larger",
            interp_type=types.INTERP_LINEAR,
            antialias=False,
            subpixel_scale=False,
            save_attrs=True,  # the sizes before
        )
        return _boxed(resized), image_size
    # Integer arithmetic, with the sizes of frames on a GPU brought to the CPU. Eight frames take 0.4 ms longer so, and
    # of DALI's executors only the newer one does it, which Triton's backend takes where the environment has
    # DALI_USE_EXEC2=1 (server/installation.py); with the older one the model does not load.
    rows = layout.index("H")
    image_size = pixels.shape(dtype=types.INT32, device="cpu")[rows : rows + 2]
    return letterboxed(pixels, image_size), image_size


def _boxed(resized):
    """Add the border and write planes, in one pass.

    The crop begins (input - output) * position before the image, cut to a whole number of pixels, so that the odd one
    is on the right and the bottom.
    """
    return fn.crop_mirror_normalize(
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


def _fitted(image_size):
    """The size that an image is resized to: integer arithmetic, at least one pixel."""
    common = math.lcm(HEIGHT, WIDTH)
    # The side that fills the network's input, measured so that the image is resized by common / longest.
    longest = fn.reductions.max(image_size * types.Constant([common // HEIGHT, common // WIDTH], dtype=types.INT64))
    scaled = image_size * types.Constant([common, common], dtype=types.INT64)
    if ROUNDING != "down":
        scaled += longest // 2 if ROUNDING == "nearest" else longest - 1
    return fn.cast(dmath.max(scaled // longest, 1), dtype=types.FLOAT)
