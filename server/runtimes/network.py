"""What the runtimes of networks share: the graph, its proof, and the arithmetic that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from triton_yolo.contract import GRAPH_FILE, GRAPH_HINT
from triton_yolo.export.served_proof import ProofError, ServedProof, proof_of
from triton_yolo.server.errors import ServerError
from triton_yolo.server.runtimes.base import Arithmetic, Device, Runtime

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig


class NetworkRuntime(Runtime):
    """A runtime of served graphs, which TensorRT computes in the container; the proof lies beside the graph."""

    backend: ClassVar[str] = "tensorrt"
    file: ClassVar[str] = GRAPH_FILE
    hint: ClassVar[str] = GRAPH_HINT

    def module(self, config: ModelConfig) -> str:
        """Return the module ``model`` of the runtime's package."""
        return f"{type(self).__module__}.model"

    def configured(self, config: ModelConfig, device: Device, arithmetic: Arithmetic) -> ModelConfig:
        """Derive the configuration, with one more parameter: the arithmetic that was asked for."""
        derived = super().configured(config, device, arithmetic)
        derived.parameters["arithmetic"].string_value = arithmetic
        return derived

    def proof(self, graph: Path, version: Path) -> ServedProof:
        """Put the proof of a graph into the version folder, and return it.

        Raises:
            ServerError: it is missing, or is none of this graph.
        """
        try:
            proof = ServedProof.carried_by(graph)
        except ProofError as error:
            raise ServerError(str(error)) from None
        (version / proof_of(graph).name).symlink_to(proof_of(graph))
        return proof
