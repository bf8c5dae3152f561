"""Class names: from a file, or from what an exporter left in the ONNX."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from triton_yolo.export.errors import ExportError

KEYS = ("names", "classes", "labels")  # where exporters and data sets keep the names


def read_labels(path: Path) -> tuple[str, ...]:
    """Read class names in the network's order.

    Args:
        path: a text file with a name a line, or YAML or JSON with a list, or with a mapping of numbers to names; either
            may stand under ``names``, as in a YOLO data set's YAML.

    Raises:
        ExportError: it cannot be read, or holds no names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ExportError(f"cannot read the labels {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExportError(f"the labels {path} are not text: give a name a line, or a YAML file with names") from None
    if any(ord(character) < 32 and character not in "\t\r\n" for character in text):
        raise ExportError(f"the labels {path} are not text: give a name a line, or a YAML file with names")
    kind = path.suffix.lower()
    if kind not in (".yaml", ".yml", ".json"):
        return _checked([line.strip() for line in text.rstrip().splitlines()], path)
    try:
        # The plain loader leaves words such as "on" and numbers such as 007 as they are written.
        content = json.loads(text) if kind == ".json" else yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ExportError(
            f"the labels {path} are not valid {kind[1:].upper()}: {' '.join(str(error).split())}"
        ) from None
    return _checked(_names(content), path)


def labels_in(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the class names that an exporter left in an ONNX file.

    Args:
        metadata: of the file; Ultralytics writes a Python dictionary, others JSON.

    Returns:
        the names in the network's order, None if there are none.
    """
    for key in KEYS:
        for parse in (json.loads, ast.literal_eval):
            try:
                names = _names(parse(metadata.get(key, "")))
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
                continue
            if names:
                return tuple(names)
    return None


def _names(content: Any) -> list[str]:
    """Return the names in a list, in a mapping from numbers, or in either under one of KEYS; [] if there are none."""
    if isinstance(content, dict):
        inside = next((content[key] for key in KEYS if key in content), content)
        if inside is not content:
            return _names(inside)
        numbered = {str(number): name for number, name in content.items()}
        ordered = [numbered.get(str(i)) for i in range(len(numbered))]
        return [] if None in ordered else [str(name) for name in ordered]
    return [str(name) for name in content] if isinstance(content, list) else []


def _checked(names: list[str], path: Path) -> tuple[str, ...]:
    if not names:
        raise ExportError(f"the labels {path} hold no names: give a name a line, or a YAML file with names")
    if "" in names:
        raise ExportError(f"the labels {path} have an empty line, number {names.index('') + 1}")
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise ExportError(f"the labels {path} name {doubles[0]!r} twice")
    return tuple(names)
