"""What the training asks of a network, a moving average of its weights, and its export to ONNX."""

from __future__ import annotations

import copy
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from training.pictures import SIDE

OPSET = 20
"""ONNX operator set of the exported file."""

TOLERANCE = 0.05
"""Most that a box coordinate (pixels) or 100 times a score may differ between PyTorch and the exported file."""

Loss = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
"""From what a network returns in training, and the labels of `training.augment`, to the loss and its parts [3]."""


class Trainee(ABC):
    """One of LibreYOLO's networks, as it is made, taught, judged and exported.

    Attributes:
        parts: what the parts of the loss are called in the log.
        centred: whether pictures are letterboxed in the middle, or at the top left.
        mixed: whether it learns in bfloat16 with channels last, or in float32 with channels first.
        wrapper: LibreYOLO's wrapper around the network with random weights, on the CPU.
    """

    parts: ClassVar[str]
    centred: ClassVar[bool]
    mixed: ClassVar[bool]
    wrapper: Any

    @abstractmethod
    def __init__(self, classes: Sequence[str], seed: int) -> None:
        """Make the network of the names of the classes, and the seed of its weights."""

    @abstractmethod
    def loss(self, network: nn.Module, device: torch.device) -> Loss:
        """Return LibreYOLO's own loss for a network on a device."""

    @abstractmethod
    def pixels(self, images: Tensor) -> Tensor:
        """Turn RGB 0 to 1 [B, 3, SIDE, SIDE] into the network's input."""

    @abstractmethod
    def answer(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return what the exported file answers to such an input, from a network that is not in training."""

    @abstractmethod
    def predictions(self, answer: Tensor) -> Tensor:
        """Turn an answer into x1, y1, x2, y2 in pixels and a score for each class [B, 4 + classes, anchors]."""

    @abstractmethod
    def fuse(self, network: nn.Module) -> None:
        """Fold what the exporter does not, in place."""


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
        """Take the network's present weights in."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)


def export(trainee: Trainee, trained: nn.Module, path: Path) -> None:
    """Write a network as ONNX with fused convolutions, in LibreYOLO's own layout, and checks it against PyTorch.

    Input `images` [batch, 3, SIDE, SIDE] and output `output`, both float32, are as the trainee has them. Only the batch
    is dynamic. The names are in the metadata.

    Raises:
        RuntimeError: the file's answers are not the network's.
    """
    network = copy.deepcopy(trained).to("cpu", memory_format=torch.contiguous_format).eval()
    inputs = trainee.pixels(torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        expected = trainee.answer(network, inputs)
    trainee.fuse(network)
    wrapper = trainee.wrapper
    wrapper.model = network
    scratch = path.with_suffix(".part.onnx")
    try:
        wrapper.export(format="onnx", output_path=str(scratch), imgsz=SIDE, opset=OPSET, dynamic=True, simplify=False)
        model = onnx.load(scratch)
        for size, axis in zip(expected.shape[1:], model.graph.output[0].type.tensor_type.shape.dim[1:], strict=True):
            axis.dim_value = size
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, scratch)
        session = onnxruntime.InferenceSession(scratch, providers=["CPUExecutionProvider"])
        answer = torch.from_numpy(session.run(None, {"images": inputs.numpy()})[0])
        difference = np.abs((trainee.predictions(answer) - trainee.predictions(expected)).numpy())
        if difference[:, :4].max() > TOLERANCE or difference[:, 4:].max() > TOLERANCE / 100:
            raise RuntimeError(f"{path}: the exported file's answers differ from PyTorch's by {difference.max():.3g}")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
