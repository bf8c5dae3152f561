"""What the configuration of this model says of the network that the repository serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .letterbox import Letterbox
from .thresholds import Thresholds


@dataclass(frozen=True)
class ServedModel:
    """A network as a model repository serves it.

    Attributes:
        labels: class names in the network's order.
        letterbox: how images are fitted into its input.
        thresholds: of requests that carry none.
        top_k: K, candidates of an image that leave the network.
        max_detections: M, the most detections of an image that are answered.
    """

    labels: tuple[str, ...]
    letterbox: Letterbox
    thresholds: Thresholds
    top_k: int
    max_detections: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ServedModel:
        """Read the configuration of the model nms.

        Args:
            config: in JSON's form, as Triton gives it to the model.

        Raises:
            ValueError: a parameter is missing, or is not what it must be.
        """
        values = {key: str(value.get("string_value", "")) for key, value in config["parameters"].items()}
        dims = {tensor["name"]: tensor["dims"] for tensor in (*config["input"], *config["output"])}
        try:
            return cls(
                tuple(json.loads(values["labels"])),
                Letterbox.from_parameters(values),
                Thresholds(float(values["score_threshold"]), float(values["iou_threshold"])),
                int(dims["candidates"][0]),
                int(dims["boxes"][0]),
            )
        except KeyError as error:
            raise ValueError(f"the configuration of nms lacks {error.args[0]}") from None
