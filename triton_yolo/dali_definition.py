"""The DALI definitions of a model repository: dali.py, and beside it the letterbox that it reads."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from triton_yolo.nms.letterbox import PAD, Letterbox

DEFINITION, LETTERBOX = "dali.py", "letterbox.json"  # in a model's version folder


def load_definition(path: Path) -> ModuleType:
    """Import a dali.py as Triton's DALI backend does: by its path, since its folder is no package.

    Args:
        path: of the file.
    """
    spec = importlib.util.spec_from_file_location(f"{path.parents[1].name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def letterbox_file(letterbox: Letterbox) -> bytes:
    """Return the content of the file that a dali.py reads its numbers from."""
    return f"{json.dumps({**asdict(letterbox), 'pad': PAD}, indent=2)}\n".encode()
