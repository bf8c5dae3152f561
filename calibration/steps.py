"""The steps of a calibration, as its progress names them."""

from __future__ import annotations

STEPS = {
    "images": "reading the images",
    "ranges": "ranges",
    "float graph": "precision of the float graph",
    "runtime": "proving the runtime",
    "methods": "each method by itself",
    "sensitivity": "sensitivity of each layer",
    "search": "searching for what has to stay float",
    "reference": "precision in ONNX Runtime",
}


def said(step: str, detail: str = "") -> str:
    """Return the name of a step for people, with its number.

    Args:
        step: a key of STEPS.
        detail: which part of it.
    """
    name = f"Step {list(STEPS).index(step) + 1} of {len(STEPS)}, {STEPS[step]}"
    return f"{name}, {detail}" if detail else name
