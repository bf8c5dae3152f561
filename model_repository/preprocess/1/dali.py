"""The one definition of decoding: an encoded image to the network's input.

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
def preprocess(device: str = "gpu"):
    """Decode, rotate as EXIF says, letterbox.

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
    return letterboxing.letterboxed(pixels, image_size), image_size
