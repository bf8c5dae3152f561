"""What the server's configuration says of a model that detects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton_yolo.clients.errors import DetectionError


@dataclass(frozen=True)
class ModelInfo:
    """One ensemble that detects.

    Attributes:
        name: name of the ensemble.
        labels: class names in the network's order.
        max_batch_size: most images that one request may have; 0 where the configuration sets no limit.
    """

    name: str
    labels: tuple[str, ...]
    max_batch_size: int

    @classmethod
    def from_configs(cls, ensemble: Mapping[str, Any], step: Mapping[str, Any]) -> ModelInfo:
        """Read the configurations of an ensemble and of its step that makes ``classes``, both as JSON.

        Raises:
            DetectionError: the step has no labels.
        """
        return cls(str(ensemble["name"]), labels_of(step), int(ensemble.get("max_batch_size", 0)))

    def check_batch(self, images: int) -> None:
        """Refuse a batch that is larger than the server takes.

        Raises:
            DetectionError: says the limit and what to do.
        """
        if 0 < self.max_batch_size < images:
            raise DetectionError(
                f"{images} frames in one request are too many: the server's model {self.name} takes at most "
                f"{self.max_batch_size}; send several requests"
            )


def classifier(ensemble: Mapping[str, Any]) -> str:
    """Return the name of the step that makes an ensemble's ``classes``: its configuration has the labels.

    Args:
        ensemble: configuration as JSON.

    Raises:
        DetectionError: the model is no such ensemble.
    """
    for step in ensemble.get("ensemble_scheduling", {}).get("step", []):
        if "classes" in step["output_map"].values():
            return str(step["model_name"])
    raise DetectionError(f"the server's model {ensemble['name']} is no ensemble with an output 'classes'")


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return class names in the network's order.

    Args:
        config: configuration of the model that makes ``classes``, as JSON.

    Raises:
        DetectionError: it has no labels.
    """
    try:
        return tuple(map(str, json.loads(config["parameters"]["labels"]["string_value"])))
    except (KeyError, ValueError, TypeError):
        raise DetectionError(
            f"the server's model {config['name']} has no parameter 'labels' with a JSON list"
        ) from None
