"""Calls that ask what the server is and what its models are."""

from __future__ import annotations

from triton_yolo.clients.protocols.base import Call


def model_config(model: str) -> Call:
    """Return the call for a model's configuration."""
    return Call("ModelConfig", {"name": model}, f"v2/models/{model}/config", answer="config")


def model_metadata(model: str) -> Call:
    """Return the call for a model's name and versions."""
    return Call("ModelMetadata", {"name": model}, f"v2/models/{model}")


def server_metadata() -> Call:
    """Return the call for the server's name and version."""
    return Call("ServerMetadata", {}, "v2")
