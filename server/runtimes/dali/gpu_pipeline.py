"""A DALI pipeline on a GPU that gives each sample its own answer; pixels stay on the GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import runtime
from nvidia.dali.tensors import TensorCPU, TensorGPU
from tritonclient.utils._shared_memory_tensor import SharedMemoryTensor

from triton_yolo.cores import usable_cores
from triton_yolo.server.runtimes.dali.restartable import Restartable
from triton_yolo.server.runtimes.device_memory import call, pixels_at

Sample = tuple[npt.NDArray[Any] | TensorGPU, ...]  # one for each external source


@dataclass(frozen=True)
class Row:
    """Letterboxed pixels of one sample, in the memory of a GPU with those of its neighbours behind it.

    Attributes:
        owner: DALI's output that holds them, uint8 [N, 3, H, W].
        number: of the sample in it.
        device: number of the GPU.
    """

    owner: TensorGPU
    number: int
    device: int

    def with_next(self, count: int) -> SharedMemoryTensor:
        """Return a view of this sample and those behind it, uint8 [count, 3, H, W]; it does not keep the memory."""
        shape = self.owner.shape()[1:]
        start = self.owner.data_ptr() + self.number * math.prod(shape)
        return pixels_at(start, (count, *shape), self.device)


Answer = tuple[Row, npt.NDArray[np.int32]] | Exception


def frames_of(tensor: Any) -> list[TensorGPU]:
    """Return the frames of a batch that lies in the memory of a GPU; they are not copied.

    Args:
        tensor: a pb_utils.Tensor, uint8 [N, H, W] or [N, H, W, C].
    """
    batch = TensorGPU(tensor.to_dlpack(), "NHWC"[: len(tensor.shape())])
    number, *shape = batch.shape()
    size, device = math.prod(shape), tensor.__dlpack_device__()[1]
    views = (pixels_at(batch.data_ptr() + i * size, shape, device) for i in range(number))
    return [TensorGPU(view.__dlpack__(), "HWC"[: len(shape)]) for view in views]


def on_host(tensor: Any) -> npt.NDArray[Any]:
    """Return a copy of a small tensor that lies in the memory of a GPU.

    Args:
        tensor: a pb_utils.Tensor.
    """
    return np.array(TensorGPU(tensor.to_dlpack(), "").as_cpu())


class GpuPipeline(Restartable):
    """Runs one of the repository's DALI definitions on a GPU, as many samples at a time as the model's batches have."""

    def __init__(
        self,
        definition: Callable[..., Any],
        sources: Sequence[str],
        batch_size: int,
        threads: int,
        device: int,
        excused: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Build the pipeline.

        Args:
            definition: a ``pipeline_def`` that takes ``device``.
            sources: names of its external sources.
            batch_size: the most samples of one run.
            threads: of DALI on the CPU; no more than there are cores.
            device: number of the GPU.
            excused: see Standstill; building the pipeline once more keeps Python waiting for most of a second.
        """
        self.device, self._excused = device, excused
        call(runtime.cudaSetDevice, device)
        threads = min(usable_cores(), threads)
        super().__init__(
            definition, sources, device="gpu", device_id=device, batch_size=batch_size, num_threads=threads
        )

    def run(self, samples: Sequence[Sample]) -> list[Answer]:
        """Preprocess samples of any size.

        Args:
            samples: what the external sources take, at most ``batch_size``.

        Returns:
            for each sample its pixels and int32 [2], its height and width, or DALI's RuntimeError. Pixels hold until
            the next call; those of samples that follow each other lie behind each other.
        """
        if not samples:
            return []
        try:
            return self._run(samples)
        except RuntimeError as error:
            with self._excused():
                self.restart()
                return [error] if len(samples) == 1 else self._apart(samples)

    def _apart(self, samples: Sequence[Sample]) -> list[Answer]:
        """Run samples one by one, one or more of which fail, and then those together that don't."""
        alone = [self.run([sample])[0] for sample in samples]
        sound = [sample for sample, answer in zip(samples, alone, strict=True) if not isinstance(answer, Exception)]
        together = iter(self.run(sound))
        return [answer if isinstance(answer, Exception) else next(together) for answer in alone]

    def _run(self, samples: Sequence[Sample]) -> list[Answer]:
        for source, arrays in zip(self.sources, zip(*samples, strict=True), strict=True):
            self.pipeline.feed_input(source, _together(arrays), cuda_stream=-1)
        images, sizes = self.pipeline.run()
        dense, heights = images.as_tensor(), sizes.as_cpu()
        call(runtime.cudaDeviceSynchronize)  # whoever reads the pixels is another process, with streams of its own
        return [(Row(dense, i, self.device), np.array(heights.at(i))) for i in range(len(samples))]


def _together(arrays: Sequence[npt.NDArray[Any] | TensorGPU]) -> list[npt.NDArray[Any] | TensorGPU]:
    """Return what one external source takes, all in the same place, as DALI wants it."""
    if not any(isinstance(one, TensorGPU) for one in arrays):
        return list(arrays)
    return [one if isinstance(one, TensorGPU) else TensorCPU(one, "HWC"[: one.ndim])._as_gpu() for one in arrays]
