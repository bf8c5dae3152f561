"""The one definition of the colours of video: luma and chroma to RGB, for the dali.py of each such format.

BT.601, studio swing: luma from 16, in steps of 1/219, chroma around 128, in steps of 1/224 (ITU-R BT.601-7). OpenCV's
cvtColor has the same matrix in integers (imgproc/src/color_yuv.simd.hpp), and so have these, on a CPU and on a GPU: all
three agree to the last bit. DALI's own color_space_conversion does not clip luma below 16, and takes longer on a CPU.
"""

import nvidia.dali.fn as fn
import nvidia.dali.math as dmath
import nvidia.dali.types as types

BITS = 20  # of the fraction
LUMA = 1220542  # 255 / 219
RED_CR, GREEN_CR, GREEN_CB, BLUE_CB = 1673527, -852492, -409993, 2116026
BLACK, GREY = 16, 128


def rgb(luma, chroma, chroma_every):
    """Convert to RGB; the pixels that share a chroma get the same, as with OpenCV.

    Args:
        luma: uint8 [1, H, W], layout CHW.
        chroma: uint8 [rows, columns, 2], layout HWC: Cb, Cr.
        chroma_every: rows and columns of pixels that share a chroma.

    Returns:
        uint8 [3, H, W], layout CHW.
    """
    planes = fn.transpose(chroma, perm=[2, 0, 1], output_layout="CHW")
    planes = fn.tensor_resize(planes, scales=chroma_every, axes=[1, 2], interp_type=types.INTERP_NN)
    cb, cr = (planes[i : i + 1] - _integer(GREY) for i in range(2))
    grey = _integer(LUMA) * dmath.max(luma, _integer(BLACK)) + _integer((1 << BITS - 1) - LUMA * BLACK)
    colours = (
        grey + _integer(RED_CR) * cr,
        grey + _integer(GREEN_CR) * cr + _integer(GREEN_CB) * cb,
        grey + _integer(BLUE_CB) * cb,
    )
    return fn.cat(*(fn.cast(colour >> BITS, dtype=types.UINT8) for colour in colours), axis=0)  # a cast clips


def _integer(value):
    return types.Constant(value, dtype=types.INT32)
