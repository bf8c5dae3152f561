"""Networks of LibreYOLO (MIT), with weights that make every box, score and class depend on the image.

Weights as they are initialised give nearly the same scores everywhere, so that any reading of them would pass. Here the
normalisations get the statistics of some pictures, and the last convolutions are drawn anew and scaled, so that box
distances, objectness and class scores spread over the anchors.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from triton_yolo.export.samples import samples
from triton_yolo.nms.letterbox import Letterbox

# Mean and deviation of the last convolutions' answers: few class scores are high, boxes are around their cells.
CLASSES, BOXES, OBJECTS = (-3.0, 1.0), (0.0, 0.5), (1.0, 1.0)


@dataclass(frozen=True)
class Family:
    """One architecture.

    Attributes:
        network: LibreYOLO's class of it.
        size: its name for the smallest.
        head: what its export has to be recognised as.
        input: what --input says of it; with mean and std, in grey levels, behind it.
        letterbox: "centred", "top-left", or "stretched" where training did not keep proportions.
        last: patterns of the last convolutions' names: those of class scores, of boxes, of objectness.
    """

    network: str
    size: str
    head: str
    input: str
    letterbox: str
    last: tuple[str, ...]


IMAGENET = "rgb-0-255 --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375"
FAMILIES = {
    "yolox": Family(
        "LibreYOLOX", "n", "yolox", "bgr-0-255", "top-left", (r"cls_preds\.\d", r"reg_preds\.\d", r"obj_preds\.\d")
    ),
    "yolo9": Family("LibreYOLO9", "t", "xyxy", "rgb-0-1", "top-left", (r"cv3\.\d\.2", r"cv2\.\d\.2")),
    "yolo9_e2e": Family("LibreYOLO9E2E", "t", "xyxy", "rgb-0-1", "top-left", (r"_cv3\.\d\.2", r"_cv2\.\d\.2")),
    "yolonas": Family("LibreYOLONAS", "s", "split", "rgb-0-1", "centred", (r"\.cls_pred", r"\.reg_pred")),
    "rtmdet": Family(
        "LibreRTMDet",
        "t",
        "xyxy",
        "bgr-0-255 --mean 103.53,116.28,123.675 --std 57.375,57.12,58.395",
        "top-left",
        (r"rtm_cls\.\d", r"rtm_reg\.\d"),
    ),
    "ppyoloe": Family("LibrePPYOLOE", "s", "split", IMAGENET, "stretched", (r"pred_cls\.\d", r"pred_reg\.\d")),
    "picodet": Family("LibrePICODET", "s", "xyxy", IMAGENET, "stretched", (r"gfl_cls\.\d", r"gfl_reg\.\d")),
}


def make_network(family: Family, side: int = 320, seed: int = 0) -> Any:
    """A network of LibreYOLO's own code, drawn from a seed.

    Args:
        family: of FAMILIES.
        side: of the pictures that its statistics are taken from, in pixels.
        seed: of all weights.
    """
    import libreyolo
    import torch

    torch.manual_seed(seed)
    network = getattr(libreyolo, family.network)(None, size=family.size)
    model = network.model.eval()
    images = torch.cat([prepared(network, picture, (side, side)) for picture in pictures(side)])
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.7, 1.3)
            norm.bias.normal_(0, 0.3)
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean of what it sees
            norm.train()
        model(images)
        model.eval()
        last = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Conv2d) and any(re.search(f"{end}$", name) for end in family.last)
        }
        for name, convolution in last.items():
            convolution.register_forward_hook(_spreading(*_answers(name, convolution.out_channels, family)))
        model(images)
        for convolution in last.values():
            convolution._forward_hooks.clear()
    return network


def _answers(name: str, channels: int, family: Family) -> tuple[Any, Any]:
    """Mean and standard deviation of each channel of one of the last convolutions."""
    import torch

    kind = next(i for i, end in enumerate(family.last) if re.search(f"{end}$", name))
    both = torch.tensor((CLASSES, BOXES, OBJECTS)[kind]).repeat(channels, 1)
    if kind == 0:
        both[80:] = torch.tensor(BOXES)  # PicoDet answers with its boxes behind the 80 classes
    return both.unbind(1)


def _spreading(mean: Any, std: Any) -> Any:
    """A hook that draws a convolution anew, and scales each channel of its answer to this mean and deviation."""
    import torch

    def hook(convolution: Any, inputs: Sequence[Any], _: Any) -> Any:
        convolution.weight.normal_()
        convolution.bias.zero_()
        spread, middle = torch.std_mean(convolution.forward(inputs[0]), dim=(0, 2, 3))
        convolution.weight.mul_((std / spread)[:, None, None, None])
        convolution.bias.copy_(mean - middle * std / spread)
        return convolution.forward(inputs[0])

    return hook


@lru_cache
def pictures(side: int) -> list[npt.NDArray[np.uint8]]:
    """Drawn boards, photos and scans, and coloured noise of several grains: uint8 [side, side, 3], RGB."""
    rng = np.random.default_rng(0)
    noise = [
        rng.integers(0, 256, (side // grain + 1, side // grain + 1, 3), np.uint8).repeat(grain, 0).repeat(grain, 1)
        for grain in (1, 16, 64)
    ]
    boards = samples(None, Letterbox(side, side)).transpose(0, 2, 3, 1)
    return [*boards, *(picture[:side, :side] for picture in noise)]


def prepared(network: Any, picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> Any:
    """What LibreYOLO's own inference makes of a picture, RGB [H, W, 3]: a tensor [1, 3, height, width]."""
    from PIL import Image

    return network._preprocess(Image.fromarray(picture), input_size=size)[0].float()


def export_to(path: Path, network: Any, size: tuple[int, int], **options: Any) -> Path:
    """LibreYOLO's own export to ONNX, silent."""
    side = size[0] if size[0] == size[1] else size  # most of its families take one number
    logging.getLogger("libreyolo").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        network.export("onnx", output_path=str(path), device="cpu", imgsz=side, simplify=False, **options)
    return path
