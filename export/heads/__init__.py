"""The heads of YOLO networks whose predictions can be served; a module for each.

A head is found by what it declares. To add one, write a module beside the others that names an instance of a subclass
of Head as HEAD, a plain NumPy reading of its predictions in export/proof.py, and its layout in tests/export/layouts.py.
"""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

from triton_yolo.export.heads.base import Head


def _heads() -> dict[str, Head]:
    """Return the head of each module that has one, by name, families of YOLO first."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    heads = [module.HEAD for module in modules if hasattr(module, "HEAD")]
    return {head.name: head for head in sorted(heads, key=_place)}


def _place(head: Head) -> tuple[bool, list[tuple[int, str]]]:
    """Order yolov8 before yolov10."""
    parts = re.findall(r"\d+|\D+", head.name)
    return not head.name.startswith("yolo"), [(int(part), "") if part.isdigit() else (0, part) for part in parts]


HEADS = _heads()
