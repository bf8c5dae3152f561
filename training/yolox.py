"""A network of depthwise convolutions, which quantise badly: LibreYOLO's YOLOX-nano."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from libreyolo import LibreYOLOX
from torch import Tensor, nn
from torchvision.ops import box_convert

from training.network import Loss, Trainee
from training.pictures import SIDE


class YoloXNano(Trainee):
    """YOLOX-nano: BGR 0 to 255 in, and [B, 8400, 5 + classes] out.

    Each row is x, y of the centre, width and height in pixels, an objectness, and a score for each class that is to be
    multiplied with it.
    """

    # In bfloat16 the boxes that it decodes while it learns would be rounded to 4 pixels.
    parts, centred, mixed = "loss_iou_object_class", False, False

    def __init__(self, classes: Sequence[str], seed: int) -> None:
        self.wrapper = LibreYOLOX._from_scratch(
            size="n", nb_classes=len(classes), task="detect", device="cpu", seed=seed
        )
        self.wrapper.names = dict(enumerate(classes))
        self.wrapper.model.init_weights()
        self.wrapper.model.head.export = True  # decodes boxes outside of training too

    def loss(self, network: nn.Module, device: torch.device) -> Loss:
        """Return IoU and cross entropy of objectness and classes, with SimOTA's assignment."""
        head = network.head

        def loss(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:  # [B, 8400, 5 + classes]
            grids = [grid.reshape(1, -1, 2) for grid in head.grids]
            found = head.get_losses(
                None,  # it looks at no pictures
                [grid[..., 0] for grid in grids],
                [grid[..., 1] for grid in grids],
                [torch.full_like(grid[..., 0], s) for grid, s in zip(grids, head.strides, strict=True)],
                torch.cat([labels[..., :1], box_convert(labels[..., 1:] * SIDE, "xyxy", "cxcywh")], -1),
                rows,
                [],  # only the L1 loss, which is off, takes boxes before decoding
                rows.dtype,
            )
            parts = torch.stack([found["iou_loss"], found["obj_loss"], found["cls_loss"]])
            return found["total_loss"], parts.detach()

        return loss

    def pixels(self, images: Tensor) -> Tensor:
        """Turn RGB 0 to 1 into BGR 0 to 255."""
        return images.flip(1) * 255

    def answer(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return [B, 8400, 5 + classes]."""
        return network(inputs)

    def predictions(self, answer: Tensor) -> Tensor:
        """Turn rows into corners and scores [B, 4 + classes, 8400]."""
        corners = box_convert(answer[..., :4], "cxcywh", "xyxy")
        return torch.cat([corners, answer[..., 4:5] * answer[..., 5:]], -1).transpose(1, 2)

    def fuse(self, network: nn.Module) -> None:
        """Do nothing: the exporter folds batch normalisation into convolutions."""
