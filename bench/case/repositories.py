"""The three repositories of the ladder: what people write first, the float graph, and what is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from bench.float_graph import float_repository
from triton_yolo.server.runtimes.base import Device

FIRST, FLOAT, SERVED = "first", "float", "served"
MODEL = "network"  # of the first repository
FIRST_MODEL, FIRST_NETWORK = Path(__file__).with_name("first_model.py"), "network.onnx"  # which that file reads


def repositories(network: Path, served: Path, folder: Path, device: Device) -> dict[str, Path]:
    """Make them.

    Args:
        network: the ONNX file that the served graph was made from.
        served: the model repository.
        folder: an empty folder for the other two.
        device: where they will be served.

    Returns:
        their folders by name.

    Raises:
        BenchError: the network is none that this repository could serve.
    """
    return {
        FIRST: _first(network, folder / FIRST, device),
        FLOAT: float_repository(network, served, folder / FLOAT),
        SERVED: served,
    }


def _first(network: Path, folder: Path, device: Device) -> Path:
    """Make a repository of the network as it was trained."""
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    shutil.copy(FIRST_MODEL, version / "model.py")
    shutil.copy(network, version / FIRST_NETWORK)
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    [source], [target] = session.get_inputs(), session.get_outputs()
    kind = triton.ModelInstanceGroup.KIND_GPU if device == "gpu" else triton.ModelInstanceGroup.KIND_CPU
    config = triton.ModelConfig(
        name=MODEL,
        backend="python",
        max_batch_size=8,
        input=[triton.ModelInput(name=source.name, data_type=triton.TYPE_FP32, dims=source.shape[1:])],
        output=[triton.ModelOutput(name=target.name, data_type=triton.TYPE_FP32, dims=target.shape[1:])],
        instance_group=[triton.ModelInstanceGroup(count=1, kind=kind)],
    )
    (folder / MODEL / "config.pbtxt").write_text(text_format.MessageToString(config))
    return folder
