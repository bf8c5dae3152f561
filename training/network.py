"""The default model: LibreYOLO's YOLOv9-t, its loss, a moving average of its weights, and its export to ONNX."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from libreyolo import LibreYOLO9
from libreyolo.models.yolo9.loss import YOLO9Loss
from torch import Tensor, nn

from training.pictures import SIDE

OPSET = 20
"""ONNX operator set of the exported file."""

TOLERANCE = 0.05
"""Most that a box coordinate (pixels) or 100 times a score may differ between PyTorch and the exported file."""


def new_network(classes: Sequence[str], seed: int) -> LibreYOLO9:
    """Returns LibreYOLO's wrapper around a YOLOv9-t with random weights, on the CPU."""
    torch.manual_seed(seed)
    wrapper = LibreYOLO9._from_scratch(size="t", nb_classes=len(classes), task="detect", device="cpu")
    wrapper.names = dict(enumerate(classes))
    wrapper.letterbox_pad = "center"
    return wrapper


class Loss:
    """YOLOv9's loss: CIoU, distribution focal loss and cross entropy, with task-aligned assignment."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        strides = [int(s) for s in network.head.stride]
        self._loss = YOLO9Loss(network.nc, network.reg_max, strides, [SIDE, SIDE], device)

    def __call__(self, maps: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the loss and, for the log, its box, distribution and class parts [3].

        Args:
            maps: what the network returns in training, three maps [B, 64 + classes, H, W].
            labels: class and x1, y1, x2, y2 as shares of the side [B, T, 5].
        """
        found = self._loss([m.float() for m in maps], labels)
        return found["total_loss"], torch.stack([found["box"], found["dfl"], found["cls"]])


class MovingAverage:
    """An exponential moving average of a network's weights, short at first so that it forgets the random start."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay, self._updates = decay, 0
        pairs = zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        floats = [(mine, theirs) for mine, theirs in pairs if mine.is_floating_point()]
        self._mine, self._theirs = [mine for mine, _ in floats], [theirs for _, theirs in floats]

    @torch.no_grad()
    def update(self) -> None:
        """Takes the network's present weights in."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)


def export(wrapper: LibreYOLO9, trained: nn.Module, path: Path) -> None:
    """Writes a network as ONNX with fused convolutions, in LibreYOLO's own layout, and checks it against PyTorch.

    Input `images`: float32 RGB 0 to 1 [batch, 3, SIDE, SIDE]. Output `output`: float32 [batch, 4 + classes, 8400];
    x1, y1, x2, y2 in pixels, then a score for each class. Only the batch is dynamic. The names are in the metadata.

    Raises:
        RuntimeError: the file's answers are not the network's.
    """
    network = copy.deepcopy(trained).to("cpu", memory_format=torch.contiguous_format).eval()
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)["predictions"].numpy()
    network.fuse()
    wrapper.model = network
    scratch = path.with_suffix(".part.onnx")
    try:
        wrapper.export(format="onnx", output_path=str(scratch), opset=OPSET, dynamic=True, simplify=False)
        model = onnx.load(scratch)
        for size, axis in zip(expected.shape[1:], model.graph.output[0].type.tensor_type.shape.dim[1:], strict=True):
            axis.dim_value = size
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, scratch)
        session = onnxruntime.InferenceSession(scratch, providers=["CPUExecutionProvider"])
        answer = session.run(None, {"images": images.numpy()})[0]
        difference = np.abs(answer - expected)
        if difference[:, :4].max() > TOLERANCE or difference[:, 4:].max() > TOLERANCE / 100:
            raise RuntimeError(f"{path}: the exported file's answers differ from PyTorch's by {difference.max():.3g}")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
