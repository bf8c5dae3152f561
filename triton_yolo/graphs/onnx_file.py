"""Reads ONNX files, and says what is wrong with those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import inliner

from triton_yolo.errors import GraphError
from triton_yolo.graphs.runner import one_line
from triton_yolo.graphs.structure import all_nodes, in_order

TO_ONNX = (
    "export it to ONNX first: Ultralytics `yolo export model=x.pt format=onnx dynamic=True`, YOLOv5 `python export.py "
    "--include onnx --dynamic`, YOLOX `python tools/export_onnx.py --dynamic`, LibreYOLO `model.export(format='onnx')`"
)


def read_network(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file.

    Raises:
        GraphError: it is something else, is damaged, or has operators that only one runtime knows.
    """
    try:
        other = _another_kind(path)
        model = None if other else onnx.load(path)
    except (DecodeError, UnicodeDecodeError):
        raise GraphError(f"{path} is not an ONNX file, or a damaged one: export it again") from None
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror or error}") from None
    except (onnx.checker.ValidationError, ValueError) as error:
        raise GraphError(
            f"{path} keeps its weights in another file, which is not beside it or not whole: {one_line(error)}"
        ) from None
    if model is None:
        raise GraphError(f"{path} is {other}")
    try:
        return checked(model)
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from None


def _another_kind(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(8)
    suffix = path.suffix.lower()
    if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and suffix in (".pt", ".pth", ".torchscript")):
        return f"a PyTorch file (a checkpoint or TorchScript), not ONNX: {TO_ONNX}"
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite file, not ONNX: export ONNX from the framework that it was trained with"
    if suffix in (".engine", ".plan", ".trt"):
        return "a TensorRT plan, which fits one GPU and one version: give the ONNX that it was built from"
    if suffix in (".xml", ".bin"):
        return "an OpenVINO file: give the ONNX that it was converted from"
    return None


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """Make sure that a model is whole and made of ONNX's own operators.

    Returns:
        the model with its own functions put in their places, and its nodes in order.

    Raises:
        GraphError: it is not.
    """
    if not model.graph.node or not model.graph.output:
        raise GraphError("not an ONNX file, or a damaged one: it has no operators")
    if model.functions:
        model = inliner.inline_local_functions(model)
    foreign = {f"{n.domain}::{n.op_type}" for n in all_nodes(model.graph) if n.domain not in ("", "ai.onnx")}
    if custom := sorted(foreign):
        raise GraphError(
            f"has operators that are not ONNX's own: {', '.join(custom)}. Export without them: no NMS or TensorRT "
            "plugin in the graph, and not a graph that ONNX Runtime has optimised"
        )
    if not any(o.domain in ("", "ai.onnx") for o in model.opset_import):
        raise GraphError("does not say which operator set it uses: export it again")
    model = in_order(model)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        raise GraphError(f"is not valid ONNX: {one_line(error)}. Export it again") from None
    return model
