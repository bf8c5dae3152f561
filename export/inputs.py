"""What a network's input takes: by its head, and by the metadata of networks that LibreYOLO exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import TensorProto

from triton_yolo.export.errors import ExportError
from triton_yolo.export.heads.base import Head
from triton_yolo.export.network import Network
from triton_yolo.export.pixels import BGR255, RGB01, PixelFormat
from triton_yolo.nms.letterbox import Letterbox

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
STRETCHED = "trained on stretched images, while the server keeps proportions"
SMALLER = "trained on images of 636 pixels in 640, while the server fills all 640"


@dataclass(frozen=True)
class Convention:
    """How a family of LibreYOLO exports its predictions, and how its own inference prepares images.

    Attributes:
        head: name of the layout.
        pixels: what the input takes.
        centred: where the letterboxed image lies.
        rounding: of its size, as Letterbox has it.
        note: what the server does differently.
    """

    head: str
    pixels: PixelFormat
    centred: bool
    rounding: str = "down"
    note: str | None = None


# By the metadata `model_family`; read in libreyolo/preprocess and libreyolo/models of version 1.6.0.
LIBREYOLO: Mapping[str, Convention] = {
    "yolox": Convention("yolox", BGR255, False),
    "yolo7": Convention("xyxy", RGB01, False),
    "yolo9": Convention("xyxy", RGB01, False),
    "yolo9_e2e": Convention("xyxy", RGB01, False),
    "yolo9_p2": Convention("xyxy", RGB01, False),
    "yolonas": Convention("split", RGB01, True, "nearest", SMALLER),
    "rtmdet": Convention("xyxy", PixelFormat("bgr", IMAGENET[0][::-1], IMAGENET[1][::-1]), False),
    "ppyoloe": Convention("split", PixelFormat("rgb", *IMAGENET), True, "nearest", STRETCHED),
    "picodet": Convention("xyxy", PixelFormat("rgb", *IMAGENET), True, "nearest", STRETCHED),
}


def convention_of(network: Network) -> Convention | None:
    """Return how LibreYOLO prepares images for a network that it exported, None for others.

    Raises:
        ExportError: LibreYOLO exported it for another runtime.
    """
    if network.metadata.get("deepstream") == "true":
        raise ExportError("LibreYOLO exported the network for DeepStream: export it again without deepstream=True")
    return LIBREYOLO.get(network.metadata.get("model_family", ""))


def read_pixels(
    network: Network, head: Head, pixels: PixelFormat | None, centred: bool | None
) -> tuple[PixelFormat, list[str]]:
    """Tell the input's format: from the user, from metadata, or from the head's families.

    Args:
        network: to read.
        head: that was recognised.
        pixels: the user's choice, None to tell it from the network.
        centred: the user's choice of the image's place, None to tell it from the network.

    Returns:
        the format, and notes for the user.

    Raises:
        ExportError: it cannot be told, or the graph cannot take it.
    """
    convention = convention_of(network)
    if convention is None and (family := network.metadata.get("model_family")) and None in (pixels, centred):
        raise ExportError(
            f"it is not known how images are prepared for the family {family}, which the metadata names: say it with "
            "--input (and --mean, --std) and --letterbox"
        )
    notes = []
    if convention and convention.note and centred is None:
        notes.append(f"{convention.note}: measure with `triton-yolo evaluate`")
    if pixels is None:
        pixels = _usual(network, head, convention.pixels if convention else head.pixels)
    if network.kind == TensorProto.UINT8 and (any(pixels.mean) or pixels.std != (1.0, 1.0, 1.0)):
        raise ExportError(f"the graph takes uint8, so --input can only be rgb-0-255 or bgr-0-255, not {pixels}")
    return pixels, notes


def read_letterbox(network: Network, head: Head, centred: bool | None, rounding: str | None) -> Letterbox:
    """Tell how images are fitted into the input, in the same order.

    Args:
        network: to read.
        head: that was recognised.
        centred: the user's choice of the image's place, None to tell it from the network.
        rounding: the user's choice of the rounding of its size, None to tell it from the network.
    """
    family = convention_of(network) or head
    pad = network.metadata.get("letterbox_pad", "").lower().replace("-", "").replace("_", "")
    usually_centred = pad != "topleft" if pad in ("center", "centre", "topleft") else family.centred
    return Letterbox(
        network.height,
        network.width,
        usually_centred if centred is None else centred,
        rounding or family.rounding,
    )


def _usual(network: Network, head: Head, known: PixelFormat | None) -> PixelFormat:
    if known is None:
        raise ExportError(
            f"the network has the head {head.name} ({head.families}), whose families are trained on different inputs: "
            "say which with --input (and --mean, --std, --letterbox); the README lists those that are known"
        )
    if first := _normalises(network):
        raise ExportError(
            f"the graph begins with {first}, so that its input may not be the {known} that is usual for "
            f"{head.families}: say with --input which it is (rgb-0-255 or bgr-0-255 if the graph divides by 255 itself)"
        )
    return known


def _normalises(network: Network) -> str | None:
    """Return the operator that shows that the graph normalises its pixels itself, None if there is none."""
    if network.kind == TensorProto.UINT8:
        return "a uint8 input"
    followed = {network.input}
    for node in network.original.model.graph.node:
        if followed.intersection(node.input):
            if node.op_type in ("Div", "Mul", "Sub", "Add", "BatchNormalization"):
                return f"{node.op_type} {node.name}".rstrip()
            if node.op_type in ("Cast", "Identity"):
                followed.update(node.output)
    return None
