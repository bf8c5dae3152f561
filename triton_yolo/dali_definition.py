"""The DALI definitions of a model repository: dali.py, and beside it the modules and the letterbox that it reads."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from triton_yolo.nms.letterbox import PAD, Letterbox

DEFINITION, LETTERBOX = "dali.py", "letterbox.json"  # in a model's version folder


def read_by(definition: Path) -> list[Path]:
    """Return the files that a dali.py reads: the other modules in its folder, and the letterbox.

    Args:
        definition: path of the dali.py.
    """
    modules = sorted(path for path in definition.parent.glob("*.py") if path.name != definition.name)
    letterbox = definition.with_name(LETTERBOX)
    return [*modules, letterbox] if letterbox.exists() else modules  # definitions of before have their numbers in them


def read_letterbox(definition: Path) -> tuple[Letterbox, int]:
    """Return the letterbox that a dali.py reads, and the grey level of its border.

    Args:
        definition: path of the dali.py, which has a letterbox beside it.
    """
    content = json.loads(definition.with_name(LETTERBOX).read_text())
    pad = content.pop("pad")
    return Letterbox(**content), pad


def load_definition(path: Path) -> ModuleType:
    """Import a dali.py as Triton's DALI backend does: by its path, since its folder is no package.

    Modules that it imports from its folder are its own: the next definition imports those beside it.

    Args:
        path: of the file.
    """
    search_path, loaded = sys.path.copy(), set(sys.modules)
    spec = importlib.util.spec_from_file_location(f"{path.parents[1].name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = search_path
        for beside in {file.stem for file in read_by(path)} - loaded:
            sys.modules.pop(beside, None)
    return module


def letterbox_file(letterbox: Letterbox) -> bytes:
    """Return the content of the file that a dali.py reads its numbers from."""
    return f"{json.dumps({**asdict(letterbox), 'pad': PAD}, indent=2)}\n".encode()
