from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from tests.calibration.graphs import example
from tests.calibration.material import coloured, saved
from tests.conftest import ROOT
from triton_yolo.boards import draw_board
from triton_yolo.calibration.layers import Convolution, convolutions, read_float_graph
from triton_yolo.calibration.pictures import Pictures
from triton_yolo.calibration.quantise import quantised, readers
from triton_yolo.calibration.ranges import collect
from triton_yolo.export.cost import cost_of
from triton_yolo.export.network import prepare
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.export.served_graph import served_graph
from triton_yolo.graphs.onnx_file import read_network


@dataclass(frozen=True)
class Known:
    """A trained network in models/, as it is served and calibrated."""

    model: onnx.ModelProto
    layers: list[Convolution]
    macs: int  # as the export counts them


def opened(name: str, folder: Path) -> Known:
    network = prepare(read_network(ROOT / "models" / f"{name}.onnx"), None)
    recognised = recognise(network, ExportOptions())
    file = folder / f"{name}.onnx"
    onnx.save(served_graph(network, recognised, 1000), file)
    model = read_float_graph(file)
    return Known(model, convolutions(model), cost_of(network, recognised, 1000).macs)


@pytest.fixture(scope="session")
def yolov9(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return opened("pcb-yolov9t-elan", tmp_path_factory.mktemp("yolov9"))


@pytest.fixture(scope="session")
def yolox(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return opened("pcb-yolox-nano", tmp_path_factory.mktemp("yolox"))


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Boards that the default networks find defects on."""
    return saved(tmp_path_factory.mktemp("boards"), [draw_board(seed, 640, 640, "binary").image for seed in range(8)])


@pytest.fixture(scope="session")
def int8_yolov9(yolov9: Known, boards: Pictures) -> onnx.ModelProto:
    """All of it but the last convolutions in INT8."""
    ranges = collect(yolov9.model, list(readers(yolov9.model)), boards, ["minmax"])["minmax"]
    return quantised(yolov9.model, ranges.values, [layer.name for layer in yolov9.layers if not layer.last])


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Pictures of the size that the example takes."""
    return coloured(tmp_path_factory.mktemp("colours"), (32, 48))


@pytest.fixture(scope="session")
def measured(colours: Pictures) -> dict[str, tuple[float, float]]:
    """Ranges of what the example's convolutions read."""
    model = example()
    return dict(collect(model, list(readers(model)), colours, ["minmax"])["minmax"].values)
