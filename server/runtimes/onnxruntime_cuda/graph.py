"""Makes out of a served graph what ONNX Runtime computes fastest on a GPU: float16, without Q/DQ pairs."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from triton_yolo.errors import GraphError
from triton_yolo.graphs.half_precision import halved, name_nodes
from triton_yolo.graphs.onnx_file import read_network
from triton_yolo.graphs.quantisers import without_quantisers
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes.onnxruntime_cuda.cuda_operators import with_cuda_operators
from triton_yolo.server.runtimes.onnxruntime_cuda.late_decoding import decode_late


def gpu_graph(path: Path) -> onnx.ModelProto:
    """Read a served graph, float or quantised, and let it compute in float16 up to the last convolutions.

    ONNX Runtime's CUDA provider has no INT8 convolutions: it would run each Q/DQ pair as two more passes over the
    pixels, before a convolution in float. So the pairs go. The weights keep the values that quantisation gave them.

    Boxes are decoded after the choice of the best (decode_late), and operators become those that the provider computes
    fastest (with_cuda_operators).

    Args:
        path: of the ONNX file.

    Raises:
        ServerError: it is no graph that this project serves.
    """
    try:
        model = read_network(path)
        model = without_quantisers(model)
        if not any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer):
            name_nodes(model)
            model = halved(model)
        return with_cuda_operators(decode_late(model))
    except GraphError as error:
        raise ServerError(str(error)) from None
