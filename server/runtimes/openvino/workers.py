"""Threads that run images through a network on the CPU, each as soon as a core is free for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.server.runtimes.waiting import Waiting

Images = npt.NDArray[Any]  # uint8 [N, 3, H, W], or int8 [N, L]: the features of images
Candidates = npt.NDArray[np.float32]  # [N, K, 6]
Run = Callable[[Images], Candidates]


@dataclass
class _Batch:
    """The images of one request.

    Attributes:
        images: all of them.
        done: is called with the candidates, or with what went wrong.
        results: of each image, as they come.
    """

    images: Images
    done: Callable[[Candidates | Exception], None]
    results: list[Any] = field(default_factory=list)
    missing: int = 0


@dataclass(frozen=True)
class _Image:
    batch: _Batch
    number: int


class Workers:
    """Runs images one by one on all cores while fewer wait than there are, and else each on a core of its own."""

    def __init__(self, alone: Run, together: Sequence[Run]) -> None:
        """Start a thread for each core.

        Args:
            alone: runs one image on all cores.
            together: one for each core, to run one image there.
        """
        self._alone, self._cores = alone, len(together)
        self._waiting: Waiting[_Image] = Waiting()
        self._running, self._all_cores, self._ended = 0, False, False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, args=(run,), daemon=True) for run in together]
        for thread in self._threads:
            thread.start()

    def submit(self, images: Images, done: Callable[[Candidates | Exception], None], urgent: bool) -> None:
        """Run the images of a request.

        Args:
            images: as Images has them; they have to stay as they are until then.
            done: is called in another thread with the candidates float32 [N, K, 6], or with what went wrong.
            urgent: whether they go before what waits.
        """
        batch = _Batch(images, done, [None] * len(images), len(images))
        with self._changed:
            for number in range(len(images)):
                self._waiting.append(_Image(batch, number), urgent)
            self._changed.notify_all()

    def close(self) -> None:
        """Run what waits, and end."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, together: Run) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._all_cores and (self._waiting or self._ended))
                if not self._waiting:
                    return
                self._all_cores = not self._running and len(self._waiting) < self._cores
                run = self._alone if self._all_cores else together
                image = self._waiting.popleft()
                self._running += 1
            try:
                result: Any = run(image.batch.images[image.number][None])
            except Exception as error:
                result = error
            with self._changed:
                self._running -= 1
                self._all_cores = False
                image.batch.results[image.number] = result
                image.batch.missing -= 1
                last = not image.batch.missing
                self._changed.notify_all()
            if last:
                _finish(image.batch)


def _finish(batch: _Batch) -> None:
    for result in batch.results:
        if isinstance(result, Exception):
            return batch.done(result)
    batch.done(batch.results[0] if len(batch.results) == 1 else np.concatenate(batch.results))
