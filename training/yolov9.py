"""The default network: LibreYOLO's YOLOv9-t with simpler blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from libreyolo import LibreYOLO9
from libreyolo.models.yolo9.loss import YOLO9Loss
from libreyolo.models.yolo9.nn import ELAN, RepNCSPELAN
from torch import Tensor, nn

from training.network import Loss, Trainee
from training.pictures import SIDE


class YoloV9Elan(Trainee):
    """YOLOv9-t whose blocks are all ELAN, as its first one is: 59 convolutions instead of 185, some of them wider.

    Few large kernels keep a GPU busier than many small ones, and a CPU too.

    RGB 0 to 1 in, and [B, 4 + classes, 8400] out: x1, y1, x2, y2 in pixels, a score for each class.
    """

    parts, centred, mixed = "loss_box_dfl_class", True, True

    def __init__(self, classes: Sequence[str], seed: int) -> None:
        torch.manual_seed(seed)
        self.wrapper = LibreYOLO9._from_scratch(size="t", nb_classes=len(classes), task="detect", device="cpu")
        self.wrapper.names = dict(enumerate(classes))
        self.wrapper.letterbox_pad = "center"
        for part in (self.wrapper.model.backbone, self.wrapper.model.neck):
            for name, block in part.named_children():
                if isinstance(block, RepNCSPELAN):
                    setattr(part, name, _elan(block))

    def loss(self, network: nn.Module, device: torch.device) -> Loss:
        """Return CIoU, distribution focal loss and cross entropy, with task-aligned assignment."""
        strides = [int(s) for s in network.head.stride]
        criterion = YOLO9Loss(network.nc, network.reg_max, strides, [SIDE, SIDE], device)

        def loss(maps: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:  # three maps [B, 64 + classes, H, W]
            found = criterion([m.float() for m in maps], labels)
            return found["total_loss"], torch.stack([found["box"], found["dfl"], found["cls"]])

        return loss

    def pixels(self, images: Tensor) -> Tensor:
        """Leave RGB 0 to 1 as it is."""
        return images

    def answer(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return [B, 4 + classes, 8400]."""
        return network(inputs)["predictions"]

    def predictions(self, answer: Tensor) -> Tensor:
        """Leave an answer as it is."""
        return answer

    def fuse(self, network: nn.Module) -> None:
        """Fold batch normalisation into convolutions."""
        network.fuse()


def _elan(block: RepNCSPELAN) -> ELAN:
    """Return a convolution of 3 x 3 pixels for each of the block's two branches, twice as wide as what ends it."""
    first, inner, last = (part.conv for part in (block.cv1, block.cv2[1], block.cv4))
    return ELAN(first.in_channels, first.out_channels, 2 * inner.out_channels, last.out_channels)
