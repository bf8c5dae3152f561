"""Where the default model repository is, and its configurations, read through Triton's own protobuf.

A wrong field fails before any server starts.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_yolo.errors import RepositoryError

DEFAULT_REPOSITORY = Path(__file__).parent / "model_repository"  # in a checkout, a link to the folder beside
GRAPH = Path("yolo", "1", "model.onnx")  # of the network, in a repository
GRAPH_HINT = "it is the graph that `triton-yolo export` writes"


def read_config(path: Path) -> ModelConfig:
    """Parse a config.pbtxt.

    Args:
        path: of the file.

    Raises:
        RepositoryError: the file cannot be read or has a field that Triton does not know.
    """
    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except OSError as error:
        raise RepositoryError(f"cannot read {path}: {error.strerror}; is --repository a model repository?") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} is not a Triton model configuration: {error}") from None
