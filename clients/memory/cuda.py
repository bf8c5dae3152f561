"""Frames in the memory of a GPU, for a server that uses the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from triton_yolo.clients.errors import DetectionError
from triton_yolo.clients.memory.frames import Shape
from triton_yolo.clients.memory.shared import SharedFrames, unique_name
from triton_yolo.clients.protocols.base import Protocol
from triton_yolo.clients.protocols.calls import model_config
from triton_yolo.clients.request import FRAMES, Pixels

# CUDA cuts smaller allocations out of one block and shares the whole block (CUDA programming guide, interprocess).
BLOCK = 2 * 1024 * 1024


class CudaFrames(SharedFrames):
    """Frames on the GPU that is CUDA's current one when they are made."""

    kind = "cuda"
    may_wait = True

    def __init__(self, shape: Shape, protocol: Protocol) -> None:
        """Allocate.

        Args:
            shape: count, and the shape of a frame.
            protocol: protocol to the server.

        Raises:
            DetectionError: there is no GPU, or no room on it.
        """
        self.device = current_device()
        from tritonclient.utils import cuda_shared_memory as cuda

        name = unique_name()
        size = -(-int(np.prod(shape)) // BLOCK) * BLOCK
        with _errors(f"cannot allocate {size} bytes on GPU {self.device}"):
            self._memory = cuda.create_shared_memory_region(name, size, self.device)
            handle = cuda.get_raw_handle(self._memory).decode()
        view = cuda.as_shared_memory_tensor(self._memory, "UINT8", shape)
        fields = {"raw_handle": handle, "device_id": self.device, "byte_size": size}
        free = partial(cuda.destroy_shared_memory_region, self._memory)
        super().__init__(shape, protocol, name, view, fields, free)

    def register(self) -> None:
        """See SharedFrames; refuses frames on another GPU than the server's, where the server names its own."""
        told = self._protocol.call(model_config(FRAMES)).get("parameters", {}).get("gpu_uuid", {}).get("string_value")
        ours = device_uuid(self.device)
        if told not in (None, ours):
            raise DetectionError(
                f"the frames lie on GPU {self.device} ({ours}), and the server uses {told}: make them there "
                f"(CUDA_VISIBLE_DEVICES={told}, or torch.cuda.set_device), or start the server with --gpu {ours}"
            )
        self._fields["device_id"] = self.device if told is None else 0  # the server sees no GPU but its own
        super().register()

    @property
    def address(self) -> int:
        """Where the memory begins, as CUDA's functions take it."""
        _ = self._opened
        return int(self._memory._base_addr)

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
    """Return the number of CUDA's current device.

    Raises:
        DetectionError: says what CUDA lacks on this machine.
    """
    try:
        from cuda.bindings import runtime
    except ImportError:
        raise DetectionError(
            "memory 'cuda' needs the Python package cuda-python: pip install 'triton-yolo[cuda]'"
        ) from None
    try:
        return int(_call(runtime.cudaGetDevice))
    except DetectionError as error:
        raise DetectionError(f"memory 'cuda' needs an NVIDIA GPU and its driver on this machine; {error}") from None


def device_uuid(number: int) -> str:
    """Return the UUID of a GPU, as nvidia-smi writes it.

    Args:
        number: of the GPU, as CUDA counts in this process.

    Raises:
        DetectionError: there is no such GPU.
    """
    from cuda.bindings import runtime

    digits = bytes(_call(runtime.cudaGetDeviceProperties, number).uuid.bytes[:16]).hex()
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


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
