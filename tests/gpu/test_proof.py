"""The network on a GPU proves itself before it serves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import REPOSITORY
from tests.gpu.conftest import SECONDS
from triton_yolo.export.served_proof import proof_of
from triton_yolo.repository import GRAPH_PATH
from triton_yolo.server.errors import ServerError
from triton_yolo.server.process import TritonServer, free_addresses
from triton_yolo.server.runtimes.proved import RECORD

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("which", ["int8", "float"])
def test_both_kinds_of_graph_are_proved_in_float16(which: str, gpu: int, float_default: Path) -> None:
    repository = REPOSITORY if which == "int8" else float_default
    with TritonServer(repository, free_addresses(), lambda line: None, "gpu") as running:
        running.wait_until_ready(SECONDS)
        assert running.proved()["yolo"].line.startswith("float16; proved: ")
        record = json.loads(next(running.folder.glob(f"models/yolo/1/{RECORD}")).read_text())
    assert record["trials"][0]["detections"] >= 20


def test_weights_that_a_gpu_would_compute_wrong_are_not_served(gpu: int, tmp_path: Path, monkeypatch) -> None:
    """A rewriting that scales the first convolution's weights stands for any fault between the file and the answer."""
    from triton_yolo.server.runtimes.onnxruntime_cuda import graph as module

    right = module.gpu_graph

    def wrong(path: Path) -> onnx.ModelProto:
        model = right(path)
        first = next(node for node in model.graph.node if node.op_type == "Conv")
        tensor = next(t for t in model.graph.initializer if t.name == first.input[1])
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array((array * 1.5).astype(array.dtype), tensor.name))
        return model

    monkeypatch.setattr(module, "gpu_graph", wrong)
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    assert proof_of(tmp_path / "repository" / GRAPH_PATH).is_file()
    with (
        TritonServer(tmp_path / "repository", free_addresses(), lambda line: None, "gpu") as running,
        pytest.raises(ServerError, match=r"the network finds something else on this GPU: float16: "),
    ):
        running.wait_until_ready(SECONDS)
