"""Reads a served graph for OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triton_yolo.openvino_runtime import core, operators, ov


def read_graph(source: Path | bytes) -> ov.Model:
    """Read a served graph, for one image at a time.

    Args:
        source: the ONNX file, or its content.

    Returns:
        the graph; answer_of gives its output, and there may be others that are of no use.
    """
    graph = core.read_model(source)
    graph.reshape({0: ov.PartialShape([1, *graph.input(0).get_partial_shape()[1:]])})
    return _with_quantisers_behind_concatenations(graph)


def answer_of(request: Any) -> Any:
    """Return the output of a graph of read_graph.

    Args:
        request: the InferRequest, which has run.

    Returns:
        the array, in the request's own memory until it runs again.
    """
    return request.output_tensors[-1].data


def _with_quantisers_behind_concatenations(graph: ov.Model) -> ov.Model:
    """Let one more operator read each concatenation that is quantised.

    Where a quantiser is the only reader of a concatenation, OpenVINO (2026.4) puts it before each of the inputs, and
    the convolution behind it then computes with an offset: a third of a standard deviation in the default model. A
    reader that takes one number keeps it from that.

    Results are computed in their order. Those of the readers come first, or each concatenation would be kept until the
    end: 24 MB more for each image that runs.
    """
    readers = []
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "Concat" and _is_quantised(node.output(0)):
            rank = node.output(0).get_partial_shape().rank.get_length()
            first = operators.slice(node.output(0), [0] * rank, [1] * rank, [1] * rank)
            readers.append(operators.result(first))
    return ov.Model([*readers, *graph.get_results()], graph.get_parameters(), graph.get_friendly_name())


def _is_quantised(output: Any) -> bool:
    """Return whether a tensor has one reader, and that quantises it, after other conversions perhaps."""
    readers = [reader.get_node() for reader in output.get_target_inputs()]
    if len(readers) != 1:
        return False
    [reader] = readers
    return reader.get_type_name() == "FakeQuantize" or (
        reader.get_type_name() == "Convert" and _is_quantised(reader.output(0))
    )
