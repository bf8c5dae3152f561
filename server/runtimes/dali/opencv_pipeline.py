"""The repository's own DALI definitions as OpenCV computes them on a CPU.

There, DALI takes twice the processor time for the same pixels (its resize alone 2.5 ms for 1280x960, where OpenCV's
takes 0.2), and 50 MB for each model. So definitions that are known, letter for letter, are computed here; DALI runs any
other one as it is. The two differ by one grey level where OpenCV, in fixed point, rounds otherwise.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from triton_yolo.cores import usable_cores
from triton_yolo.dali_definition import read_by, read_letterbox
from triton_yolo.letterboxing import letterboxed
from triton_yolo.nms.letterbox import PAD

if TYPE_CHECKING:  # it loads DALI
    from triton_yolo.server.runtimes.dali.cpu_pipeline import Answer, Sample

Pixels = npt.NDArray[np.uint8]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
KEPT = 32 << 20  # bytes of an allocation, the most that glibc takes: 3300x3300 pixels

# By row and column of the first blue pixel.
DEBAYER = {
    (1, 1): cv2.COLOR_BayerRGGB2RGB,
    (0, 0): cv2.COLOR_BayerBGGR2RGB,
    (1, 0): cv2.COLOR_BayerGRBG2RGB,
    (0, 1): cv2.COLOR_BayerGBRG2RGB,
}


def _decoded(image: Pixels) -> Pixels:
    """Decode a JPEG or PNG, turned as EXIF says."""
    pixels = cv2.imdecode(image, cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise RuntimeError("OpenCV cannot decode it")
    return np.asarray(pixels, np.uint8)


def _debayered(frame: Pixels, blue_position: npt.NDArray[np.int32]) -> Pixels:
    row, column = blue_position.tolist()
    return np.asarray(cv2.cvtColor(frame, DEBAYER[row, column]), np.uint8)


def _converted(code: int, frame: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(frame, code), np.uint8)


def _same(frame: Pixels) -> Pixels:
    return frame


# By the name of the model: the digest of its definition, and what makes RGB pixels of what its inputs take.
DEFINITIONS: dict[str, tuple[str, Callable[..., Pixels]]] = {
    "preprocess": ("009cb78bf5a679801a812342bd383285ca4ca188467d9d7bdad3ec1e034a67ad", _decoded),
    "preprocess_frames": ("cec397146b85d95919d6d3f9012af078c97f1150dd75d1c38a66e9c76643558a", _same),
    "preprocess_bayer": ("85a42f125551197069334d39fdde6e74dc6f1763e9af57134a1d493041ef229d", _debayered),
    "preprocess_yuyv": (
        "b852264ed0dcb2ae24d8c6c4cea4f622ebea444d4118a00cf40e0d53851fc56d",
        partial(_converted, cv2.COLOR_YUV2RGB_YUY2),
    ),
    "preprocess_nv12": (
        "df642857f849ee2719d31c4a4ea2262b7f38139b7aa0a4104fc7e6434f1d664e",
        partial(_converted, cv2.COLOR_YUV2RGB_NV12),
    ),
}


def digest(definition: Path) -> str:
    """Return the SHA-256 of a dali.py and the modules beside it, in hexadecimal; its letterbox may differ."""
    definition = definition.resolve()  # in the folder that is served, other files stand beside the link
    modules = [definition, *(file for file in read_by(definition) if file.suffix == ".py")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in modules)).hexdigest()


def is_known(model: str, definition: Path) -> bool:
    """Return whether a model's definition is the repository's own, so that OpenCV can take DALI's place."""
    return model in DEFINITIONS and DEFINITIONS[model][0] == digest(definition) and read_letterbox(definition)[1] == PAD


class OpenCvPipeline:
    """Makes the network's input of samples, each in a thread of its own."""

    def __init__(self, model: str, definition: Path, threads: int | None = None) -> None:
        """Prepare.

        Args:
            model: name of a model whose definition ``is_known``.
            definition: path of its dali.py.
            threads: how many; one for each core if None.
        """
        self._to_rgb, self._letterbox = DEFINITIONS[model][1], read_letterbox(definition)[0]
        cv2.setNumThreads(1)  # images side by side, and not parts of one
        _keep_memory()
        self._threads = ThreadPoolExecutor(threads or usable_cores())

    def run(self, samples: Sequence[Sample]) -> list[Answer]:
        """Preprocess samples of any number and size.

        Args:
            samples: what the model's inputs take.

        Returns:
            for each sample ``images`` uint8 [3, H, W] and ``image_size`` int32 [2], or a RuntimeError.
        """
        if len(samples) == 1:
            return [self._answer(samples[0])]
        return list(self._threads.map(self._answer, samples))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _answer(self, sample: Sample) -> Answer:
        try:
            pixels = self._to_rgb(*sample)
            return letterboxed(pixels, self._letterbox), np.array(pixels.shape[:2], np.int32)
        except (RuntimeError, cv2.error) as error:
            return RuntimeError(str(error))


def _keep_memory() -> None:
    """Let malloc(3) keep what images had: else each one's pixels are mapped anew, page by page (1.7 of 7 ms)."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, KEPT)
    libc.mallopt(M_TRIM_THRESHOLD, 2 * KEPT)
