"""Composes the runtime repository in a process that ends with it: python -m triton_yolo.server.composing.

The launcher stays as long as its server, and needs no NumPy, ONNX or protobuf of its own: they would hold 50 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from triton_yolo.errors import TritonYoloError
from triton_yolo.server.errors import ServerError
from triton_yolo.server.limits import unwritable
from triton_yolo.server.runtimes.base import Arithmetic, Device

USELESS = 2  # exit status where it cannot be done; stderr says why


def composed(
    source: Path, target: Path, device: Device, native: Collection[str], arithmetic: Arithmetic, gpu: str | None
) -> list[str]:
    """Call compose of server/repository.py, in place where this process has the libraries already.

    Args:
        source: see there.
        target: likewise, an absolute path.
        device: likewise.
        native: likewise.
        arithmetic: likewise.
        gpu: likewise.

    Returns:
        the names of the models.

    Raises:
        TritonYoloError: as there, or the target cannot be written.
    """
    if "numpy" in sys.modules:
        return _compose(source, target, device, native, arithmetic, gpu)
    arguments = json.dumps([str(source), str(target), device, list(native), arithmetic, gpu])
    command = [sys.executable, "-m", "triton_yolo.server.composing", arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode == USELESS:
        raise ServerError(done.stderr.strip())
    if done.returncode:
        last = (done.stderr.splitlines() or ["it said nothing"])[-1]
        raise ServerError(f"what prepares {source} for the server ended with status {done.returncode}: {last}")
    return list(json.loads(done.stdout))


def _compose(
    source: Path, target: Path, device: Device, native: Collection[str], arithmetic: Arithmetic, gpu: str | None
) -> list[str]:
    from triton_yolo.server.repository import compose

    return compose(source, target, device, native, arithmetic, gpu)


if __name__ == "__main__":
    source, target, *others = json.loads(sys.argv[1])
    try:
        sys.stdout.write(json.dumps(_compose(Path(source), Path(target), *others)))
    except TritonYoloError as error:
        sys.stderr.write(str(error))
        sys.exit(USELESS)
    except OSError as error:
        sys.stderr.write(str(unwritable(error, Path(target).parents[1])))  # TMPDIR, where the server's folder is
        sys.exit(USELESS)
