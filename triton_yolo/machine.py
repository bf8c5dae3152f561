"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from triton_yolo.errors import TritonYoloError

PACKAGES = (
    "nvidia-pytriton",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "onnxruntime-gpu",
    "openvino",
    "numpy",
    "tritonclient",
)


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory and the versions that matter."""
    with open("/proc/cpuinfo") as file:
        processor = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES if _is_installed(name)},
    }


def describe_gpu() -> dict[str, str]:
    """Return name and driver of the first GPU, as nvidia-smi tells them.

    Raises:
        TritonYoloError: it does not tell.
    """
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise TritonYoloError("nvidia-smi tells of no GPU; this is to be measured on one") from None
    gpu, driver = told.splitlines()[0].split(", ")
    return {"gpu": gpu, "driver": driver}


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
