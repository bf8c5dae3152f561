"""Serialises DALI pipelines, so that the server loads them without running Python."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triton_yolo.dali_definition import load_definition, read_by
from triton_yolo.export.errors import ExportError
from triton_yolo.export.tensorrt import gpu
from triton_yolo.files import write_together

SERIALISED = "model.dali"
MISSING = "DALI is not installed in this environment: install the package of the version that serves the pipelines"


@dataclass(frozen=True)
class Origin:
    """What a serialised pipeline has to come from to be the right one.

    Attributes:
        definition_sha256: of the dali.py and what it reads.
        dali: version that serialised it.
        max_batch_size: of the configuration.
    """

    definition_sha256: str
    dali: str
    max_batch_size: int


def serialise(definition: Path, target: Path, max_batch_size: int) -> bool:
    """Serialise the pipeline of a dali.py, unless the target is there and comes from it.

    Beside the target, ``model.dali.json`` says what it comes from.

    Args:
        definition: the dali.py; one function in it is marked ``autoserialize``, as the DALI backend wants it.
        target: the model.dali.
        max_batch_size: largest batch.

    Returns:
        whether it was written.

    Raises:
        ExportError: DALI is not installed, or the definition is not one pipeline.
        OSError: a file cannot be read or written.
    """
    content = b"".join(path.read_bytes() for path in (definition, *read_by(definition)))
    origin = Origin(hashlib.sha256(content).hexdigest(), _dali_version(), max_batch_size)
    if _fits(target, origin):
        return False
    content = _serialised(definition, max_batch_size)
    record = {**asdict(origin), "pipeline_sha256": hashlib.sha256(content).hexdigest()}
    write_together({Path(f"{target}.json"): f"{json.dumps(record, indent=2)}\n".encode(), target: content})
    return True


def _dali_version() -> str:
    try:
        import nvidia.dali
    except ImportError:
        raise ExportError(MISSING) from None
    return str(nvidia.dali.__version__)


def _fits(target: Path, origin: Origin) -> bool:
    try:
        record = json.loads(Path(f"{target}.json").read_bytes())
        found = hashlib.sha256(target.read_bytes()).hexdigest()
        return bool(record == {**asdict(origin), "pipeline_sha256": found})
    except (OSError, ValueError):
        return False


def _serialised(definition: Path, max_batch_size: int) -> bytes:
    try:
        module = load_definition(definition)
        marked = [value for value in vars(module).values() if getattr(value, "_is_autoserialize", False)]
        if len(marked) != 1:
            raise ExportError(f"{definition} marks {len(marked)} pipelines with @autoserialize: mark one")
        # Without a GPU the same pipeline is serialised, for another machine; the server sets the device when it loads.
        pipeline: Any = marked[0](batch_size=max_batch_size, device_id=0 if gpu() else None)
        return bytes(pipeline.serialize())
    except (SyntaxError, ImportError, NameError, TypeError, ValueError, RuntimeError) as error:
        raise ExportError(f"{definition} defines no pipeline: {' '.join(str(error).split())}") from None
