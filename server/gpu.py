"""What serving on a GPU needs of the machine."""

from __future__ import annotations

from server.errors import ServerError

PROVIDER = "CUDAExecutionProvider"


def check_gpu() -> None:
    """Refuse to start on a machine or an installation that cannot serve on a GPU.

    Raises:
        ServerError: there is no GPU, or the ONNX Runtime that is installed cannot use one; says what to do.
    """
    from cuda.bindings import runtime

    code, count = runtime.cudaGetDeviceCount()
    if code != runtime.cudaError_t.cudaSuccess or not count:
        why = runtime.cudaGetErrorString(code)[1].decode()
        raise ServerError(
            f"--device gpu needs an NVIDIA GPU and its driver: CUDA says: {why}; leave it out for the CPU"
        )
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        raise ServerError(
            "--device gpu needs onnxruntime-gpu, and onnxruntime for the CPU is installed: run `make gpu`"
        )
