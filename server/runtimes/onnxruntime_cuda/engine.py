"""The served graph on a GPU, recorded as CUDA graphs of a few batch sizes."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from cuda.bindings import runtime

from triton_yolo.server.runtimes.device_memory import call

WARM_UP = 3  # runs of a thread: one before, one that is recorded, one that replays the record

KINDS = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}  # of pixels, and of the features of a server half
Images = tuple[int, int]  # address of the first, uint8 [3, H, W] each, in the memory of the GPU or the host; and count


class Engine:
    """One session for each batch size, all on the same memory.

    ONNX Runtime launches hundreds of small kernels one by one, which takes longer than they do; a CUDA graph launches
    them at once, and demands that sizes and addresses stay as they are.
    """

    def __init__(self, graph: Path, image: Sequence[int], sizes: Sequence[int], device: int) -> None:
        """Load, and run every batch size until it is recorded.

        Args:
            graph: ONNX file of a served graph.
            image: shape of one image, [3, H, W], or of its features, [L].
            sizes: batch sizes, ascending; batches in between are filled up.
            device: number of the GPU.
        """
        onnxruntime.preload_dlls()
        call(runtime.cudaSetDevice, device)
        self.sizes = sizes
        self.stream = call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking)
        self.image_bytes = math.prod(image)
        self.images = call(runtime.cudaMalloc, sizes[-1] * self.image_bytes)
        model = onnx.load(graph)
        sessions = [self._session(model, size, device) for size in sizes]
        _, *self.row = sessions[-1].get_outputs()[0].shape
        count = sizes[-1] * math.prod(self.row)
        self.candidates = call(runtime.cudaMalloc, 4 * count)
        # Copies from the GPU need pinned memory, or the driver copies twice.
        pinned = (ctypes.c_float * count).from_address(
            call(runtime.cudaHostAlloc, 4 * count, runtime.cudaHostAllocDefault)
        )
        self.answers = np.frombuffer(pinned, np.float32).reshape(sizes[-1], *self.row)
        self.options = _options()
        self.runs = {}
        for size, session in zip(sizes, sessions, strict=True):
            binding = session.io_binding()
            into, out = session.get_inputs()[0].name, session.get_outputs()[0].name
            binding.bind_input(into, "cuda", device, KINDS[session.get_inputs()[0].type], (size, *image), self.images)
            binding.bind_output(out, "cuda", device, np.float32, (size, *self.row), self.candidates)
            self.runs[size] = (session, binding)
        self._record()

    def _session(self, model: onnx.ModelProto, size: int, device: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        options.add_free_dimension_override_by_name(batch, size)  # so that all arithmetic with shapes is done here
        cuda = {
            "device_id": device,
            "user_compute_stream": str(int(self.stream)),
            "enable_cuda_graph": "1",
            "prefer_nhwc": "1",
            "fuse_conv_bias": "1",  # one kernel for both, which cuDNN compiles
            "cudnn_conv_algo_search": "HEURISTIC",  # a tenth of the start of EXHAUSTIVE, and as fast
            "arena_extend_strategy": "kSameAsRequested",  # of many sizes, none takes twice what it needs
        }
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=[("CUDAExecutionProvider", cuda)]
        )

    def _record(self) -> None:
        """Run every size; the first run compiles for seconds, so sizes do that side by side.

        A recording fails if another thread uses CUDA meanwhile, so those come one after the other.
        """
        plain = _options({"gpu_graph_id": "-1"})  # records nothing
        with ThreadPoolExecutor(len(self.sizes)) as pool:
            list(pool.map(lambda size: self._launch(size, plain), self.sizes))
        for size in self.sizes:
            for _ in range(WARM_UP):
                self._launch(size, self.options)

    def _launch(self, size: int, options: onnxruntime.RunOptions) -> None:
        session, binding = self.runs[size]
        session.run_with_iobinding(binding, options)

    def run(self, batches: Sequence[Images]) -> npt.NDArray[np.float32]:
        """Run images that may lie in several places, as one batch.

        Args:
            batches: where they are.

        Returns:
            float32 [N, K, 6], the candidates of all images, in the host's memory; they hold until the next run.
        """
        total = 0
        for address, count in batches:
            self._copy(self.images + total * self.image_bytes, address, count * self.image_bytes)
            total += count
        self._launch(next(size for size in self.sizes if size >= total), self.options)
        candidates = self.answers[:total]
        self._copy(candidates.ctypes.data, self.candidates, candidates.nbytes)
        call(runtime.cudaStreamSynchronize, self.stream)
        return candidates

    def ways(self) -> Iterator[Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]]:
        """Yield the ways in which images may be run, for the proof: one for each batch size, filled with these images.

        Each takes images uint8 [N, 3, H, W], or features int8 [N, L], in the host's memory and returns candidates
        float32 [N, K, 6].
        """
        for size in self.sizes:
            yield partial(self._filled, size)

    def _filled(self, size: int, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return candidates of images out of batches of one size."""
        found = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            batch = np.ascontiguousarray(part[np.arange(size) % len(part)])
            found.append(self.run([(batch.ctypes.data, size)])[: len(part)].copy())
        return np.concatenate(found)

    def _copy(self, target: int, source: int, size: int) -> None:
        kind = runtime.cudaMemcpyKind.cudaMemcpyDefault  # from the host or the GPU, whichever the address belongs to
        call(runtime.cudaMemcpyAsync, target, source, size, kind, self.stream)


def _options(entries: Mapping[str, str] | None = None) -> onnxruntime.RunOptions:
    """Return the options of a run that does not wait for the GPU: run() waits for the copy."""
    options = onnxruntime.RunOptions()
    for key, value in {"disable_synchronize_execution_providers": "1", **(entries or {})}.items():
        options.add_run_config_entry(key, value)
    return options
