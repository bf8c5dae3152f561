"""The networks that can be trained, on the CPU: what goes in, what comes out, and that they learn and are exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from training.pictures import SIDE, Picture, letterbox
from training.split import draw_split_board
from training.train import Network
from triton_yolo.boards import CLASSES
from triton_yolo.export.inputs import BGR255, RGB01
from triton_yolo.export.network import prepare
from triton_yolo.export.recognise import ExportOptions, recognise
from triton_yolo.graphs.onnx_file import read_network

pytestmark = [
    pytest.mark.filterwarnings("default"),  # PyTorch and LibreYOLO warn of their own use of each other
    pytest.mark.slow,
]

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("libreyolo", reason="LibreYOLO is not installed")

if TYPE_CHECKING:
    from training.network import Trainee

MODELS = Path(__file__).resolve().parents[2] / "models"
EACH = pytest.mark.parametrize("name", [network.value for network in Network])


def weight_shapes(model: onnx.ModelProto) -> list[list[int]]:
    """The shapes of all convolutions' weights."""
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    return [shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


def trainee_of(name: str) -> Trainee:
    from training.schedule import NETWORKS

    return NETWORKS[name](CLASSES, 0)


def test_the_command_line_names_the_networks_that_there_are() -> None:
    from training.schedule import NETWORKS

    assert [network.value for network in Network] == list(NETWORKS)


@EACH
def test_a_network_learns_a_board_that_it_sees_again_and_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import schedule
    from training.augment import Pool, Recipe

    same = Recipe(mosaic=0.0, exact=1.0, negative=0.0, colour=0.0)
    monkeypatch.setattr(schedule, "FIRST", same)
    monkeypatch.setattr(schedule, "FINISH", same)
    board = draw_split_board(1)
    picture = Picture(np.ascontiguousarray(board.image.transpose(2, 0, 1)), board.boxes, board.classes)
    pool = Pool.of([picture], [True], "cpu")
    trainee = trainee_of(name)
    network = trainee.wrapper.model.to(memory_format=schedule.memory_format(trainee)).train()
    monkeypatch.setattr(schedule, "SHARES", (1.0,))
    steps = schedule.steps_of(trainee, network, schedule.Data(pool, (1,), {}), schedule.Settings(1, 4, 2, 0, 1), 6)
    losses = [float(parts.sum()) for _, _, parts in steps]
    assert np.isfinite(losses).all()
    assert sum(losses[-2:]) < 0.97 * sum(losses[:2])
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)  # CUDA graphs want all used


@EACH
def test_an_exported_network_is_recognised_with_nothing_said_about_it(name: str, tmp_path: Path) -> None:
    from training.network import export

    trainee = trainee_of(name)
    path = tmp_path / "model.onnx"
    export(trainee, trainee.wrapper.model, path)  # raises where its answers are not PyTorch's
    assert list(tmp_path.iterdir()) == [path]
    model = read_network(path)
    assert weight_shapes(model) == weight_shapes(read_network(MODELS / f"pcb-{name}.onnx"))
    assert "BatchNormalization" not in {n.op_type for n in model.graph.node}
    (images,), (output,) = model.graph.input, model.graph.output
    shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (images, output)]
    features = {"yolov9t-elan": [4 + len(CLASSES), 8400], "yolox-nano": [8400, 5 + len(CLASSES)]}
    assert shapes == [["batch", 3, SIDE, SIDE], ["batch", *features[name]]]
    assert {v.type.tensor_type.elem_type for v in (images, output)} == {onnx.TensorProto.FLOAT}
    recognised = recognise(prepare(model, None), ExportOptions())
    assert recognised.head.name == {"yolov9t-elan": "xyxy", "yolox-nano": "yolox"}[name]
    assert recognised.pixels == {"yolov9t-elan": RGB01, "yolox-nano": BGR255}[name]
    assert recognised.letterbox.centred == trainee.centred
    assert recognised.labels == CLASSES


def test_yolox_is_fed_the_pixels_that_libreyolo_feeds_it() -> None:
    from libreyolo.preprocess.yolox import preprocess_numpy

    trainee = trainee_of("yolox-nano")
    picture = np.full((960, 1280, 3), (200, 100, 50), np.uint8)  # RGB
    expected, _ = preprocess_numpy(picture, SIDE)
    image, _ = letterbox(picture, np.zeros((0, 4), np.float32), trainee.centred)
    fed = trainee.pixels(torch.from_numpy(image)[None].float() / 255)[0]
    np.testing.assert_allclose(fed.numpy(), expected, atol=1e-4)


def test_yolox_is_read_as_libreyolo_reads_it() -> None:
    from libreyolo.postprocess.yolox import decode_outputs

    trainee = trainee_of("yolox-nano")
    network = trainee.wrapper.model.eval()
    inputs = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        found = trainee.predictions(trainee.answer(network, inputs))
        network.head.export = False
        rows = decode_outputs(network(inputs))
    assert found.shape == (2, 4 + len(CLASSES), 8400)
    torch.testing.assert_close((found[:, :2] + found[:, 2:4]).mT / 2, rows[..., :2], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close((found[:, 2:4] - found[:, :2]).mT, rows[..., 2:4], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(found[:, 4:].mT, rows[..., 4:5] * rows[..., 5:])


def test_yolox_has_no_loss_of_boxes_where_each_is_a_defects_and_much_where_they_lie_beside_it() -> None:
    trainee = trainee_of("yolox-nano")
    network = trainee.wrapper.model.train()
    with torch.no_grad():
        network(torch.zeros(1, 3, SIDE, SIDE))  # lays out the cells
    loss = trainee.loss(network, torch.device("cpu"))
    labels = torch.tensor([[[3, 100, 200, 160, 260], [0, 0, 0, 0, 0]]]) / torch.tensor([1, *[SIDE] * 4])
    rows = torch.zeros(1, 8400, 5 + len(CLASSES))
    rows[..., :4] = torch.tensor([130, 230, 60, 60])
    assert loss(rows, labels)[1][0] < 1e-3
    rows[..., 0] += 30
    assert loss(rows, labels)[1][0] > 1
