"""Where the default model repository is, and its configurations, read through Triton's own protobuf.

A wrong field fails before any server starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from triton_yolo.contract import GRAPH_FILE
from triton_yolo.errors import RepositoryError

if TYPE_CHECKING:  # the launcher reads none itself, and stays as long as its server
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from triton_yolo.nms.served_model import ServedModel

DEFAULT_REPOSITORY = Path(__file__).parent / "model_repository"  # in a checkout, a link to the folder beside
GRAPH_PATH = Path("yolo", "1", GRAPH_FILE)  # of the network, in a repository
NMS_CONFIG = Path("nms", "config.pbtxt")  # in a repository


def read_config(path: Path) -> ModelConfig:
    """Parse a config.pbtxt.

    Args:
        path: of the file.

    Raises:
        RepositoryError: the file cannot be read or has a field that Triton does not know.
    """
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    try:
        return text_format.Parse(path.read_text(), ModelConfig())
    except OSError as error:
        raise RepositoryError(f"cannot read {path}: {error.strerror}; is --repository a model repository?") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise RepositoryError(f"{path} is not a Triton model configuration: {error}") from None


def read_served_model(repository: Path = DEFAULT_REPOSITORY) -> ServedModel:
    """Read what a model repository says of the network that it serves.

    Args:
        repository: its folder.

    Raises:
        RepositoryError: the configuration of its model nms cannot be read, or lacks something.
    """
    from google.protobuf.json_format import MessageToDict

    from triton_yolo.nms.served_model import ServedModel

    config = read_config(repository / NMS_CONFIG)
    try:
        return ServedModel.from_config(MessageToDict(config, preserving_proto_field_name=True))
    except (ValueError, KeyError) as error:
        raise RepositoryError(f"{repository / NMS_CONFIG}: {error}") from None


def repository_of(graph: Path) -> Path | None:
    """Return the model repository that a graph's file is in, None where it is in none.

    Args:
        graph: of the file, which in a repository is REPOSITORY/yolo/1/model.onnx.
    """
    folders = graph.resolve().parents
    return folders[2] if len(folders) > 2 and (folders[2] / NMS_CONFIG).is_file() else None
