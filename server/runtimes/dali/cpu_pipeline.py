"""A DALI pipeline on the CPU that gives each sample its own answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.cores import usable_cores
from triton_yolo.server.runtimes.dali.restartable import Restartable

Sample = tuple[npt.NDArray[Any], ...]  # one array for each external source
Answer = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]] | Exception


class CpuPipeline(Restartable):
    """Runs one of the repository's DALI definitions on the CPU, a few samples at a time.

    A run takes as many samples as there are threads: that keeps the cores busy, bounds the memory of decoded pixels,
    and leaves few neighbours beside a sample that fails.
    """

    def __init__(self, definition: Callable[..., Any], sources: Sequence[str]) -> None:
        """Build the pipeline.

        Args:
            definition: a ``pipeline_def`` that takes ``device``.
            sources: names of its external sources.
        """
        self.threads = usable_cores()
        super().__init__(
            definition, sources, device="cpu", device_id=None, batch_size=self.threads, num_threads=self.threads
        )

    def run(self, samples: Sequence[Sample]) -> list[Answer]:
        """Preprocess samples of any number and size.

        Args:
            samples: what the external sources take.

        Returns:
            for each sample ``images`` uint8 [3, H, W] and ``image_size`` int32 [2], or DALI's RuntimeError. The arrays
            may be DALI's own memory: they hold until the next call.
        """
        chunks = [samples[i : i + self.threads] for i in range(0, len(samples), self.threads)]
        return [answer for chunk in chunks for answer in self._run(chunk, copy=len(chunks) > 1)]

    def _run(self, chunk: Sequence[Sample], copy: bool) -> list[Answer]:
        """Run once; ``copy`` where another run follows, which takes DALI's memory back."""
        try:
            for source, arrays in zip(self.sources, zip(*chunk, strict=True), strict=True):
                self.pipeline.feed_input(source, list(arrays))
            images, sizes = self.pipeline.run()
            return [(np.array(images[i], copy=copy), np.array(sizes[i], copy=copy)) for i in range(len(chunk))]
        except RuntimeError as error:
            self.restart()
            if len(chunk) == 1:
                return [error]
            return [answer for sample in chunk for answer in self._run([sample], copy=True)]
