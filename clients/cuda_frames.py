"""Frames in the memory of a GPU, for a server that uses the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from clients.errors import DetectionError
from clients.frames import Pixels, Shape
from clients.region import unique_name
from clients.shared_frames import SharedFrames
from clients.transport import Transport

# CUDA cuts smaller allocations out of one block and shares the whole block (CUDA programming guide, interprocess).
BLOCK = 2 * 1024 * 1024


class CudaFrames(SharedFrames):
    """Frames on the GPU that is CUDA's current one when they are made."""

    kind = "cuda"
    demands = (
        "a server that uses the same GPU under the same number (containers: with the host's pid namespace) and allows "
        "shared memory of clients"
    )

    def __init__(self, shape: Shape, transport: Transport) -> None:
        """Allocate and register.

        Args:
            shape: count, height, width, 3.
            transport: to the server.

        Raises:
            DetectionError: there is no GPU or no room on it, or the server does not take it.
        """
        self.device = current_device()
        from tritonclient.utils import cuda_shared_memory as cuda

        name = unique_name()
        size = -(-int(np.prod(shape)) // BLOCK) * BLOCK
        with _errors(f"cannot have {size} bytes of GPU {self.device}"):
            self._memory = cuda.create_shared_memory_region(name, size, self.device)
            handle = cuda.get_raw_handle(self._memory).decode()
        view = cuda.as_shared_memory_tensor(self._memory, "UINT8", shape)
        fields = {"raw_handle": handle, "device_id": self.device, "byte_size": size}
        free = partial(cuda.destroy_shared_memory_region, self._memory)
        super().__init__(shape, transport, name, view, fields, free)

    def _copy(self, pixels: Pixels) -> None:
        from tritonclient.utils import cuda_shared_memory as cuda

        _ = self._opened
        with _errors("cannot copy frames to the GPU"):
            cuda.set_shared_memory_region(self._memory, [pixels])

    def _settle(self) -> None:
        """Wait for every stream of this process on the GPU: the server knows nothing of them."""
        from cuda.bindings import runtime

        super()._settle()
        previous = current_device()
        _call(runtime.cudaSetDevice, self.device)
        try:
            _call(runtime.cudaDeviceSynchronize)
        finally:
            _call(runtime.cudaSetDevice, previous)

    def close(self) -> None:
        """See Frames."""
        super().close()
        self._memory = None  # the last reference frees it


def current_device() -> int:
    """The number of CUDA's current device.

    Raises:
        DetectionError: says what CUDA lacks on this machine.
    """
    try:
        from cuda.bindings import runtime
    except ImportError:
        raise DetectionError("transport 'cuda' needs the Python package cuda-python: install it") from None
    try:
        return int(_call(runtime.cudaGetDevice))
    except DetectionError as error:
        raise DetectionError(f"transport 'cuda' needs an NVIDIA GPU and its driver on this machine; {error}") from None


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call CUDA and return its one result, if there is one."""
    from cuda.bindings import runtime

    code, *results = function(*arguments)
    if code != runtime.cudaError_t.cudaSuccess:
        raise DetectionError(f"CUDA says: {runtime.cudaGetErrorString(code)[1].decode()}")
    return results[0] if results else None


@contextmanager
def _errors(what: str) -> Iterator[None]:
    from tritonclient.utils.cuda_shared_memory import CudaSharedMemoryException

    try:
        yield
    except CudaSharedMemoryException as error:
        words = error.__cause__.args[0] if error.__cause__ and error.__cause__.args else error
        raise DetectionError(f"{what}: {words.decode() if isinstance(words, bytes) else words}") from None
