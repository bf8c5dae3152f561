"""What serving on a GPU needs of the machine, and which GPU it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triton_yolo.server.errors import ServerError

PROVIDER = "CUDAExecutionProvider"
ALL = "all"


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        number: as CUDA counts in this process.
        uuid: "GPU-..." as nvidia-smi shows it.
        name: of its model.
    """

    number: int
    uuid: str
    name: str


def find_gpu(wanted: str = "0") -> Gpu:
    """Return the GPU to serve on.

    Args:
        wanted: its number, as CUDA counts, or its UUID or the beginning of that.

    Raises:
        ServerError: there is no such GPU, or the ONNX Runtime that is installed cannot use one; says what to do.
    """
    [gpu] = _found([wanted])
    return gpu


def find_gpus(wanted: str) -> list[Gpu]:
    """Return the GPUs to serve on, each with a server of its own.

    Args:
        wanted: "all", or numbers and UUIDs as for ``find_gpu``, separated by commas.

    Raises:
        ServerError: as ``find_gpu``, and where one is named twice.
    """
    names = wanted.split(",") if wanted != ALL else [gpu.uuid for gpu in _gpus()]
    found = _found(names)
    if len(set(found)) < len(found):
        raise ServerError(f"--gpu {wanted} names a GPU twice: one server uses one GPU")
    return found


def _found(names: Sequence[str]) -> list[Gpu]:
    gpus = _gpus()
    chosen = [_one(name, gpus) for name in names]
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        raise ServerError(
            "--device gpu needs onnxruntime-gpu, and onnxruntime for the CPU is installed, which is the same Python "
            "package: run `make gpu`, or pip uninstall onnxruntime and then pip install 'triton-yolo[gpu]'"
        )
    return chosen


def _one(wanted: str, gpus: Sequence[Gpu]) -> Gpu:
    found = [gpu for gpu in gpus if wanted == str(gpu.number) or (len(wanted) > 4 and gpu.uuid.startswith(wanted))]
    if len(found) != 1:
        there = ", ".join(f"{gpu.number} ({gpu.uuid}, {gpu.name})" for gpu in gpus)
        raise ServerError(f"--gpu {wanted} is {'several' if found else 'none'} of the GPUs here: {there}")
    return found[0]


def _gpus() -> list[Gpu]:
    """Return all GPUs that CUDA sees in this process."""
    from cuda.bindings import runtime

    from triton_yolo.clients.memory.cuda import device_uuid

    code, count = runtime.cudaGetDeviceCount()
    if code != runtime.cudaError_t.cudaSuccess or not count:
        why = runtime.cudaGetErrorString(code)[1].decode()
        raise ServerError(
            f"--device gpu needs an NVIDIA GPU and its driver: CUDA says: {why}; leave it out for the CPU"
        )
    names = [runtime.cudaGetDeviceProperties(number)[1].name.rstrip(b"\0").decode() for number in range(count)]
    return [Gpu(number, device_uuid(number), name) for number, name in enumerate(names)]
