"""Memory of a GPU as Triton's Python backend hands it over: through DLPack, without a copy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from cuda.bindings import runtime
from tritonclient.utils import _dlpack
from tritonclient.utils._shared_memory_tensor import SharedMemoryTensor


def address_of(tensor: Any) -> int:
    """Return where a tensor's numbers begin.

    Args:
        tensor: a pb_utils.Tensor in the memory of a GPU.
    """
    capsule = tensor.to_dlpack()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer(capsule, _dlpack.c_str_dltensor)
    found = _dlpack.DLManagedTensor.from_address(pointer).dl_tensor
    return int(found.data) + int(found.byte_offset)


def pixels_at(address: int, shape: Sequence[int], device: int) -> SharedMemoryTensor:
    """Return a view of uint8 numbers in the memory of a GPU, for whoever takes DLPack.

    Args:
        address: where they begin; whoever makes the view keeps them there.
        shape: of the view.
        device: number of the GPU.
    """
    return SharedMemoryTensor("UINT8", list(shape), address, 0, int(np.prod(shape)), device)


def call(function: Any, *arguments: Any) -> Any:
    """Call CUDA's runtime and return its one result, if there is one.

    Raises:
        RuntimeError: with CUDA's own words.
    """
    code, *results = function(*arguments)
    if code != runtime.cudaError_t.cudaSuccess:
        raise RuntimeError(f"CUDA says: {runtime.cudaGetErrorString(code)[1].decode()}")
    return results[0] if results else None
