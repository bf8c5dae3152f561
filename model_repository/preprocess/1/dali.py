"""The one definition of decoding and letterboxing: an encoded image to the network's input.

Triton's DALI backend serialises it by itself; the server for machines without that backend builds the same function
with ``device="cpu"``. The geometry is integer arithmetic, so that DALI, the NMS that undoes it and the NumPy reference
agree on every image size.
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
def preprocess(device: str = "gpu"):
    """Decode, rotate as EXIF says, letterbox: bilinear, no antialiasing, the odd pixel on the right and the bottom.

    Args:
        device: "gpu" decodes with nvJPEG and resizes on the GPU; "cpu" does both on the CPU and needs no driver.

    Returns:
        ``images`` uint8 [3, HEIGHT, WIDTH] RGB and ``image_size`` int32 [2]: height, width of the upright image.
    """
    encoded = fn.external_source(name="image", device="cpu", dtype=types.UINT8, ndim=1)
    image_size = fn.peek_image_shape(encoded, dtype=types.INT32)[0:2]
    pixels = fn.decoders.image(
        encoded,
        device="mixed" if device == "gpu" else "cpu",
        output_type=types.RGB,
        jpeg_fancy_upsampling=True,  # colours as libjpeg has them, which training and the CPU saw
        # All to the JPEG engines of the GPUs that have some. They never get more images than this share of the first
        # batch (nvImageCodec, ImageGenericCodec::adjustBatchSizes), and that may be of one image: 1.0 would mean 7.
        hw_decoder_load=32.0,
    )

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
    """The size that an image is resized to: integer arithmetic, at least one pixel."""
    common = math.lcm(HEIGHT, WIDTH)
    # The side that fills the network's input, measured so that the image is resized by common / longest.
    longest = fn.reductions.max(image_size * types.Constant([common // HEIGHT, common // WIDTH], dtype=types.INT64))
    scaled = image_size * types.Constant([common, common], dtype=types.INT64)
    if ROUNDING != "down":
        scaled += longest // 2 if ROUNDING == "nearest" else longest - 1
    return fn.cast(dmath.max(scaled // longest, 1), dtype=types.FLOAT)
