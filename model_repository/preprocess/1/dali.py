"""The one definition of decoding and letterboxing: an encoded image to the network's input.

Triton's DALI backend serialises it by itself; the server for machines without that backend builds the same function
with ``device="cpu"``. The geometry is integer arithmetic, so that DALI, the NMS that undoes it and the NumPy reference
agree on every image size.
"""

import nvidia.dali.fn as fn
import nvidia.dali.math as dmath
import nvidia.dali.types as types
from nvidia.dali import pipeline_def
from nvidia.dali.plugin.triton import autoserialize

HEIGHT, WIDTH = 640, 640  # the network's input
PAD = 114  # grey level of the border, as YOLO is trained


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
    pixels = fn.decoders.image(encoded, device="mixed" if device == "gpu" else "cpu", output_type=types.RGB)

    height, width = image_size[0], image_size[1]
    by_height = height * WIDTH >= width * HEIGHT  # which side fills the network's input
    by_width = 1 - by_height
    numerator = by_height * HEIGHT + by_width * WIDTH
    denominator = by_height * height + by_width * width
    new_height = dmath.max((2 * height * numerator + denominator) // (2 * denominator), 1)
    new_width = dmath.max((2 * width * numerator + denominator) // (2 * denominator), 1)

    resized = fn.resize(
        pixels,
        size=fn.cast(fn.stack(new_height, new_width), dtype=types.FLOAT),
        interp_type=types.INTERP_LINEAR,
        antialias=False,
    )
    # A slice that starts before the image and ends behind it is the border.
    start = fn.stack(-((HEIGHT - new_height) // 2), -((WIDTH - new_width) // 2))
    boxed = fn.slice(
        resized, start=start, shape=[HEIGHT, WIDTH], axes=(0, 1), out_of_bounds_policy="pad", fill_values=PAD
    )
    return fn.transpose(boxed, perm=[2, 0, 1]), image_size
