"""What a network's input takes: by the head's families, and by what LibreYOLO says of its own."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto

from export.errors import ExportError
from export.heads import BGR255, RGB01, Head
from export.network import Network
from export.pixels import PixelFormat

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
# By LibreYOLO's metadata `model_family`, as its own inference prepares images: format, centred, stretched.
LIBREYOLO: Mapping[str, tuple[PixelFormat, bool, bool]] = {
    "yolox": (BGR255, False, False),
    "yolo7": (RGB01, False, False),
    "yolo9": (RGB01, False, False),
    "yolo9_e2e": (RGB01, False, False),
    "yolo9_p2": (RGB01, False, False),
    "yolonas": (RGB01, True, False),
    "rtmdet": (PixelFormat("bgr", IMAGENET[0][::-1], IMAGENET[1][::-1]), False, False),
    "ppyoloe": (PixelFormat("rgb", *IMAGENET), True, True),
    "picodet": (PixelFormat("rgb", *IMAGENET), True, True),
}


def read_input(
    network: Network, head: Head, pixels: PixelFormat | None, centred: bool | None
) -> tuple[PixelFormat, bool, list[str]]:
    """Tell the input's format and the letterbox: as wished, as metadata says, or as the head's families have it.

    Args:
        network: to read.
        head: that was recognised.
        pixels: what the user said, None to tell it from the network.
        centred: what the user said of the letterbox, likewise.

    Returns:
        the format, whether images are centred, and what the user should know.

    Raises:
        ExportError: it cannot be told, or is not possible with this graph.
    """
    usual = (head.pixels, head.centred, False)
    if family := network.metadata.get("model_family"):
        usual = LIBREYOLO.get(family, (None, head.centred, False))
    known, usually_centred, stretched = usual
    pad = network.metadata.get("letterbox_pad", "").lower().replace("-", "").replace("_", "")
    if pad in ("center", "centre", "topleft"):
        usually_centred = pad != "topleft"
    notes = []
    if stretched and centred is None:
        notes.append("trained on stretched images, while the server keeps proportions: measure with clients.evaluate")
    if pixels is None:
        pixels = _usual(network, head, known)
    if network.kind == TensorProto.UINT8 and (any(pixels.mean) or pixels.std != (1.0, 1.0, 1.0)):
        raise ExportError(f"the graph takes uint8, so --input can only be rgb-0-255 or bgr-0-255, not {pixels}")
    return pixels, usually_centred if centred is None else centred, notes


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
    """The operator that shows that the graph prepares its pixels itself."""
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
